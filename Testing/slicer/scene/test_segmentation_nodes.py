"""Segmentations as nodes: names, colours, codes and places; whole or not at all."""

import numpy as np
import pytest
from result_samples import BRAIN, SMALL, segments_of, some_labels, tree_of
from scene_volumes import (
    add_volume,
    node_ids,
)

from CrossModalSegApp.scene import segmentation_nodes
from CrossModalSegApp.scene.node_geometry import local_grid
from CrossModalSegApp.scene.result_nodes import add_uncertainty
from CrossModalSegApp.scene.segmentation_labels import segment_labels
from CrossModalSegApp.scene.segmentation_nodes import add_segmentation
from CrossModalSegLib.errors import CrossModalSegError
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.labels import LabelMap, Structure
from Testing.volumes import points_of


def test_every_structure_is_a_segment_with_name_colour_value_and_code_also_where_there_is_none_of_it(
    slicer_logics, scan
):
    import slicer
    import vtk

    node = add_segmentation(scan, some_labels(scan, (0, 2, 41)), BRAIN, "result")
    segments = segments_of(node)
    assert list(segments) == [f"Segment_{structure.value}" for structure in BRAIN.structures]
    for structure, segment in zip(BRAIN.structures, segments.values(), strict=True):
        assert segment.GetName() == structure.name
        assert segment.GetLabelValue() == structure.value
        np.testing.assert_allclose(np.array(segment.GetColor()) * 255, structure.color, atol=1e-6)
        tag, entry = vtk.reference(""), slicer.vtkSlicerTerminologyEntry()
        assert segment.GetTag(segment.GetTerminologyEntryTagName(), tag)
        assert slicer_logics.terminologies.DeserializeTerminologyEntry(str(tag), entry)
        code = entry.GetTypeObject()
        decoded = [code.GetCodingSchemeDesignator(), code.GetCodeValue(), code.GetCodeMeaning()]
        assert decoded == structure.terminology.type.as_list()


def test_all_segments_share_one_labelmap_on_the_scan_s_grid(scan):
    node = add_segmentation(scan, some_labels(scan), SMALL, "result")
    assert node.GetSegmentation().GetNumberOfLayers() == 1
    import slicer

    geometry = node.GetSegmentation().GetConversionParameter(
        slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    )
    reference = slicer.vtkOrientedImageData()
    assert slicer.vtkSegmentationConverter.DeserializeImageGeometry(geometry, reference, False)
    image = segments_of(node)["Segment_1"].GetRepresentation("Binary labelmap")
    assert slicer.vtkOrientedImageDataResample.DoGeometriesMatch(reference, image)
    assert slicer.vtkOrientedImageDataResample.DoExtentsMatch(reference, image)


def test_values_above_255_are_kept(scan):
    label_map = LabelMap((Structure(300, "a", (1, 2, 3)), Structure(65535, "b", (3, 2, 1))))
    labels = some_labels(scan, (0, 300, 65535))
    node = add_segmentation(scan, labels, label_map, "result")
    np.testing.assert_array_equal(segment_labels(node, scan, label_map), labels)


def test_the_result_lies_under_the_scan_s_transform_and_in_its_study(mrml_scene, scan):
    tree = tree_of(mrml_scene)
    study = tree.CreateStudyItem(tree.CreateSubjectItem(tree.GetSceneItemID(), "patient"), "study")
    tree.SetItemParent(tree.GetItemByDataNode(scan), study)
    for node in (
        add_segmentation(scan, some_labels(scan), SMALL, "result"),
        add_uncertainty(mrml_scene, scan, some_labels(scan), "uncertainty"),
    ):
        assert node.GetTransformNodeID() == scan.GetTransformNodeID()
        assert tree.GetItemParent(tree.GetItemByDataNode(node)) == study


def test_a_scan_that_the_subject_hierarchy_does_not_know_has_its_result_at_the_top(mrml_scene, scan):
    tree = tree_of(mrml_scene)
    tree.RemoveItem(tree.GetItemByDataNode(scan), False, False)
    node = add_segmentation(scan, some_labels(scan), SMALL, "result")
    assert tree.GetItemParent(tree.GetItemByDataNode(node)) == tree.GetSceneItemID()


def test_it_is_shown_as_outlines_with_a_faint_fill_and_as_surfaces_in_3d(scan):
    node = add_segmentation(scan, some_labels(scan), SMALL, "result")
    display = node.GetDisplayNode()
    assert display.GetVisibility()
    assert display.GetVisibility2DOutline()
    assert 0 < display.GetOpacity2DFill() < 0.5
    assert display.GetVisibility3D()
    surface = segments_of(node)["Segment_2"].GetRepresentation("Closed surface")
    assert surface.GetNumberOfPoints() > 100
    bounds = np.reshape(surface.GetBounds(), (3, 2)).T
    voxels = points_of(local_grid(scan))[some_labels(scan) == 2]
    assert np.abs(bounds - [voxels.min(axis=0), voxels.max(axis=0)]).max() < 4  # mm, with voxels of up to 4 mm


def test_one_that_is_not_shown_has_no_surfaces(scan):
    node = add_segmentation(scan, some_labels(scan), SMALL, "result", is_shown=False)
    assert not node.GetDisplayNode().GetVisibility()
    assert not node.GetSegmentation().ContainsRepresentation("Closed surface")


def test_nothing_but_the_node_and_its_display_is_added_to_the_scene(mrml_scene, scan):
    before = node_ids(mrml_scene)
    add_segmentation(scan, some_labels(scan), SMALL, "result")
    assert node_ids(mrml_scene) - before == {"vtkMRMLSegmentationNode1", "vtkMRMLSegmentationDisplayNode1"}


@pytest.mark.parametrize(
    ("code", "labels_of"),
    [
        ("shape-mismatch", lambda node: some_labels(node)[1:]),
        ("not-integers", lambda node: some_labels(node).astype(np.float32)),
        ("unknown-label-values", lambda node: some_labels(node, (0, 1, 3))),
    ],
)
def test_labels_that_do_not_fit_are_refused_and_leave_nothing_behind(mrml_scene, scan, code, labels_of):
    before, items = node_ids(mrml_scene), tree_of(mrml_scene).GetNumberOfItems()
    with pytest.raises(CrossModalSegError) as refusal:
        add_segmentation(scan, labels_of(scan), SMALL, "result")
    assert refusal.value.code == code
    assert node_ids(mrml_scene) == before
    assert tree_of(mrml_scene).GetNumberOfItems() == items


def test_a_failure_in_the_last_step_leaves_nothing_behind(mrml_scene, scan, monkeypatch):
    def fail(*_nodes):
        raise OSError("disk full")

    monkeypatch.setattr(segmentation_nodes, "place_beside", fail)
    before = node_ids(mrml_scene)
    with pytest.raises(OSError, match="disk full"):
        add_segmentation(scan, some_labels(scan), SMALL, "result")
    assert node_ids(mrml_scene) == before


def test_a_structure_that_surrounds_all_others_is_translucent_in_3d(mrml_scene):
    """Around two balls beside each other is a third structure; without it, none surrounds the others."""
    labels = np.zeros((24, 24, 24), dtype=np.uint8)
    labels[2:22, 2:22, 2:22] = 7
    labels[8:16, 8:16, 4:10] = 1
    labels[8:16, 8:16, 14:20] = 2
    assert opacities_3d(mrml_scene, labels) == [1.0, 1.0, 0.15]
    assert opacities_3d(mrml_scene, np.where(labels == 7, 0, labels)) == [1.0, 1.0, 1.0]


def opacities_3d(scene, labels):
    volume = add_volume(scene, Grid(labels.shape[::-1], np.eye(4)), labels)
    node = add_segmentation(volume, labels, SMALL, "result")
    structures = [f"Segment_{structure.value}" for structure in SMALL.structures]
    return [node.GetDisplayNode().GetSegmentOpacity3D(segment_id) for segment_id in structures]
