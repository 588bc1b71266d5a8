"""How long a site of many cases takes to be listed: prints seconds for the first time and for later ones.

    python Testing/Benchmarks/site/listing.py [--cases 10000]

One small case is saved as it always is, with a prediction, a correction and an approval. Its JSON files are then copied
under other ids into a temporary site; scans are not opened by listing and are left out of the copies.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.volume import Volume
from CrossModalSegLib.labels import LabelMap, Structure
from CrossModalSegLib.site.case_store import CaseFiles, CaseStore

LABELS = LabelMap((Structure(1, "ball", (0, 255, 0)),))


def main() -> None:
    """Build the site, list it five times, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000)
    count = parser.parse_args().cases
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder) / "site"
        build(site, count)
        for turn in range(5):
            started, computed = time.perf_counter(), time.process_time()
            cases = CaseStore(site).cases()
            seconds, busy = time.perf_counter() - started, time.process_time() - computed
            assert len(cases) == count
            print(f"listing {turn + 1} of {len(cases)} cases: {seconds:.2f} s ({busy:.2f} s of computing)")
            sys.stdout.flush()


def build(site: Path, count: int) -> None:
    """A site of ``count`` cases: a quarter each of unlabelled, predicted, corrected and approved ones."""
    store = CaseStore(site)
    scans = {name: Volume(np.arange(27.0).reshape(3, 3, 3), Grid((3, 3, 3), np.eye(4)), name) for name in ("A", "B")}
    labels = {name: (np.ones((3, 3, 3), np.uint8), volume.grid) for name, volume in scans.items()}
    case = CaseFiles(scans, labels, LABELS, {"name": "model"}, "patient 1")
    first = store.save_prediction(case)
    store.save_correction(case, "AB")
    store.approve(first.id, 2, "CD")
    content = json.loads((first.folder / "case.json").read_bytes())
    for number in range(1, count):
        folder = site / "cases" / f"{number:016x}"
        (folder / "revisions").mkdir(parents=True)
        (folder / "case.json").write_text(json.dumps(content | {"patient": f"{number // 2:064x}"}, indent=1))
        for step, name in enumerate(("0001", "0002", "0002.approved.json"), start=1):
            if number % 4 >= step:
                copy(first.folder / "revisions" / name, folder / "revisions" / name)


def copy(source: Path, target: Path) -> None:
    """A revision's or an approval's JSON."""
    if source.is_file():
        shutil.copy(source, target)
        return
    target.mkdir()
    shutil.copy(source / "revision.json", target / "revision.json")


if __name__ == "__main__":
    main()
