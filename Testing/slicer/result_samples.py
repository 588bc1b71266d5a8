"""A small result, its report and its model, for tests of what becomes of them in the scene."""

from types import SimpleNamespace

import numpy as np

from CrossModalSegApp.scene.node_geometry import local_grid
from CrossModalSegLib.labels import LABEL_MAP_FOLDER, LabelMap, Structure, read_label_map

BRAIN = read_label_map(LABEL_MAP_FOLDER / "brain_mr_pair.json")
SMALL = LabelMap(
    (Structure(1, "liver", (200, 10, 10)), Structure(2, "spleen", (0, 200, 0)), Structure(7, "cyst", (9, 9, 9)))
)
REPORT = {
    "structures": [
        {
            "value": 1,
            "name": "liver",
            "volume_ml": {"CT": 1512.345, "MR": 1499.0},
            "confidence": {"CT": 0.98, "MR": 0.9},
        },
        {"value": 2, "name": "spleen", "volume_ml": {"CT": 0.0, "MR": 0.0}, "confidence": {"CT": None, "MR": None}},
        {"value": 7, "name": "cyst", "volume_ml": {"CT": 1.004, "MR": 2.0}, "confidence": {"CT": 0.5, "MR": 0.6666}},
    ],
    "agreement": {"mean": 0.8, "liver": 0.95, "spleen": None, "cyst": 0.6512},
    "device": "cpu",
    "fallbacks": ["out of memory on the GPU with 8 windows at a time"],
    "review": [
        {
            "number": 1,
            "ras_mm": [1.25, -2.5, 3.0],
            "structure": "cyst",
            "modalities": ["CT", "MR"],
            "reason": "disagreement",
            "severity": 0.7,
            "volume_ml": 1.5,
        }
    ],
}
BUNDLE = SimpleNamespace(name="abdomen-pair", sha256="0123abcd", label_map=SMALL)


def some_labels(node, values=(0, 1, 2, 7)):
    """Every label in a box of its own, background between them."""
    labels = np.zeros(local_grid(node).shape_kji, np.uint16)
    for number, value in enumerate(values[1:]):
        labels[2:6, 2:-2, 2 + 5 * number : 6 + 5 * number] = value
    return labels


def segments_of(node):
    segmentation = node.GetSegmentation()
    ids = [segmentation.GetNthSegmentID(number) for number in range(segmentation.GetNumberOfSegments())]
    return {id_: segmentation.GetSegment(id_) for id_ in ids}


def tree_of(scene):
    import slicer

    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)


def paint(node, segment_id, where=(0, 0, 0), erase=False):
    """Add the voxels ``where`` (an index of the scan's array) to a segment, in a layer of its own, or erase them."""
    from vtk.util.numpy_support import vtk_to_numpy

    segmentation = node.GetSegmentation()
    segmentation.SeparateSegmentLabelmap(segment_id)
    segment = segmentation.GetSegment(segment_id)  # its label value is another one in the new layer
    image = segment.GetRepresentation("Binary labelmap")
    array = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    array[where] = 0 if erase else segment.GetLabelValue()
