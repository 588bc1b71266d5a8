"""What Slicer's own test run does: the phantom pair through the starter bundle, checked at points of known anatomy."""

from pathlib import Path
from typing import Any

import numpy as np
import slicer

_SAMPLES = Path(__file__).resolve().parents[2] / "Resources" / "SampleData"
_SMALLEST_DICE = 0.5  # of the large structures; the phantom is harder than a real brain
_LARGE = ("left cerebral white matter", "right cerebral white matter", "brain stem", "left thalamus", "right thalamus")


def segment_the_phantom(logic: Any) -> None:
    """Load the sample pair, segment it with ``logic``, and compare large structures with the phantom's own labels.

    Ends the worker of ``logic``. Raises AssertionError where a structure is not found where it is.
    """
    try:
        _segment_the_phantom(logic)
    finally:
        logic.core.close()  # else its worker would go on, and Qt would complain of it when Slicer ends


def _segment_the_phantom(logic: Any) -> None:
    from CrossModalSegLib.imaging.volume import read_image
    from CrossModalSegLib.labels import LABEL_MAP_FOLDER, read_label_map

    first, second = (slicer.util.loadVolume(str(_SAMPLES / f"phantom_{name}.nrrd")) for name in ("T1w", "T2w"))
    case = logic.segment(first, second)
    truth, _grid = read_image(_SAMPLES / "phantom_labels.nrrd")
    label_map = read_label_map(LABEL_MAP_FOLDER / "brain_mr_pair.json")
    labels = case.labels("T1w", label_map)
    assert labels.shape == truth.shape, f"labels of {labels.shape} for a scan of {truth.shape}"
    for name in _LARGE:
        value = label_map.by_name(name).value
        dice = _dice(labels == value, truth == value)
        assert dice >= _SMALLEST_DICE, f"{name}: Dice {dice:.2f} with the phantom's own labels"


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())
