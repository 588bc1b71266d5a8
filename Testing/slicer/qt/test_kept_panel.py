"""The panel with a scene and the settings of each earlier version."""

import pytest

from Testing.kept.versions import KEPT
from Testing.slicer.qt.test_panel import Panel


@pytest.fixture(params=KEPT, ids=lambda kept: kept.folder.name)
def kept(request, monkeypatch, tmp_path):
    """One version's files; its model is installed."""
    monkeypatch.setenv("CROSSMODALSEG_BUNDLES", str(request.param.bundles))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user"))
    return request.param


def test_a_scene_opens_with_its_scans_its_model_and_its_results(desktop, kept):
    panel = Panel(desktop, "brain-mr-pair")
    assert desktop.scene.ReadFromMRB(str(kept.scene))
    panel.wait(lambda: panel.ui.firstSelector.currentNode() is not None)
    assert panel.ui.firstSelector.currentNode().GetName() == "T1w"
    assert panel.ui.secondSelector.currentNode().GetName() == "T2w"
    assert panel.ui.modelSelector.currentText.startswith("tiny")
    assert panel.ui.deviceSelector.currentText == "CPU"
    panel.wait(lambda: panel.ui.caseSelector.count == 2)
    assert panel.ui.caseSelector.itemText(0).startswith("T1w + T2w, tiny")


def test_site_folder_and_initials_are_those_that_were_set(desktop, kept, tmp_path):
    """By the names that 0.1.0 gave these settings."""
    site = kept.copy_site(tmp_path / "site")
    desktop.qt.QSettings().setValue("CrossModalSeg/SiteFolder", str(site))
    desktop.qt.QSettings().setValue("CrossModalSeg/Annotator", "AB")
    panel = Panel(desktop, "tiny")
    assert (panel.ui.siteFolderEdit.text, panel.ui.annotatorEdit.text) == (str(site), "AB")
    models = [panel.ui.modelSelector.itemText(number) for number in range(panel.ui.modelSelector.count)]
    assert any(model.startswith("tiny-site-1") for model in models)
