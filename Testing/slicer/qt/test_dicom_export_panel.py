"""Export as DICOM in the panel, on a stand-in for the desktop: Slicer's DICOM database is a dictionary."""

import tempfile
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest
from results_in_scene import add_result
from scans_in_scene import add_head

from CrossModalSegApp.scene.scene_io import add_volume
from CrossModalSegApp.scene.segmentation_labels import segment_labels
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.segmentation_io import read_segmentation
from CrossModalSegLib.imaging.volume import read_volume
from Testing.dicom_pair import files_of, write_pair
from Testing.slicer.qt.test_panel import Panel, bundles, paint_away_the_left_ball  # noqa: F401
from Testing.tiny_bundle import LEFT

pytest.importorskip("highdicom")


@pytest.fixture
def panel(desktop, bundles, monkeypatch, tmp_path):  # noqa: F811
    monkeypatch.setenv("CROSSMODALSEG_BUNDLES", str(bundles))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "runs"))
    (tmp_path / "runs").mkdir()
    return Panel(desktop, "quick")


@pytest.fixture
def database(monkeypatch):
    """By instance UID, the files that Slicer's DICOM database has."""
    import slicer

    files: dict[str, str] = {}
    monkeypatch.setattr(slicer, "dicomDatabase", SimpleNamespace(fileForInstance=lambda uid: files.get(uid, "")), False)
    return files


@pytest.fixture
def case(desktop, panel, database, tmp_path):
    """A result of two series that Slicer has loaded, which stacks slices against their order in the library."""
    write_pair(tmp_path / "study")
    nodes = {}
    for modality, folder in (("T1w", "1"), ("T2w", "2")):
        volume = read_volume(tmp_path / "study" / folder, modality)
        flip = np.diag([1.0, 1.0, -1.0, 1.0])
        flip[2, 3] = len(volume.array) - 1
        grid = Grid(volume.grid.shape_kji, volume.grid.ijk_to_ras @ flip)
        nodes[modality] = add_volume(desktop.scene, volume.array[::-1], grid, modality)
        by_uid = {
            str(pydicom.dcmread(file).SOPInstanceUID): str(file) for file in files_of(tmp_path / "study" / folder)
        }
        database.update(by_uid)
        nodes[modality].SetAttribute("DICOM.instanceUIDs", " ".join(by_uid))
    result = add_result(desktop.scene, nodes, panel.logic.bundle("quick"))
    panel.wait(lambda: panel.ui.caseSelector.count == 1)
    return result


def test_a_result_that_was_corrected_in_one_scan_is_exported_as_it_is(desktop, panel, case, tmp_path):
    assert panel.ui.exportDicomButton.enabled
    assert not panel.ui.exportDicomLabel.visible
    paint_away_the_left_ball(case)
    desktop.dialogs.answer(str(tmp_path / "out"))
    panel.ui.exportDicomButton.click()
    assert not panel.ui.exportDicomButton.enabled
    assert panel.ui.exportDicomLabel.text == "Exporting as DICOM"
    panel.wait(lambda: panel.ui.exportDicomButton.enabled)
    assert panel.ui.exportDicomLabel.text == f"Exported to {tmp_path / 'out'}"
    made = {path.name: pydicom.dcmread(path) for path in (tmp_path / "out").iterdir()}
    assert {name: one.Modality for name, one in made.items()} == {
        f"{modality}_{kind}.dcm": code
        for modality in ("T1w", "T2w")
        for kind, code in (("segmentation", "SEG"), ("report", "SR"))
    }
    how = [made[f"{name}_segmentation.dcm"].SegmentSequence[0].SegmentAlgorithmType for name in ("T1w", "T2w")]
    assert how == ["SEMIAUTOMATIC", "AUTOMATIC"]
    label_map = panel.logic.bundle("quick").label_map
    for name in ("T1w", "T2w"):
        labels, _, segments = read_segmentation(tmp_path / "out" / f"{name}_segmentation.dcm")
        shown = segment_labels(case.segmentations[name], case.volumes[name], label_map)[::-1]
        values = {number: one.value for number, one in enumerate(found_in(shown, label_map), start=1)}
        assert counts_of(labels) == {number: counts_of(shown)[value] for number, value in values.items()}, segments
        assert (LEFT in counts_of(shown)) == (name == "T2w")
    assert list((tmp_path / "runs").glob("*/*.npy")) == [], "labels on their way to the worker"


@pytest.mark.usefixtures("case")
def test_contours_are_written_where_they_are_asked_for(desktop, panel, tmp_path):
    panel.ui.exportStructureSetCheck.click()
    desktop.dialogs.answer(str(tmp_path / "out"))
    panel.ui.exportDicomButton.click()
    assert not panel.ui.exportStructureSetCheck.enabled
    panel.wait(lambda: panel.ui.exportDicomButton.enabled)
    kinds = [pydicom.dcmread(path).Modality for path in sorted((tmp_path / "out").glob("T1w_*"))]
    assert kinds == ["SR", "SEG", "RTSTRUCT"]


@pytest.mark.usefixtures("case")
def test_files_that_are_not_in_the_database_any_more_are_told(desktop, panel, database, tmp_path):
    database.pop(next(iter(database)))
    desktop.dialogs.answer(str(tmp_path / "out"))
    panel.ui.exportDicomButton.click()
    assert "T1w: its DICOM files are not there any more" in desktop.dialogs.texts()[-1]
    assert panel.ui.exportDicomButton.enabled


@pytest.mark.usefixtures("case")
def test_a_folder_that_holds_something_is_refused_and_stays_as_it_is(desktop, panel, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    desktop.dialogs.answer(str(tmp_path / "full"))
    panel.ui.exportDicomButton.click()
    panel.wait(lambda: panel.ui.exportDicomButton.enabled)
    assert "full" in desktop.dialogs.texts()[-1]
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.txt"]


def test_what_has_no_dicom_source_says_why_not(desktop, panel, tmp_path):
    nodes = {"T1w": add_head(desktop.scene, "T1w")}
    add_result(desktop.scene, nodes, panel.logic.bundle("quick"))
    panel.wait(lambda: panel.ui.caseSelector.count == 1)
    assert not panel.ui.exportDicomButton.enabled
    assert panel.ui.exportDicomLabel.text == ("Cannot be exported as DICOM. T1w: it was not read from a DICOM series.")
    panel.choose_site(tmp_path / "site")
    panel.ui.annotatorEdit.text = "AB"
    desktop.dialogs.answer("yes")
    panel.ui.saveCorrectionButton.click()
    (saved,) = (tmp_path / "site" / "cases").iterdir()
    panel.logic.open_site_case(saved.name, panel.logic.bundle("quick"), tmp_path / "site")
    panel.wait(lambda: panel.ui.caseSelector.count == 2)
    assert "opened from a site folder, which keeps no DICOM headers" in panel.ui.exportDicomLabel.text


def found_in(labels, label_map):
    return [one for one in label_map.structures if one.value in labels]


def counts_of(labels):
    return dict(zip(*(values.tolist() for values in np.unique(labels[labels > 0], return_counts=True)), strict=True))
