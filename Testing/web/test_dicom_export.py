"""Export as DICOM in the page: a click, and the objects in the downloaded zip file."""

import io
import zipfile

import pydicom
import pytest

from CrossModalSegLib.imaging.segmentation_io import read_segmentation
from Testing.dicom_pair import count_volumes, write_pair

pytest.importorskip("highdicom")
pytestmark = [pytest.mark.timeout(900), pytest.mark.slow]


def test_an_uploaded_study_is_segmented_and_its_objects_are_downloaded(alone, tmp_path):
    study = write_pair(tmp_path / "study")
    page, _server = alone()
    archive = tmp_path / "study.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        for file in (tmp_path / "study").rglob("*.dcm"):
            zipped.write(file, str(file.relative_to(tmp_path)))
    page.drop(archive)
    page.wait(lambda: len(page.chosen_scans()) == 2, "the dropped study to be chosen")
    page.choose_model("quick")
    page.wait(lambda: page.is_enabled("segment"), "Segment")
    page.click("segment")
    page.wait(lambda: page.text("outcome").startswith("Done"), "a result")
    assert not page.has("export-words")
    page.click("download-dicom")
    with zipfile.ZipFile(io.BytesIO(page.downloaded("*.zip"))) as downloaded:
        names = {name: downloaded.read(name) for name in downloaded.namelist()}
    assert set(names) == {
        f"{modality}_{kind}.dcm" for modality in ("T1w", "T2w") for kind in ("segmentation", "report")
    }
    objects = {name: pydicom.dcmread(io.BytesIO(content)) for name, content in names.items()}
    assert {one.StudyInstanceUID for one in objects.values()} == {study.uid}
    assert {one.SegmentAlgorithmType for one in objects["T1w_segmentation.dcm"].SegmentSequence} == {"AUTOMATIC"}
    assert count_volumes(objects["T2w_report.dcm"]) == 3
    (tmp_path / "seg.dcm").write_bytes(names["T1w_segmentation.dcm"])
    assert read_segmentation(tmp_path / "seg.dcm")[0].any()
    page.click("structure-set")
    page.wait(lambda: page.browser.find_element("id", "structure-set").is_selected(), "contours to be asked for")
    page.click("download-dicom")
    with zipfile.ZipFile(io.BytesIO(page.downloaded("*.zip"))) as downloaded:
        assert {"T1w_structures.dcm", "T2w_structures.dcm"} < set(downloaded.namelist())
        contours = pydicom.dcmread(io.BytesIO(downloaded.read("T1w_structures.dcm")))
    assert (contours.Modality, contours.StudyInstanceUID) == ("RTSTRUCT", study.uid)


def test_scans_that_are_no_dicom_say_why_they_cannot_be_exported(result):
    assert not result.is_enabled("download-dicom")
    assert "head_T1w: it was not read from a DICOM series" in result.text("export-words")
