"""Label arrays as segmentation nodes: every structure a segment with name, colour, terminology and label value."""

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from CrossModalSegApp.scene.display_colors import display_colors
from CrossModalSegApp.scene.node_geometry import local_grid
from CrossModalSegApp.scene.subject_tree import place_beside, remove
from CrossModalSegLib.errors import GeometryError, LabelError
from CrossModalSegLib.labels import LabelMap, Structure

VALUE_TAG = "CrossModalSeg.LabelValue"  # on a segment: which structure it is, whatever becomes of its name and id
Key = TypeVar("Key")
BINARY_LABELMAP = "Binary labelmap"
CLOSED_SURFACE = "Closed surface"

_FILL_OPACITY = 0.25
SURROUNDING_OPACITY = 0.15


def add_segmentation(
    volume_node: Any,
    labels: np.ndarray,
    label_map: LabelMap,
    name: str,
    is_shown: bool = True,
    has_surfaces: bool = True,
) -> Any:
    """Add ``labels`` (K, J, I) on the own grid of ``volume_node`` as a vtkMRMLSegmentationNode called ``name``.

    All structures of ``label_map`` become segments, also those that ``labels`` has none of, with the ids
    ``Segment_<value>``; they share one labelmap. The node lies under the volume's parent transform and beside it in
    the subject hierarchy, and has the volume's grid as reference geometry. It is shown as outlines with a faint fill
    in slices and as surfaces in 3D, or hidden and without surfaces where ``is_shown`` is False; ``has_surfaces`` is
    False where a view makes its own. Nothing else is added to the scene, and nothing at all where an error is raised:
    GeometryError ``shape-mismatch``; LabelError ``not-integers`` or ``unknown-label-values``.
    """
    _check(labels, local_grid(volume_node).shape_kji, label_map)
    node = volume_node.GetScene().AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    try:
        node.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
        node.SetSourceRepresentationToBinaryLabelmap()
        image = oriented_image(labels, volume_node)
        for structure in label_map.structures:
            if not node.GetSegmentation().AddSegment(_segment(structure, image), f"Segment_{structure.value}"):
                raise LabelError("bad-label-map", f"Slicer refuses segment {structure.name!r}", "check the label map")
        _show(node, is_shown, has_surfaces)
        place_beside(volume_node, node)
    except BaseException:
        remove(node)
        raise
    return node


def replace_labels(node: Any, volume_node: Any, labels: np.ndarray) -> None:
    """Make ``labels`` (K, J, I), on the own grid of ``volume_node``, the content of a node that `add_segmentation`
    made.

    All segments share one labelmap again. A segment that is no structure becomes empty.
    """
    image = oriented_image(labels, volume_node)
    segmentation = node.GetSegmentation()
    for number in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegment(number)
        value = label_value(segment)
        if value is None:
            segment.RemoveRepresentation(BINARY_LABELMAP)
            continue
        segment.SetLabelValue(value)
        segment.AddRepresentation(BINARY_LABELMAP, image)


def label_value(segment: Any) -> int | None:
    """Which structure a segment is, by the mark that `add_segmentation` gave it; None without one."""
    import vtk

    text = vtk.reference("")
    return int(str(text)) if segment.GetTag(VALUE_TAG, text) and str(text).isdecimal() else None


def show_colors(node: Any) -> None:
    """Show the structures in `display_colors`; the segments keep those of the label map."""
    segmentation, display = node.GetSegmentation(), node.GetDisplayNode()
    if display is None:
        return
    ids = [segmentation.GetNthSegmentID(number) for number in range(segmentation.GetNumberOfSegments())]
    names = {one: segmentation.GetSegment(one).GetName() for one in ids if label_value(segmentation.GetSegment(one))}
    colors = display_colors(list(names.values()))
    was_modifying = display.StartModify()
    for segment_id, name in names.items():
        display.SetSegmentOverrideColor(segment_id, *colors[name])
    display.EndModify(was_modifying)


def create_surfaces(node: Any) -> None:
    """Make the closed surfaces that 3D views show; they follow the labels from then on.

    A structure that surrounds all others is made translucent in 3D: it would hide them.
    """
    node.CreateClosedSurfaceRepresentation()
    display = node.GetDisplayNode()
    display.SetPreferredDisplayRepresentationName3D(CLOSED_SURFACE)
    display.SetPreferredDisplayRepresentationName2D(BINARY_LABELMAP)
    outermost = surrounding(_boxes(node.GetSegmentation()))
    if outermost is not None:
        display.SetSegmentOpacity3D(outermost, SURROUNDING_OPACITY)


def _check(labels: np.ndarray, shape_kji: tuple[int, ...], label_map: LabelMap) -> None:
    if labels.shape != shape_kji:
        message = f"labels of shape {labels.shape} for a scan of {shape_kji}"
        raise GeometryError("shape-mismatch", message, "give labels on the scan's own grid")
    if not np.issubdtype(labels.dtype, np.integer):
        raise LabelError("not-integers", f"labels are {labels.dtype}", "give label values as integers")
    found: set[int] = set().union(*(np.unique(plane).tolist() for plane in labels))
    unknown = ", ".join(map(str, sorted(found - set(label_map.channels))))
    if unknown:
        raise LabelError("unknown-label-values", f"the label map has no {unknown}", "give values of the label map")


def oriented_image(labels: np.ndarray, volume_node: Any) -> Any:
    """vtkOrientedImageData with a copy of ``labels`` on the own grid of ``volume_node``, uint8 where that suffices."""
    import slicer
    from vtk.util.numpy_support import numpy_to_vtk

    stored = np.uint8 if labels.max(initial=0) <= 255 else np.uint16
    image = slicer.vtkOrientedImageData()
    i, j, k = labels.shape[::-1]
    image.SetExtent(0, i - 1, 0, j - 1, 0, k - 1)
    image.SetGeometryFromImageToWorldMatrix(slicer.util.vtkMatrixFromArray(local_grid(volume_node).ijk_to_ras))
    scalars = numpy_to_vtk(np.ascontiguousarray(labels, dtype=stored).ravel(), deep=True)
    scalars.SetName("ImageScalars")
    image.GetPointData().SetScalars(scalars)
    return image


def _segment(structure: Structure, image: Any) -> Any:
    import slicer

    segment = slicer.vtkSegment()
    segment.SetName(structure.name)
    segment.SetNameAutoGenerated(False)
    segment.SetColor([part / 255 for part in structure.color])
    segment.SetColorAutoGenerated(False)
    segment.SetLabelValue(structure.value)
    segment.SetTag(VALUE_TAG, str(structure.value))
    if structure.terminology:
        segment.SetTag(segment.GetTerminologyEntryTagName(), structure.terminology.slicer_tag())
    segment.AddRepresentation(BINARY_LABELMAP, image)
    return segment


def _boxes(segmentation: Any) -> dict[str, np.ndarray]:
    """Bounding boxes (3, 2) of the surfaces in mm, by segment id; none for what is empty."""
    boxes = {}
    for number in range(segmentation.GetNumberOfSegments()):
        segment_id = segmentation.GetNthSegmentID(number)
        surface = segmentation.GetSegment(segment_id).GetRepresentation(CLOSED_SURFACE)
        if surface is not None and surface.GetNumberOfPoints() > 0:
            boxes[segment_id] = np.array(surface.GetBounds()).reshape(3, 2)
    return boxes


def surrounding(boxes: Mapping[Key, np.ndarray]) -> Key | None:
    """The segment with the largest box, if the middles of all others lie in it and there are others."""
    if len(boxes) < 2:
        return None
    largest = max(boxes, key=lambda segment_id: float(np.prod(np.diff(boxes[segment_id], axis=1))))
    lower, upper = boxes[largest].T
    middles = np.array([box.mean(axis=1) for box in boxes.values()])
    return largest if bool(np.all((lower <= middles) & (middles <= upper))) else None


def _show(node: Any, is_shown: bool, has_surfaces: bool) -> None:
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetVisibility2DOutline(True)
    display.SetVisibility2DFill(True)
    display.SetOpacity2DFill(_FILL_OPACITY)
    display.SetVisibility(is_shown)
    show_colors(node)
    if is_shown and has_surfaces:
        create_surfaces(node)
