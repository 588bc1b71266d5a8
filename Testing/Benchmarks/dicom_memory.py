"""How much memory and time a large series takes as DICOM Segmentation, out and in:

    python -m Testing.Benchmarks.dicom_memory [--dense] [--kind binary]

500 slices of 512 x 512, 32 structures. Prints seconds, and the peak of the process in GB.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.segmentation_io import read_segmentation
from CrossModalSegLib.imaging.volume import read_volume
from CrossModalSegLib.labels import LabelMap, Structure
from CrossModalSegLib.pacs.export import SegmentedScan, write_objects
from CrossModalSegLib.pacs.made_object import Model
from CrossModalSegLib.pacs.report_object import Measured
from CrossModalSegLib.pacs.source_images import source_images
from Testing.dicom_files import write_series

SHAPE = (500, 512, 512)
STRUCTURES = 32


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--dense", action="store_true", help="every structure in every slice, every voxel of one")
    parser.add_argument("--kind", choices=("binary", "labelmap"), action="append", help="default: both")
    args = parser.parse_args()
    label_map = LabelMap(tuple(Structure(n, f"structure {n}", (n, 0, 0)) for n in range(1, STRUCTURES + 1)))
    grid = Grid(SHAPE, np.diag([0.5, 0.5, 0.5, 1.0]))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_series(place / "scan", np.broadcast_to(np.arange(512, dtype=np.int16), SHAPE), grid)
        source = timed("reading the series", lambda: source_images(read_volume(place / "scan", "T1w")))
        labels = columns() if args.dense else blocks()
        scan = SegmentedScan(source, labels, dict.fromkeys(label_map.values, Measured(1.0)))
        for kind in args.kind or ("binary", "labelmap"):
            (place / kind).mkdir()
            model = Model("large", "1.0.0", "0" * 64, "A test")
            timed(f"writing, {kind}", lambda: write_objects(place / kind, {"T1w": scan}, label_map, model, kind))  # noqa: B023
            file = place / kind / "T1w_segmentation.dcm"
            read, _, _ = timed(f"reading, {kind}", lambda: read_segmentation(file))  # noqa: B023
            print(f"  {file.stat().st_size / 1e6:.0f} MB, equal: {np.array_equal(read, labels[: len(read)])}")
            del read


def blocks() -> np.ndarray:
    """32 columns, each through a quarter of the slices."""
    labels = np.zeros(SHAPE, np.uint8)
    for n in range(STRUCTURES):
        row, column = divmod(n, 8)
        labels[
            11 * n : 11 * n + SHAPE[0] // 4, 100 + 60 * row : 150 + 60 * row, 40 + 55 * column : 85 + 55 * column
        ] = n + 1
    return labels


def columns() -> np.ndarray:
    """32 columns through all slices, which fill them."""
    rows = np.arange(SHAPE[1])[:, None] // 128
    return np.broadcast_to(8 * rows + np.arange(SHAPE[2]) // 64 + 1, SHAPE).astype(np.uint8)


def timed(what: str, call: Callable[[], Any]) -> Any:
    started = time.monotonic()
    value = call()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(f"{what}: {time.monotonic() - started:.1f} s, peak {peak:.2f} GB", flush=True)
    return value


if __name__ == "__main__":
    main()
