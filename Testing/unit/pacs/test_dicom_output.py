"""``--format dicom-seg``: from a study to objects, with the results' own numbers in them."""

import json

import numpy as np
import pydicom
import pytest

from CrossModalSegLib.cli import main
from Testing.dicom_pair import count_volumes, write_pair
from Testing.tiny_bundle import intensity_bundle

pytest.importorskip("highdicom")
pytestmark = pytest.mark.slow


def test_a_study_becomes_segmentations_reports_and_maps(tmp_path, capsys):
    study = write_pair(tmp_path / "study")
    bundle = intensity_bundle(tmp_path / "tiny").path
    command = [
        "segment",
        "--study",
        str(tmp_path / "study"),
        "--bundle",
        str(bundle),
        "--output",
        str(tmp_path / "out"),
    ]
    written = ["--format", "dicom-seg", "--uncertainty-map", "--structure-set"]
    assert main([*command, *written, "--device", "cpu", "--quick-check"]) == 0
    assert "series 1 't1 mprage' (24 slices, axial): T1w, the only one left" in capsys.readouterr().err
    names = {path.name for path in (tmp_path / "out").glob("*.dcm")}
    kinds = ("segmentation", "report", "uncertainty", "structures")
    assert names == {f"{modality}_{kind}.dcm" for modality in ("T1w", "T2w") for kind in kinds}
    assert not list((tmp_path / "out").glob("*.seg.nrrd"))
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    objects = {name: pydicom.dcmread(tmp_path / "out" / name) for name in names}
    assert {one.StudyInstanceUID for one in objects.values()} == {study.uid}
    assert count_volumes(objects["T1w_report.dcm"]) == 3
    assert f"{report['structures'][0]['volume_ml']['T1w']:.3f}"[:5] in str(objects["T1w_report.dcm"])
    uncertainty = objects["T2w_uncertainty.dcm"].pixel_array
    assert (uncertainty.shape, uncertainty.min()) == ((20, 30, 28), 0)
    assert 0 < uncertainty.max() <= 75
    regions = [one.ROIName for one in objects["T1w_structures.dcm"].StructureSetROISequence]
    assert regions == [one.SegmentLabel for one in objects["T1w_segmentation.dcm"].SegmentSequence]
    numbers = {name: (one.SeriesNumber, np.shape(one.get("PixelData"))) for name, one in objects.items()}
    assert {numbers[f"T2w_{kind}.dcm"][0] for kind in kinds} == {201, 202, 203, 204}


def test_scans_that_are_no_dicom_are_refused_before_anything_is_computed(tmp_path, capsys):
    from CrossModalSegLib.imaging.volume import write_volume
    from Testing.dicom_pair import GRID
    from Testing.tiny_bundle import two_balls
    from Testing.volumes import points_of

    write_volume(tmp_path / "t1.nrrd", two_balls(points_of(GRID)).astype(np.float32), GRID)
    bundle = intensity_bundle(tmp_path / "tiny").path
    command = ["segment", "--input", f"T1w={tmp_path / 't1.nrrd'}", "--bundle", str(bundle), "--device", "cpu"]
    assert main([*command, "--output", str(tmp_path / "out"), "--format", "dicom-seg"]) == 2
    assert capsys.readouterr().err.startswith("error[not-dicom]: T1w is no DICOM series")
    assert not (tmp_path / "out").exists()
