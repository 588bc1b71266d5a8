"""One connected region of a mask, without the thin rims that connect it to others."""

import numpy as np
from scipy import ndimage

_TOUCHING = np.ones((3, 3, 3), dtype=bool)


def region_at(mask: np.ndarray, place: np.ndarray, spacing: np.ndarray, sheet_mm: float) -> np.ndarray:
    """The connected part of ``mask`` (K, J, I; bool) that is nearest to the voxel ``place`` (k, j, i): bool (K, J, I).

    ``spacing`` is the size of a voxel in mm, in the same order. What is thinner than a ball of radius ``sheet_mm`` (at
    least a voxel) only counts beside what is not, or where all of ``mask`` is that thin. All False for an empty mask.
    """
    ball = _ball(max(sheet_mm, float(np.max(spacing))), spacing)
    thick = ndimage.binary_erosion(mask, ball)
    if thick.any():
        mask = ndimage.binary_dilation(thick, ball, iterations=3, mask=mask)  # twice more, for the corners
    pieces, count = ndimage.label(mask, _TOUCHING)
    if count == 0:
        return np.zeros(mask.shape, dtype=bool)
    voxels = np.argwhere(mask)
    nearest = voxels[np.linalg.norm((voxels - place) * spacing, axis=1).argmin()]
    return pieces == pieces[tuple(nearest)]


def _ball(radius_mm: float, spacing: np.ndarray) -> np.ndarray:
    """A structuring element with all voxels within ``radius_mm`` of its middle."""
    reach = (radius_mm / spacing + 1e-6).astype(int)
    steps = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"), axis=-1)
    return np.linalg.norm(steps * spacing, axis=-1) <= radius_mm + 1e-6
