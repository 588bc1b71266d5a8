"""What there is at a place: the intensity of a scan, and the structure of a segmentation."""

from collections.abc import Callable
from typing import Any

import numpy as np

from CrossModalSegApp.scene.node_geometry import from_world, local_grid
from CrossModalSegApp.scene.segmentation_nodes import BINARY_LABELMAP
from CrossModalSegApp.scene.structure_display import segments

Place = tuple[float, float, float]  # RAS, mm


class Pointer:
    """Where the mouse is over the slices of ``scene``, and where its crosshair is; ``on_move`` is called when either
    has moved. Call `close` at the end."""

    def __init__(self, scene: Any, on_move: Callable[[], None]):
        node = self._node = scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
        tell = lambda *_given: on_move()
        events = (node.CursorPositionModifiedEvent, "ModifiedEvent") if node is not None else ()
        self._tags = [node.AddObserver(event, tell) for event in events]

    @property
    def place(self) -> Place | None:
        """Where the mouse is, else where a crosshair is seen; None without either."""
        node, found = self._node, [0.0, 0.0, 0.0]
        if node is None:
            return None
        if not node.GetCursorPositionRAS(found):
            if node.GetCrosshairMode() == node.NoCrosshair:
                return None
            found = list(node.GetCrosshairRAS())
        return found[0], found[1], found[2]

    def close(self) -> None:
        """Listen no more."""
        for tag in self._tags:
            self._node.RemoveObserver(tag)
        self._tags = []


def intensity_at(volume_node: Any, place: Place) -> float | None:
    """Of the voxel at ``place`` in the world; None outside of the scan, and where it has no voxels."""
    image = volume_node.GetImageData()
    if image is None:
        return None
    grid = local_grid(volume_node)
    i, j, k = _voxel(grid.ras_to_ijk, from_world(volume_node, np.array(place)))
    if not all(0 <= index < size for index, size in zip((i, j, k), grid.shape_ijk, strict=True)):
        return None
    first = image.GetExtent()[::2]
    return float(image.GetScalarComponentAsDouble(i + first[0], j + first[1], k + first[2], 0))


def structure_at(segmentation_node: Any, place: Place) -> int | None:
    """The label value of the structure at ``place`` in the world; None where there is none."""
    local = from_world(segmentation_node, np.array(place))
    segmentation = segmentation_node.GetSegmentation()
    found: dict[str, int] = {}  # what is stored there, by layer
    for one in segments(segmentation_node):
        segment = segmentation.GetSegment(one.segment_id)
        image = segment.GetRepresentation(BINARY_LABELMAP)
        if image is None or image.IsEmpty():
            continue
        layer = image.GetAddressAsString("")
        if layer not in found:
            found[layer] = _stored_at(image, local)
        if found[layer] == segment.GetLabelValue():
            return one.value
    return None


def _stored_at(image: Any, local: np.ndarray) -> int:
    """The value that a layer has there, 0 outside of it."""
    import slicer
    import vtk

    matrix = vtk.vtkMatrix4x4()
    image.GetWorldToImageMatrix(matrix)
    voxel = _voxel(slicer.util.arrayFromVTKMatrix(matrix), local)
    extent = image.GetExtent()
    if not all(low <= index <= high for index, low, high in zip(voxel, extent[::2], extent[1::2], strict=True)):
        return 0
    return int(image.GetScalarComponentAsDouble(*voxel, 0))


def _voxel(ras_to_ijk: np.ndarray, point: np.ndarray) -> tuple[int, int, int]:
    i, j, k = np.rint(ras_to_ijk[:3, :3] @ point + ras_to_ijk[:3, 3]).astype(int).tolist()
    return i, j, k
