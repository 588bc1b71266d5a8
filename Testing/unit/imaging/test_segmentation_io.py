"""Segmentations survive the way through a file; what Slicer makes of the file is tested in Testing/slicer."""

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from CrossModalSegLib.errors import GeometryError, InputError, LabelError, OutputError
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.segmentation_io import read_segmentation, write_segmentation
from CrossModalSegLib.labels import LABEL_MAP_FOLDER, Code, LabelMap, Structure, Terminology, read_label_map

BRAIN = read_label_map(LABEL_MAP_FOLDER / "brain_mr_pair.json")


def oblique_left_handed_grid(shape_kji=(7, 6, 5)):
    angle = np.radians(20)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    tilt = np.array([[1, 0, 0], [0, np.cos(0.3), -np.sin(0.3)], [0, np.sin(0.3), np.cos(0.3)]])
    affine = np.eye(4)
    affine[:3, :3] = tilt @ turn @ np.diag([-0.9, 1.1, 3.0])
    affine[:3, 3] = [12.5, -30.25, 7.75]
    grid = Grid(shape_kji, affine)
    assert grid.is_left_handed
    return grid


def labels_on(grid, label_map=BRAIN):
    return np.random.default_rng(0).choice(label_map.channels, size=grid.shape_kji).astype(np.int64)


def test_a_seg_nrrd_comes_back_with_the_same_labels_grid_and_label_map(tmp_path):
    grid = oblique_left_handed_grid()
    labels = labels_on(grid)
    write_segmentation(tmp_path / "a.seg.nrrd", labels, grid, BRAIN)
    array, read_grid, label_map = read_segmentation(tmp_path / "a.seg.nrrd")
    np.testing.assert_array_equal(array, labels)
    np.testing.assert_allclose(read_grid.ijk_to_ras, grid.ijk_to_ras, atol=1e-9)
    assert label_map == BRAIN
    assert array.dtype == np.uint8


def test_a_nifti_holds_the_label_map_s_integers_at_the_same_place_for_another_reader(tmp_path):
    grid = oblique_left_handed_grid()
    labels = labels_on(grid)
    write_segmentation(tmp_path / "a.nii.gz", labels, grid, BRAIN)
    image = nibabel.load(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(np.asarray(image.dataobj).transpose(2, 1, 0), labels)
    np.testing.assert_allclose(image.affine, grid.ijk_to_ras, atol=1e-5)
    array, read_grid, label_map = read_segmentation(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(array, labels)
    assert read_grid.is_close(grid)
    assert label_map is None


@pytest.mark.parametrize("suffix", [".seg.nrrd", ".nii.gz"])
def test_values_above_255_are_stored_as_16_bits(tmp_path, suffix):
    label_map = LabelMap((Structure(255, "small", (1, 2, 3)), Structure(256, "large", (1, 2, 3))))
    grid = oblique_left_handed_grid()
    labels = labels_on(grid, label_map)
    write_segmentation(tmp_path / f"a{suffix}", labels, grid, label_map)
    array, _, _ = read_segmentation(tmp_path / f"a{suffix}")
    assert array.dtype == np.uint16
    np.testing.assert_array_equal(array, labels)


def test_names_beyond_ascii_colours_and_missing_terminology_survive(tmp_path):
    foreign = Terminology(Code("SCT", "123037004", "Anatomical Structure"), Code("99X", "a:1", "Kleinhirn, äußeres"))
    label_map = LabelMap((Structure(7, "Großhirn: Mark", (0, 128, 255)), Structure(3, "小脑", (1, 2, 254), foreign)))
    grid = oblique_left_handed_grid()
    write_segmentation(tmp_path / "a.seg.nrrd", labels_on(grid, label_map), grid, label_map)
    assert read_segmentation(tmp_path / "a.seg.nrrd")[2] == label_map


def test_every_structure_is_a_segment_that_spans_the_whole_volume_even_if_it_is_nowhere(tmp_path):
    grid = oblique_left_handed_grid((7, 6, 5))
    write_segmentation(tmp_path / "a.seg.nrrd", np.zeros(grid.shape_kji, np.uint8), grid, BRAIN)
    image = sitk.ReadImage(tmp_path / "a.seg.nrrd")
    for number in range(32):
        assert image.GetMetaData(f"Segment{number}_Extent") == "0 4 0 5 0 6"
        assert image.GetMetaData(f"Segment{number}_Layer") == "0"
    assert not image.HasMetaDataKey("Segment32_ID")


def test_the_file_is_compressed(tmp_path):
    grid = Grid((64, 64, 64), np.eye(4))
    write_segmentation(tmp_path / "a.seg.nrrd", np.zeros(grid.shape_kji, np.uint8), grid, BRAIN)
    assert (tmp_path / "a.seg.nrrd").stat().st_size < 20_000


def test_labels_that_the_label_map_does_not_know_are_refused_and_nothing_is_written(tmp_path):
    grid = oblique_left_handed_grid()
    labels = labels_on(grid)
    labels[0, 0, :2] = [99, 100]
    with pytest.raises(LabelError, match=r"unknown-label-values.*99, 100"):
        write_segmentation(tmp_path / "a.seg.nrrd", labels, grid, BRAIN)
    assert list(tmp_path.iterdir()) == []


def test_probabilities_and_labels_of_another_grid_are_refused(tmp_path):
    grid = oblique_left_handed_grid()
    with pytest.raises(LabelError, match=r"not-integers.*float64"):
        write_segmentation(tmp_path / "a.seg.nrrd", np.zeros(grid.shape_kji), grid, BRAIN)
    with pytest.raises(GeometryError, match="shape-mismatch"):
        write_segmentation(tmp_path / "a.seg.nrrd", np.zeros((5, 6, 7), np.uint8), grid, BRAIN)


def test_an_unknown_format_is_refused(tmp_path):
    grid = oblique_left_handed_grid()
    with pytest.raises(OutputError, match=r"unknown-format.*use \.seg\.nrrd or \.nii\.gz"):
        write_segmentation(tmp_path / "a.mha", labels_on(grid), grid, BRAIN)


def test_a_missing_folder_is_a_typed_error(tmp_path):
    grid = oblique_left_handed_grid()
    with pytest.raises(OutputError, match="cannot-write"):
        write_segmentation(tmp_path / "missing" / "a.seg.nrrd", labels_on(grid), grid, BRAIN)


def test_a_plain_label_volume_is_read_without_a_label_map(tmp_path):
    image = sitk.GetImageFromArray(np.arange(24, dtype=np.int16).reshape(2, 3, 4))
    sitk.WriteImage(image, tmp_path / "plain.nrrd")
    array, _, label_map = read_segmentation(tmp_path / "plain.nrrd")
    assert label_map is None
    assert array.dtype == np.int16


def test_a_truncated_file_is_refused(tmp_path):
    grid = oblique_left_handed_grid((30, 30, 30))
    path = tmp_path / "a.seg.nrrd"
    write_segmentation(path, labels_on(grid), grid, BRAIN)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputError, match="truncated"):
        read_segmentation(path)


def test_missing_and_foreign_files_are_typed_errors(tmp_path):
    with pytest.raises(InputError, match="not-found"):
        read_segmentation(tmp_path / "missing.seg.nrrd")
    (tmp_path / "text.seg.nrrd").write_text("no image")
    with pytest.raises(InputError, match="unreadable"):
        read_segmentation(tmp_path / "text.seg.nrrd")


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("Segment0_LabelValue", "two", "bad-label-map.*Segment0_.*two"),
        ("Segment1_LabelValue", "2", "bad-label-map.*value 2 occurs twice"),
        ("Segment0_Color", "0.1 0.2", "bad-label-map.*Segment0_"),
        ("Segment0_Tags", "TerminologyEntry:nonsense|", "bad-terminology.*nonsense"),
    ],
)
def test_fields_that_make_no_sense_are_named(tmp_path, key, value, complaint):
    grid = oblique_left_handed_grid()
    write_segmentation(tmp_path / "a.seg.nrrd", labels_on(grid), grid, BRAIN)
    image = sitk.ReadImage(tmp_path / "a.seg.nrrd")
    image.SetMetaData(key, value)
    sitk.WriteImage(image, tmp_path / "b.seg.nrrd")
    with pytest.raises(LabelError, match=complaint):
        read_segmentation(tmp_path / "b.seg.nrrd")
