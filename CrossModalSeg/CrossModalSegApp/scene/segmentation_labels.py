"""Segmentation nodes back to label arrays, also after a person has edited them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from CrossModalSegApp.scene.node_geometry import from_world, local_grid, transform_from_world, transform_to_world
from CrossModalSegApp.scene.segmentation_nodes import BINARY_LABELMAP, label_value
from CrossModalSegApp.scene.voxel_map import VoxelMap
from CrossModalSegLib.errors import LabelError
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.resampling import labels_at
from CrossModalSegLib.labels import LabelMap

_SAME_LATTICE = 1e-3  # voxels
_SLAB_VOXELS = 1_000_000


def segment_labels(segmentation_node: Any, volume_node: Any, label_map: LabelMap) -> np.ndarray:
    """The label values of a segmentation, as it is now, on the own grid of ``volume_node``: (K, J, I) uint16.

    Segments are told by the mark that `add_segmentation` gave them, so they may have been renamed or recoloured, and
    lie in any number of layers of any extent. Where the segmentation has another geometry or parent transform, each
    voxel gets the label that the eight voxels around its place vote for. What was painted beyond the volume is left
    out.

    Raises LabelError ``overlapping-segments`` (naming two), ``unknown-segment`` (one that a person has added, unless it
    is empty), ``no-labelmap``.
    """
    return _labels_on(segmentation_node, volume_node, lambda id_, segment: _structure_value(id_, segment, label_map))


def _labels_on(segmentation_node: Any, volume_node: Any, value_of: Callable[[str, Any], int]) -> np.ndarray:
    layers = _layers(segmentation_node, value_of)
    grid = local_grid(volume_node)
    same_transform = segmentation_node.GetTransformNodeID() == volume_node.GetTransformNodeID()
    if same_transform and all(_offset_on(layer.grid, grid) is not None for layer in layers):
        return _merged(layers, grid)
    result = _Merger(grid)
    transform = _transform_between(volume_node, segmentation_node)
    for layer in layers:
        voxels = VoxelMap(grid, layer.grid, transform)
        thickness = max(1, _SLAB_VOXELS // (grid.shape_kji[1] * grid.shape_kji[2]))
        for start in range(0, grid.shape_kji[0], thickness):
            stop = min(start + thickness, grid.shape_kji[0])
            result.add(labels_at(layer.labels, voxels.slab(start, stop)), (slice(start, stop),), layer)
    return result.labels


def marked_labels(segmentation_node: Any, volume_node: Any) -> np.ndarray:
    """`segment_labels` of a node that `add_segmentation` made, without the label map: (K, J, I) uint16.

    Raises LabelError ``overlapping-segments``, ``unknown-segment`` or ``no-labelmap``.
    """
    return _labels_on(segmentation_node, volume_node, _marked_value)


def is_corrected(edited_node: Any, model_node: Any) -> bool:
    """Whether any voxel of ``edited_node`` differs from the model's own result ``model_node``.

    Names, colours and visibility do not count. What cannot be compared, such as overlapping segments or segments that a
    person has added, counts as corrected.
    """
    try:
        edited, model = (_layers(node, _marked_value) for node in (edited_node, model_node))
        if not edited and not model:
            return False
        grid = _common_grid([*edited, *model])
        return grid is None or not np.array_equal(_merged(edited, grid), _merged(model, grid))
    except LabelError:
        return True


def differs_around(edited_node: Any, model_node: Any, place: Sequence[float], radius_mm: float) -> bool:
    """Whether any voxel differs within a box of ``radius_mm`` around ``place`` (RAS, mm) in the world.

    What cannot be compared counts as different, as in `is_corrected`.
    """
    try:
        parts = [[*_stored_layers(node)] for node in (edited_node, model_node)]
    except LabelError:
        return True
    if not parts[0] and not parts[1]:
        return False
    base = (parts[1] or parts[0])[0][1]
    middle = base.ras_to_ijk @ [*from_world(model_node, np.array(place)), 1.0]
    reach = radius_mm / np.array(base.spacing_ijk)
    lower, upper = np.rint(middle[:3] - reach).astype(int), np.rint(middle[:3] + reach).astype(int) + 1
    boxes = [np.zeros((upper - lower)[::-1], np.uint16) for _ in parts]
    for box, layers in zip(boxes, parts, strict=True):
        for stored, grid, values in layers:
            offset = _offset_on(grid, base)
            if offset is None:
                return True
            first, stop = np.maximum(offset, lower), np.minimum(offset + grid.shape_ijk, upper)
            if (first < stop).all():
                source, target = (
                    tuple(slice(a, b) for a, b in zip((first - start)[::-1], (stop - start)[::-1], strict=True))
                    for start in (offset, lower)
                )
                found = values[np.clip(stored[source].astype(np.intp), 0, len(values) - 1)]
                np.copyto(box[target], found, where=found > 0)
    return not np.array_equal(*boxes)


def _stored_layers(node: Any) -> Iterator[tuple[np.ndarray, Grid, np.ndarray]]:
    """Of each layer that holds anything: what is stored (K, J, I), its grid, and the structure by stored value; the
    last one stands for all greater values."""
    for image, segments in _segments_by_image(node):
        stored, grid = _content(image)
        if stored is None or grid is None:
            continue
        own = {segment.GetLabelValue(): _marked_value(segment_id, segment) for segment_id, segment in segments}
        values = np.zeros(max(own) + 2, np.uint16)
        values[list(own)] = list(own.values())
        yield stored, grid, values


@dataclass(frozen=True)
class _Layer:
    """One labelmap of a segmentation: ``labels`` (K, J, I) uint16, values of structures, on ``grid``; ``names`` of
    them."""

    labels: np.ndarray
    grid: Grid
    names: dict[int, str]


class _Merger:
    """Layers into one array; two structures at one place are refused."""

    def __init__(self, grid: Grid):
        self.labels = np.zeros(grid.shape_kji, dtype=np.uint16)
        self._names: dict[int, str] = {}

    def add(self, labels: np.ndarray, place: tuple[slice, ...], layer: _Layer) -> None:
        self._names |= layer.names
        there = self.labels[place]
        clash = (labels > 0) & (there > 0) & (labels != there)
        if clash.any():
            first, second = (repr(self._names[int(array[clash][0])]) for array in (there, labels))
            message = f"segments {first} and {second} overlap"
            raise LabelError("overlapping-segments", message, "remove the overlap in the Segment Editor")
        np.copyto(there, labels, where=labels > 0)


def _merged(layers: Sequence[_Layer], grid: Grid) -> np.ndarray:
    """The layers, all on the lattice of ``grid``, as one array on it."""
    result = _Merger(grid)
    for layer in layers:
        first = _offset_on(layer.grid, grid)[::-1]
        lower, upper = np.maximum(first, 0), np.minimum(first + layer.labels.shape, grid.shape_kji)
        if (lower < upper).all():
            source = tuple(slice(a, b) for a, b in zip(lower - first, upper - first, strict=True))
            target = tuple(slice(a, b) for a, b in zip(lower, upper, strict=True))
            result.add(layer.labels[source], target, layer)
    return result.labels


def _layers(node: Any, value_of: Callable[[str, Any], int]) -> list[_Layer]:
    """The layers that hold anything, with ``value_of(segment id, segment)`` for each segment that has voxels."""
    layers = []
    for image, segments in _segments_by_image(node):
        stored, grid = _filled_part(*_content(image))
        if stored is None or grid is None:
            continue
        values, names = np.zeros(int(stored.max()) + 1, dtype=np.uint16), {}
        for segment_id, segment in segments:
            own = segment.GetLabelValue()
            if not 0 < own < len(values):
                continue
            try:
                values[own] = value_of(segment_id, segment)
            except LabelError:
                if (stored == own).any():
                    raise
            names[int(values[own])] = segment.GetName()
        layers.append(_Layer(values[np.maximum(stored, 0)], grid, names))  # below zero is no segment's
    return layers


def _segments_by_image(node: Any) -> list[tuple[Any, list[tuple[str, Any]]]]:
    """[(vtkOrientedImageData, [(segment id, vtkSegment)])]; segments of one layer share the image."""
    segmentation = node.GetSegmentation()
    by_address: dict[str, tuple[Any, list[tuple[str, Any]]]] = {}
    for number in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegment(number)
        image = segment.GetRepresentation(BINARY_LABELMAP)
        if image is None:
            raise LabelError(
                "no-labelmap",
                f"{node.GetName()} has no binary labelmap for {segment.GetName()}",
                "make Binary labelmap the source representation in the Segmentations module",
            )
        _, segments = by_address.setdefault(image.GetAddressAsString(""), (image, []))
        segments.append((segmentation.GetNthSegmentID(number), segment))
    return list(by_address.values())


def _content(image: Any) -> tuple[np.ndarray | None, Grid | None]:
    """The stored values (K, J, I) and their grid; None where the image is empty. Layers may start at any index."""
    import slicer
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    scalars = image.GetPointData().GetScalars()
    if image.IsEmpty() or scalars is None:
        return None, None
    matrix, first_voxel = vtk.vtkMatrix4x4(), np.eye(4)
    image.GetImageToWorldMatrix(matrix)
    first_voxel[:3, 3] = image.GetExtent()[::2]
    shape = image.GetDimensions()[::-1]
    grid = Grid(shape, slicer.util.arrayFromVTKMatrix(matrix) @ first_voxel)
    return vtk_to_numpy(scalars).reshape(shape), grid


def _filled_part(stored: np.ndarray | None, grid: Grid | None) -> tuple[np.ndarray | None, Grid | None]:
    """The smallest box of it that holds all that is drawn, and its grid; None where nothing is."""
    if stored is None or grid is None:
        return None, None
    drawn = stored > 0
    axes = [np.flatnonzero(drawn.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    if axes[0].size == 0:
        return None, None
    part = stored[tuple(slice(found[0], found[-1] + 1) for found in axes)]
    first_voxel = np.eye(4)
    first_voxel[:3, 3] = [found[0] for found in axes[::-1]]
    return part, Grid(part.shape, grid.ijk_to_ras @ first_voxel)


def _structure_value(segment_id: str, segment: Any, label_map: LabelMap) -> int:
    """The label value that a segment with voxels stands for."""
    value = label_value(segment)
    if value is None:  # not made here: a file of the command line, perhaps
        value = next((s.value for s in label_map.structures if segment_id == f"Segment_{s.value}"), 0)
        value = value if value and label_map.by_value(value).name == segment.GetName() else 0
    if value not in label_map.values:
        raise _unknown(segment)
    return value


def _marked_value(_segment_id: str, segment: Any) -> int:
    value = label_value(segment)
    if value is None:
        raise _unknown(segment)
    return value


def _unknown(segment: Any) -> LabelError:
    message = f"segment {segment.GetName()!r} is no structure of the model"
    hint = "copy its voxels into one that is (Segment Editor, Logical operators), then remove it"
    return LabelError("unknown-segment", message, hint)


def _offset_on(part: Grid, whole: Grid) -> np.ndarray | None:
    """Where (i, j, k) the first voxel of ``part`` lies in ``whole``; None where the two are not of one lattice."""
    relation = whole.ras_to_ijk @ part.ijk_to_ras
    offset = np.rint(relation[:3, 3])
    difference = np.abs(relation[:3] - np.column_stack([np.eye(3), offset]))
    is_same = (difference @ [*part.shape_ijk, 1] < _SAME_LATTICE).all()
    return offset.astype(int) if is_same else None


def _common_grid(layers: Sequence[_Layer]) -> Grid | None:
    """The smallest grid that holds all ``layers``; None where they are not of one lattice."""
    base = layers[0].grid
    offsets = [_offset_on(layer.grid, base) for layer in layers]
    if any(offset is None for offset in offsets):
        return None
    lower = np.min(offsets, axis=0)
    i, j, k = np.max([o + layer.grid.shape_ijk for o, layer in zip(offsets, layers, strict=True)], axis=0) - lower
    first_voxel = np.eye(4)
    first_voxel[:3, 3] = lower
    return Grid((k, j, i), base.ijk_to_ras @ first_voxel)


def _transform_between(volume: Any, segmentation: Any) -> Any:
    """vtkGeneralTransform from the volume's own coordinates to the segmentation's."""
    import vtk

    transform = vtk.vtkGeneralTransform()
    transform.PostMultiply()
    transform.Concatenate(transform_to_world(volume))
    transform.Concatenate(transform_from_world(segmentation))
    return transform
