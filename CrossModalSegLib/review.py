"""The places of a result most worth a person's look: where the modalities disagree, or one of them is uncertain.

Every border is a voxel or two uncertain, and two results never share it exactly. Such thin rims are not listed: a place
is a region with a core, at least `CORE_MM` away from all that is certain, or a structure that only one modality found.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from scipy import ndimage

from CrossModalSegLib.geometry import coverage
from CrossModalSegLib.grid import Grid
from CrossModalSegLib.inference import ModalityResult, SegmentationResult
from CrossModalSegLib.labels import LabelMap

CORE_MM = 1.5
UNCERTAIN = 0.6  # a highest class probability below this counts as uncertain
APART_MM = 8.0  # between two places of one structure
TYPICAL_ML = 0.5  # of expected wrong tissue: severity 1 - 1/e
SMALLEST_ML = 0.02


@dataclass(frozen=True)
class ReviewPlace:
    """One place, the gravest is number 1.

    ``ras_mm``: a point deep within the region (x, y, z in world RAS). ``modalities``: whose results are in doubt.
    ``severity`` (0 to 1) grows with the volume of tissue that is expected to be wrong, ``volume_ml`` is the region's.
    """

    number: int
    ras_mm: tuple[float, float, float]
    structure: str
    modalities: tuple[str, ...]
    reason: Literal["uncertain", "disagreement"]
    severity: float
    volume_ml: float

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dump`."""
        return asdict(self)


@dataclass(frozen=True)
class _Region:
    """A candidate: its deepest voxel (k, j, i), and the mL of tissue expected to be wrong."""

    voxel: np.ndarray
    structure: str
    modalities: tuple[str, ...]
    reason: Literal["uncertain", "disagreement"]
    wrong_ml: float
    volume_ml: float


def review_places(result: SegmentationResult, label_map: LabelMap, limit: int = 20) -> list[ReviewPlace]:
    """At most ``limit`` places of ``result``, gravest first; found on the model grid."""
    regions = [*_disagreements(result, label_map), *_uncertainties(result, label_map)]
    regions.sort(key=lambda region: -region.wrong_ml)
    places: list[ReviewPlace] = []
    for region in regions:
        point = _to_ras(region.voxel, result.model_grid)
        if len(places) < limit and not _is_listed(point, region, places):
            severity = 1 - float(np.exp(-region.wrong_ml / TYPICAL_ML))
            numbers = (round(severity, 3), round(region.volume_ml, 3))
            x, y, z = (round(float(coordinate), 2) for coordinate in point)
            place = (len(places) + 1, (x, y, z), region.structure, region.modalities, region.reason)
            places.append(ReviewPlace(*place, *numbers))
    return places


def _disagreements(result: SegmentationResult, label_map: LabelMap) -> Iterator[_Region]:
    """Regions that one modality calls a structure and the other does not, where both scans cover."""
    if len(result.modalities) < 2:
        return
    names = tuple(result.modalities)
    first, second = (_winner(item) for item in result.modalities.values())
    covers = [coverage(item.volume.grid, result.model_grid) for item in result.modalities.values()]
    both = covers[0] & covers[1]
    differ = (first != second) & both
    boxes = _boxes(np.where(differ, first, 0), len(label_map.values))
    others = _boxes(np.where(differ, second, 0), len(label_map.values))
    for channel, structure in enumerate(label_map.structures, start=1):
        box = _united(boxes[channel - 1], others[channel - 1])
        if box is None:
            continue
        in_first, in_second = first[box] == channel, second[box] == channel
        doubtful = (in_first ^ in_second) & both[box]
        only_one = not ((first == channel) & both).any() or not ((second == channel) & both).any()
        weights = np.ones(doubtful.shape, dtype=np.float32)
        for voxel, wrong, volume in _parts(doubtful, weights, result.model_grid, needs_core=not only_one):
            yield _Region(voxel + _corner(box), structure.name, names, "disagreement", wrong, volume)


def _uncertainties(result: SegmentationResult, label_map: LabelMap) -> Iterator[_Region]:
    """Regions that a modality calls a structure with little confidence."""
    for name, item in result.modalities.items():
        confidence = item.probabilities.amax(dim=0).float().cpu().numpy()
        winner = _winner(item)
        doubt = np.where((confidence < UNCERTAIN) & coverage(item.volume.grid, result.model_grid), 1 - confidence, 0)
        boxes = _boxes(np.where(doubt > 0, winner, 0), len(label_map.values))
        for channel, structure in enumerate(label_map.structures, start=1):
            box = boxes[channel - 1]
            if box is None:
                continue
            doubtful = (winner[box] == channel) & (doubt[box] > 0)
            for voxel, wrong, volume in _parts(doubtful, doubt[box], result.model_grid, needs_core=True):
                yield _Region(voxel + _corner(box), structure.name, (name,), "uncertain", wrong, volume)


def _parts(
    doubtful: np.ndarray, weights: np.ndarray, grid: Grid, needs_core: bool
) -> Iterator[tuple[np.ndarray, float, float]]:
    """(deepest voxel, mL expected to be wrong, mL) of each part of ``doubtful`` that is more than a rim."""
    spacing = grid.spacing_ijk[::-1]
    padded = np.pad(doubtful, 1)  # the distance to what is certain beyond the box
    depth = ndimage.distance_transform_edt(padded, sampling=spacing)[1:-1, 1:-1, 1:-1]
    thickness = CORE_MM + max(spacing) if needs_core else 0.0
    # A part is what lies around one core: thin bridges along a border must not join two of them.
    cores, count = ndimage.label(depth > thickness)
    if count == 0:
        return
    nearest = ndimage.distance_transform_edt(cores == 0, sampling=spacing, return_distances=False, return_indices=True)
    reach = ndimage.distance_transform_edt(cores == 0, sampling=spacing)
    parts = np.where(doubtful & (reach <= thickness), cores[tuple(nearest)], 0)
    for part in range(1, count + 1):
        inside = parts == part
        volume = float(inside.sum()) * grid.voxel_volume_ml
        if volume >= SMALLEST_ML:
            deepest = np.argmax(np.where(inside, depth, -1.0))
            wrong = float(weights[inside].sum()) * grid.voxel_volume_ml
            yield np.array(np.unravel_index(deepest, depth.shape)), wrong, volume


def _is_listed(point: np.ndarray, region: _Region, places: Sequence[ReviewPlace]) -> bool:
    """Whether a graver place shows this one too: near it, of the same structure or for the same reason."""
    return any(
        np.linalg.norm(point - place.ras_mm) < APART_MM
        and (place.structure == region.structure or place.reason == region.reason)
        for place in places
    )


def _winner(item: ModalityResult) -> np.ndarray:
    """Channel with the highest probability, (D, H, W) int32."""
    return item.probabilities.argmax(dim=0).int().cpu().numpy()


def _boxes(channels: np.ndarray, count: int) -> list[Any]:
    return list(ndimage.find_objects(channels, max_label=count))


def _united(a: Any, b: Any) -> Any:
    """The box around two boxes (tuples of slices), either of which may be None."""
    if a is None or b is None:
        return a or b
    return tuple(slice(min(x.start, y.start), max(x.stop, y.stop)) for x, y in zip(a, b, strict=True))


def _corner(box: Any) -> np.ndarray:
    return np.array([part.start for part in box])


def _to_ras(voxel: np.ndarray, grid: Grid) -> np.ndarray:
    """(k, j, i) to RAS mm."""
    return (grid.ijk_to_ras @ [*voxel[::-1], 1.0])[:3]
