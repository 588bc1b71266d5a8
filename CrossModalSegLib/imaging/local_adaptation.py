"""What a few strokes mean for the voxels around them: the strokes stay, the model's result and both scans decide the
rest of a box.

Each voxel goes to the structure that a random walker from it meets first (`random_walk`): walkers hardly cross edges
that either scan shows, strokes are where they end, and the model's result, weighted with its confidence and with how
alike a voxel is to what the strokes gave and took, pulls the stronger the farther it is from the strokes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from CrossModalSegLib.imaging.random_walk import random_walk

LONGEST = 64  # voxels of a box's side
REACH_MM = 16.0  # from the strokes: nothing changes farther away
_RELEASE_MM = 6.0  # so near to the strokes the model's result counts for little
_NEAR_MM = 20.0  # from where structures are compared with a voxel
_FADE_MM = 10.0  # of what they look like
_PULL = 2.0  # of the model's result, in edges of full weight
_EDGE = 0.3  # how strongly a difference of the size of the noise separates two voxels
_STROKE_WEIGHT = 5.0  # of a voxel of a stroke beside one that the model has labelled
_UNKNOWN = 0.34  # the least confidence of the model in its own result
_LEAST_LIKE = 0.05  # so alike is everything to everything

Box = tuple[slice, ...]


@dataclass(frozen=True)
class Strokes:
    """A box of a scan with strokes in it; all arrays are (K, J, I), ``spacing`` is in mm in the same order.

    ``before`` are the model's labels, ``now`` those after the strokes, ``by_hand`` (bool) which of them were drawn.
    ``scans`` are intensities, not a number where a scan does not cover the box. ``confidence`` of the model in its own
    labels, 0 to 1; None where nothing is known of it.
    """

    before: np.ndarray
    now: np.ndarray
    by_hand: np.ndarray
    scans: Sequence[np.ndarray]
    spacing: np.ndarray
    confidence: np.ndarray | None = None


def box_around(by_hand: np.ndarray, spacing: np.ndarray, middle: np.ndarray | None = None) -> Box | None:
    """The box of at most 64 voxels a side around the voxels ``by_hand`` (K, J, I; bool) and what is near them; None
    where there are none.

    Strokes that reach farther are cut: at the middle of all, or around the voxel ``middle`` (k, j, i). ``spacing`` is
    in mm.
    """
    found = [np.flatnonzero(by_hand.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    if found[0].size == 0:
        return None
    margin = np.ceil(REACH_MM / spacing).astype(int) + 1
    ends = np.array([[one[0], one[-1] + 1] for one in found])
    centre = ends.mean(axis=1) if middle is None else np.clip(middle, ends[:, 0], ends[:, 1] - 1)
    lower = np.maximum(ends[:, 0] - margin, np.floor(centre).astype(int) - LONGEST // 2)
    upper = np.minimum(ends[:, 1] + margin, np.floor(centre).astype(int) + LONGEST // 2)
    lower, upper = np.maximum(lower, 0), np.minimum(upper, by_hand.shape)
    return tuple(slice(int(a), int(b)) for a, b in zip(lower, upper, strict=True))


def adapt_locally(strokes: Strokes) -> np.ndarray:
    """The labels (K, J, I) of the box, of the type of ``now``.

    Only structures that the strokes gave or took change, between each other, within `REACH_MM` of a stroke; the
    strokes themselves and the outermost voxels of the box stay as they are. Without strokes nothing changes.
    """
    now, by_hand = strokes.now, strokes.by_hand
    values = np.union1d(now[by_hand], strokes.before[by_hand])
    result = now.copy()
    distance = ndimage.distance_transform_edt(~by_hand, sampling=strokes.spacing) if by_hand.any() else None
    if distance is None or len(values) < 2:
        return result
    is_known = np.isin(now, values)
    free = is_known & ~by_hand & (distance <= REACH_MM) & ~_outermost(now.shape)
    seeds = np.where(is_known & ~free, np.searchsorted(values, now), -1)
    prior = _prior(strokes, values) * _alike(strokes, values, distance) ** np.exp(-distance / _FADE_MM)
    prior /= prior.sum(axis=0)
    pull = _PULL * (1 - np.exp(-((distance / _RELEASE_MM) ** 2))) + 1e-4
    found = random_walk(seeds, free, prior, pull, _likeness(strokes.scans, strokes.spacing))
    result[free] = values[found[free]]
    return result


def _outermost(shape: tuple[int, ...]) -> np.ndarray:
    edge = np.ones(shape, dtype=bool)
    edge[1:-1, 1:-1, 1:-1] = False
    return edge


def _prior(strokes: Strokes, values: np.ndarray) -> np.ndarray:
    """(n, K, J, I): how probable the model holds each of ``values``; what it gives to none of them is shared out."""
    confidence = np.full(strokes.now.shape, 0.5) if strokes.confidence is None else strokes.confidence
    sure = np.clip(confidence, _UNKNOWN, 0.99)
    rest = (1 - sure) / (len(values) - 1)
    return np.stack([np.where(strokes.before == value, sure, rest) for value in values])


def _alike(strokes: Strokes, values: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """(n, K, J, I) from 0 to 1: how much a voxel looks in all scans like what is labelled so near the strokes."""
    alike = np.ones((len(values), *strokes.now.shape))
    weight = np.where(strokes.by_hand, _STROKE_WEIGHT, np.exp(-distance / (_FADE_MM * 0.8)))
    for scan in strokes.scans:
        values_, noise = np.nan_to_num(scan), _noise(scan)
        for place, value in enumerate(values):
            there = (strokes.now == value) & (distance <= _NEAR_MM) & np.isfinite(scan)
            if not there.any():
                continue
            mean = np.average(values_[there], weights=weight[there])
            spread = np.average((values_[there] - mean) ** 2, weights=weight[there]) + noise**2
            height = np.exp(-0.5 * (values_ - mean) ** 2 / spread) * noise / np.sqrt(spread)
            alike[place] *= np.where(np.isfinite(scan), height, 1.0)
    total = alike.sum(axis=0)
    return np.where(total > 0, alike / np.maximum(total, 1e-12), 1 / len(values)) + _LEAST_LIKE


def _likeness(scans: Sequence[np.ndarray], spacing: np.ndarray) -> list[np.ndarray]:
    """For each axis, from 0 to 1: how alike neighbours are in all scans; farther ones are joined less."""
    found = []
    for axis in range(3):
        difference = np.zeros(tuple(n - (one == axis) for one, n in enumerate(scans[0].shape)))
        for scan in scans:
            difference += np.nan_to_num(np.diff(scan, axis=axis) / _noise(scan)) ** 2
        found.append(np.exp(-_EDGE * difference) * (spacing.min() / spacing[axis]) ** 2)
    return found


def _noise(scan: np.ndarray) -> float:
    """The usual size of a difference between two neighbours, as a standard deviation; above 0."""
    steps = np.concatenate([np.abs(np.diff(scan, axis=axis)).ravel() for axis in range(3)])
    steps = steps[np.isfinite(steps) & (steps > 0)]
    return float(np.median(steps)) * 1.4826 if steps.size else 1.0
