"""Fuzzing that looks at which code an example reaches: ``python -m Testing.fuzz_coverage TARGET -max_total_time=600``.

Targets: protocol, metadata, weights, .nii, .nrrd, .mha. Needs atheris (``pip install ".[fuzz]"``), whose options, those
of libFuzzer, come after the target. It stops at the first finding and writes the example that makes it. `Testing.fuzz`
needs nothing and goes on.
"""

import json
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["CrossModalSegLib"]):
    from CrossModalSegLib.bundles.bundle import METADATA_FILE, read_bundle
    from CrossModalSegLib.bundles.bundle_metadata import WEIGHTS_FILE
    from CrossModalSegLib.imaging.volume import read_volume
    from CrossModalSegLib.protocol import decode_event, decode_request

from Testing.fuzz_targets import MESSAGES, Workshop, outcome


def main() -> None:
    target = sys.argv.pop(1)
    warnings.simplefilter("ignore")
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        folder = Path(name)
        look, whole = target_of(target, Workshop(folder), folder)
        corpus = folder / "corpus"
        corpus.mkdir()
        for number, content in enumerate(whole):
            (corpus / str(number)).write_bytes(content)
        atheris.Setup([*sys.argv, str(corpus)], look)
        atheris.Fuzz()


def target_of(target: str, workshop: Workshop, folder: Path) -> tuple[Callable[[bytes], None], list[bytes]]:
    """What is done with the bytes of an example, and whole ones to begin with."""
    if target == "protocol":
        return look_at_line, MESSAGES
    if target in workshop.scans:
        file = folder / f"example{target}"
        return look_at_file(file, lambda: read_volume(file, "T1w")), [workshop.scans[target]]
    copy = {"metadata": METADATA_FILE, "weights": WEIGHTS_FILE}[target]
    file = workshop.bundle / copy
    bundle = read_bundle(workshop.bundle)
    read = (lambda: read_bundle(workshop.bundle)) if target == "metadata" else bundle.read_weights
    whole = file.read_bytes()
    return look_at_file(file, read), [json.dumps(json.loads(whole)).encode() if target == "metadata" else whole]


def look_at_line(data: bytes) -> None:
    outcome(lambda: decode_request(data))
    outcome(lambda: decode_event(data))


def look_at_file(file: Path, read: Callable[[], object]) -> Callable[[bytes], None]:
    def look(data: bytes) -> None:
        file.write_bytes(data)
        outcome(read)

    return look


if __name__ == "__main__":
    main()
