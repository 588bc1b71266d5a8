"""Scans that moved between two acquisitions, or that are stored otherwise."""

import numpy as np
import SimpleITK as sitk

from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.volume import Volume

DISPLACEMENT_MM = 5.0
DISPLACEMENT_DEGREES = 5.0


def displacement(centre: np.ndarray) -> np.ndarray:
    """4x4 rigid motion in RAS mm: 5 degrees about an oblique axis through ``centre``, and a shift of 5 mm."""
    turn = sitk.VersorRigid3DTransform()
    axis = np.array([1.0, 2.0, 2.0]) / 3
    turn.SetRotation(axis.tolist(), float(np.deg2rad(DISPLACEMENT_DEGREES)))
    motion = np.eye(4)
    motion[:3, :3] = np.reshape(turn.GetMatrix(), (3, 3))
    motion[:3, 3] = centre - motion[:3, :3] @ centre + DISPLACEMENT_MM * np.array([2.0, 1.0, 2.0]) / 3
    return motion


def displaced_grid(grid: Grid) -> Grid:
    """The same voxels elsewhere: what a patient's motion between two scans does."""
    return Grid(grid.shape_kji, displacement(grid.corners_ras().mean(axis=0)) @ grid.ijk_to_ras)


def displaced_volume(volume: Volume) -> Volume:
    """Moved by the displacement, then stored on a left-handed grid of 3 mm slices that is oblique by the motion."""
    moved = Volume(volume.array, displaced_grid(volume.grid), volume.modality)
    return restored(moved, oblique_grid(moved.grid, (1.0, 1.0, 3.0), degrees=10.0))


def flipped(volume: Volume) -> Volume:
    """The same content with axes permuted and one reversed."""
    array = np.ascontiguousarray(volume.array.transpose(1, 2, 0)[::-1])  # new (k, j, i) = old (j reversed, i, k)
    size_j = volume.array.shape[1]
    old_from_new = np.array([[0, 1, 0, 0], [0, 0, -1, size_j - 1], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=float)
    return Volume(array, Grid(array.shape, volume.grid.ijk_to_ras @ old_from_new), volume.modality)


def oblique(volume: Volume) -> Volume:
    """The same content resampled onto an oblique, left-handed grid of the same resolution."""
    return restored(volume, oblique_grid(volume.grid, volume.grid.spacing_ijk, degrees=20.0))


def oblique_grid(grid: Grid, spacing: tuple[float, ...], degrees: float) -> Grid:
    """A left-handed grid turned by ``degrees`` that holds the whole field of view of ``grid``."""
    turn = sitk.VersorRigid3DTransform()
    turn.SetRotation([2 / 3, -1 / 3, 2 / 3], float(np.deg2rad(degrees)))
    rotation = np.reshape(turn.GetMatrix(), (3, 3)) @ np.diag([-1.0, 1.0, 1.0])
    corners = grid.corners_ras() @ rotation
    size = np.ceil((corners.max(axis=0) - corners.min(axis=0)) / spacing).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = rotation * spacing
    affine[:3, 3] = rotation @ (corners.min(axis=0) + np.array(spacing) / 2)
    return Grid((int(size[2]), int(size[1]), int(size[0])), affine)


def restored(volume: Volume, grid: Grid) -> Volume:
    """``volume`` resampled onto ``grid`` by cubic interpolation; what lies outside gets the darkest value."""
    image = sitk.GetImageFromArray(volume.array)
    volume.grid.to_sitk_geometry(image)
    reference = sitk.Image(grid.shape_ijk, sitk.sitkUInt8)
    grid.to_sitk_geometry(reference)
    lowest = float(np.median(volume.array[0]))
    out = sitk.Resample(image, reference, sitk.Transform(), sitk.sitkBSpline, lowest, sitk.sitkFloat32)
    return Volume(sitk.GetArrayFromImage(out), grid, volume.modality)
