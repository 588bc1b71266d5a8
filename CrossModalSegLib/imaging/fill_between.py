"""Slices between drawn ones, filled from both sides: S. P. Raya and J. K. Udupa, "Shape-based interpolation of
multidimensional objects", IEEE Transactions on Medical Imaging 9 (1990): the signed distances of two drawn shapes are
mixed by how near each is.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from scipy import ndimage

_MARGIN_MM = 3.0  # around what was drawn in the slices on both sides


def fill_between(
    now: np.ndarray, before: np.ndarray, by_hand: np.ndarray, value: int, spacing: np.ndarray
) -> np.ndarray:
    """The labels ``now`` (K, J, I), after strokes, with the structure ``value`` filled between drawn slices.

    ``before`` are the labels without strokes, ``by_hand`` (bool) is where strokes have changed them; ``spacing`` in mm
    in the same order. Between two slices in which the structure was given or taken voxels, with others in between that
    nobody drew on, it gets the shape between both, near what was drawn: it takes only from what the strokes took from,
    and what it loses becomes what the strokes made of it. Slices are of the axis in which the fewest were drawn on.
    Everything else, and drawn slices, stay as they are.
    """
    drawn = by_hand & ((now == value) | (before == value))
    axis = _axis(drawn)
    labels, old, hand = (np.moveaxis(one, axis, 0) for one in (now.copy(), before, drawn))
    in_plane = np.delete(spacing, axis)
    for first, last in pairwise(np.flatnonzero(hand.any(axis=(1, 2))).tolist()):
        if last - first > 1:
            _fill(labels[first : last + 1], old[[first, last]], hand[[first, last]], value, in_plane)
    return np.moveaxis(labels, 0, axis)


def _axis(drawn: np.ndarray) -> int:
    """Along which the fewest slices were drawn on."""
    counts = [np.count_nonzero(drawn.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    return int(np.argmin(counts))


def _fill(labels: np.ndarray, old: np.ndarray, hand: np.ndarray, value: int, spacing: np.ndarray) -> None:
    """Fill in ``labels`` (n, J, I) all slices but the first and the last, which were drawn on."""
    ends = labels[[0, -1]]
    given, taken = hand & (ends == value), hand & (ends != value)
    sources = np.unique(old[given])
    left = np.bincount(ends[taken]).argmax() if taken.any() else 0
    box = _box(hand[0] | hand[1], spacing)
    first, last = (_signed_distance(end == value, spacing)[box] for end in ends)
    for inside, part in zip(_between(first, last, len(labels)), labels[1:-1], strict=True):
        there = part[box]
        is_own = there == value
        there[inside & np.isin(there, sources)] = value
        there[is_own & ~inside & bool(taken.any())] = left


def _between(first: np.ndarray, last: np.ndarray, count: int) -> Iterator[np.ndarray]:
    """Where the shape is in each of the ``count`` - 2 slices between two signed distances."""
    for place in range(1, count - 1):
        share = place / (count - 1)
        yield (1 - share) * first + share * last > 0


def _signed_distance(shape: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """In mm, above 0 inside; far below where there is nothing."""
    if not shape.any():
        return np.full(shape.shape, -float(np.linalg.norm(np.array(shape.shape) * spacing)))
    outside = ndimage.distance_transform_edt(~shape, spacing)
    return ndimage.distance_transform_edt(np.pad(shape, 1), spacing)[1:-1, 1:-1] - outside


def _box(drawn: np.ndarray, spacing: np.ndarray) -> tuple[slice, slice]:
    """Around what was drawn, with the margin."""
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    in_rows, in_columns = (int(np.ceil(_MARGIN_MM / size)) for size in spacing)
    return _around(rows, in_rows), _around(columns, in_columns)


def _around(found: np.ndarray, margin: int) -> slice:
    return slice(max(int(found[0]) - margin, 0), int(found[-1]) + margin + 1)
