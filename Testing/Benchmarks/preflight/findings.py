"""How often the preflight is right: false findings on good scans, and faults that it tells.

    python Testing/Benchmarks/preflight/findings.py --output runs/findings.json

Needs the data folder (CROSSMODALSEG_DATA or ../shared/data). Good scans are real ones under their own names. Faults are
made from them, or from label maps where there is no real scan of a kind, and say so. Prints one row per kind: how many
were looked at, how many were told (anything but what is in order), and which codes; and processor seconds per pair.
"""

import argparse
import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from CrossModalSegLib.bundles.bundle import load_bundle
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.modality_guess import contrast_of
from CrossModalSegLib.imaging.preflight import examine
from CrossModalSegLib.imaging.volume import Volume, read_image, read_volume
from CrossModalSegLib.inference.contents import look_into
from CrossModalSegLib.inference.inference import Segmenter

Case = dict[str, Volume]
REAL = ("oasis-t1/*/T1w.nii.gz", "open-ms/*/[TF]*.nii.gz", "glioma/*/[TF]*.nii.gz")
TRUE_OF_THE_FILES = ("unknown-units",)  # what their headers do not say
INVERTED, Z_SCORED = "inverted as a whole", "z-scored within the brain (information)"
BY_INTENSITIES = (INVERTED, Z_SCORED)  # found out without the model
MOTIONS = {"5 mm": ((3, 3, 2), 0.0), "10 mm, 3 degrees": ((6, 6, 5), 3.0), "18 mm": ((5, -12, 13), 0.0)}
TISSUES = {  # white matter, grey matter, fluid, deep grey matter, outside of the brain
    "T1w": (0.82, 0.55, 0.17, 0.66, 0.5),
    "PD": (0.62, 0.78, 0.88, 0.70, 0.5),
    "CT": (0.50, 0.53, 0.30, 0.53, 0.45),
}
FLUID, DEEP = (4, 43, 5, 44, 14, 15, 24, 72), (10, 49, 11, 50, 12, 51, 13, 52, 26, 58)
WHITE, GREY = (2, 41, 7, 46, 16, 28, 60), (3, 42, 8, 47, 17, 53, 18, 54)


@dataclass
class Row:
    """A kind of scans: how many there were, how many something was told about, the codes, and each by name."""

    seen: int = 0
    told: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    names: list[str] = field(default_factory=list)


def main() -> None:
    """Print the table and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="brain-mr-pair")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("CROSSMODALSEG_DATA", "../shared/data")))
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    segmenter = Segmenter(load_bundle(args.bundle), "cpu")
    rows: dict[str, Row] = {}
    seconds = []
    for kind, name, case in (one for part in args.parts for one in PARTS[part](args.data)):
        row = rows.setdefault(kind, Row())
        started = time.process_time()
        codes = told(None if kind in BY_INTENSITIES else segmenter, case)
        if len(case) == 2:
            seconds.append(time.process_time() - started)
        row.seen += 1
        row.told += bool(codes)
        row.codes.update(codes)
        row.names += [f"{name}: {', '.join(codes) or 'nothing'}"]
        print(f"{kind} | {row.names[-1]}", flush=True)
    print("\n| scans | looked at | told | codes |\n|---|---|---|---|")
    for kind, row in rows.items():
        print(f"| {kind} | {row.seen} | {row.told} | {', '.join(f'`{c}` {n}' for c, n in row.codes.most_common())} |")
    if seconds:
        print(f"\nprocessor seconds per pair: median {np.median(seconds):.1f}, longest {max(seconds):.1f}")
    args.output.parent.mkdir(parents=True, exist_ok=True)
    found = {kind: vars(row) | {"codes": dict(row.codes)} for kind, row in rows.items()}
    args.output.write_text(json.dumps({"bundle": segmenter.bundle.sha256, "rows": found, "seconds": seconds}, indent=1))


def told(segmenter: Segmenter | None, case: Case) -> list[str]:
    """Codes of what is found out, without a look into the scans where there is no ``segmenter``."""
    findings = list(examine(list(case.values())).findings)
    if segmenter:
        findings += look_into(segmenter, case, lambda *_: None).findings
    return sorted(finding.code for finding in findings if finding.code not in TRUE_OF_THE_FILES)


def scans(data: Path) -> Iterator[tuple[str, str, Case]]:
    """Kind, name and scan of each case with one scan."""
    paths = sorted(path for pattern in REAL for path in data.glob(pattern))
    for path in paths:
        scan = read_volume(path, path.name.partition(".")[0])
        name = f"{path.parent.name} {scan.modality}"
        yield "good scans, alone", name, {scan.modality: scan}
        other = "T2w" if contrast_of(scan.modality) in ("T1w", "T1c") else "T1w"
        yield "in the place of the other modality", name, {other: renamed(scan, other)}
        yield "inverted within the brain", name, {scan.modality: inverted_within(scan)}
        yield INVERTED, name, {scan.modality: changed(scan, scan.array.max() - scan.array)}
        yield Z_SCORED, name, {scan.modality: z_scored(scan)}
    for path in paths[::4]:
        scan = read_volume(path, path.name.partition(".")[0])
        name = f"{path.parent.name} {scan.modality}"
        yield "upside down in its header", name, {scan.modality: turned(scan)}
        yield "noise in the form of a brain", name, {scan.modality: noise_like(scan)}


def pairs(data: Path) -> Iterator[tuple[str, str, Case]]:
    of_ms = [(folder, "T1", second) for folder in sorted(data.glob("open-ms/p*")) for second in ("T2", "FLAIR")]
    of_glioma = [(folder, "T1c", "FLAIR") for folder in sorted(data.glob("glioma/*")) if folder.is_dir()]
    for folder, *names in of_ms + of_glioma:
        case = {name: read_volume(folder / f"{name}.nii.gz", name) for name in names}
        title = f"{folder.name} {' + '.join(names)}"
        yield "good pairs", title, case
        for motion, (shift, degrees) in MOTIONS.items():
            yield f"second scan displaced by {motion}", title, case | {names[1]: moved(case[names[1]], shift, degrees)}


def simulated(data: Path) -> Iterator[tuple[str, str, Case]]:
    """Whole heads from label maps: a T1w as a control, a PD and a CT given as T1w; abdomens of random contrast."""
    for number in (5, 18, 19, 20):
        labels, grid = read_image(data / "brain-label-maps" / f"training_seg_{number:02d}.nii.gz")
        for contrast, kind in {"T1w": "T1w (good)", "PD": "PD given as T1w", "CT": "CT given as T1w"}.items():
            yield f"simulated whole head: {kind}", f"map {number}", {"T1w": head(labels, grid, contrast, number)}
    for path in sorted((data / "abdomen-label-maps").glob("*.nii.gz"))[::3]:
        labels, grid = read_image(path)
        yield "simulated abdomen", path.name, {"T1w": abdomen(labels, grid)}


PARTS = {"scans": scans, "pairs": pairs, "simulated": simulated}


def changed(scan: Volume, array: np.ndarray) -> Volume:
    return Volume(array, scan.grid, scan.modality)


def renamed(scan: Volume, modality: str) -> Volume:
    return Volume(scan.array, scan.grid, modality)


def inverted_within(scan: Volume) -> Volume:
    """Bright tissue dark, the background as it was."""
    background = scan.array[0, 0, 0]
    inside = scan.array != background
    low, high = np.quantile(scan.array[inside], (0.001, 0.999))
    return changed(scan, np.where(inside, np.clip(low + high - scan.array, low, high), background))


def z_scored(scan: Volume) -> Volume:
    inside = scan.array != scan.array[0, 0, 0]
    values = scan.array[inside]
    return changed(scan, np.where(inside, (scan.array - values.mean()) / values.std(), 0))


def turned(scan: Volume) -> Volume:
    return Volume(
        scan.array, Grid(scan.grid.shape_kji, np.diag([1.0, -1, -1, 1]) @ scan.grid.ijk_to_ras), scan.modality
    )


def noise_like(scan: Volume) -> Volume:
    noise = np.random.default_rng(0).normal(100, 10, scan.array.shape)
    return changed(scan, np.where(scan.array != scan.array[0, 0, 0], noise, 0))


def moved(scan: Volume, shift: tuple[int, int, int], degrees: float) -> Volume:
    """Turned about the vertical axis through the middle of the field of view, and shifted, mm."""
    sine, cosine = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    motion = np.eye(4)
    motion[:2, :2] = [[cosine, -sine], [sine, cosine]]
    centre = scan.grid.corners_ras().mean(axis=0)
    motion[:3, 3] = centre - motion[:3, :3] @ centre + shift
    return Volume(scan.array, Grid(scan.grid.shape_kji, motion @ scan.grid.ijk_to_ras), scan.modality)


def head(labels: np.ndarray, grid: Grid, contrast: str, seed: int) -> Volume:
    """Each tissue in its intensity, slightly blurred, with noise."""
    white, grey, fluid, deep, outside = TISSUES[contrast]
    table = np.full(int(labels.max()) + 1, outside)
    table[0] = 0
    groups: Mapping[float, tuple[int, ...]] = {white: WHITE, grey: GREY, fluid: FLUID, deep: DEEP}
    for value, members in groups.items():
        table[list(members)] = value
    noise = np.random.default_rng(seed).normal(0, 0.02, labels.shape)
    return Volume(500 * np.abs(ndimage.gaussian_filter(table[labels.astype(int)], 0.8) + noise), grid, "T1w")


def abdomen(labels: np.ndarray, grid: Grid) -> Volume:
    random = np.random.default_rng(0)
    across, along = np.meshgrid(*(np.linspace(-1, 1, n) for n in labels.shape[1:]), indexing="ij")
    body = 0.4 * (across**2 / 0.6 + along**2 / 0.8 < 1)
    array = np.where(labels > 0, random.uniform(0.2, 1, 20)[labels.astype(int)], body)
    return Volume(500 * ndimage.gaussian_filter(array, 1) + random.normal(0, 5, labels.shape), grid, "T1w")


if __name__ == "__main__":
    main()
