"""Segmentations in DICOM: the same label at the same point, whoever reads them."""

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from CrossModalSegLib.errors import InputError, OutputError
from CrossModalSegLib.imaging.dicom_segments import read_segments_header
from CrossModalSegLib.imaging.grid import LPS_TO_RAS
from CrossModalSegLib.imaging.lattice import placed_on
from CrossModalSegLib.imaging.segmentation_io import read_segmentation
from CrossModalSegLib.imaging.volume import read_volume, write_volume
from CrossModalSegLib.pacs.export import SegmentedScan, require_exportable, write_objects
from CrossModalSegLib.pacs.source_images import source_images
from Testing.dicom_results import (
    ABSENT,
    GRIDS,
    LABEL_MAP,
    MODEL,
    Written,
    label_at,
    written_enhanced,
    written_series,
)
from Testing.programs import run_program, run_viewer
from Testing.volumes import grid_of_sitk, points_of

highdicom = pytest.importorskip("highdicom")

KINDS = ("binary", "labelmap")
NAMES = {structure.name: structure.value for structure in LABEL_MAP.structures}


def exported(written: Written, folder: Path, kind="binary") -> Path:
    folder.mkdir()
    write_objects(folder, {"T1w": written.scan}, LABEL_MAP, MODEL, kind)
    return folder / "T1w_segmentation.dcm"


SLOW_KINDS = [
    pytest.param(name, marks=pytest.mark.slow)
    for name in ("straight", "thick", "sagittal", "left-handed too", "enhanced")
]


@pytest.fixture(params=["oblique", "left-handed", "enhanced and oblique", *SLOW_KINDS])
def written(request, tmp_path):
    if request.param.startswith("enhanced"):
        return written_enhanced(tmp_path / "scan", GRIDS["oblique" if "oblique" in request.param else "straight"])
    return written_series(tmp_path / "scan", GRIDS[request.param])


@pytest.mark.parametrize("kind", KINDS)
def test_read_again_every_voxel_has_its_label(written, tmp_path, kind):
    labels, grid, own = read_segmentation(exported(written, tmp_path / "out", kind))
    by_value = {one.value: NAMES[one.name] for one in own.structures}
    placed = placed_on(labels, grid, written.volume.grid)
    assert placed is not None
    values = np.vectorize(lambda number: by_value.get(number, 0))(placed)
    assert np.array_equal(values, written.labels)
    assert set(np.unique(values)) == {0, *NAMES.values()} - {ABSENT}


@pytest.mark.parametrize("kind", KINDS)
def test_highdicom_finds_the_labels_at_their_points(written, tmp_path, kind):
    read = highdicom.seg.segread(exported(written, tmp_path / "out", kind))
    by_number = {number: NAMES[read.get_segment_description(number).SegmentLabel] for number in read.segment_numbers}
    volume = read.get_volume(combine_segments=True)
    indices = np.argwhere(volume.array > 0)
    ras = volume.map_indices_to_reference(indices) * (-1, -1, 1)
    found = [by_number[int(number)] for number in volume.array[tuple(indices.T)]]
    assert np.array_equal(found, label_at(ras.astype(float)))
    assert len(found) == np.count_nonzero(written.labels)


def test_pydicom_alone_finds_each_frame_at_its_place_and_its_source(written, tmp_path):
    data = pydicom.dcmread(exported(written, tmp_path / "out"))
    (shared,) = data.SharedFunctionalGroupsSequence
    row, column = np.reshape(shared.PlaneOrientationSequence[0].ImageOrientationPatient, (2, 3)).astype(float)
    between_rows, between_columns = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    names = {one.SegmentNumber: NAMES[one.SegmentLabel] for one in data.SegmentSequence}
    sources = {(str(one.file), one.frame): one.position for one in written.volume.slices}
    files = {pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID: file for file, _frame in sources}
    count = 0
    for pixels, groups in zip(data.pixel_array, data.PerFrameFunctionalGroupsSequence, strict=True):
        position = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        j, i = np.nonzero(pixels)
        lps = position + np.outer(i, row * between_columns) + np.outer(j, column * between_rows)
        value = names[groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber]
        assert (label_at(lps * (-1, -1, 1)) == value).all()
        (origin,) = groups.DerivationImageSequence[0].SourceImageSequence
        frame = int(origin.get("ReferencedFrameNumber", 1)) - 1
        assert np.allclose(sources[(files[origin.ReferencedSOPInstanceUID], frame)], position, atol=1e-3)
        count += len(i)
    assert count == np.count_nonzero(written.labels)
    (series,) = data.ReferencedSeriesSequence
    assert {one.ReferencedSOPInstanceUID for one in series.ReferencedInstanceSequence} == set(files)


@pytest.mark.slow
@pytest.mark.parametrize("grid", ["oblique", "left-handed"])
def test_dcmqi_finds_the_labels_at_their_points(tmp_path, grid):
    written = written_series(tmp_path / "scan", GRIDS[grid])
    file = exported(written, tmp_path / "out")
    (tmp_path / "dcmqi").mkdir()
    options = ["--mergeSegments", "-t", "nrrd", "--outputDirectory", tmp_path / "dcmqi", "--inputDICOM", file]
    run_program("segimage2itkimage", "pip install dcmqi", *options)
    (image,) = [sitk.ReadImage(path) for path in (tmp_path / "dcmqi").glob("*.nrrd")]
    array = sitk.GetArrayFromImage(image)
    found = label_at(points_of(grid_of_sitk(image)))
    numbers = dict(enumerate(sorted(set(NAMES.values()) - {ABSENT}), start=1))
    assert np.array_equal(np.vectorize(lambda number: numbers.get(number, 0))(array), found)
    assert np.count_nonzero(array) == np.count_nonzero(written.labels)


@pytest.mark.slow
@pytest.mark.parametrize("grid", ["oblique", "left-handed", "sagittal"])
def test_the_adapters_of_ohif_find_the_labels_at_their_voxels(tmp_path, grid):
    written = written_series(tmp_path / "scan", GRIDS[grid])
    file, raw = exported(written, tmp_path / "out"), tmp_path / "labels.raw"
    slices = [one.file for one in written.volume.slices]
    told = json.loads(run_viewer("read_segmentation.mjs", file, raw, *slices))
    values = {int(number): NAMES[name] for number, name in told.items()}
    assert set(values.values()) == {*NAMES.values()} - {ABSENT}
    found = np.fromfile(raw, np.uint8).reshape(written.labels.shape)
    assert np.array_equal(np.vectorize(lambda number: values.get(number, 0))(found), written.labels)


@pytest.mark.slow
@pytest.mark.parametrize("grid", ["oblique", "thick"])
@pytest.mark.parametrize("name", ["T1w_segmentation.dcm", "T1w_report.dcm"])
def test_dciodvfy_finds_no_error(tmp_path, grid, name):
    exported(written_series(tmp_path / "scan", GRIDS[grid]), tmp_path / "out")
    assert "Error" not in run_program("dciodvfy", "apt-get install dicom3tools", tmp_path / "out" / name)


def test_segments_say_what_they_are_and_who_made_them(tmp_path):
    written = written_series(tmp_path / "scan", GRIDS["straight"])
    data = pydicom.dcmread(exported(written, tmp_path / "out"))
    source = pydicom.dcmread(next((tmp_path / "scan").iterdir()))
    assert (data.PatientID, data.StudyInstanceUID) == (source.PatientID, source.StudyInstanceUID)
    assert data.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert data.SeriesDescription == "CrossModalSeg tiny 1.2.3 - not for clinical use"
    left, _right, own = data.SegmentSequence
    (kind,) = left.SegmentedPropertyTypeCodeSequence
    (side,) = kind.SegmentedPropertyTypeModifierCodeSequence
    assert (kind.CodeValue, side.CodeValue) == ("89278009", "7771000")
    assert own.SegmentedPropertyTypeCodeSequence[0].CodingSchemeDesignator == "99CMSEG"
    (algorithm,) = left.SegmentationAlgorithmIdentificationSequence
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("tiny", "1.2.3")
    assert "ab" * 32 in algorithm.AlgorithmParameters
    header = read_segments_header(tmp_path / "out" / "T1w_segmentation.dcm")
    assert (header.series_uids, header.is_automatic) == ({source.SeriesInstanceUID}, True)


def test_names_codes_and_colours_come_back(tmp_path):
    written = written_series(tmp_path / "scan", GRIDS["straight"])
    _labels, _grid, own = read_segmentation(exported(written, tmp_path / "out"))
    for structure, wanted in zip(own.structures[:2], LABEL_MAP.structures[:2], strict=True):
        assert (structure.name, structure.terminology) == (wanted.name, wanted.terminology)
        assert np.abs(np.subtract(structure.color, wanted.color)).max() <= 1


@pytest.mark.slow
def test_what_is_written_twice_is_one_object(tmp_path):
    written = written_series(tmp_path / "scan", GRIDS["straight"])
    first, second = (pydicom.dcmread(exported(written, tmp_path / name)) for name in "ab")
    assert first.SOPInstanceUID == second.SOPInstanceUID
    assert first.SeriesInstanceUID == second.SeriesInstanceUID != first.SOPInstanceUID
    labelmap = pydicom.dcmread(exported(written, tmp_path / "c", "labelmap"))
    other = written_series(tmp_path / "other", GRIDS["straight"])
    assert len({first.SOPInstanceUID, labelmap.SOPInstanceUID, exported_uid(other, tmp_path / "d")}) == 3


def exported_uid(written, folder):
    return pydicom.dcmread(exported(written, folder)).SOPInstanceUID


@pytest.mark.slow
@pytest.mark.parametrize(
    ("charset", "name"),
    [("ISO_IR 100", "Müller^Jörg"), ("ISO_IR 192", "山田^太郎"), (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎")],
)
def test_a_patients_name_survives_in_any_character_set(tmp_path, charset, name):
    written_series(tmp_path / "scan", GRIDS["straight"])
    for file in (tmp_path / "scan").iterdir():
        image = pydicom.dcmread(file)
        image.SpecificCharacterSet, image.PatientName = charset, name
        image.save_as(file)
    volume = read_volume(tmp_path / "scan", "T1w")
    written = Written(tmp_path / "scan", volume, label_at(points_of(volume.grid)))
    exported(written, tmp_path / "out")
    for file in (tmp_path / "out").iterdir():
        assert str(pydicom.dcmread(file).PatientName) == name, file.name


def test_scans_that_are_no_dicom_are_refused(tmp_path):
    written = written_series(tmp_path / "scan", GRIDS["straight"])
    write_volume(tmp_path / "scan.nrrd", written.volume.array, written.volume.grid)
    with pytest.raises(InputError, match="not-dicom"):
        require_exportable({"T1w": read_volume(tmp_path / "scan.nrrd", "T1w")})


def test_scans_of_two_patients_are_refused(tmp_path):
    one, two = (written_series(tmp_path / name, GRIDS["straight"]) for name in "ab")
    for file in two.folder.iterdir():
        image = pydicom.dcmread(file)
        image.PatientID = "2"
        image.save_as(file)
    with pytest.raises(InputError, match="several-patients"):
        require_exportable({"T1w": one.volume, "T2w": two.volume})


def test_nothing_found_is_told(tmp_path):
    written = written_series(tmp_path / "scan", GRIDS["straight"])
    empty = SegmentedScan(source_images(written.volume), np.zeros_like(written.labels), {})
    with pytest.raises(OutputError, match="nothing-found"):
        write_objects(tmp_path, {"T1w": empty}, LABEL_MAP, MODEL)


def test_labels_elsewhere_are_not_placed():
    grid = GRIDS["straight"]
    labels = label_at(points_of(grid))
    moved = grid.ijk_to_ras.copy()
    moved[0, 3] += 1.0  # half a voxel
    assert placed_on(labels, grid, type(grid)(grid.shape_kji, moved)) is None
    assert placed_on(labels, grid, GRIDS["oblique"]) is None
    short = type(grid)((3, *grid.shape_kji[1:]), grid.ijk_to_ras)  # labels lie beyond
    assert placed_on(labels, grid, short) is None


def test_the_place_in_lps_is_that_of_the_scan(tmp_path):
    """Worked out by hand: a voxel of 2 x 2 x 3 mm at (-19, -28, -8.5) and 20, 24, 12 of them."""
    written = written_series(tmp_path / "scan", GRIDS["straight"])
    first = (LPS_TO_RAS @ written.volume.grid.ijk_to_ras)[:3, 3]
    assert np.abs(first).tolist() == [16, 28, 8.5]
    data = pydicom.dcmread(exported(written, tmp_path / "out"))
    lowest = min(
        float(one.PlanePositionSequence[0].ImagePositionPatient[2]) for one in data.PerFrameFunctionalGroupsSequence
    )
    assert lowest == -5.5  # the lowest slice centre at or above -6
