"""What tells one scan from another."""

import numpy as np
import pytest
import SimpleITK as sitk

from CrossModalSegLib.errors import InputError
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.volume import write_volume
from CrossModalSegLib.inference.result_origin import fingerprint
from Testing.dicom_files import write_series
from Testing.volumes import grid_around

GRID = grid_around((0, 0, 0), (8, 6, 7), (2, 2, 2))


def test_a_copy_is_the_same_and_other_voxels_are_not(tmp_path):
    voxels = np.random.default_rng(0).normal(size=(60, 80, 90)).astype(np.float32)
    for name, array in (("a.nii", voxels), ("copy.nii", voxels), ("other.nii", voxels + 1)):
        write_volume(tmp_path / name, array, grid_around((0, 0, 0), (90, 80, 60), (1, 1, 1)))
    prints = [fingerprint(tmp_path / name) for name in ("a.nii", "copy.nii", "other.nii")]
    assert prints[0] == prints[1] != prints[2]


def test_a_header_that_was_corrected_makes_another_scan_of_the_same_voxels(tmp_path):
    voxels = np.random.default_rng(0).normal(size=(60, 80, 90)).astype(np.float32)
    grid = grid_around((0, 0, 0), (90, 80, 60), (1, 1, 1))
    mirrored = Grid(grid.shape_kji, np.diag([-1.0, 1.0, 1.0, 1.0]) @ grid.ijk_to_ras)
    write_volume(tmp_path / "a.nii", voxels, grid)
    write_volume(tmp_path / "b.nii", voxels, mirrored)
    assert fingerprint(tmp_path / "a.nii") != fingerprint(tmp_path / "b.nii")


def test_a_single_voxel_counts(tmp_path):
    path = tmp_path / "a.nii"
    write_volume(
        path, np.arange(432000, dtype=np.float32).reshape(60, 80, 90), grid_around((0, 0, 0), (90, 80, 60), (1, 1, 1))
    )
    before, content = fingerprint(path), bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    assert fingerprint(path) != before


def test_a_header_and_its_data_both_count(tmp_path):
    image = sitk.GetImageFromArray(np.zeros((3, 4, 5), np.int16))
    sitk.WriteImage(image, tmp_path / "a.mhd")
    first = fingerprint(tmp_path / "a.mhd")
    raw = tmp_path / "a.raw"
    raw.write_bytes(b"1" + raw.read_bytes()[1:])
    second = fingerprint(tmp_path / "a.mhd")
    header = tmp_path / "a.mhd"
    header.write_text(header.read_text().replace("ElementSpacing = 1 1 1", "ElementSpacing = 1 1 2"))
    assert len({first, second, fingerprint(header)}) == 3


def test_all_slices_of_a_series_count_and_any_of_them_means_it(tmp_path):
    files = write_series(tmp_path, np.ones(GRID.shape_kji, np.int16), GRID)
    before = fingerprint(tmp_path)
    assert fingerprint(files[3]) == before
    files[5].write_bytes(files[5].read_bytes() + b"0")
    assert fingerprint(tmp_path) != before


def test_parts_of_a_file_are_told_apart(tmp_path):
    (tmp_path / "four.nii").write_bytes(b"data")
    assert fingerprint(tmp_path / "four.nii#0") != fingerprint(tmp_path / "four.nii#1")


def test_what_is_not_there_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match=r"not-found.*gone\.nii"):
        fingerprint(tmp_path / "gone.nii")
