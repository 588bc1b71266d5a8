"""Mutated image files, read in processes of their own: what comes back is a volume that can be, or one typed error.

    python -m Testing.mutated_images --minutes 60 --output mutated     a long run, reproducible by --seed

A fault is anything else: another exception, a process that died or hung, an array that is not finite, a header that
alone says another place. Its files are kept beside a line of ``findings.txt``. `Testing.fuzz` does the same for all
that is read from outside; this is about images alone, of every suffix, with the files that belong together.
"""

import argparse
import io
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from CrossModalSegLib.errors import CrossModalSegError
from CrossModalSegLib.imaging.volume import READERS, read_grid, read_image, read_volume, write_volume
from Testing.volumes import grid_around, rotation

SUFFIXES = tuple(suffix for suffixes in READERS for suffix in suffixes)
_GRID = grid_around((3.0, -4.0, 5.0), (7, 6, 5), (1.5, 2.0, 2.5), rotation((10, 20, 30)))
_INTERESTING = (
    b"\0\0",
    b"\xff\xff",
    b"\x7f\xc0\0\0",
    b"\0\0\xc0\x7f",
    b"\0\0\x80\x7f",
    b"\0\0\x80\xff",
    b"\x80\0",
    b"\0\x80",
)
_WORDS = (
    b"-1",
    b"0",
    b"nan",
    b"inf",
    b"1e39",
    b"30000",
    b"LIST",
    b"%d",
    b"none",
    b"(",
    b"\n\n",
    b"=",
    b":=",
    b"\xe8\x85\xa6",
)
_HEADER_BYTES = 400
_BATCH = 250
_PATIENCE_SECONDS = 120.0


@dataclass(frozen=True)
class Outcome:
    """What became of a file: ``kind`` is "read", "refused" or "fault"; ``words`` are the error's code, or what went
    wrong."""

    name: str
    kind: str
    words: str


# --- files


def write_seeds(folder: Path) -> list[Path]:
    """A small whole file of each suffix, compressed and not, and of both NIfTI versions; files of a pair lie
    together."""
    voxels = np.random.default_rng(7).integers(0, 900, _GRID.shape_kji).astype(np.int16)
    image = sitk.GetImageFromArray(voxels)
    _GRID.to_sitk_geometry(image)
    for name in ("a.nrrd", "b.mha", "c.mhd", "d.nhdr", "e.nii", "f.nii.gz", "g.hdr"):
        (folder / name[0]).mkdir()
        sitk.WriteImage(image, folder / name[0] / f"scan{name[1:]}", useCompression=name[0] in "abf")
    for name in ("h.mha", "i.mhd", "j.nrrd"):
        (folder / name[0]).mkdir()
        sitk.WriteImage(image, folder / name[0] / f"scan{name[1:]}", useCompression=name[0] == "i")
    write_volume(folder / "e" / "other.nii", voxels.astype(np.float32), _GRID)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def mutated(content: bytes, chance: random.Random) -> bytes:
    """A few bytes changed, removed, doubled or exchanged; most often in the header, where they mean something."""
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        where = chance.randrange(min(len(changed), _HEADER_BYTES) if chance.random() < 0.75 else len(changed) or 1)
        length = chance.choice((1, 1, 2, 4, 16, 64, 512))
        how = chance.randrange(7)
        if how == 0:
            changed[where : where + 1] = bytes([changed[where] ^ (1 << chance.randrange(8))])
        elif how == 1:
            changed[where : where + length] = chance.randbytes(length)
        elif how == 2:
            del changed[where : where + length]
        elif how == 3:
            changed[where:where] = changed[where : where + length]
        elif how == 4:
            changed[where:] = bytes(len(changed) - where) if chance.random() < 0.5 else b""
        elif how == 5:
            piece = chance.choice(_INTERESTING)
            changed[where : where + len(piece)] = piece
        else:
            piece = chance.choice(_WORDS)
            changed[where : where + (len(piece) if chance.random() < 0.5 else 0)] = piece
        if not changed:
            break
    return bytes(changed)


def write_mutants(seeds: list[Path], folder: Path, count: int, seed: int) -> Iterator[Path]:
    """``count`` files, each beside the unchanged others of its folder; the path is that of the one to read."""
    chance = random.Random(seed)
    for number in range(count):
        original = chance.choice(seeds)
        place = folder / f"{number:06d}"
        place.mkdir()
        for path in original.parent.iterdir():
            content = path.read_bytes()
            (place / path.name).write_bytes(mutated(content, chance) if path == original else content)
        headers = [path for path in place.iterdir() if path.name.endswith(SUFFIXES)]
        yield place / original.name if original.name.endswith(SUFFIXES) else chance.choice(headers)


# --- reading


def outcome_of(path: Path) -> Outcome:
    """Read the file in all ways that the product does."""
    try:
        array, grid = read_image(path, "RAS")
        if array.shape != grid.shape_kji or not np.isfinite(grid.ijk_to_ras).all():
            return Outcome(str(path), "fault", f"array of {array.shape} on a grid of {grid.shape_kji}")
        if not read_grid(path, "RAS").is_close(grid):
            return Outcome(str(path), "fault", "the header alone says another place")
        volume = read_volume(path, "T1w")
        if not np.isfinite(volume.array).all() or volume.array.min() == volume.array.max():
            return Outcome(str(path), "fault", "a volume that is not finite, or constant")
    except CrossModalSegError as error:
        words = str(error)
        is_told = "\n" not in words and error.hint and str(path.parent) in words
        return Outcome(str(path), "refused" if is_told else "fault", error.code if is_told else words)
    except Exception as error:  # noqa: BLE001 - it is what is looked for
        return Outcome(str(path), "fault", f"{type(error).__name__}: {error}")
    return Outcome(str(path), "read", "")


def read_in_child(paths: list[Path]) -> list[Outcome]:
    """Read the files in one process that may die or hang: what it did not answer about is a fault of the next file."""
    command = [sys.executable, "-m", "Testing.mutated_images", "--child"]
    names = "\n".join(map(str, paths))
    try:
        done = subprocess.run(
            command, input=names, capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=False
        )
        answers, ended = done.stdout, f"the process ended with {done.returncode}: {done.stderr[-300:]}"
    except subprocess.TimeoutExpired as error:
        out = error.stdout or b""
        answers, ended = out.decode() if isinstance(out, bytes) else out, "the process hung"
    outcomes = [Outcome(**json.loads(line)) for line in answers.splitlines()]
    if len(outcomes) < len(paths):
        outcomes.append(Outcome(str(paths[len(outcomes)]), "fault", ended))
        outcomes += read_in_child(paths[len(outcomes) :]) if len(outcomes) < len(paths) else []
    return outcomes


def _child() -> None:
    _limit_memory()
    for line in sys.stdin.read().splitlines():
        print(json.dumps(asdict(outcome_of(Path(line)))), flush=True)


def _limit_memory() -> None:
    """A reader that asks for far more than its files hold must fail here, and not only on a small computer."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))


# --- a run


def run(count: int, seed: int, folder: Path, keep: Path | None = None) -> Counter[str]:
    """Mutate and read ``count`` files; faults are counted as "fault: ...", and kept in ``keep``."""
    seeds = write_seeds(folder)
    counts: Counter[str] = Counter()
    for batch in range(0, count, _BATCH):
        with tempfile.TemporaryDirectory(dir=folder) as mutants:
            paths = list(write_mutants(seeds, Path(mutants), min(_BATCH, count - batch), seed + batch))
            for one in read_in_child(paths):
                counts[f"{one.kind}: {one.words}".rstrip(": ")] += 1
                if one.kind == "fault" and keep is not None:
                    _keep(one, keep)
    return counts


def _keep(one: Outcome, folder: Path) -> None:
    import shutil

    folder.mkdir(parents=True, exist_ok=True)
    number = len(list(folder.iterdir()))
    shutil.copytree(Path(one.name).parent, folder / f"{number:04d}", dirs_exist_ok=True)
    with (folder / "findings.txt").open("a", encoding="utf-8") as file:
        file.write(f"{number:04d} {Path(one.name).name}: {one.words}\n")


def main() -> int:
    parser = argparse.ArgumentParser(description="Reads mutated image files, and keeps those that show a fault.")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("mutated"), help="faults are kept here")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        _child()
        return 0
    started, total, seed = time.monotonic(), Counter[str](), options.seed
    while time.monotonic() - started < 60 * options.minutes:
        with tempfile.TemporaryDirectory() as folder:
            total += run(4 * _BATCH, seed, Path(folder), options.output)
        seed += 1_000_000
    text = io.StringIO()
    for words, count in total.most_common():
        text.write(f"{count:8d} {words}\n")
    print(f"{sum(total.values())} files in {(time.monotonic() - started) / 60:.0f} minutes\n{text.getvalue()}")
    return int(any(words.startswith("fault") for words in total))


if __name__ == "__main__":
    sys.exit(main())
