"""Label maps onto another grid, or at any points."""

from itertools import product

import numpy as np
import SimpleITK as sitk

from CrossModalSegLib.imaging.grid import Grid

_ASIDE = 1e-3  # of a voxel


def resample_labels(labels: np.ndarray, source: Grid, target: Grid) -> np.ndarray:
    """Label values (K, J, I) of ``source`` at the nearest voxel of each voxel of ``target``; 0 outside.

    For pictures. What is learned from is `even_labels`; results go back to a volume's own grid by their probabilities
    (native_grid.py).
    """
    image = sitk.GetImageFromArray(labels)
    source.to_sitk_geometry(image)
    reference = sitk.Image(target.shape_ijk, sitk.sitkUInt8)
    target.to_sitk_geometry(reference)
    return sitk.GetArrayFromImage(sitk.Resample(image, reference, sitk.Transform(), sitk.sitkNearestNeighbor, 0))


def even_labels(labels: np.ndarray, source: Grid, target: Grid) -> np.ndarray:
    """As `resample_labels`, but half-way between two voxels of ``source`` the upper and the lower one take turns.

    Where two grids are half a voxel apart, every voxel lies half-way. The nearest one would be the upper one each time,
    and all structures would move by half a voxel (a network learns that); this way they stay where they are.
    """
    aside = _ASIDE * source.ijk_to_ras[:3, :3].sum(axis=1)
    above, below = (resample_labels(labels, source, _moved(target, sign * aside)) for sign in (1, -1))
    return np.where(np.indices(target.shape_kji).sum(axis=0) % 2 == 0, above, below)


def _moved(grid: Grid, by_ras: np.ndarray) -> Grid:
    affine = grid.ijk_to_ras.copy()
    affine[:3, 3] += by_ras
    return Grid(grid.shape_kji, affine)


def labels_at(labels: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Label values at fractional voxel indices (i, j, k), ``points`` (..., 3): (...) of the type of ``labels`` (K, J,
    I).

    The eight voxels around a point vote with their trilinear weights, so that a boundary between labels runs smoothly
    between voxel centres instead of in steps. A tie goes to the lower index. Points beyond the outer edges of the outer
    voxels (half a voxel from their centres) are 0.
    """
    inside, lower, fraction = _located(points, labels.shape)
    corners = _corners(labels, lower)
    found = corners[0].copy()
    mixed = np.flatnonzero((corners != corners[0]).any(axis=0) & inside)
    found[mixed] = _vote(corners[:, mixed], fraction[mixed])
    return np.where(inside, found, 0).astype(labels.dtype).reshape(np.shape(points)[:-1])


def samples_at(values: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Trilinear samples at fractional voxel indices (i, j, k), ``points`` (..., 3): (...) of the type of ``values``.

    Integers are rounded. Points beyond the outer edges of the outer voxels of ``values`` (K, J, I) are 0.
    """
    inside, lower, fraction = _located(points, values.shape)
    corners = _corners(values, lower)
    samples = corners[0].copy()
    mixed = np.flatnonzero((corners != corners[0]).any(axis=0) & inside)
    means = (corners[:, mixed] * _weights(fraction[mixed])).sum(axis=0)
    samples[mixed] = np.rint(means) if np.issubdtype(values.dtype, np.integer) else means
    return np.where(inside, samples, 0).astype(values.dtype).reshape(np.shape(points)[:-1])


def _located(points: np.ndarray, shape_kji: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For n points: inside (n,) bool, the voxel below (n, 3) (i, j, k), and how far (0 to 1) the next one is
    reached."""
    flat = np.reshape(points, (-1, 3))
    size = np.array(shape_kji[::-1])
    inside = np.asarray(((flat >= -0.5) & (flat <= size - 0.5)).all(axis=1))
    position = np.clip(flat, 0, size - 1)
    lower = np.minimum(position.astype(np.intp), np.maximum(size - 2, 0))
    return inside, lower, position - lower


def _corners(array: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """(8, n): values of the voxels ``lower`` (n, 3) (i, j, k) and their upper neighbours, in the order of
    `_weights`."""
    slices, rows, columns = array.shape
    strides = (int(columns > 1), columns * (rows > 1), rows * columns * (slices > 1))  # a single voxel has no neighbour
    first = (lower[:, 2] * rows + lower[:, 1]) * columns + lower[:, 0]
    flat = np.ascontiguousarray(array).ravel()
    return np.stack([flat[first + np.dot(corner, strides)] for corner in product((0, 1), repeat=3)])


def _weights(fraction: np.ndarray) -> np.ndarray:
    """(8, n) trilinear weights of the corners for ``fraction`` (n, 3) (i, j, k) of the way to the upper neighbours."""
    return np.stack([np.where(corner, fraction, 1 - fraction).prod(axis=1) for corner in product((0, 1), repeat=3)])


def _vote(corners: np.ndarray, fraction: np.ndarray) -> np.ndarray:
    """(n,): of each point's eight labels the one with the largest sum of weights."""
    weights = _weights(fraction)
    votes = np.stack([np.where(corners == label, weights, 0).sum(axis=0) for label in corners])  # (8, n)
    return np.take_along_axis(corners, votes.argmax(axis=0)[None], axis=0)[0]
