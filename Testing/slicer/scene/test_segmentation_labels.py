"""Labels are read back from a segmentation as it was edited."""

import numpy as np
import pytest
from result_samples import BRAIN, SMALL, paint, segments_of, some_labels
from scene_volumes import (
    TRANSFORMS,
    add_scan,
    dice,
    linear_node,
    oblique_grid,
    put_under,
)

from CrossModalSegApp.scene.node_geometry import from_world, local_grid, to_world
from CrossModalSegApp.scene.segmentation_labels import is_corrected, segment_labels
from CrossModalSegApp.scene.segmentation_nodes import add_segmentation
from CrossModalSegLib.errors import LabelError
from Testing.volumes import points_of


def test_labels_are_read_back_as_they_were_given(scan):
    labels = some_labels(scan)
    node = add_segmentation(scan, labels, SMALL, "result")
    np.testing.assert_array_equal(segment_labels(node, scan, SMALL), labels)


def test_segments_in_layers_of_their_own_and_of_cropped_extent_are_read_at_their_place(scan):
    import slicer

    labels = some_labels(scan)
    node = add_segmentation(scan, labels, SMALL, "result")
    segmentation = node.GetSegmentation()
    segmentation.SeparateSegmentLabelmap("Segment_2")
    segmentation.SeparateSegmentLabelmap("Segment_7")
    for id_ in ("Segment_1", "Segment_2", "Segment_7"):
        image = segmentation.GetSegment(id_).GetRepresentation("Binary labelmap")
        tight = [0] * 6
        assert slicer.vtkOrientedImageDataResample.CalculateEffectiveExtent(image, tight)
        slicer.vtkOrientedImageDataResample.CopyImage(image, image, tight)
    assert segmentation.GetNumberOfLayers() == 3
    extents = {segments_of(node)[id_].GetRepresentation("Binary labelmap").GetExtent() for id_ in segments_of(node)}
    assert len(extents) == 3
    np.testing.assert_array_equal(segment_labels(node, scan, SMALL), labels)


def test_what_was_painted_beyond_the_scan_is_left_out(scan):
    import slicer

    labels = some_labels(scan)
    node = add_segmentation(scan, labels, SMALL, "result")
    image = segments_of(node)["Segment_1"].GetRepresentation("Binary labelmap")
    i0, i1, j0, j1, k0, k1 = image.GetExtent()
    slicer.vtkOrientedImageDataResample.CopyImage(image, image, [i0 - 3, i1 + 2, j0 - 1, j1, k0, k1 + 4])
    image.SetScalarComponentFromDouble(i0 - 2, j0, k0, 0, 7)
    np.testing.assert_array_equal(segment_labels(node, scan, SMALL), labels)


def test_what_is_stored_below_zero_is_no_segment_s(scan):
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    labels = some_labels(scan)
    node = add_segmentation(scan, labels, SMALL, "result")
    (image,) = {one.GetRepresentation("Binary labelmap") for one in segments_of(node).values()}
    signed = vtk.vtkShortArray()
    signed.DeepCopy(image.GetPointData().GetScalars())
    stored = vtk_to_numpy(signed)
    stored[stored == 0] = -1
    image.GetPointData().SetScalars(signed)
    np.testing.assert_array_equal(segment_labels(node, scan, SMALL), labels)


def test_erased_and_painted_voxels_are_read(scan):
    labels = some_labels(scan)
    node = add_segmentation(scan, labels, SMALL, "result")
    paint(node, "Segment_2", np.s_[:4], erase=True)
    paint(node, "Segment_2", np.s_[-2:, 0, 0])
    expected = np.where((labels == 2) & (np.indices(labels.shape)[0] < 4), 0, labels)
    expected[-2:, 0, 0] = 2
    np.testing.assert_array_equal(segment_labels(node, scan, SMALL), expected)


def test_a_renamed_and_recoloured_segment_keeps_its_value(scan):
    labels = some_labels(scan)
    node = add_segmentation(scan, labels, SMALL, "result")
    segments_of(node)["Segment_7"].SetName("metastasis")
    segments_of(node)["Segment_7"].SetColor(1, 1, 1)
    np.testing.assert_array_equal(segment_labels(node, scan, SMALL), labels)


def test_a_removed_segment_is_background(scan):
    labels = some_labels(scan)
    node = add_segmentation(scan, labels, SMALL, "result")
    node.GetSegmentation().RemoveSegment("Segment_2")
    np.testing.assert_array_equal(segment_labels(node, scan, SMALL), np.where(labels == 2, 0, labels))


def test_overlapping_segments_are_refused_by_their_names(scan):
    node = add_segmentation(scan, some_labels(scan), SMALL, "result")
    paint(node, "Segment_2", np.s_[:])
    with pytest.raises(LabelError, match=r"overlapping-segments.*'liver' and 'spleen'.*Segment Editor"):
        segment_labels(node, scan, SMALL)


def test_an_empty_segment_of_the_user_s_own_is_ignored_and_one_with_voxels_refused_by_name(scan):
    labels = some_labels(scan)
    node = add_segmentation(scan, labels, SMALL, "result")
    own = node.GetSegmentation().AddEmptySegment("", "my own")
    np.testing.assert_array_equal(segment_labels(node, scan, SMALL), labels)
    paint(node, own)
    with pytest.raises(LabelError, match=r"unknown-segment.*'my own'.*remove it"):
        segment_labels(node, scan, SMALL)


def test_a_new_segment_that_got_the_id_of_a_removed_one_is_not_taken_for_it(scan):
    node = add_segmentation(scan, some_labels(scan), SMALL, "result")
    node.GetSegmentation().RemoveSegment("Segment_2")
    assert node.GetSegmentation().AddEmptySegment("Segment_2", "my own") == "Segment_2"
    paint(node, "Segment_2")
    with pytest.raises(LabelError, match=r"unknown-segment.*'my own'"):
        segment_labels(node, scan, SMALL)


def test_a_segmentation_without_labelmaps_is_refused_with_the_remedy(scan):
    node = add_segmentation(scan, some_labels(scan), SMALL, "result")
    node.SetSourceRepresentationToClosedSurface()
    node.RemoveBinaryLabelmapRepresentation()
    with pytest.raises(LabelError, match=r"no-labelmap.*Segmentations module"):
        segment_labels(node, scan, SMALL)


@pytest.mark.parametrize("kind", ["none", "b-spline"])
def test_a_segmentation_that_was_moved_against_its_scan_is_read_where_it_lies_now(mrml_scene, kind):
    node, anatomy = add_scan(mrml_scene, oblique_grid(4), kind, 4)
    labels = anatomy.labels(to_world(node, points_of(local_grid(node))))
    segmentation = add_segmentation(node, labels, BRAIN, "result")
    shift = np.eye(4)
    shift[:3, 3] = [4.0, -3.0, 6.0]
    mover = linear_node(mrml_scene, shift)
    put_under(segmentation, mover, *TRANSFORMS[kind](mrml_scene, np.random.default_rng(4)))
    read = segment_labels(segmentation, node, BRAIN)
    assert (read != labels).sum() > 0.1 * (labels > 0).sum()
    world = to_world(node, points_of(local_grid(node)))
    before = to_world(node, from_world(segmentation, world))  # where the anatomy was that is shown there now
    expected = anatomy.labels(before)
    for value in anatomy.values:
        assert dice(read == value, expected == value) > 0.93


def test_a_model_s_own_result_is_not_corrected_and_one_changed_voxel_is(scan):
    nodes = [add_segmentation(scan, some_labels(scan), SMALL, name) for name in ("edited", "model")]
    assert not is_corrected(*nodes)
    segments_of(nodes[0])["Segment_1"].SetName("renamed")
    nodes[0].GetSegmentation().SeparateSegmentLabelmap("Segment_7")
    assert not is_corrected(*nodes)
    paint(nodes[0], "Segment_7")
    assert is_corrected(*nodes)


def test_two_empty_results_are_the_same_and_what_cannot_be_compared_counts_as_corrected(scan):
    nothing = np.zeros(local_grid(scan).shape_kji, np.uint8)
    nodes = [add_segmentation(scan, nothing, SMALL, name) for name in ("edited", "model")]
    assert not is_corrected(*nodes)
    own = nodes[0].GetSegmentation().AddEmptySegment("", "my own")
    assert not is_corrected(*nodes)
    paint(nodes[0], own)
    assert is_corrected(*nodes)
