"""The outlines of a mask as closed contours, as radiotherapy takes them."""

from itertools import pairwise

import numpy as np
from scipy.spatial.distance import cdist

from CrossModalSegLib.pacs.packages import package

WHAT = "drawing contours"


def contours(mask: np.ndarray) -> list[np.ndarray]:
    """One contour (P, 2) for each connected part of ``mask`` (rows, columns), bool: columns and rows of its points in
    voxels, counted from the centre of the first one; the last point is joined to the first.

    They go midway between voxels inside and outside, so that each voxel's centre is on the side where it belongs, and
    cut corners. A hole is joined to the outside by a channel without width ("keyhole", PS3.3 C.8.8.6.3).

    Raises InstallError ``packages-missing``.
    """
    contourpy = package("contourpy", WHAT)
    padded = np.pad(mask, 1).astype(np.float64)
    parts, offsets = contourpy.contour_generator(z=padded, fill_type=contourpy.FillType.OuterOffset).filled(0.5, np.inf)
    return [
        _joined([_corners(points[a : b - 1]) for a, b in pairwise(ends)]) - 1
        for points, ends in zip(parts, offsets, strict=True)
    ]


def _corners(ring: np.ndarray) -> np.ndarray:
    """Without points that lie on a straight line between their neighbours."""
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    return ring[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]


def _joined(rings: list[np.ndarray]) -> np.ndarray:
    """One ring of the outer one and its holes: what is walked in both directions encloses nothing.

    A channel leads from a point between two columns to one between two rows, or back: then the centre of no voxel lies
    on it, where readers may see it on either side.
    """
    ring, *holes = rings
    for hole in holes:
        is_alike = np.equal.outer(ring[:, 0] % 1 > 0, hole[:, 0] % 1 > 0)
        distances = np.where(is_alike, np.inf, cdist(ring, hole))
        here, there = np.unravel_index(distances.argmin(), distances.shape)
        around = np.concatenate([hole[there:], hole[: there + 1]])
        ring = np.concatenate([ring[: here + 1], around, ring[here:]])
    return ring
