"""Labels on a part of a scan's own voxels, such as those of a file that leaves empty slices out."""

import numpy as np

from CrossModalSegLib.imaging.grid import Grid

_TOLERANCE = 0.05  # of a voxel, that a corner may lie beside a voxel of the other grid


def placed_on(labels: np.ndarray, grid: Grid, target: Grid) -> np.ndarray | None:
    """``labels`` (K, J, I) of ``grid`` as (K, J, I) of ``target``, 0 elsewhere; None where that cannot be done.

    It can be done where each voxel of ``grid`` is one of the voxels of ``target``, whichever axes run where, and where
    no label lies outside.
    """
    to_target = target.ras_to_ijk @ grid.ijk_to_ras
    axes = np.rint(to_target[:3, :3]).astype(int)
    if not (np.abs(axes).sum(axis=0) == 1).all() or not (np.abs(axes).sum(axis=1) == 1).all():
        return None
    start = np.rint(to_target[:3, 3]).astype(int)
    exact = np.eye(4)
    exact[:3, :3], exact[:3, 3] = axes, start
    corners = np.array([[i, j, k, 1] for i in _ends(grid, 0) for j in _ends(grid, 1) for k in _ends(grid, 2)]).T
    if np.abs((to_target - exact) @ corners).max() > _TOLERANCE:
        return None
    kji = np.argwhere(labels)
    ijk = kji[:, ::-1] @ axes.T + start
    if ((ijk < 0) | (ijk >= target.shape_ijk)).any():
        return None
    placed = np.zeros(target.shape_kji, labels.dtype)
    placed[tuple(ijk[:, ::-1].T)] = labels[tuple(kji.T)]
    return placed


def _ends(grid: Grid, axis: int) -> tuple[int, int]:
    return 0, grid.shape_ijk[axis] - 1
