"""Labels of a scene as DICOM objects: by a scan's headers alone, and saying what somebody has changed."""

import numpy as np
import pydicom
import pytest

from CrossModalSegLib.errors import GeometryError, InputError
from CrossModalSegLib.imaging.dicom_header import copy_header
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.segmentation_io import read_segmentation
from CrossModalSegLib.pacs.label_export import ShownScan, export_labels
from Testing.dicom_pair import count_volumes
from Testing.dicom_results import GRIDS, LEFT, written_enhanced, written_series
from Testing.tiny_bundle import LABEL_MAP, intensity_bundle

pytest.importorskip("highdicom")
VALUES = [structure.value for structure in LABEL_MAP.structures]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return intensity_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


def shown(written, folder, is_corrected=False):
    """The boxes of `written` as structures of the tiny bundle, with copies of the headers as files."""
    folder.mkdir()
    files = []
    for file in sorted(written.folder.iterdir()):
        files.append(folder / file.name)
        copy_header(file, files[-1])
    labels = np.where(written.labels == LEFT, VALUES[0], 0).astype(np.uint16)
    return ShownScan(tuple(files), labels, written.volume.grid, is_corrected, {VALUES[0]: 0.75}, {VALUES[0]: 0.5})


@pytest.mark.parametrize("write", [written_series, written_enhanced])
def test_headers_without_pixels_are_all_that_is_needed_and_other_processes_get_the_same(tmp_path, bundle, write):
    written = write(tmp_path / "scan", GRIDS["oblique"])
    scan = shown(written, tmp_path / "headers")
    assert not any("PixelData" in pydicom.dcmread(file) for file in scan.files)
    again = ShownScan.from_json(scan.to_json(tmp_path, "T1w"))
    export_labels(bundle, {"T1w": again}, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"T1w_segmentation.dcm", "T1w_report.dcm"}
    made = pydicom.dcmread(tmp_path / "out" / "T1w_segmentation.dcm")
    assert made.SegmentSequence[0].SegmentAlgorithmType == "AUTOMATIC"
    assert made.StudyInstanceUID == pydicom.dcmread(scan.files[0]).StudyInstanceUID
    report = pydicom.dcmread(tmp_path / "out" / "T1w_report.dcm")
    volume_ml = (scan.labels > 0).sum() * written.volume.grid.voxel_volume_ml
    assert count_volumes(report) == 1
    assert {round(volume_ml, 6), 0.75, 0.5} == set(map(float, numbers_in(report)))
    labels, grid, _ = read_segmentation(tmp_path / "out" / "T1w_segmentation.dcm")
    assert (labels > 0).sum() == (scan.labels > 0).sum()
    export_labels(bundle, {"T1w": again}, tmp_path / "more", with_structure_set=True)
    contours = pydicom.dcmread(tmp_path / "more" / "T1w_structures.dcm")
    assert (contours.Modality, contours.StudyInstanceUID) == ("RTSTRUCT", made.StudyInstanceUID)
    assert len(contours.ROIContourSequence) == 1
    assert np.allclose(grid.spacing_ijk, written.volume.grid.spacing_ijk)


def test_what_somebody_has_changed_is_no_model_s_own_and_another_object(tmp_path, bundle):
    written = written_series(tmp_path / "scan", GRIDS["straight"])
    corrected = shown(written, tmp_path / "headers", is_corrected=True)
    other = ShownScan(corrected.files, np.roll(corrected.labels, 1, axis=2), corrected.grid, True, {}, {})
    uids = set()
    for name, scan in {"one": corrected, "again": corrected, "other": other}.items():
        export_labels(bundle, {"T1w": scan}, tmp_path / name)
        made = pydicom.dcmread(tmp_path / name / "T1w_segmentation.dcm")
        uids.add(made.SOPInstanceUID)
        assert made.SegmentSequence[0].SegmentAlgorithmType == "SEMIAUTOMATIC"
        assert not {"0.75", "0.5"} & set(numbers_in(pydicom.dcmread(tmp_path / name / "T1w_report.dcm")))
    assert len(uids) == 2


def test_a_scan_whose_slices_run_the_other_way_in_the_scene_is_put_right(tmp_path, bundle):
    written = written_series(tmp_path / "scan", GRIDS["oblique"])
    scan = shown(written, tmp_path / "headers")
    flip = np.diag([1.0, 1.0, -1.0, 1.0])
    flip[2, 3] = len(scan.labels) - 1
    reversed_grid = Grid(scan.grid.shape_kji, scan.grid.ijk_to_ras @ flip)
    export_labels(bundle, {"T1w": scan}, tmp_path / "one")
    other = ShownScan(scan.files, scan.labels[::-1], reversed_grid, False, {}, {})
    export_labels(bundle, {"T1w": other}, tmp_path / "other")
    pixels = [pydicom.dcmread(tmp_path / name / "T1w_segmentation.dcm").PixelData for name in ("one", "other")]
    assert pixels[0] == pixels[1]


def test_a_scan_that_does_not_lie_on_its_images_any_more_is_refused(tmp_path, bundle):
    written = written_series(tmp_path / "scan", GRIDS["straight"])
    scan = shown(written, tmp_path / "headers")
    moved = np.eye(4)
    moved[0, 3] = 1.0
    beside = Grid(scan.grid.shape_kji, moved @ scan.grid.ijk_to_ras)
    elsewhere = ShownScan(scan.files, scan.labels, beside, False, {}, {})
    with pytest.raises(GeometryError, match="volume-changed"):
        export_labels(bundle, {"T1w": elsewhere}, tmp_path / "out")
    scan.files[0].write_bytes(b"no DICOM")
    with pytest.raises(InputError, match="unreadable"):
        export_labels(bundle, {"T1w": scan}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def numbers_in(item):
    own = [str(one.NumericValue) for one in item.get("MeasuredValueSequence") or []]
    return own + [text for one in item.get("ContentSequence") or [] for text in numbers_in(one)]
