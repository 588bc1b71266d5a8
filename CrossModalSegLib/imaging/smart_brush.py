"""A brush that keeps to what is alike in both scans: of what it has passed, what looks as its middle does."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

_MIDDLE = 0.6  # of the greatest distance from the brush's edge, from which on is its middle
_SPREADS = 3.0  # of the middle's intensities: how far others may be from them
_ROUNDING = 1e-6
_LEAST_SHARE = 0.05  # of the range in the box: less is no border, in scans without noise


def alike_in(brush: np.ndarray, scans: Sequence[np.ndarray], spacing: np.ndarray) -> np.ndarray:
    """Which voxels of ``brush`` (K, J, I; bool) look in all ``scans`` like its middle near them, and hang together
    with it.

    ``scans`` are intensities (K, J, I), not a number where a scan does not reach: there it has no say. ``spacing`` is
    in mm in the same order. Nothing where the brush is empty.
    """
    if not brush.any():
        return brush.copy()
    depth = _depth(brush, spacing)
    middle = brush & (depth >= _MIDDLE * depth.max())
    sigma = np.maximum(depth.max() / 2 / spacing, 0.5)
    alike = brush.copy()
    for scan in scans:
        alike &= _alike(scan, brush, middle, sigma)
    parts, _count = ndimage.label(alike, np.ones((3, 3, 3)))
    return alike & np.isin(parts, np.unique(parts[alike & middle]))


def _depth(brush: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Of each voxel in the brush, in mm from its edge; of a brush within one slice, within that slice."""
    flat = [axis for axis in range(3) if brush.any(axis=tuple({0, 1, 2} - {axis})).sum() == 1]
    pads = [(0, 0) if axis in flat else (1, 1) for axis in range(3)]
    inside = tuple(slice(before, n + before) for (before, _after), n in zip(pads, brush.shape, strict=True))
    if not flat:
        return np.asarray(ndimage.distance_transform_edt(np.pad(brush, 1), sampling=spacing))[inside]
    far = np.where(np.isin(range(3), flat), 1e6, spacing)  # slices beside it are no edge
    return np.asarray(ndimage.distance_transform_edt(np.pad(brush, pads), sampling=far))[inside]


def _alike(scan: np.ndarray, brush: np.ndarray, middle: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    is_known = np.isfinite(scan)
    if not (middle & is_known).any():
        return np.ones(brush.shape, dtype=bool)
    values, told = np.nan_to_num(scan).astype(np.float64), (middle & is_known).astype(np.float64)
    weight = ndimage.gaussian_filter(told, sigma, mode="constant")
    sums = ndimage.gaussian_filter(values * told, sigma, mode="constant")
    everywhere = float(values[told > 0].mean())
    near = np.where(weight > 1e-6, sums / np.maximum(weight, 1e-6), everywhere)
    away = np.abs(values - near)
    spread = 1.4826 * float(np.median(away[told > 0]))
    low, high = np.quantile(values[is_known], (0.01, 0.99))
    allowed = max(_SPREADS * spread, _LEAST_SHARE * float(high - low))
    allowed += _ROUNDING * float(np.abs(values).max())
    return np.asarray((away <= allowed) | ~is_known)
