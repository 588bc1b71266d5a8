"""The panel beside all else that happens in Slicer: nodes that come and go, neighbours in selectors, Reload, renders.

On a stand-in for the desktop, made to do what was seen in a real one. Not tested in Slicer itself.
"""

import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from result_samples import paint
from results_in_scene import add_result, found_displaced
from scans_in_scene import FIRST_GRID, SECOND_GRID, add_head

from CrossModalSegApp.scene.slice_views import TWO_ROWS, composite_node, views
from CrossModalSegLib.errors import WorkerError
from Testing.slicer.qt.test_panel import Panel, bundles, nodes_of  # noqa: F401

SETTLE = 0.5  # seconds; longer than the panel waits for


@pytest.fixture
def panel(desktop, bundles, monkeypatch, tmp_path, layout_logic):  # noqa: F811
    del layout_logic  # there is a main window, with a layout
    monkeypatch.setenv("CROSSMODALSEG_BUNDLES", str(bundles))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "runs"))
    (tmp_path / "runs").mkdir()
    return Panel(desktop, "quick")


@pytest.fixture
def pair(desktop):
    return add_head(desktop.scene, "T1w", FIRST_GRID), add_head(desktop.scene, "T2w", SECOND_GRID)


@pytest.fixture
def case(desktop, panel, pair):
    """A result that is shown."""
    result = add_result(desktop.scene, dict(zip(("T1w", "T2w"), pair, strict=True)), panel.logic.bundle("quick"))
    panel.wait(lambda: panel.ui.caseSelector.count == 1)
    return result


def settle(desktop):
    """Let the panel take note of what was done."""
    import time

    end = time.monotonic() + SETTLE
    desktop.process_events(lambda: time.monotonic() > end)


def arrangement(desktop):
    return desktop.scene.GetFirstNodeByClass("vtkMRMLLayoutNode").GetViewArrangement()


# --- nodes come and go while a person corrects


COMPANY = (
    "vtkMRMLMarkupsLineNode",
    "vtkMRMLTextNode",
    "vtkMRMLLabelMapVolumeNode",
    "vtkMRMLScalarVolumeNode",
    "vtkMRMLSegmentationNode",
    "vtkMRMLTableNode",
    "vtkMRMLSliceNode",
)


@pytest.mark.parametrize("kind", COMPANY)
def test_a_node_that_comes_or_goes_leaves_scan_tool_structure_and_row_of_who_corrects(desktop, panel, case, kind):
    ui, editor = panel.ui, panel.ui.segmentEditor
    ui.nextButton.click()
    ui.nextButton.click()
    ui.resultTable.selectRow(2)
    ui.correctSelector.setCurrentIndex(1)
    editor.setActiveEffectByName("Paint")
    editor.setCurrentSegmentID("Segment_17")

    def state():
        return (
            ui.correctSelector.currentText,
            editor.segmentationNode(),
            editor.sourceVolumeNode(),
            editor.activeEffect() and editor.activeEffect().name,
            editor.currentSegmentID(),
            ui.reviewTable.currentRow(),
            ui.caseSelector.currentIndex,
            ui.resultTable.currentRow(),
        )

    before = state()
    assert before == ("T2w", case.segmentations["T2w"], case.volumes["T2w"], "Paint", "Segment_17", 1, 0, 2)
    node = desktop.scene.AddNewNodeByClass(kind, "beside")
    settle(desktop)
    assert state() == before
    desktop.scene.RemoveNode(node)
    settle(desktop)
    assert state() == before


def test_another_scan_s_new_name_and_a_result_that_goes_leave_who_corrects_alone(desktop, panel, case, pair):
    other = add_result(desktop.scene, case.volumes, panel.logic.bundle("quick"), "another")
    panel.wait(lambda: panel.ui.caseSelector.count == 2)
    panel.ui.caseSelector.setCurrentIndex(0)
    panel.ui.nextButton.click()
    panel.ui.nextButton.click()
    panel.ui.correctSelector.setCurrentIndex(1)
    panel.ui.segmentEditor.setActiveEffectByName("Erase")
    other.remove()
    panel.wait(lambda: panel.ui.caseSelector.count == 1)
    pair[0].SetName("T1w renamed")
    case.uncertainties["T1w"].GetScene().RemoveNode(case.uncertainties["T1w"])
    panel.wait(lambda: "renamed" in panel.ui.caseSelector.currentText)
    assert panel.ui.correctSelector.currentText == "T2w"
    assert panel.ui.segmentEditor.segmentationNode() is case.segmentations["T2w"]
    assert panel.ui.segmentEditor.activeEffect().name == "Erase"
    assert panel.ui.reviewTable.currentRow() == 1


def test_a_segmentation_that_goes_is_edited_no_more(desktop, panel, case):
    panel.ui.correctSelector.setCurrentIndex(1)
    desktop.scene.RemoveNode(case.segmentations["T2w"])
    panel.wait(lambda: panel.ui.correctSelector.count == 1)
    assert panel.ui.segmentEditor.segmentationNode() is case.segmentations["T1w"]
    case.remove()
    panel.wait(panel.ui.resultSection.isHidden)
    assert panel.ui.segmentEditor.mrmlSegmentEditorNode() is None


# --- which scans are offered and chosen


def test_a_scan_that_is_removed_leaves_its_place_empty(desktop, panel, pair):
    add_head(desktop.scene, "localizer")
    panel.settle()
    desktop.scene.RemoveNode(pair[1])
    assert panel.ui.secondSelector.currentNode() is None
    settle(desktop)
    assert panel.ui.secondSelector.currentNode() is None
    assert panel.ui.firstSelector.currentNode() is pair[0]
    desktop.scene.RemoveNode(pair[0])
    settle(desktop)
    assert panel.ui.firstSelector.currentNode() is None
    assert not panel.ui.segmentButton.enabled


def test_what_the_module_has_made_is_never_offered_as_a_scan(desktop, panel, case, pair):
    settle(desktop)
    for selector in (panel.ui.firstSelector, panel.ui.secondSelector):
        listed = [selector.nodeFromIndex(number) for number in range(selector.nodeCount())]
        assert listed == list(pair)
    desktop.exit()
    desktop.enter()
    assert panel.ui.firstSelector.nodeCount() == 2
    assert case.uncertainties["T1w"].GetScene() is desktop.scene


def test_what_the_module_has_made_is_refused_where_it_is_chosen_all_the_same(desktop, panel, case):
    desktop.panel.panel._parameters.secondVolume = case.uncertainties["T2w"]  # as in a scene that was saved before
    panel.wait(lambda: "was made by this module" in panel.notes())
    assert not panel.ui.segmentButton.enabled


# --- reload


def test_after_reload_the_panel_works_at_once(desktop, panel, pair):
    panel.settle()
    desktop.reload()
    assert panel.ui.firstSelector.currentNode() is pair[0]
    panel.settle()
    assert panel.ui.segmentButton.enabled
    assert all(shortcut.isEnabled() for shortcut in desktop.panel.panel._shortcuts)


def test_a_panel_that_is_made_while_another_module_is_shown_takes_up_nothing(desktop, panel, pair):
    del panel, pair
    desktop.exit()
    desktop.reload()
    assert desktop.panel.panel._parameters is None


# --- one render for one change


def test_a_result_arrives_in_one_render(desktop, panel, pair):
    del pair
    panel.settle()
    assert desktop.renders_of(panel.run) <= 2


def test_a_result_is_restored_and_another_one_chosen_in_one_render_each(desktop, panel, case):
    add_result(desktop.scene, case.volumes, panel.logic.bundle("quick"), "another")
    panel.wait(lambda: panel.ui.caseSelector.count == 2)
    desktop.dialogs.answer("yes")
    assert desktop.renders_of(panel.ui.restoreButton.click) == 1
    assert desktop.renders_of(lambda: panel.ui.caseSelector.setCurrentIndex(0)) == 1
    assert desktop.renders_of(lambda: panel.ui.correctSelector.setCurrentIndex(1)) == 1


def test_the_two_scan_layout_and_the_ways_in_it_take_one_render_each(desktop, panel, case):
    del case
    panel.ui.layoutButton.click()  # makes the views, which draw as they come
    for click in (panel.ui.nextButton.click, panel.ui.layoutButton.click, panel.ui.layoutButton.click):
        assert desktop.renders_of(click) == 1
    assert desktop.renders_of(lambda: setattr(panel.ui.crossfadeSlider, "value", 0.3)) == 1


def test_a_case_of_the_site_is_opened_in_two_renders(desktop, panel, case, tmp_path):
    """Its nodes, and then which of them is shown."""
    del case
    panel.settle()
    panel.choose_site(str(tmp_path / "site"))
    panel.ui.addUnlabelledButton.click()
    assert desktop.renders_of(panel.ui.openCaseButton.click) <= 2


def test_an_alignment_is_shown_and_undone_in_a_few_renders(desktop, panel, displaced):
    del displaced
    panel.remedy("refine").click()  # makes the views, which draw as they come
    panel.ui.undoAlignmentButton.click()
    panel.settle()
    found_displaced(panel, 6.0)
    assert desktop.renders_of(panel.remedy("refine").click) <= 3
    assert desktop.renders_of(panel.ui.undoAlignmentButton.click) == 1


def test_a_node_that_comes_or_goes_makes_no_render_of_ours(desktop, case):
    del case
    settle(desktop)
    node = desktop.scene.AddNewNodeByClass("vtkMRMLTextNode")
    desktop.scene.RemoveNode(node)
    assert desktop.renders_of(lambda: settle(desktop)) == 0


# --- what is chosen is what is seen


def seen(desktop):
    """Names of the segmentations that are shown."""
    nodes = desktop.scene.GetNodesByClass("vtkMRMLSegmentationNode")
    nodes = [nodes.GetItemAsObject(number) for number in range(nodes.GetNumberOfItems())]
    return [node.GetName() for node in nodes if node.GetDisplayNode().GetVisibility()]


def backgrounds(desktop):
    ids = {desktop.scene.GetNodeByID(f"vtkMRMLSliceCompositeNode{name}").GetBackgroundVolumeID() for name in VIEWS}
    return {desktop.scene.GetNodeByID(one).GetName() for one in ids if one}


VIEWS = ("Red", "Green", "Yellow")


@pytest.fixture
def usual_views(desktop, panel):
    """Slicer's slice logics make a composite node for each view."""
    del panel
    for name in VIEWS:
        node = desktop.scene.CreateNodeByClass("vtkMRMLSliceCompositeNode")
        node.UnRegister(None)
        node.SetLayoutName(name)
        node.SetSingletonTag(name)
        desktop.scene.AddNode(node)


@pytest.mark.usefixtures("usual_views")
def test_of_several_results_only_the_chosen_one_is_seen_and_of_it_only_the_scan_that_is_corrected(desktop, panel, case):
    assert seen(desktop) == ["T1w segmentation"]
    assert backgrounds(desktop) == {"T1w"}
    add_result(desktop.scene, case.volumes, panel.logic.bundle("quick"), "another")
    panel.wait(lambda: panel.ui.caseSelector.count == 2)
    assert seen(desktop) == ["T1w segmentation_1"]
    panel.ui.caseSelector.setCurrentIndex(0)
    assert seen(desktop) == ["T1w segmentation"]
    panel.ui.correctSelector.setCurrentIndex(1)
    assert seen(desktop) == ["T2w segmentation"]
    assert backgrounds(desktop) == {"T2w"}


@pytest.mark.usefixtures("usual_views")
def test_the_two_scan_layout_shows_both_of_the_chosen_result_and_leads_back_to_one(desktop, panel, case):
    add_result(desktop.scene, case.volumes, panel.logic.bundle("quick"), "another")
    panel.wait(lambda: panel.ui.caseSelector.count == 2)
    panel.ui.layoutButton.click()
    assert seen(desktop) == ["T1w segmentation_1", "T2w segmentation_1"]
    panel.ui.caseSelector.setCurrentIndex(0)
    assert seen(desktop) == ["T1w segmentation", "T2w segmentation"]
    panel.ui.correctSelector.setCurrentIndex(1)
    view = desktop.scene.GetFirstNodeByClass("vtkMRMLViewNode").GetID()
    in_3d = [view in case.segmentations[name].GetDisplayNode().GetViewNodeIDs() for name in ("T1w", "T2w")]
    assert in_3d == [False, True]
    panel.ui.layoutButton.click()
    assert seen(desktop) == ["T2w segmentation"]
    assert backgrounds(desktop) == {"T2w"}


def test_segmentations_of_others_and_what_a_person_shows_beside_the_chosen_one_stay(desktop, panel, case):
    other = desktop.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    other.CreateDefaultDisplayNodes()
    case.segmentations["T2w"].GetDisplayNode().SetVisibility(True)
    settle(desktop)
    assert seen(desktop) == ["T1w segmentation", "T2w segmentation", "mine"]
    panel.ui.correctSelector.setCurrentIndex(1)
    assert seen(desktop) == ["T2w segmentation", "mine"]


# --- an alignment is looked at before it is kept


@pytest.fixture
def displaced(panel, pair):
    """A pair of which the worker has found out that the second is 6 mm off."""
    panel.settle()
    found_displaced(panel, 6.0)
    return pair


@pytest.mark.parametrize("button", ["keepAlignmentButton", "undoAlignmentButton"])
def test_an_alignment_shows_both_scans_until_it_is_kept_or_undone(desktop, panel, displaced, button):
    before = arrangement(desktop)
    panel.remedy("refine").click()
    assert not panel.ui.preflightSection.isHidden()
    assert arrangement(desktop) == TWO_ROWS
    ids = [scan.GetID() for scan in displaced]
    for view in views(2):
        node = composite_node(desktop.scene, view)
        assert (node.GetBackgroundVolumeID(), node.GetForegroundVolumeID()) == (ids[view.row], ids[1 - view.row])
        assert node.GetForegroundOpacity() == pytest.approx(0.5)
        assert node.GetHotLinkedControl()
    panel.ui.previewFadeSlider.value = 0.8
    assert composite_node(desktop.scene, views(2)[0]).GetForegroundOpacity() == pytest.approx(0.8)
    getattr(panel.ui, button).click()
    assert arrangement(desktop) == before
    assert (displaced[1].GetParentTransformNode() is not None) == (button == "keepAlignmentButton")


def test_an_alignment_from_the_two_scan_layout_leads_back_to_it_with_the_result(desktop, panel, case, displaced):
    del displaced
    panel.ui.layoutButton.click()
    panel.ui.crossfadeSlider.value = 0.1
    panel.remedy("refine").click()
    assert seen(desktop) == []
    panel.ui.undoAlignmentButton.click()
    assert arrangement(desktop) == TWO_ROWS
    assert seen(desktop) == [case.segmentations[name].GetName() for name in ("T1w", "T2w")]
    assert composite_node(desktop.scene, views(2)[0]).GetForegroundOpacity() == pytest.approx(0.1)


# --- labels


@pytest.mark.usefixtures("pair")
def test_every_text_is_whole_in_a_panel_that_is_higher_than_its_window(desktop, panel):
    panel.settle()
    panel.ui.swapButton.click()  # makes long notes
    panel.wait(lambda: "says T2w" in panel.notes())
    for width in (520, 380):  # and so low that each section is as low as it can be
        window = desktop.show_scrolled(width, 400)
        settle(desktop)
        labels = [one for one in panel.ui.CrossModalSeg.findChildren(desktop.qt.QLabel) if one.isVisible()]
        wrapped = [label for label in labels if label.wordWrap and label.text]
        assert len(wrapped) >= 4
        for label in wrapped:
            assert label.height >= label.heightForWidth(label.width), label.text
        panel.ui.modelLabel.text += "<br>" + "and another line of words that needs some space " * 4
        settle(desktop)
        assert panel.ui.modelLabel.height >= panel.ui.modelLabel.heightForWidth(panel.ui.modelLabel.width)
        desktop.frame.setParent(None)
        del window


# --- the end of a run


def test_a_run_whose_scan_is_removed_ends_at_once_with_words(desktop, panel, pair):
    panel.choose_model("slow")
    panel.segment()
    pid = panel.worker_pid()
    desktop.scene.RemoveNode(pair[1])
    panel.wait(lambda: panel.ui.segmentButton.text == "Segment", 5)
    assert "T2w: the scan was removed during the run" in panel.ui.statusLabel.text
    panel.wait(lambda: not Path(f"/proc/{pid}").exists())


def test_a_scene_that_is_closed_is_not_said_to_be_as_it_was(desktop, panel, pair):
    del pair
    panel.choose_model("slow")
    panel.segment()
    desktop.close_scene()
    assert panel.ui.statusLabel.text == "Cancelled. The scene was closed."
    desktop.close_scene()
    assert panel.ui.statusLabel.text == ""


def test_scans_that_are_in_the_site_already_are_not_said_to_be_added(panel, case, tmp_path):
    del case
    panel.settle()
    panel.choose_site(str(tmp_path / "site"))
    panel.ui.addUnlabelledButton.click()
    assert panel.ui.siteLabel.text.startswith("Added without labels: ")
    panel.ui.addUnlabelledButton.click()
    assert panel.ui.siteLabel.text.startswith("These scans are in the site folder already: ")


def test_the_module_s_own_test_ends_its_worker_also_where_it_fails(panel, monkeypatch):
    del panel
    closed = []

    class Logic:
        core = SimpleNamespace(close=lambda: closed.append(True))

        def segment(self, *_scans):
            raise WorkerError("no", "it fails", "x")

    monkeypatch.setattr(sys.modules["CrossModalSeg"], "CrossModalSegLogic", Logic)
    with pytest.raises(WorkerError):
        sys.modules["CrossModalSeg"].CrossModalSegTest().runTest()
    assert closed == [True]


# --- what a stroke may change


def test_the_choice_of_what_a_stroke_may_change_is_said_and_reaches_the_editor(desktop, panel, case):
    import slicer

    node = panel.ui.segmentEditor.mrmlSegmentEditorNode()
    outside = slicer.vtkMRMLSegmentationNode.EditAllowedOutsideAllSegments
    everywhere = slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere
    assert (panel.ui.maskSelector.currentText, node.GetMaskMode()) == ("Take from neighbours", everywhere)
    assert "takes from neighbouring" in panel.ui.maskLabel.text
    choose(panel.ui.maskSelector, "Leave neighbours alone")
    assert node.GetMaskMode() == outside
    assert "leaves neighbouring structures as they are" in panel.ui.maskLabel.text
    panel.ui.correctSelector.setCurrentIndex(1)
    assert node.GetMaskMode() == outside, "the choice is of the person, not of the scan"
    choose(panel.ui.maskSelector, "Anywhere inside the body")
    assert node.GetMaskMode() == everywhere
    assert "air" in panel.ui.maskLabel.text
    node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedInsideVisibleSegments)  # in the editor's own section
    assert panel.ui.maskSelector.currentIndex == -1
    assert "set below" in panel.ui.maskLabel.text
    choose(panel.ui.maskSelector, "Take from neighbours")
    assert node.GetMaskMode() == everywhere
    assert case.segmentations["T2w"] is panel.ui.segmentEditor.segmentationNode()
    assert desktop.take_errors() == []


def choose(selector, text):
    """As a click on the entry does."""
    index = [selector.itemText(row) for row in range(selector.count)].index(text)
    selector.setCurrentIndex(index)
    selector.activated.emit(index)


def test_strokes_are_kept_while_nodes_come_and_go(desktop, panel, case):
    labels = case.labels("T1w", panel.logic.bundle("quick").label_map)
    where = tuple(np.argwhere(labels == 17)[0])
    paint(case.segmentations["T1w"], "Segment_17", where, erase=True)
    desktop.scene.AddNewNodeByClass("vtkMRMLTextNode")
    settle(desktop)
    assert case.labels("T1w", panel.logic.bundle("quick").label_map)[where] == 0
    assert nodes_of(desktop.scene)
