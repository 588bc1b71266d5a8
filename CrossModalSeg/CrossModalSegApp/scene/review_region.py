"""The region that a place of the review list stands for, found again in the nodes of the result."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from CrossModalSegApp.scene.case_nodes import CaseNodes
from CrossModalSegApp.scene.comparison import labels_in_values_of
from CrossModalSegApp.scene.node_geometry import local_grid, places_in, voxel_at
from CrossModalSegApp.scene.review import DIFFERENCE, ReviewEntry
from CrossModalSegApp.scene.scene_io import voxels_of
from CrossModalSegApp.scene.segmentation_labels import marked_labels
from CrossModalSegApp.scene.structure_display import segments
from CrossModalSegLib.imaging.regions import region_at

REACH_MM = 30.0  # from the place in each direction; the review has no longer regions than 50 mm
UNCERTAIN_PERCENT = 40.0  # from there on, as the review counts
_UNCERTAIN_SHEET_MM, _DISAGREEMENT_SHEET_MM, _DIFFERENCE_SHEET_MM = 2.25, 1.5, 0.0  # as what made the list

Box = tuple[slice, ...]


@dataclass(frozen=True)
class Region:
    """``mask`` (K, J, I; bool) on the own grid of the scan ``volume``, a volume node."""

    volume: Any
    mask: np.ndarray


def region_of(case: CaseNodes, entry: ReviewEntry, others: Mapping[str, Any]) -> Region | None:
    """What ``entry`` asks about: where the model is uncertain, where both of its results disagree, or where the result
    differs from the segmentation nodes ``others``, by modality; None where the nodes for that are gone.

    It lies within `REACH_MM` of the entry's place. Raises LabelError as `marked_labels` does.
    """
    known = [name for name in entry.modalities if name in case.volumes]
    if not known:
        return None
    volume = case.volumes[known[0]]
    grid = local_grid(volume)
    place = voxel_at(volume, entry.ras_mm)
    spacing = np.array(grid.spacing_ijk[::-1])
    box = _box_around(place, REACH_MM / spacing, grid.shape_kji)
    found = _finder(case, entry, known, others)
    if found is None or min(part.stop - part.start for part in box) < 1:
        return None
    find, sheet_mm = found
    mask = np.zeros(grid.shape_kji, dtype=bool)
    mask[box] = region_at(find(box), place - [part.start for part in box], spacing, sheet_mm)
    return Region(volume, mask) if mask.any() else None


def _box_around(place: np.ndarray, reach: np.ndarray, shape: tuple[int, ...]) -> Box:
    lower = np.clip(np.floor(place - reach).astype(int), 0, shape)
    upper = np.clip(np.ceil(place + reach).astype(int) + 1, 0, shape)
    return tuple(slice(int(a), int(b)) for a, b in zip(lower, upper, strict=True))


def _finder(
    case: CaseNodes, entry: ReviewEntry, known: list[str], others: Mapping[str, Any]
) -> tuple[Callable[[Box], np.ndarray], float] | None:
    """What finds the mask in a box, and how thick its parts are at least, in mm."""
    name = known[0]
    nodes = {one: case.models.get(one) or case.segmentations.get(one) for one in known}
    if entry.reason.startswith(DIFFERENCE):
        own, other = case.segmentations.get(name), others.get(name)
        if own is None or other is None:
            return None
        there = entry.reason.removeprefix(DIFFERENCE)
        here = "" if there == entry.structure else entry.structure
        return lambda box: _differing(own, other, case.volumes[name], (here, there))[box], _DIFFERENCE_SHEET_MM
    if entry.reason == "disagreement":
        if len(known) < 2 or None in nodes.values():
            return None
        return lambda box: _disagreeing(case, nodes, entry, box), _DISAGREEMENT_SHEET_MM
    uncertainty = case.uncertainties.get(name)
    if uncertainty is None:
        return None
    return lambda box: np.asarray(voxels_of(uncertainty))[box] >= UNCERTAIN_PERCENT, _UNCERTAIN_SHEET_MM


def _differing(own: Any, other: Any, volume: Any, pair: tuple[str, str]) -> np.ndarray:
    """Where the first is one structure and the second another, by name, "" for none."""
    here = marked_labels(own, volume)
    there, names = labels_in_values_of(own, other, volume)
    values = {name: value for value, name in names.items()} | {"": 0}
    first, second = (values.get(name, -1) for name in pair)
    return (here == first) & (there == second)


def _disagreeing(case: CaseNodes, nodes: Mapping[str, Any], entry: ReviewEntry, box: Box) -> np.ndarray:
    """Where one of two scans has the structure and the other, which covers the place as well, has not."""
    (first, own), (second, other) = list(nodes.items())[:2]
    value = next((one.value for one in segments(own) if one.name == entry.structure), 0)
    here = marked_labels(own, case.volumes[first])[box] == value
    indices = np.rint(places_in(case.volumes[second], case.volumes[first], box)).astype(int)[..., ::-1]
    labels = marked_labels(other, case.volumes[second])
    covered = ((indices >= 0) & (indices < labels.shape)).all(axis=-1)
    there = np.zeros(here.shape, dtype=bool)
    there[covered] = labels[tuple(indices[covered].T)] == value
    return (here != there) & covered
