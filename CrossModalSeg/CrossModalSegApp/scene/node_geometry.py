"""Where the voxels of a volume node lie: on its own grid, and in the world above its parent transforms."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from CrossModalSegLib.errors import InputError
from CrossModalSegLib.imaging.grid import Grid

TransformKind = Literal["none", "linear", "sheared", "non-linear"]

_RIGHT_ANGLE_DEGREES = 0.1  # as the library allows in files


def local_grid(volume_node: Any) -> Grid:
    """The node's own grid in RAS mm, below its parent transform. Raises InputError ``no-image``, GeometryError."""
    import slicer
    import vtk

    image = volume_node.GetImageData()
    if image is None or min(image.GetDimensions()) < 1:
        raise InputError("no-image", f"{volume_node.GetName()} holds no voxels", "choose a volume that has been loaded")
    matrix = vtk.vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(matrix)
    first_voxel = np.eye(4)
    first_voxel[:3, 3] = image.GetExtent()[::2]  # an image may start at another index than 0
    i, j, k = image.GetDimensions()
    return Grid((k, j, i), slicer.util.arrayFromVTKMatrix(matrix) @ first_voxel)


def world_grid(volume_node: Any) -> Grid | None:
    """The node's voxels where its parent transforms put them; None where that is no grid with right angles."""
    grid = local_grid(volume_node)
    affine = grid.ijk_to_ras
    parent = volume_node.GetParentTransformNode()
    if parent is not None:
        if not parent.IsTransformToWorldLinear():
            return None
        affine = _matrix_to_world(parent) @ affine
    return Grid(grid.shape_kji, affine) if _has_right_angles(affine) else None


def parent_transform_kind(volume_node: Any) -> TransformKind:
    """What the parent transforms do to the node's voxels.

    "none": there is no transform; "linear": right angles stay right angles (shift, rotation, mirroring, scaling along
    the voxels' axes); "sheared": linear, but the voxels' axes are not at right angles in the world, be it by the
    transform or of the scan's own; "non-linear": anything else.
    """
    parent = volume_node.GetParentTransformNode()
    if parent is not None and not parent.IsTransformToWorldLinear():
        return "non-linear"
    if world_grid(volume_node) is None:
        return "sheared"
    return "none" if parent is None else "linear"


def to_world(volume_node: Any, points: np.ndarray) -> np.ndarray:
    """World RAS mm (..., 3) of ``points`` (..., 3) that are given in RAS mm below the node's parent transform."""
    return transformed(transform_to_world(volume_node), points)


def from_world(volume_node: Any, points: np.ndarray) -> np.ndarray:
    """The inverse of `to_world`."""
    return transformed(transform_from_world(volume_node), points)


def places_in(other: Any, volume_node: Any, box: tuple[slice, ...]) -> np.ndarray:
    """(K, J, I, 3) float64: where in the volume node ``other``, in voxels (i, j, k), those of a box of ``volume_node``
    lie."""
    source, target = local_grid(volume_node), local_grid(other)
    k, j, i = np.meshgrid(*(np.arange(part.start, part.stop, dtype=float) for part in box), indexing="ij")
    ras = np.stack([i, j, k], axis=-1) @ source.ijk_to_ras[:3, :3].T + source.ijk_to_ras[:3, 3]
    ras = from_world(other, to_world(volume_node, ras))
    return ras @ target.ras_to_ijk[:3, :3].T + target.ras_to_ijk[:3, 3]


def voxel_at(volume_node: Any, place: Sequence[float]) -> np.ndarray:
    """(k, j, i) float64 of ``place`` in the world (RAS, mm)."""
    return (local_grid(volume_node).ras_to_ijk @ [*from_world(volume_node, np.array(place)), 1.0])[2::-1]


def place_of(volume_node: Any, voxel: Sequence[float]) -> np.ndarray:
    """The inverse of `voxel_at`: RAS mm (3,) in the world of a voxel (k, j, i)."""
    k, j, i = voxel
    return to_world(volume_node, (local_grid(volume_node).ijk_to_ras @ [i, j, k, 1.0])[:3])


def transform_to_world(node: Any) -> Any:
    """vtkGeneralTransform from the node's own coordinates to the world's; identity where it has no parent."""
    return _transform_between(node.GetParentTransformNode(), None)


def transform_from_world(node: Any) -> Any:
    """vtkGeneralTransform from the world's coordinates to the node's own."""
    return _transform_between(None, node.GetParentTransformNode())


def transformed(transform: Any, points: np.ndarray) -> np.ndarray:
    """``points`` (..., 3) after the vtkAbstractTransform ``transform``, float64."""
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

    flat = np.ascontiguousarray(points, dtype=np.float64).reshape(-1, 3)
    before, after = vtk.vtkPoints(), vtk.vtkPoints()
    before.SetData(numpy_to_vtk(flat))
    after.SetDataTypeToDouble()
    transform.TransformPoints(before, after)
    return vtk_to_numpy(after.GetData()).reshape(np.shape(points)).copy()


def _transform_between(source: Any, target: Any) -> Any:
    import slicer
    import vtk

    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(source, target, transform)
    return transform


def _has_right_angles(affine: np.ndarray) -> bool:
    """False also for what flattens space and for what is no number, which is no valid `Grid`."""
    steps = affine[:3, :3]
    lengths = np.linalg.norm(steps, axis=0)
    if not (np.isfinite(affine).all() and lengths.min() > 0):
        return False
    cosines = (steps / lengths).T @ (steps / lengths) - np.eye(3)
    return bool(np.abs(cosines).max() <= np.sin(np.radians(_RIGHT_ANGLE_DEGREES)))


def _matrix_to_world(transform_node: Any) -> np.ndarray:
    import slicer
    import vtk

    matrix = vtk.vtkMatrix4x4()
    transform_node.GetMatrixTransformToWorld(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)
