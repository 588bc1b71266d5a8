"""The region behind a place of the review list, in nodes of a real scene."""

import numpy as np
import pytest
import slicer
from results_in_scene import add_result
from vtk.util.numpy_support import vtk_to_numpy

from CrossModalSegApp.scene.node_geometry import local_grid, to_world
from CrossModalSegApp.scene.region_outline import RegionOutline
from CrossModalSegApp.scene.review import DIFFERENCE, ReviewEntry
from CrossModalSegApp.scene.review_region import UNCERTAIN_PERCENT, region_of
from CrossModalSegApp.scene.scene_io import voxels_of
from CrossModalSegApp.scene.segmentation_labels import marked_labels
from CrossModalSegApp.scene.segmentation_nodes import replace_labels
from CrossModalSegLib.inference.review import UNCERTAIN
from Testing.slicer.logic.test_presenters import bundles, pair, view  # noqa: F401
from Testing.tiny_bundle import LABEL_MAP

BOX = (slice(1, 6), slice(10, 16), slice(10, 16))
NAMES = {one.value: one.name for one in LABEL_MAP.structures}


@pytest.fixture
def case(mrml_scene, pair, view):  # noqa: F811
    return add_result(mrml_scene, pair, view.logic.bundle("quick"))


def entry(case, reason, modalities, structure="", box=BOX):
    volume = case.volumes[modalities[0]]
    k, j, i = ((part.start + part.stop - 1) / 2 for part in box)
    ras = to_world(volume, (local_grid(volume).ijk_to_ras @ [i, j, k, 1.0])[:3])
    return ReviewEntry(1, structure, modalities, reason, 0.5, 1.0, tuple(ras.tolist()))


def test_what_is_uncertain_is_where_the_models_confidence_is_low(case):
    percent = voxels_of(case.uncertainties["T1w"])
    percent[BOX] = UNCERTAIN_PERCENT
    percent[BOX[0], BOX[1], 20:23] = UNCERTAIN_PERCENT - 1
    slicer.util.arrayFromVolumeModified(case.uncertainties["T1w"])
    region = region_of(case, entry(case, "uncertain", ("T1w",)), {})
    assert region.volume is case.volumes["T1w"]
    np.testing.assert_array_equal(region.mask, percent >= UNCERTAIN_PERCENT)
    assert pytest.approx(100 * (1 - UNCERTAIN)) == UNCERTAIN_PERCENT


def test_what_differs_is_where_one_result_is_this_and_the_other_that(case):
    volume, node = case.volumes["T1w"], case.segmentations["T1w"]
    labels = marked_labels(node, volume)
    before = int(labels[BOX][0, 0, 0])
    assert (labels[BOX] == before).all()
    after = next(value for value in NAMES if value != before)
    labels[BOX] = after
    replace_labels(node, volume, labels)
    place = entry(case, DIFFERENCE + NAMES[before], ("T1w",), NAMES[after])
    expected = np.zeros(labels.shape, dtype=bool)
    expected[BOX] = True
    np.testing.assert_array_equal(region_of(case, place, case.models).mask, expected)
    assert region_of(case, place, {}) is None, "the other result has gone"


def test_where_the_scans_disagree_is_where_one_alone_has_the_structure(case):
    """The structure is taken from the second scan's result; the first scan has it in the half of its grid."""
    value = int(marked_labels(case.models["T1w"], case.volumes["T1w"])[3, 12, 12])
    volume, node = case.volumes["T2w"], case.models["T2w"]
    labels = marked_labels(node, volume)
    replace_labels(node, volume, np.where(labels == value, 0, labels))
    region = region_of(case, entry(case, "disagreement", ("T1w", "T2w"), NAMES[value]), {})
    here = marked_labels(case.models["T1w"], case.volumes["T1w"]) == value
    assert region.mask[3, 12, 12]
    assert not (region.mask & ~here).any()


def test_the_outline_in_slicer_is_of_the_region_and_is_no_part_of_a_saved_scene(mrml_scene, case):
    voxels_of(case.uncertainties["T1w"])[BOX] = 90
    region = region_of(case, entry(case, "uncertain", ("T1w",)), {})
    outline = RegionOutline(mrml_scene)
    before = mrml_scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")
    outline.show(region)
    outline.show(region)
    assert mrml_scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == before + 1
    node = mrml_scene.GetFirstNodeByName("region in question")
    image = node.GetSegmentation().GetSegment("Region").GetRepresentation("Binary labelmap")
    found = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(region.mask.shape)
    np.testing.assert_array_equal(found > 0, region.mask)
    assert not node.GetSaveWithScene()
    outline.show(None)
    assert mrml_scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == before
