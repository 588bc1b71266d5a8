"""The panel on a stand-in for Slicer's desktop: real nodes, a real worker, a small model. Not tested in Slicer
itself."""

import os
import signal
import tempfile
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from scans_in_scene import ELSEWHERE, FIRST_GRID, SECOND_GRID, add_head

from Testing.tiny_bundle import LEFT, intensity_bundle

MODULE = Path(__file__).resolve().parents[3] / "CrossModalSeg" / "CrossModalSeg.py"
UI_FILE = MODULE.parent / "Resources" / "UI" / "CrossModalSeg.ui"


@pytest.fixture(scope="session")
def bundles(tmp_path_factory):
    """ "quick" takes about a second, "slow" about a minute."""
    folder = tmp_path_factory.mktemp("bundles")
    intensity_bundle(folder / "quick", (32, 36, 32), 4.0)
    intensity_bundle(folder / "slow", (24, 24, 24), 0.7)
    return folder


class Panel:
    """What a user sees and does."""

    def __init__(self, desktop, model):
        self.desktop = desktop
        desktop.load_module(MODULE)
        self.choose_model(model)

    @property
    def ui(self):
        return self.desktop.panel.panel.ui

    @property
    def logic(self):
        return self.desktop.panel.logic.core

    def wait(self, until, timeout=60.0):
        self.desktop.process_events(until, timeout)

    def settle(self):
        self.wait(lambda: self.ui.segmentButton.enabled or "✖" in self.notes())

    def notes(self):
        labels = self.ui.notesArea.findChildren(self.desktop.qt.QLabel)
        return " ".join(label.text for label in labels if not label.isHidden())

    def remedy(self, name):
        buttons = self.ui.notesArea.findChildren(self.desktop.qt.QPushButton)
        return next(button for button in buttons if button.objectName == f"remedy-{name}")

    def choose_model(self, name):
        selector = self.ui.modelSelector
        entries = [selector.itemText(n) for n in range(selector.count)]
        selector.setCurrentIndex(next(n for n, entry in enumerate(entries) if entry.startswith(name)))

    def choose_site(self, folder):
        """As typed, with Enter at the end."""
        self.ui.siteFolderEdit.text = str(folder)
        self.ui.siteFolderEdit.editingFinished.emit()

    def segment(self):
        self.settle()
        self.ui.segmentButton.click()

    def wait_for_end(self, timeout=60.0):
        self.wait(lambda: self.ui.segmentButton.text == "Segment", timeout)

    def run(self):
        self.segment()
        self.wait_for_end()
        assert "Done" in self.ui.statusLabel.text, self.ui.statusLabel.text

    def worker_pid(self):
        self.wait(lambda: self.logic._worker.worker_pid)
        return self.logic._worker.worker_pid


@pytest.fixture
def panel(desktop, bundles, monkeypatch, tmp_path):
    monkeypatch.setenv("CROSSMODALSEG_BUNDLES", str(bundles))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "runs"))
    (tmp_path / "runs").mkdir()
    return Panel(desktop, "quick")


@pytest.fixture
def pair(desktop):
    return add_head(desktop.scene, "T1w", FIRST_GRID), add_head(desktop.scene, "T2w", SECOND_GRID)


def nodes_of(scene):
    return {scene.GetNthNode(n).GetID() for n in range(scene.GetNumberOfNodes())}


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z" if Path("/proc").exists() else True


# --- the file of the panel


def test_every_binding_of_the_ui_file_names_a_real_parameter(desktop):
    desktop.load_module(MODULE)
    from CrossModalSegApp.qt.parameters import CrossModalSegParameters

    bound = [
        element.findtext("string")
        for element in ET.parse(UI_FILE).iter("property")
        if element.get("name") == "SlicerParameterName"
    ]
    assert set(bound) == {"firstVolume", "secondVolume", "device", "crossfade"}
    assert set(bound) <= set(CrossModalSegParameters.allParameters)


def test_every_mrml_widget_of_the_ui_file_gets_the_scene():
    root = ET.parse(UI_FILE)
    connected = {element.findtext("receiver") for element in root.iter("connection")}
    mrml = {w.get("name") for w in root.iter("widget") if w.get("class").startswith("qMRML")} - {"CrossModalSeg"}
    assert connected == mrml


# --- scans and model


def test_the_panel_says_that_nothing_leaves_and_that_it_is_not_for_clinical_use(panel):
    assert "Nothing leaves it" in panel.ui.privacyLabel.text
    assert "Not for clinical use" in panel.ui.privacyLabel.text


def test_scans_that_are_there_before_the_module_is_opened_are_chosen_by_name(pair, panel):
    assert panel.ui.firstSelector.currentNode() is pair[0]
    assert panel.ui.secondSelector.currentNode() is pair[1]


def test_scans_that_are_loaded_later_are_chosen_by_name_and_an_own_choice_is_not_changed(desktop, panel):
    assert not panel.ui.segmentButton.enabled
    second = add_head(desktop.scene, "t2_tse_sag", SECOND_GRID)
    panel.wait(lambda: panel.ui.secondSelector.currentNode() is second)
    assert panel.ui.firstSelector.currentNode() is None
    add_head(desktop.scene, "another T2 TSE")
    first = add_head(desktop.scene, "MPRAGE")
    panel.wait(lambda: panel.ui.firstSelector.currentNode() is first)
    assert panel.ui.secondSelector.currentNode() is second
    panel.ui.secondSelector.setCurrentNode(None)
    add_head(desktop.scene, "localizer")
    panel.settle()
    assert panel.ui.secondSelector.currentNode() is None
    assert "Without T2w, T1w is segmented alone" in panel.notes()


def test_the_preflight_refuses_scans_that_do_not_overlap_and_one_that_is_chosen_twice(desktop, panel, pair):
    panel.settle()
    assert panel.ui.segmentButton.enabled
    assert "27 × 30 × 28" in panel.ui.preflightLabel.text
    panel.ui.secondSelector.setCurrentNode(add_head(desktop.scene, "T2w far away", ELSEWHERE))
    panel.wait(lambda: "do not overlap" in panel.notes())
    assert not panel.ui.segmentButton.enabled
    panel.ui.secondSelector.setCurrentNode(pair[0])
    panel.wait(lambda: "chosen twice" in panel.notes())
    assert not panel.ui.segmentButton.enabled
    panel.remedy("clear-second").click()
    panel.settle()
    assert panel.ui.secondSelector.currentNode() is None
    assert panel.ui.segmentButton.enabled


def test_scans_that_are_the_wrong_way_round_are_noted_and_one_click_swaps_them(panel, pair):
    panel.settle()
    panel.ui.swapButton.click()
    assert panel.ui.firstSelector.currentNode() is pair[1]
    panel.wait(lambda: "says T2w" in panel.notes())
    panel.remedy("swap").click()
    panel.wait(lambda: "says" not in panel.notes() and panel.ui.segmentButton.enabled)
    assert panel.ui.firstSelector.currentNode() is pair[0]


def test_the_model_section_shows_what_the_model_says_about_itself(panel):
    panel.choose_model("brain-mr-pair")
    text = panel.ui.modelLabel.text
    for words in (
        "T1w and T2w",
        "32",
        "17 training cases",
        "SynthSeg",
        "Apache-2.0",
        panel.logic.bundle("brain-mr-pair").created,
        "validation Dice 0.6",
    ):
        assert words in text
    assert "left hippocampus" in panel.ui.modelLabel.toolTip
    assert not panel.ui.removeModelButton.enabled
    assert panel.ui.firstLabel.text == "T1w"


def test_a_model_is_imported_and_removed_again(desktop, panel, tmp_path):
    intensity_bundle(tmp_path / "mine")
    desktop.dialogs.answer(str(tmp_path / "mine"))
    panel.ui.importFolderButton.click()
    assert panel.ui.modelSelector.currentText.startswith("mine")
    assert panel.ui.removeModelButton.enabled
    desktop.dialogs.answer("yes")
    panel.ui.removeModelButton.click()
    assert "mine" not in " ".join(panel.ui.modelSelector.itemText(n) for n in range(panel.ui.modelSelector.count))
    assert "mine" in desktop.dialogs.texts()[-1]


def test_a_folder_that_is_no_model_is_refused_with_words(desktop, panel, tmp_path):
    desktop.dialogs.answer(str(tmp_path))
    panel.ui.importFolderButton.click()
    assert str(tmp_path) in desktop.dialogs.texts()[-1]
    assert panel.ui.modelSelector.currentText.startswith("quick")


# --- a run


@pytest.mark.usefixtures("pair")
def test_a_run_from_the_click_to_the_result(panel):
    panel.segment()
    assert panel.ui.segmentButton.text == "Cancel"
    assert not panel.ui.progressBar.isHidden()
    assert not panel.ui.scansSection.enabled
    pid = panel.worker_pid()
    panel.wait_for_end()
    assert "Done. Computed on the CPU." in panel.ui.statusLabel.text
    assert panel.ui.scansSection.enabled
    assert [p for p in Path(tempfile.gettempdir()).iterdir() if "align" not in p.name] == []
    case = panel.logic.cases()[-1]
    assert list(case.segmentations) == ["T1w", "T2w"]
    table = panel.ui.resultTable
    assert (table.rowCount, table.item(1, 0).text()) == (3, "left bright ball")
    assert float(table.item(1, 1).text()) == pytest.approx(4 / 3 * np.pi * 1.3**3, rel=0.2)  # mL, a ball of 13 mm
    panel.run()
    assert panel.worker_pid() == pid, "the worker stays warm"
    assert len(panel.logic.cases()) == 1, "an uncorrected result is replaced"


@pytest.mark.usefixtures("pair")
def test_cancel_leaves_the_scene_as_it_was_and_the_next_click_works(desktop, panel):
    panel.choose_model("slow")
    panel.settle()
    before = nodes_of(desktop.scene)
    panel.segment()
    pid = panel.worker_pid()
    panel.wait(lambda: "Network" in panel.ui.statusLabel.text)
    assert 0 < panel.ui.progressBar.value < 100
    panel.ui.segmentButton.click()
    panel.wait_for_end()
    assert "Cancelled" in panel.ui.statusLabel.text
    assert nodes_of(desktop.scene) == before
    panel.wait(lambda: not is_alive(pid))
    assert list(Path(tempfile.gettempdir()).iterdir()) == []
    panel.choose_model("quick")
    panel.run()


@pytest.mark.usefixtures("pair")
def test_a_worker_that_dies_is_told_and_the_next_click_works(desktop, panel):
    panel.choose_model("slow")
    panel.settle()
    before = nodes_of(desktop.scene)
    panel.segment()
    os.kill(panel.worker_pid(), signal.SIGKILL)
    panel.wait_for_end()
    assert "✖ The worker process was killed (SIGKILL)" in panel.ui.statusLabel.text, "though its launcher says 137"
    assert "Click Segment" in panel.ui.statusLabel.text
    assert nodes_of(desktop.scene) == before
    panel.choose_model("quick")
    panel.run()


@pytest.mark.usefixtures("pair")
def test_closing_the_scene_in_the_middle_leaves_no_process_and_no_half_result(desktop, panel):
    panel.choose_model("slow")
    panel.segment()
    pid = panel.worker_pid()
    desktop.close_scene()
    panel.wait(lambda: not is_alive(pid))
    assert desktop.scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    assert list(Path(tempfile.gettempdir()).iterdir()) == []
    panel.choose_model("quick")
    add_head(desktop.scene, "T1w")
    panel.wait(lambda: panel.ui.firstSelector.currentNode() is not None)
    panel.run()


def test_reloading_the_module_in_the_middle_leaves_no_process(desktop, panel, pair):
    panel.choose_model("slow")
    panel.segment()
    pid = panel.worker_pid()
    desktop.reload()
    panel.wait(lambda: not is_alive(pid))
    assert panel.ui.segmentButton.text == "Segment"
    assert panel.ui.firstSelector.currentNode() is pair[0]
    assert list(Path(tempfile.gettempdir()).iterdir()) == []


def test_a_scan_that_is_removed_during_the_run_ends_it_with_words_and_nothing_half_done(desktop, panel, pair):
    panel.segment()
    desktop.scene.RemoveNode(pair[1])
    panel.wait_for_end()
    assert "removed during the run" in panel.ui.statusLabel.text
    assert desktop.scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


# --- after a run


@pytest.fixture
def segmented(pair, panel):
    del pair  # chosen by the panel itself
    panel.run()
    return panel


def paint_away_the_left_ball(case):
    """Remove a structure from the T1w's segmentation, as a user would."""
    node = case.segmentations["T1w"]
    segmentation = node.GetSegmentation()
    segment_id = f"Segment_{LEFT}"
    segmentation.SeparateSegmentLabelmap(segment_id)
    image = segmentation.GetSegment(segment_id).GetRepresentation("Binary labelmap")
    image.GetPointData().GetScalars().Fill(0)
    image.Modified()


def test_a_corrected_result_is_never_replaced_and_a_second_one_is_added_only_after_asking(desktop, segmented):
    case = segmented.logic.cases()[0]
    paint_away_the_left_ball(case)
    desktop.dialogs.answer("no")
    segmented.segment()
    assert "corrected" in desktop.dialogs.texts()[-1]
    assert segmented.ui.segmentButton.text == "Segment"
    desktop.dialogs.answer("yes")
    segmented.run()
    cases = segmented.logic.cases()
    assert [one.is_corrected() for one in cases] == [True, False]
    assert segmented.ui.caseSelector.count == 2
    desktop.dialogs.answer("yes")
    segmented.ui.caseSelector.setCurrentIndex(0)
    segmented.ui.restoreButton.click()
    assert not cases[0].is_corrected()


def test_the_editor_works_on_the_result_and_takes_from_the_neighbours(segmented):
    import slicer

    case = segmented.logic.cases()[0]
    editor = segmented.ui.segmentEditor
    assert editor.segmentationNode() is case.segmentations["T1w"]
    assert editor.sourceVolumeNode() is case.volumes["T1w"]
    everywhere = slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere
    assert editor.mrmlSegmentEditorNode().GetMaskMode() == everywhere
    segmented.ui.correctSelector.setCurrentIndex(1)
    assert editor.segmentationNode() is case.segmentations["T2w"]


def test_the_table_is_exported_as_csv(desktop, segmented, tmp_path):
    desktop.dialogs.answer(str(tmp_path / "volumes.csv"))
    segmented.ui.exportTableButton.click()
    lines = (tmp_path / "volumes.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0].split(",")[:2] == ["structure", "T1w volume (mL)"]
    assert lines[2].startswith("left bright ball,")


def test_cases_are_saved_for_training_once_a_folder_is_chosen(desktop, segmented, tmp_path):
    assert not segmented.ui.saveCorrectionButton.enabled
    desktop.dialogs.answer(str(tmp_path / "site"))
    (tmp_path / "site").mkdir()
    segmented.ui.browseSiteButton.click()
    segmented.ui.annotatorEdit.text = "AB"
    desktop.dialogs.answer("no")
    segmented.ui.saveCorrectionButton.click()
    assert segmented.ui.siteLabel.text == "", "nothing was changed, and nobody has confirmed it"
    desktop.dialogs.answer("yes")
    segmented.ui.saveCorrectionButton.click()
    assert "Correction saved" in segmented.ui.siteLabel.text
    saved = list((tmp_path / "site").rglob("*.seg.nrrd"))
    assert sorted(path.name for path in saved) == ["T1w.seg.nrrd", "T2w.seg.nrrd"]
    segmented.ui.addUnlabelledButton.click()
    assert desktop.dialogs.shown[3:] == []


def test_the_next_case_of_the_site_is_opened_corrected_and_approved(desktop, segmented, tmp_path):
    segmented.choose_site(str(tmp_path / "site"))
    assert not segmented.ui.openCaseButton.enabled
    segmented.ui.addUnlabelledButton.click()
    assert "1 case: 1 unlabelled" in segmented.ui.workLabel.text
    segmented.ui.openCaseButton.click()
    assert desktop.scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 6, "two scans more, beside two results"
    segmented.wait(lambda: "✖" not in segmented.notes())
    segmented.run()
    segmented.ui.saveCorrectionButton.click()
    assert "type your initials" in desktop.dialogs.texts()[-1].lower()
    segmented.ui.annotatorEdit.text = "AB"
    segmented.ui.approveButton.click()
    assert "save the correction first" in desktop.dialogs.texts()[-1]
    desktop.dialogs.answer("yes")
    segmented.ui.saveCorrectionButton.click()
    assert "0 unlabelled, 0 predicted, 1 corrected" in segmented.ui.workLabel.text
    segmented.ui.approveButton.click()
    assert "is approved" in segmented.ui.siteLabel.text
    assert "1 approved" in segmented.ui.workLabel.text
    assert not segmented.ui.openCaseButton.enabled


def test_a_site_folder_that_holds_something_else_is_refused_with_words(desktop, segmented, tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "letter.txt").write_text("dear")
    segmented.choose_site(str(tmp_path / "letters"))
    segmented.ui.annotatorEdit.text = "AB"
    desktop.dialogs.answer("yes")
    segmented.ui.saveCorrectionButton.click()
    assert "letters" in desktop.dialogs.texts()[-1]
    assert [path.name for path in (tmp_path / "letters").iterdir()] == ["letter.txt"]


def test_the_folder_is_a_setting_of_the_application_and_not_in_the_scene(desktop, panel, tmp_path):
    panel.choose_site(str(tmp_path / "secret-place"))
    desktop.scene.SetURL(str(tmp_path / "scene.mrml"))
    desktop.scene.Commit()
    assert "secret-place" not in (tmp_path / "scene.mrml").read_text()
    desktop.reload()
    assert panel.ui.siteFolderEdit.text == str(tmp_path / "secret-place")


def test_a_panel_that_is_left_observes_the_parameter_node_no_more(desktop, panel, pair):
    node = desktop.scene.GetSingletonNode("CrossModalSeg", "vtkMRMLScriptedModuleNode")
    assert node.HasObserver("ModifiedEvent")
    desktop.exit()
    assert not node.HasObserver("ModifiedEvent")
    desktop.enter()
    assert panel.ui.firstSelector.currentNode() is pair[0]


def test_a_saved_scene_opens_with_its_scans_and_its_model(desktop, panel, tmp_path):
    add_head(desktop.scene, "T1w")
    panel.wait(lambda: panel.ui.firstSelector.currentNode() is not None)
    assert desktop.scene.WriteToMRB(str(tmp_path / "scene.mrb"))
    desktop.close_scene()
    panel.choose_model("slow")
    assert desktop.scene.ReadFromMRB(str(tmp_path / "scene.mrb"))
    assert panel.ui.firstSelector.currentNode().GetName() == "T1w"
    assert panel.ui.modelSelector.currentText.startswith("quick")


def test_a_warped_scan_is_noted_and_a_copy_is_hardened_by_one_click(desktop, panel, pair):
    import vtk

    shear = vtk.vtkMatrix4x4()
    shear.SetElement(0, 1, 0.2)
    transform = desktop.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "shear")
    transform.SetMatrixTransformToParent(shear)
    pair[1].SetAndObserveTransformNodeID(transform.GetID())
    panel.ui.suggestButton.click()
    panel.wait(lambda: "sheared" in panel.notes())
    panel.remedy("harden-second").click()
    panel.wait(lambda: "sheared" not in panel.notes() and panel.ui.segmentButton.enabled)
    assert panel.ui.secondSelector.currentNode().GetName() == "T2w hardened"
