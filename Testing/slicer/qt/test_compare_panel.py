"""Comparing in the panel, on a stand-in for the desktop: the selector, the views and the review list."""

import numpy as np
from results_in_scene import add_result

from CrossModalSegApp.scene.segmentation_labels import marked_labels
from CrossModalSegApp.scene.segmentation_nodes import replace_labels
from CrossModalSegApp.scene.subject_tree import remove
from Testing.slicer.qt.test_legend_panel import bundles, case, panel  # noqa: F401
from Testing.tiny_bundle import RIGHT


def test_the_other_result_is_outlined_thinly_and_the_review_goes_through_what_differs(panel, case):  # noqa: F811
    ui, node, volume = panel.ui, case.segmentations["T1w"], case.volumes["T1w"]
    labels = marked_labels(node, volume)
    labels[1:7, 10:16, 10:16] = RIGHT
    changed = int(np.count_nonzero(labels != marked_labels(case.models["T1w"], volume)))
    replace_labels(node, volume, labels)
    assert not ui.compareSection.isHidden()
    assert ui.compareTable.isHidden()
    own, other = (nodes["T1w"].GetDisplayNode() for nodes in (case.segmentations, case.models))
    before = (own.GetSliceIntersectionThickness(), bool(other.GetVisibility()))
    ui.compareSelector.setCurrentIndex(1)
    assert not ui.compareTable.isHidden()
    assert ui.layoutButton.checked
    assert changed
    assert ui.reviewTable.rowCount == 1
    assert "in the other result" in ui.reviewTable.item(0, 3).text()
    assert other.GetVisibility()
    assert own.GetSliceIntersectionThickness() > other.GetSliceIntersectionThickness()
    ui.nextButton.clicked.emit()
    assert node.GetScene().GetFirstNodeByName("region in question") is not None
    ui.compareSelector.setCurrentIndex(0)
    assert node.GetScene().GetFirstNodeByName("region in question") is None
    assert ui.reviewTable.rowCount == 3
    assert ui.compareTable.isHidden()
    assert (own.GetSliceIntersectionThickness(), bool(other.GetVisibility())) == before


def test_a_scene_that_is_saved_while_comparing_has_the_outlines_of_before(panel, case, desktop):  # noqa: F811
    own, other = (nodes["T1w"].GetDisplayNode() for nodes in (case.segmentations, case.models))
    before = (own.GetSliceIntersectionThickness(), other.GetOpacity2DOutline(), bool(other.GetVisibility()))
    panel.ui.compareSelector.setCurrentIndex(1)
    assert own.GetSliceIntersectionThickness() != before[0]
    desktop.scene.InvokeEvent(desktop.scene.StartSaveEvent)
    assert (own.GetSliceIntersectionThickness(), other.GetOpacity2DOutline(), bool(other.GetVisibility())) == before
    assert panel.ui.compareTable.isHidden()


def test_what_is_corrected_is_measured_and_marked_without_being_asked(panel, case):  # noqa: F811
    ui, node, volume = panel.ui, case.segmentations["T1w"], case.volumes["T1w"]
    ui.legendTable.cellClicked.emit(0, 1)
    before = ui.legendMeasureLabel.text
    assert "mL, intensity" in before
    labels = marked_labels(node, volume)
    labels[:] = 0
    replace_labels(node, volume, labels)
    panel.wait(lambda: ui.legendMeasureLabel.text.startswith("T1w: nothing"))
    assert ui.reviewTable.item(0, 3).text().endswith(", corrected")


def test_comparing_ends_where_a_part_of_the_other_result_is_removed(desktop, panel, case):  # noqa: F811
    ui = panel.ui
    add_result(desktop.scene, dict(case.volumes), panel.logic.bundle("quick"), "later")
    panel.wait(lambda: ui.caseSelector.count == 2)
    ui.compareSelector.setCurrentIndex(2)
    assert not ui.compareTable.isHidden()
    remove(case.segmentations["T1w"])
    panel.wait(ui.compareTable.isHidden)
    assert ui.compareSelector.currentIndex == 0
    assert ui.compareSelector.count == 3  # its other scan can be compared with
    ui.layoutButton.click()
    ui.layoutButton.click()
    ui.compareSelector.setCurrentIndex(2)
    assert not ui.compareTable.isHidden()


def test_uncertainty_that_is_removed_while_comparing_ends_both(panel, case):  # noqa: F811
    ui = panel.ui
    ui.compareSelector.setCurrentIndex(1)
    ui.uncertaintyButton.click()
    for node in case.uncertainties.values():
        remove(node)
    panel.wait(lambda: not ui.uncertaintyButton.enabled)
    assert ui.compareTable.isHidden()
    assert ui.reviewTable.rowCount == 3
    assert ui.layoutButton.checked


def test_adapting_locally_keeps_what_was_drawn_and_can_be_undone(panel, case):  # noqa: F811
    ui, node, volume = panel.ui, case.segmentations["T1w"], case.volumes["T1w"]
    before = marked_labels(node, volume)
    assert "After some strokes" in ui.adaptLabel.text
    ui.adaptButton.clicked.emit()
    assert "Nothing was drawn yet" in ui.adaptLabel.text
    drawn = before.copy()
    drawn[2:4, 10:14, 10:20] = RIGHT
    assert (drawn != before).any()
    replace_labels(node, volume, drawn)
    ui.adaptButton.clicked.emit()
    assert ui.segmentEditor._saved_states == 1
    changed = int(np.count_nonzero(marked_labels(node, volume) != drawn))
    assert ui.adaptLabel.text.startswith(f"{changed:,} voxels adapted to {int((drawn != before).sum()):,}")
    assert (marked_labels(node, volume)[2:4, 10:14, 10:20] == RIGHT).all()
