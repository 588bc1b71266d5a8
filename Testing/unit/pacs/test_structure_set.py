"""Contours for radiotherapy: the voxels of a structure lie within them, and no other ones, whoever reads them."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from matplotlib.path import Path as Polygon

from CrossModalSegLib.pacs.contours import contours
from CrossModalSegLib.pacs.export import write_objects
from Testing.dicom_results import ABSENT, GRIDS, LABEL_MAP, MODEL, label_at, written_enhanced, written_series
from Testing.programs import run_program
from Testing.volumes import grid_of_sitk, points_of

pytest.importorskip("highdicom")
NAMES = {structure.name: structure.value for structure in LABEL_MAP.structures}
RING = np.array([[0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 1, 0, 1, 0], [0, 1, 1, 1, 0], [1, 0, 0, 0, 0]], bool)


def exported(written, folder: Path) -> Path:
    folder.mkdir()
    write_objects(folder, {"T1w": written.scan}, LABEL_MAP, MODEL, with_structure_set=True)
    return folder / "T1w_structures.dcm"


def area(points: np.ndarray) -> float:
    """Of a polygon (Gauss)."""
    x, y = points.T
    return abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1))) / 2


def inside(polygons: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """By the rule of even and odd, as viewers fill: voxels whose centre is in an odd number of polygons."""
    rows, columns = np.indices(shape)
    centres = np.stack([columns.ravel(), rows.ravel()], axis=1)
    counts = sum(Polygon(one, closed=False).contains_points(centres).astype(int) for one in polygons)
    return (np.asarray(counts) % 2 == 1).reshape(shape)


def test_a_square_is_its_area_less_its_corners():
    """Three by two voxels: 6, less four corners of an eighth each."""
    mask = np.zeros((5, 6), bool)
    mask[1:3, 2:5] = True
    (square,) = contours(mask)
    assert area(square) == pytest.approx(5.5)
    assert len(square) == 8
    assert (square.min(axis=0).tolist(), square.max(axis=0).tolist()) == ([1.5, 0.5], [4.5, 2.5])


def test_a_hole_is_joined_to_the_outside():
    """8 voxels around one: 8.5 without the corners outside, and a hole of a diamond, half a voxel; and one voxel."""
    found = contours(RING)
    assert sorted(area(one) for one in found) == pytest.approx([0.5, 8.0])
    assert np.array_equal(inside(found, RING.shape), RING)


@pytest.mark.parametrize("seed", range(5))
def test_every_voxel_is_on_its_side_of_the_contours(seed):
    mask = np.random.default_rng(seed).random((23, 31)) < (0.2 + 0.15 * seed)
    assert np.array_equal(inside(contours(mask), mask.shape), mask)


@pytest.mark.parametrize("name", ["oblique", "left-handed", "enhanced"])
def test_pydicom_alone_finds_the_labels_at_their_points(tmp_path, name):
    write = written_enhanced if name == "enhanced" else written_series
    written = write(tmp_path / "scan", GRIDS["straight" if name == "enhanced" else name])
    data = pydicom.dcmread(exported(written, tmp_path / "out"))
    numbers = {one.ROINumber: NAMES[one.ROIName] for one in data.StructureSetROISequence}
    assert set(numbers.values()) == {*NAMES.values()} - {ABSENT}
    to_ijk = np.linalg.inv(written.volume.grid.ijk_to_ras)
    planes = {(one.file, one.frame): k for k, one in enumerate(written.volume.slices)}
    files = {pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID: file for file, _frame in planes}
    found = np.zeros_like(written.labels)
    for region in data.ROIContourSequence:
        for contour in region.ContourSequence:
            points = np.reshape(contour.ContourData, (-1, 3)).astype(float)
            assert len(points) == contour.NumberOfContourPoints
            ijk = (np.c_[points * (-1, -1, 1), np.ones(len(points))] @ to_ijk.T)[:, :3]
            (image,) = contour.ContourImageSequence
            k = planes[files[image.ReferencedSOPInstanceUID], image.get("ReferencedFrameNumber", 1) - 1]
            assert np.abs(ijk[:, 2] - k).max() < 0.01
            found[k][inside([ijk[:, :2]], found[k].shape)] = numbers[region.ReferencedROINumber]
    assert np.array_equal(found, label_at(points_of(written.volume.grid)))


def test_it_says_what_it_is_and_refers_to_every_image(tmp_path):
    written = written_series(tmp_path / "scan", GRIDS["straight"])
    data = pydicom.dcmread(exported(written, tmp_path / "out"))
    sources = [pydicom.dcmread(file, stop_before_pixels=True) for file in (tmp_path / "scan").iterdir()]
    assert (data.Modality, data.PatientID, data.StudyInstanceUID) == ("RTSTRUCT", "1", sources[0].StudyInstanceUID)
    assert data.SeriesDescription == "CrossModalSeg tiny 1.2.3 - not for clinical use"
    (frame,) = data.ReferencedFrameOfReferenceSequence
    assert frame.FrameOfReferenceUID == sources[0].FrameOfReferenceUID
    (series,) = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence
    assert series.SeriesInstanceUID == sources[0].SeriesInstanceUID
    images = {one.ReferencedSOPInstanceUID for one in series.ContourImageSequence}
    assert images == {one.SOPInstanceUID for one in sources}
    (left, *_others) = data.RTROIObservationsSequence
    (code,) = left.RTROIIdentificationCodeSequence
    assert (code.CodeValue, code.SegmentedPropertyTypeModifierCodeSequence[0].CodeValue) == ("89278009", "7771000")
    assert {one.ROIGenerationAlgorithm for one in data.StructureSetROISequence} == {"AUTOMATIC"}
    assert [*data.ROIContourSequence[0].ROIDisplayColor] == [*LABEL_MAP.structures[0].color]


@pytest.mark.slow
def test_dciodvfy_finds_no_error(tmp_path):
    file = exported(written_series(tmp_path / "scan", GRIDS["oblique"]), tmp_path / "out")
    assert "Error" not in run_program("dciodvfy", "apt-get install dicom3tools", file)


@pytest.mark.slow
def test_plastimatch_finds_the_labels_at_their_points(tmp_path):
    written = written_series(tmp_path / "scan", GRIDS["thick"])
    file = exported(written, tmp_path / "out")
    options = ["--input", file, "--referenced-ct", tmp_path / "scan", "--output-prefix", tmp_path / "read"]
    run_program("plastimatch", "pip install plastimatch", "convert", *options, "--prefix-format", "nrrd")
    for name, value in NAMES.items():
        if value == ABSENT:
            continue
        image = sitk.ReadImage(tmp_path / "read" / f"{name}.nrrd")
        found = sitk.GetArrayFromImage(image) > 0
        assert np.array_equal(found, label_at(points_of(grid_of_sitk(image))) == value)
        assert np.count_nonzero(found) == np.count_nonzero(written.labels == value)
