"""Scans under a transform that bends or shears them: onto a grid with right angles in the world, and labels back."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from CrossModalSegApp.scene.node_geometry import (
    from_world,
    local_grid,
    to_world,
    transform_from_world,
    transform_to_world,
)
from CrossModalSegApp.scene.voxel_map import VoxelMap
from CrossModalSegLib.errors import GeometryError
from CrossModalSegLib.imaging.grid import Grid

_EDGE_POINTS = 17  # per axis, where the shape of the warped field of view is looked at
_LARGEST_GROWTH = 10.0  # times the scan's own voxels
_FOLDED_SHARE = 0.05  # of the field of view
_FINE_VOXELS = 8_000_000
_FINEST = 4.0
_SLAB_VOXELS = 1_000_000


def covering_grid(volume_node: Any) -> Grid:
    """A grid with right angles over the warped field of view of ``volume_node``, in world RAS mm.

    It is turned as the scan is on average, and spaced as finely along each axis; up to four times as finely where that
    takes no more than 8 million voxels, so that boundaries survive being sampled twice. Raises GeometryError
    ``not-invertible`` where the transform folds space, ``warped-too-large`` where the grid would have more than 10
    times the scan's voxels.
    """
    grid = local_grid(volume_node)
    indices = _field_of_view(grid)
    local = indices @ grid.ijk_to_ras[:3, :3].T + grid.ijk_to_ras[:3, 3]
    world = to_world(volume_node, local)
    _refuse_folded(volume_node, grid, local, world)
    steps = _mean_steps(indices, world)
    direction = _nearest_right_angles(steps)
    along = world @ direction  # in mm
    lower, upper = along.min(axis=0), along.max(axis=0)
    spacing = _finer((direction * steps).sum(axis=0), upper - lower)
    shape = np.maximum(np.ceil((upper - lower) / spacing), 2)
    if not np.prod(shape) <= max(_LARGEST_GROWTH * np.prod(grid.shape_ijk), 2 * _FINE_VOXELS):
        size = " x ".join(f"{n:.0f}" for n in shape)
        message = f"{volume_node.GetName()}: its transform spreads it over {size} voxels"
        raise GeometryError("warped-too-large", message, "check the transform, or harden and crop a copy")
    affine = np.eye(4)
    affine[:3, :3] = direction * spacing
    affine[:3, 3] = direction @ (lower + upper - (shape - 1) * spacing) / 2
    i, j, k = shape.astype(int)
    return Grid((k, j, i), affine)


def resliced(volume_node: Any, grid: Grid, is_label_map: bool = False) -> np.ndarray:
    """The voxels of ``volume_node`` at those of ``grid`` (world RAS): (K, J, I) of the node's own type.

    Linear, for label maps nearest. Where the scan does not reach, the array holds the scan's lowest value: air in CT,
    no signal in MR. It cannot be marked as not covered, because in a file every voxel has a value.
    """
    import slicer
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    image = vtk.vtkImageData()
    image.ShallowCopy(volume_node.GetImageData())
    i, j, k = image.GetDimensions()
    image.SetExtent(0, i - 1, 0, j - 1, 0, k - 1)
    reslice = vtk.vtkImageReslice()
    reslice.SetInputData(image)
    reslice.SetResliceTransform(_map_from_world(volume_node, grid).vtk_transform())
    reslice.SetInterpolationMode(vtk.VTK_RESLICE_NEAREST if is_label_map else vtk.VTK_RESLICE_LINEAR)
    reslice.SetBackgroundLevel(0 if is_label_map else float(slicer.util.arrayFromVolume(volume_node).min()))
    reslice.SetOutputSpacing(1, 1, 1)
    reslice.SetOutputOrigin(0, 0, 0)
    i, j, k = grid.shape_ijk
    reslice.SetOutputExtent(0, i - 1, 0, j - 1, 0, k - 1)
    reslice.Update()
    return vtk_to_numpy(reslice.GetOutput().GetPointData().GetScalars()).reshape(grid.shape_kji)


def slabs_in(volume_node: Any, grid: Grid) -> Iterator[tuple[slice, np.ndarray]]:
    """Where the voxels of ``volume_node`` lie in ``grid`` (world RAS), a slab of slices at a time.

    Gives (slices, indices (K', J, I, 3) as (i, j, k) of ``grid``, float64); about a million voxels each.
    """
    source = local_grid(volume_node)
    transform = transform_to_world(volume_node)
    voxels = VoxelMap(source, grid, transform, _is_linear(volume_node))
    slices, rows, columns = source.shape_kji
    thickness = max(1, _SLAB_VOXELS // (rows * columns))
    for start in range(0, slices, thickness):
        stop = min(start + thickness, slices)
        yield slice(start, stop), voxels.slab(start, stop)


def _map_from_world(volume_node: Any, grid: Grid) -> VoxelMap:
    return VoxelMap(grid, local_grid(volume_node), transform_from_world(volume_node), _is_linear(volume_node))


def _is_linear(node: Any) -> bool:
    parent = node.GetParentTransformNode()
    return parent is None or bool(parent.IsTransformToWorldLinear())


def _field_of_view(grid: Grid) -> np.ndarray:
    """(n, 3) indices (i, j, k) over the field of view, from outer edge to outer edge."""
    axes = [np.linspace(-0.5, n - 0.5, _EDGE_POINTS) for n in grid.shape_ijk]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def _mean_steps(indices: np.ndarray, world: np.ndarray) -> np.ndarray:
    """(3, 3): how far a voxel's step along i, j, k (columns) leads in the world, in mm; least squares."""
    solution, *_ = np.linalg.lstsq(np.column_stack([indices, np.ones(len(indices))]), world, rcond=None)
    return solution[:3].T


def _nearest_right_angles(steps: np.ndarray) -> np.ndarray:
    """(3, 3): the orthogonal matrix nearest to the directions of ``steps``, of the same handedness."""
    u, _, vt = np.linalg.svd(steps / np.linalg.norm(steps, axis=0))
    return u @ vt


def _finer(spacing: np.ndarray, extent: np.ndarray) -> np.ndarray:
    """``spacing`` in mm, reduced where ``extent`` in mm allows it; coarse axes first."""
    for even in np.geomspace(spacing.min() / _FINEST, spacing.max(), 50):
        finer = np.clip(even, spacing / _FINEST, spacing)
        if np.prod(extent / finer) <= _FINE_VOXELS:
            return finer
    return spacing


def _refuse_folded(volume_node: Any, grid: Grid, local: np.ndarray, world: np.ndarray) -> None:
    """A result could not find its way back where the way there cannot be undone."""
    lost = np.linalg.norm(from_world(volume_node, world) - local, axis=1) > max(grid.spacing_ijk)
    if not np.isfinite(world).all() or lost.mean() > _FOLDED_SHARE:
        message = f"{volume_node.GetName()}: its transform cannot be undone in {lost.mean():.0%} of the scan"
        raise GeometryError("not-invertible", message, "check the transform, or harden a copy and use that")
