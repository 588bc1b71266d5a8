"""The section Compare: which results there are to compare with, the figures, and the list of differences."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from results_in_scene import add_result

from CrossModalSegApp.scene.node_geometry import local_grid, to_world
from CrossModalSegApp.scene.segmentation_labels import marked_labels
from CrossModalSegApp.scene.segmentation_nodes import replace_labels
from CrossModalSegLib.labels import LabelMap
from Testing.slicer.logic.test_presenters import bundles, case, pair, view  # noqa: F401
from Testing.tiny_bundle import LABEL_MAP

NAMES = {one.value: one.name for one in LABEL_MAP.structures}


@pytest.fixture
def corrected(case):  # noqa: F811
    """A box of 6 x 6 x 6 voxels of the T1w's result became the next structure; here and there, by label value."""
    volume, node = case.volumes["T1w"], case.segmentations["T1w"]
    labels = marked_labels(node, volume)
    box = (slice(1, 7), slice(10, 16), slice(10, 16))
    before = int(labels[1, 10, 10])
    after = next(value for value in NAMES if value != before)
    assert (labels[box] == before).all()
    labels[box] = after
    replace_labels(node, volume, labels)
    return after, before


def middle(case):  # noqa: F811
    volume = case.volumes["T1w"]
    ijk = np.array([12.5, 12.5, 3.5, 1.0])
    return to_world(volume, (local_grid(volume).ijk_to_ras @ ijk)[:3])


@pytest.mark.usefixtures("case")
def test_a_result_can_be_compared_with_the_models_own_and_with_others_of_its_scans(view, pair, mrml_scene):  # noqa: F811
    compare = view.sections.compare
    assert compare.state.others == (("model", "the model's own result"),)
    other = add_result(mrml_scene, {"T1w": pair["T1w"]}, view.logic.bundle("quick"), "later")
    view.sections.result.fill()
    view.sections.result.choose("run")
    assert compare.state.others == (("model", "the model's own result"), ("later", other.title))
    other.remove()
    view.sections.result.fill()
    assert [one for one, _ in compare.state.others] == ["model"]


@pytest.mark.usefixtures("case")
def test_another_model_with_other_values_for_the_same_structures_is_compared_by_name(view, pair, mrml_scene):  # noqa: F811
    first, *rest = LABEL_MAP.structures
    renumbered = [replace(first, value=rest[0].value), replace(rest[0], value=first.value)]
    renumbered += [replace(one, value=one.value + 40) for one in rest[1:]]
    other = SimpleNamespace(name="other", sha256="other", label_map=LabelMap(tuple(renumbered)))
    add_result(mrml_scene, pair, other, "later")
    view.sections.result.fill()
    view.sections.result.choose("run")
    view.sections.compare.choose("later")
    assert {row[0] for row in view.sections.compare.state.rows} == set(NAMES.values())
    assert {cell for row in view.sections.compare.state.rows for cell in (row[1], row[4])} == {"1.000"}
    assert view.sections.review.state.entries == ()


def test_what_was_corrected_is_listed_with_its_volume_and_place(view, case, corrected):  # noqa: F811
    view.sections.compare.choose("model")
    state, review = view.sections.compare.state, view.sections.review.state
    (entry,) = review.entries
    ml = local_grid(case.volumes["T1w"]).voxel_volume_ml
    after, before = (NAMES[value] for value in corrected)
    assert entry.structure == after
    thick = 6**3 - 8 - 12 * 4  # an opening takes the corners and edges of a box
    assert entry.reason == f"{before} in the other result, T1w ({thick * ml:.2f} mL)"
    row = next(row for row in state.rows if row[0] == before)
    here, there = float(row[2]), float(row[3])
    assert there - here == pytest.approx(216 * ml, abs=0.011)
    assert float(row[1]) == pytest.approx(2 * here / (here + there), abs=2e-3)
    assert row[4] == "1.000", "the T2w was not touched"
    assert {state.rows[0][0], state.rows[1][0]} == {before, after}, "what agrees least comes first"
    view.sections.review.go_next()
    np.testing.assert_allclose(view.places[-1], middle(case), atol=5.0)
    assert view.sections.legend.state.name == after


@pytest.mark.usefixtures("corrected")
def test_the_list_is_that_of_the_result_again_when_comparing_ends(view, mrml_scene):  # noqa: F811
    nodes = mrml_scene.GetNumberOfNodes()
    own = view.sections.review.state
    view.sections.compare.choose("model")
    assert len(view.sections.review.state.entries) == 1
    view.sections.compare.choose("")
    assert view.sections.review.state == own
    assert view.sections.compare.state.rows == ()
    assert mrml_scene.GetNumberOfNodes() == nodes, "nothing of it stays in the scene"


@pytest.mark.usefixtures("case")
def test_comparing_ends_when_the_other_result_goes(view, pair, mrml_scene):  # noqa: F811
    other = add_result(mrml_scene, pair, view.logic.bundle("quick"), "later")
    view.sections.result.fill()
    view.sections.result.choose("run")
    view.sections.compare.choose("later")
    assert view.sections.compare.state.current == "later"
    assert "mean Dice 1.000" in view.sections.compare.state.summary
    other.remove()
    view.sections.result.fill()
    assert view.sections.compare.state.current == ""
    assert len(view.sections.review.state.entries) == 3


def test_what_cannot_be_compared_is_told_and_the_list_stays(view, case):  # noqa: F811
    case.segmentations["T1w"].GetSegmentation().AddEmptySegment("mine", "mine")
    case.segmentations["T1w"].GetSegmentation().GetSegment("mine").DeepCopy(
        case.segmentations["T1w"].GetSegmentation().GetNthSegment(0)
    )
    case.segmentations["T1w"].GetSegmentation().GetSegment("mine").RemoveTag("CrossModalSeg.LabelValue")
    view.sections.compare.choose("model")
    assert [error.code for error in view.errors] == ["unknown-segment"]
    assert view.sections.compare.state.current == ""
    assert len(view.sections.review.state.entries) == 3
