"""Where two label maps of one scan differ, and how much: Dice and volumes of structures, and connected places."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.label_counts import counts_by_slice

SMALLEST_VOXELS = 4  # of a place
_TOUCHING = np.ones((3, 3, 3), dtype=bool)


@dataclass(frozen=True)
class Overlap:
    """One structure in two label maps: ``dice`` from 0 to 1, and its volume in each of them."""

    dice: float
    here_ml: float
    there_ml: float


@dataclass(frozen=True)
class Difference:
    """A connected place that is one structure ``here`` and another ``there``, by label value, 0 for none.

    ``ras_mm`` is a point deep within it (x, y, z), ``volume_ml`` its size without rims a voxel thin.
    """

    here: int
    there: int
    ras_mm: tuple[float, float, float]
    volume_ml: float


@dataclass(frozen=True)
class Differences:
    """The ``places``, largest first, and the ``rest_ml`` that differs elsewhere: rims a voxel thin, and specks."""

    places: tuple[Difference, ...]
    rest_ml: float


def overlaps(here: np.ndarray, there: np.ndarray, grid: Grid) -> dict[int, Overlap]:
    """By label value, the structures that either label map (K, J, I; whole numbers) has on ``grid``."""
    size = int(max(here.max(initial=0), there.max(initial=0))) + 1
    own, other = (counts_by_slice(labels, size).sum(axis=0) for labels in (here, there))
    common = np.bincount(here[here == there].ravel(), minlength=size)
    ml = grid.voxel_volume_ml
    return {
        value: Overlap(float(2 * common[value] / (own[value] + other[value])), own[value] * ml, other[value] * ml)
        for value in (np.flatnonzero(own + other)).tolist()
        if value
    }


def find_differences(here: np.ndarray, there: np.ndarray, grid: Grid, limit: int = 50) -> Differences:
    """At most ``limit`` places where two label maps (K, J, I; whole numbers) on ``grid`` differ.

    Borders of two results never lie on the same voxels: of what differs in one way, rims a voxel thin are left out,
    unless all of it is that thin.
    """
    ml = grid.voxel_volume_ml
    found = [place for place in _places(here, there, grid) if place.volume_ml > (SMALLEST_VOXELS - 0.5) * ml]
    places = tuple(sorted(found, key=lambda one: (-one.volume_ml, one.ras_mm))[:limit])
    rest = float(np.count_nonzero(here != there)) * ml - sum(one.volume_ml for one in places)
    return Differences(places, max(rest, 0.0))


def _places(here: np.ndarray, there: np.ndarray, grid: Grid) -> Iterator[Difference]:
    classes = int(max(here.max(initial=0), there.max(initial=0))) + 1
    ways = np.where(here != there, here.astype(np.int32) * classes + there + 1, 0)
    for way, box in enumerate(ndimage.find_objects(ways), 1):
        if box is None:
            continue
        mask = np.pad(ways[box] == way, 1)
        thick = ndimage.binary_opening(mask)
        pieces, count = ndimage.label(thick if thick.any() else mask, _TOUCHING)
        depth = ndimage.distance_transform_edt(pieces > 0, sampling=grid.spacing_ijk[::-1])
        sizes = np.bincount(pieces.ravel())
        for number, deepest in enumerate(ndimage.maximum_position(depth, pieces, range(1, count + 1)), 1):
            kji = np.array(deepest) - 1 + [part.start for part in box]
            x, y, z = (grid.ijk_to_ras[:3, :3] @ kji[::-1] + grid.ijk_to_ras[:3, 3]).round(2).tolist()
            volume = float(sizes[number]) * grid.voxel_volume_ml
            yield Difference((way - 1) // classes, (way - 1) % classes, (x, y, z), volume)
