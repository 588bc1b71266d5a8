"""The cases of the experiments as files, and what is written about each row of their tables."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from CrossModalSegLib.adaptation.site_data import DataCase
from CrossModalSegLib.atomic import staged_folder, write_atomically
from CrossModalSegLib.imaging.segmentation_io import SLICER_SUFFIX, write_segmentation
from CrossModalSegLib.imaging.volume import write_volume
from CrossModalSegLib.labels import LabelMap
from Testing.Benchmarks.method.patients import Scan


def write_case(folder: Path, scans: Mapping[str, Scan], label_map: LabelMap) -> None:
    """``<modality>.nrrd`` and ``<modality>.seg.nrrd``, unless they are there."""
    if folder.is_dir():
        return
    with staged_folder(folder) as staging:
        for modality, scan in scans.items():
            write_volume(staging / f"{modality}.nrrd", scan.volume.array, scan.volume.grid)
            write_segmentation(staging / f"{modality}{SLICER_SUFFIX}", scan.labels, scan.label_grid, label_map)


def data_case(folder: Path, modalities: Sequence[str], values: tuple[int, ...]) -> DataCase:
    """The case in ``folder``, to be scored."""
    scans = {name: folder / f"{name}.nrrd" for name in modalities}
    labels = {name: folder / f"{name}{SLICER_SUFFIX}" for name in modalities}
    return DataCase(folder.name, folder.name, scans, labels, values)


def write_row(path: Path, content: Mapping[str, Any]) -> None:
    """One row's figures; the row is done when they are there."""
    write_atomically(path, json.dumps(content, indent=1))


def mean_dice(scores: Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]]) -> float:
    """Over structures and modalities of each case, then over cases."""
    by_case = []
    for modalities in scores.values():
        values = [numbers["dice"] for structures in modalities.values() for numbers in structures.values()]
        by_case.append(sum(values) / len(values))
    return sum(by_case) / len(by_case)
