"""What tells that two files hold the same scan, however they were stored and whatever patient they name."""

import hashlib

import numpy as np

_LEVELS = 251
_OFF_EDGES = 0.381966  # so that no usual number of grey levels has its values on the edge between two of ours


def fingerprint(array: np.ndarray) -> str:
    """SHA-256 that is the same for a scan stored flipped, with other axes first, at another place, as another type of
    number, with another slope and intercept, or in a larger box of background; and for no other scan.

    ``array`` (K, J, I) are intensities or labels. Taken are the counts of 251 grey levels between the least and the
    greatest value, and the sums along each axis, from whichever end.
    """
    levels = _levels(array)
    counts = np.bincount(levels.ravel(), minlength=_LEVELS + 1)[1:]  # without background
    profiles = sorted(_profile(levels, axis) for axis in range(3))
    return hashlib.sha256(b"|".join([counts.astype("<i8").tobytes(), *profiles])).hexdigest()


def _levels(array: np.ndarray) -> np.ndarray:
    """0 for the least value, which is background, else 1 to 251; uint8. A constant image is background alone."""
    low, high = float(array.min()), float(array.max())
    levels = np.zeros(array.shape, np.uint8)
    if high > low:
        for plane, values in zip(levels, array, strict=True):  # by slice, to spare memory
            share = (values.astype(np.float64) - low) / (high - low)
            plane[:] = np.where(values > low, np.minimum(share * (_LEVELS - 1) + _OFF_EDGES, _LEVELS - 1) + 1, 0)
    return levels


def _profile(levels: np.ndarray, axis: int) -> bytes:
    others = tuple(other for other in range(3) if other != axis)
    sums = levels.sum(axis=others, dtype=np.int64)
    inside = np.flatnonzero(sums)
    sums = sums[inside[0] : inside[-1] + 1] if len(inside) else sums[:0]
    return min(sums.astype(">i8").tobytes(), sums[::-1].astype(">i8").tobytes())
