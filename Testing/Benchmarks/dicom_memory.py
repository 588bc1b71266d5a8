"""How much memory and time a large series takes as DICOM Segmentation, out and in:

    python -m Testing.Benchmarks.dicom_memory [--dense] [--kind binary]

500 slices of 512 x 512, with the structures of the starter bundle. Each step is a process of its own. Prints its
seconds and its peak of resident memory in GB (10⁹ bytes).
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from CrossModalSegLib.bundles.bundle import load_bundle
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.segmentation_io import read_segmentation
from CrossModalSegLib.imaging.volume import read_volume
from CrossModalSegLib.labels import LabelMap
from CrossModalSegLib.pacs.export import SegmentedScan, write_objects
from CrossModalSegLib.pacs.made_object import Model
from CrossModalSegLib.pacs.report_object import Measured
from CrossModalSegLib.pacs.segmentation_object import TYPES, SegmentationType
from CrossModalSegLib.pacs.source_images import source_images
from Testing.dicom_files import write_series

SHAPE = (500, 512, 512)
GRID = Grid(SHAPE, np.diag([0.5, 0.5, 0.5, 1.0]))
IN_A_ROW = 8


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--dense", action="store_true", help="every structure in every slice, every voxel of one")
    parser.add_argument("--kind", choices=TYPES, action="append", help="default: both")
    args = parser.parse_args()
    one_by_one = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1)
    with tempfile.TemporaryDirectory() as folder, one_by_one as processes:
        place = Path(folder)
        write_series(place / "scan", np.broadcast_to(np.arange(512, dtype=np.int16), SHAPE), GRID)
        for kind in args.kind or TYPES:
            (place / kind).mkdir()
            for step in (write, read):
                print(processes.submit(measured, step, place, kind, args.dense).result(), flush=True)


def write(place: Path, kind: SegmentationType, is_dense: bool) -> str:
    label_map = load_bundle("brain-mr-pair").label_map
    source = source_images(read_volume(place / "scan", "T1w"))
    labels = columns(label_map) if is_dense else blocks(label_map)
    scan = SegmentedScan(source, labels, dict.fromkeys(label_map.values, Measured(1.0)))
    model = Model("large", "1.0.0", "0" * 64, "A test")
    write_objects(place / kind, {"T1w": scan}, label_map, model, kind)
    size = sum(file.stat().st_size for file in (place / kind).iterdir())
    return f"{len(label_map.structures)} structures, {size / 1e6:.0f} MB"


def read(place: Path, kind: SegmentationType, is_dense: bool) -> str:
    label_map = load_bundle("brain-mr-pair").label_map
    labels, _, own = read_segmentation(place / kind / "T1w_segmentation.dcm")
    assert own is not None
    values = {one.value: label_map.by_name(one.name).value for one in own.structures}
    wanted = columns(label_map) if is_dense else blocks(label_map)
    table = np.array([values.get(number, 0) for number in range(256)], np.uint8)
    is_equal = all(np.array_equal(table[a], b) for a, b in zip(labels, wanted, strict=False))
    return f"every voxel as it was: {is_equal}"


def blocks(label_map: LabelMap) -> np.ndarray:
    """A column per structure, each through a quarter of the slices, from the first slice on."""
    labels = np.zeros(SHAPE, np.uint8)
    for n, value in enumerate(label_map.values):
        row, column = divmod(n, IN_A_ROW)
        i, j, k = 40 + 55 * column, 100 + 60 * row, 11 * n
        labels[k : k + SHAPE[0] // 4, j : j + 50, i : i + 45] = value
    return labels


def columns(label_map: LabelMap) -> np.ndarray:
    """Columns through all slices, which fill them; there is one at least of each structure."""
    rows = -(-len(label_map.values) // IN_A_ROW)
    numbers = IN_A_ROW * (np.arange(SHAPE[1])[:, None] * rows // SHAPE[1]) + np.arange(SHAPE[2]) * IN_A_ROW // SHAPE[2]
    values = np.array(label_map.values, np.uint8)
    return np.broadcast_to(values[numbers % len(values)], SHAPE).copy()


def measured(
    step: Callable[[Path, SegmentationType, bool], str], place: Path, kind: SegmentationType, is_dense: bool
) -> str:
    started = time.monotonic()
    told = step(place, kind, is_dense)
    seconds = time.monotonic() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return f"{step.__name__}, {kind}: {seconds:.1f} s, peak {peak:.2f} GB ({told})"


if __name__ == "__main__":
    main()
