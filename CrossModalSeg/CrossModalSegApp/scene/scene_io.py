"""Volume nodes to the library and back, so that every voxel keeps its place in the world, whatever transforms say."""

from pathlib import Path
from typing import Any

import numpy as np

from CrossModalSegApp.scene.node_geometry import (
    local_grid,
    world_grid,
)
from CrossModalSegApp.scene.subject_tree import copy_modality, place_beside
from CrossModalSegApp.scene.warped_volume import covering_grid, resliced, slabs_in
from CrossModalSegLib.errors import GeometryError, InputError, OutputError
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.resampling import labels_at, samples_at
from CrossModalSegLib.imaging.volume import Volume


def add_volume(scene: Any, array: np.ndarray, grid: Grid, name: str) -> Any:
    """Add ``array`` (K, J, I) on ``grid`` (RAS mm) as a scalar volume node; a number is added to a name that is
    taken."""
    import slicer

    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", scene.GetUniqueNameByString(name))
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(grid.ijk_to_ras))
    slicer.util.updateVolumeFromArray(node, array)
    node.CreateDefaultDisplayNodes()
    return node


def world_volume(volume_node: Any, modality: str) -> Volume:
    """The scan in world space, as the library wants it.

    Where rotation, shift, mirroring or scaling is all that its transforms do, these are the node's own voxels with the
    affine transformed. Where they bend or shear it, it is resampled linearly on a grid with right angles that covers
    the warped field of view; outside of the scan this holds the scan's lowest value (see `warped_volume.resliced`).

    Raises InputError ``no-image``, ``not-scalar``, ``not-3d``, ``not-finite`` or ``constant``; GeometryError
    ``singular-affine``, ``not-invertible`` or ``warped-too-large``.
    """
    voxels = voxels_of(volume_node)
    _refuse_useless(voxels, volume_node.GetName())
    grid = world_grid(volume_node)
    if grid is None:
        grid = covering_grid(volume_node)
        voxels = resliced(volume_node, grid)
    return Volume(np.array(voxels, dtype=np.float32), grid, modality)


def write_scan(volume: Volume, path: str | Path) -> None:
    """Write a scan to the NRRD file ``path``, uncompressed because it is read soon and deleted.

    Raises OutputError ``cannot-write``.
    """
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(volume.array)
    volume.grid.to_sitk_geometry(image)
    try:
        sitk.WriteImage(image, str(path), useCompression=False)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise OutputError("cannot-write", f"{path}: {reason}", "check that the disk has space") from error


def labels_on_node(volume_node: Any, labels: np.ndarray, grid: Grid) -> np.ndarray:
    """Label values ``labels`` on ``grid`` (world RAS) at the node's own voxels: (K, J, I) uint16.

    The same values where the node's voxels are those of ``grid``; else the label that the eight voxels around each
    voxel's place in the world vote for (`labels_at`), 0 outside ``grid``. Raises GeometryError ``shape-mismatch``.
    """
    _require_shape(labels, grid)
    if _corresponds(volume_node, grid):
        return np.array(labels, dtype=np.uint16)
    result = np.empty(local_grid(volume_node).shape_kji, dtype=np.uint16)
    for slices, indices in slabs_in(volume_node, grid):
        result[slices] = labels_at(labels, indices)
    return result


def samples_on_node(volume_node: Any, values: np.ndarray, grid: Grid) -> np.ndarray:
    """``values`` on ``grid`` (world RAS) at the node's own voxels: (K, J, I) of the same type.

    The same values where the node's voxels are those of ``grid``, else interpolated linearly; 0 outside ``grid``.
    Raises GeometryError ``shape-mismatch``.
    """
    _require_shape(values, grid)
    if _corresponds(volume_node, grid):
        return np.array(values)
    result = np.empty(local_grid(volume_node).shape_kji, dtype=values.dtype)
    for slices, indices in slabs_in(volume_node, grid):
        result[slices] = samples_at(values, indices)
    return result


def harden_copy(volume_node: Any) -> Any:
    """A new volume node, "<name> hardened", that shows the scan where it is shown now, under no transform.

    The voxels are the same, or resampled as in `world_volume` (label maps: nearest). It lies beside the scan in the
    subject hierarchy. Raises what `world_volume` raises about the geometry, InputError ``no-image`` or ``not-scalar``.
    """
    import slicer

    voxels = voxels_of(volume_node)
    grid = world_grid(volume_node)
    if grid is None:
        grid = covering_grid(volume_node)
        voxels = resliced(volume_node, grid, volume_node.IsA("vtkMRMLLabelMapVolumeNode"))
    scene = volume_node.GetScene()
    name = scene.GetUniqueNameByString(f"{volume_node.GetName()} hardened")
    copy = scene.AddNewNodeByClass(volume_node.GetClassName(), name)
    copy.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(grid.ijk_to_ras))
    slicer.util.updateVolumeFromArray(copy, voxels)
    _copy_display(volume_node, copy)
    place_beside(volume_node, copy)
    copy_modality(volume_node, copy)
    return copy


def voxels_of(volume_node: Any) -> np.ndarray:
    """The node's voxels (K, J, I), not a copy. Raises InputError ``no-image`` or ``not-scalar``."""
    import slicer

    local_grid(volume_node)  # refuses a node without voxels
    components = volume_node.GetImageData().GetNumberOfScalarComponents()
    if components != 1:
        message = f"{volume_node.GetName()} holds {components} values per voxel"
        raise InputError("not-scalar", message, "choose an image with one grey value per voxel, no colour or vectors")
    return slicer.util.arrayFromVolume(volume_node)


def _corresponds(volume_node: Any, grid: Grid) -> bool:
    own = world_grid(volume_node)
    return own is not None and own.is_close(grid)


def _require_shape(array: np.ndarray, grid: Grid) -> None:
    if array.shape != grid.shape_kji:
        message = f"an array of shape {array.shape} on a grid of {grid.shape_kji}"
        raise GeometryError("shape-mismatch", message, "give the array and the grid of one volume")


def _refuse_useless(voxels: np.ndarray, name: str) -> None:
    if min(voxels.shape) < 2:
        message = f"{name}: a volume needs at least 2 slices along each axis, not {voxels.shape}"
        raise InputError("not-3d", message, "give the whole series, not a single slice")
    low, high = float(voxels.min()), float(voxels.max())  # NaN comes through both
    if not np.isfinite([low, high]).all():
        count = voxels.size - int(np.isfinite(voxels).sum())
        message = f"{name} has {count} of {voxels.size} voxels that are NaN or infinite"
        raise InputError("not-finite", message, "replace them, or load the volume again")
    if low == high:
        message = f"{name} has the value {low:g} in every voxel"
        raise InputError("constant", message, "check that it is the right volume")


def _copy_display(source: Any, target: Any) -> None:
    target.CreateDefaultDisplayNodes()
    if source.GetDisplayNode() and target.GetDisplayNode():
        target.GetDisplayNode().CopyContent(source.GetDisplayNode())
