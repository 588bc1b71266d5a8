"""A table of many small cases, different ones, and a tiny bundle that segments each in a fraction of a second."""

import csv
from pathlib import Path

import numpy as np

from CrossModalSegLib.imaging.volume import write_volume
from Testing.tiny_bundle import intensity_bundle, two_balls
from Testing.volumes import grid_around, sampled

SHAPE, SPACING = (27, 30, 28), (4.0, 4.0, 4.0)


def make_cases(folder: Path, count: int, bad: int = 0) -> tuple[Path, Path]:
    """Write ``count`` pairs of scans, each displaced a little otherwise, the last ``bad`` of them cut off.

    Returns the table and the bundle.
    """
    scans = folder / "scans"
    scans.mkdir(parents=True, exist_ok=True)
    shifts = np.random.default_rng(5).uniform(-6.0, 6.0, size=(count, 3))
    rows = [["case", "T1w", "T2w"]]
    for number, shift in enumerate(shifts):
        names = [f"c{number:05d}_{modality}.nii.gz" for modality in ("a", "b")]
        for name, offset in zip(names, (0.0, 2.0), strict=True):
            grid = grid_around(tuple(np.array([5.0, -10.0, 15.0]) + shift + offset), SHAPE, SPACING)
            write_volume(scans / name, sampled(two_balls, grid).array.astype(np.int16), grid)
            if number >= count - bad:
                (scans / name).write_bytes((scans / name).read_bytes()[:-200])
        rows.append([f"c{number:05d}", *(f"scans/{name}" for name in names)])
    with (folder / "cases.csv").open("w", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)
    return folder / "cases.csv", intensity_bundle(folder / "tiny", (32, 36, 32), 4.0).path
