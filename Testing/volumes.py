"""Synthetic volumes for tests: what they hold is known at every point in space, on whatever grid they are sampled."""

from collections.abc import Callable, Iterator
from itertools import permutations, product

import numpy as np
import SimpleITK as sitk

from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.volume import Volume

Field = Callable[[np.ndarray], np.ndarray]  # RAS points (..., 3) in mm -> intensities (...)


def rotation(degrees_xyz: tuple[float, float, float]) -> np.ndarray:
    """3x3 rotation about x, then y, then z."""
    x, y, z = np.radians(degrees_xyz)
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def grid_around(
    centre: tuple[float, float, float],
    shape_ijk: tuple[int, int, int],
    spacing: tuple[float, float, float],
    direction: np.ndarray | None = None,
) -> Grid:
    """A grid whose field of view is centred on ``centre`` (RAS mm), its axes the columns of ``direction``."""
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) if direction is None else direction) * np.asarray(spacing)
    affine[:3, 3] = centre - affine[:3, :3] @ ((np.asarray(shape_ijk) - 1) / 2)
    i, j, k = shape_ijk
    return Grid((k, j, i), affine)


def random_grid(seed: int, size_mm: float = 100.0) -> Grid:
    """An oblique, anisotropic grid around the origin, left-handed for odd seeds."""
    random = np.random.default_rng(seed)
    a, b, c = random.uniform(-180, 180, 3)
    direction = rotation((a, b, c))
    if seed % 2:
        direction[:, 2] *= -1
    x, y, z = random.uniform(1.0, 5.0, 3)
    shape = [max(4, round(size_mm / s)) for s in (x, y, z)]
    return grid_around((0, 0, 0), (shape[0], shape[1], shape[2]), (x, y, z), direction)


def points_of(grid: Grid) -> np.ndarray:
    """(K, J, I, 3) RAS mm of the voxel centres."""
    k, j, i = np.meshgrid(*(np.arange(n) for n in grid.shape_kji), indexing="ij")
    return np.stack([i, j, k], axis=-1) @ grid.ijk_to_ras[:3, :3].T + grid.ijk_to_ras[:3, 3]


def sampled(field: Field, grid: Grid, modality: str = "T1w") -> Volume:
    """``field`` sampled at the voxel centres of ``grid``."""
    return Volume(field(points_of(grid)).astype(np.float32), grid, modality)


def ramp(points: np.ndarray) -> np.ndarray:
    """A linear function of space, which linear interpolation reproduces exactly."""
    return points @ np.array([1.0, -2.0, 0.5]) + 300.0


def head(points: np.ndarray) -> np.ndarray:
    """An ellipsoid of 130 x 170 x 150 mm around (5, -10, 15), of intensities 600 to 1000, with a soft edge; 0
    outside."""
    radius = np.linalg.norm((points - [5.0, -10.0, 15.0]) / [65.0, 85.0, 75.0], axis=-1)
    inside = np.clip((1.0 - radius) * 40.0, 0.0, 1.0)
    return inside * (800.0 + 200.0 * np.sin(points[..., 0] / 9.0) * np.cos(points[..., 1] / 11.0))


HEAD_BOX = np.array([[-60.0, -95.0, -60.0], [70.0, 75.0, 90.0]])


def stored_otherwise(volume: Volume) -> Iterator[Volume]:
    """The same physical volume in all 48 orders and directions of its axes."""
    for order, flips in product(permutations(range(3)), product((False, True), repeat=3)):
        yield _stored(volume, order, flips)


def _stored(volume: Volume, order: tuple[int, ...], flips: tuple[bool, ...]) -> Volume:
    """Array axis n is the original's axis ``order[n]``, reversed where ``flips[n]``."""
    array = np.transpose(volume.array, order)
    old_from_new = np.zeros((4, 4))  # in kji order, homogeneous
    old_from_new[3, 3] = 1
    for new, (old, flip) in enumerate(zip(order, flips, strict=True)):
        old_from_new[old, new] = -1 if flip else 1
        old_from_new[old, 3] = array.shape[new] - 1 if flip else 0
    array = np.flip(array, [n for n, flip in enumerate(flips) if flip])
    kji = [2, 1, 0, 3]
    affine = volume.grid.ijk_to_ras @ old_from_new[np.ix_(kji, kji)]
    return Volume(array, Grid(array.shape, affine), volume.modality)


def grid_of_sitk(image: sitk.Image) -> Grid:
    """The grid of a 3D SimpleITK image (or of a reader that has read the image's information)."""
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.asarray(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    i, j, k = image.GetSize()
    return Grid((k, j, i), np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)
