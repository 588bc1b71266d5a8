"""Labels on a part of a scan's own voxels, such as those of a file that leaves empty slices out."""

import numpy as np

from CrossModalSegLib.imaging.grid import Grid

_TOLERANCE = 0.05  # of a voxel, that a corner may lie beside a voxel of the other grid


def placed_on(labels: np.ndarray, grid: Grid, target: Grid) -> np.ndarray | None:
    """``labels`` (K, J, I) of ``grid`` as (K, J, I) of ``target``, 0 elsewhere; None where that cannot be done.

    It can be done where each voxel of ``grid`` is one of the voxels of ``target``, whichever axes run where, and where
    no label lies outside. Where nothing has to be moved, these are ``labels`` themselves.
    """
    found = _steps(grid, target)
    if found is None:
        return None
    axes, start = found
    source = np.abs(axes).argmax(axis=1)[::-1]  # per axis K, J, I of the target: the axis I, J, K of the grid
    signs = axes.sum(axis=1)[::-1]
    turned = np.transpose(labels, 2 - source)[tuple(slice(None, None, int(sign)) for sign in signs)]
    first = start[::-1] - np.where(signs < 0, np.array(turned.shape) - 1, 0)
    low, high = np.maximum(first, 0), np.minimum(first + turned.shape, target.shape_kji)
    if (low >= high).any():
        return None if labels.any() else np.zeros(target.shape_kji, labels.dtype)
    inside = turned[tuple(slice(a - f, b - f) for a, b, f in zip(low, high, first, strict=True))]
    if inside.shape != turned.shape and np.count_nonzero(inside) < np.count_nonzero(labels):
        return None
    if inside.shape == target.shape_kji:
        return inside
    placed = np.zeros(target.shape_kji, labels.dtype)
    placed[tuple(map(slice, low, high))] = inside
    return placed


def joint_grid(grid: Grid, other: Grid) -> Grid | None:
    """The smallest grid of the axes of ``grid`` that has the voxels of both; None where they have no voxels in
    common ground."""
    found = _steps(other, grid)
    if found is None:
        return None
    axes, start = found
    ends = np.array([start, axes @ (np.array(other.shape_ijk) - 1) + start])
    low = np.minimum(ends.min(axis=0), 0)
    high = np.maximum(ends.max(axis=0), np.array(grid.shape_ijk) - 1)
    moved = np.eye(4)
    moved[:3, 3] = low
    i, j, k = (high - low + 1).tolist()
    return Grid((k, j, i), grid.ijk_to_ras @ moved)


def _steps(grid: Grid, target: Grid) -> tuple[np.ndarray, np.ndarray] | None:
    """Whole steps from IJK of ``grid`` to IJK of ``target``: (3, 3) of which each row and column has one entry, 1 or
    -1, and (3,); None where voxels do not lie on voxels."""
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
    return axes, start


def _ends(grid: Grid, axis: int) -> tuple[int, int]:
    return 0, grid.shape_ijk[axis] - 1
