"""Reading and writing volumes: what comes back is what was stored, and what cannot be used is refused by name."""

import gzip
import struct

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from CrossModalSegLib.errors import CrossModalSegError, GeometryError, InputError, OutputError
from CrossModalSegLib.imaging import decoding
from CrossModalSegLib.imaging.channels import split_channel
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.volume import Volume, channel_count, read_image, read_volume, write_volume
from Testing.volumes import random_grid, rotation

FORMATS = (".nii.gz", ".nii", ".nrrd", ".mha")


def noise(grid, seed=0):
    return np.random.default_rng(seed).normal(100, 20, grid.shape_kji).astype(np.float32)


@pytest.fixture
def nifti(tmp_path):
    grid = random_grid(1)
    write_volume(tmp_path / "scan.nii.gz", noise(grid), grid)
    return tmp_path / "scan.nii.gz"


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("seed", [2, 3], ids=["right-handed", "left-handed"])
def test_a_volume_comes_back_with_its_values_and_its_place(tmp_path, suffix, seed):
    grid = random_grid(seed)
    write_volume(tmp_path / f"scan{suffix}", noise(grid), grid)
    volume = read_volume(tmp_path / f"scan{suffix}", "T1w")
    assert volume.modality == "T1w"
    assert volume.array.dtype == np.float32
    assert np.array_equal(volume.array, noise(grid))
    assert volume.grid.is_close(grid, tolerance_mm=1e-3)
    assert volume.grid.is_left_handed == grid.is_left_handed


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float64])
def test_an_image_keeps_its_own_type(tmp_path, dtype):
    grid = random_grid(0)
    labels = np.random.default_rng(0).integers(0, 100, grid.shape_kji).astype(dtype)
    write_volume(tmp_path / "labels.nrrd", labels, grid)
    array, _ = read_image(tmp_path / "labels.nrrd")
    assert array.dtype == dtype
    assert np.array_equal(array, labels)


def test_a_mask_is_written_as_zeros_and_ones(tmp_path):
    grid = random_grid(0)
    mask = noise(grid) > 100
    write_volume(tmp_path / "mask.nii.gz", mask, grid)
    array, _ = read_image(tmp_path / "mask.nii.gz")
    assert array.dtype == np.uint8
    assert np.array_equal(array, mask)


def test_nifti_written_by_nibabel_has_the_same_affine_and_the_axes_reversed(tmp_path):
    affine = np.diag([-1.0, 2.0, 3.0, 1.0])  # left-handed
    affine[:3, 3] = [40, -50, 60]
    data = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32)
    nib.save(nib.Nifti1Image(data, affine), tmp_path / "scan.nii.gz")
    volume = read_volume(tmp_path / "scan.nii.gz", "T1w")
    assert np.array_equal(volume.array, data.transpose())
    assert np.allclose(volume.grid.ijk_to_ras, affine)


def test_scaled_integers_are_read_as_the_values_they_stand_for(tmp_path):
    image = nib.Nifti1Image(np.arange(64, dtype=np.int16).reshape(4, 4, 4), np.eye(4))
    image.header.set_slope_inter(0.5, -10)
    nib.save(image, tmp_path / "scan.nii.gz")
    array = read_volume(tmp_path / "scan.nii.gz", "T1w").array
    stored = np.arange(64).reshape(4, 4, 4).transpose()
    assert np.allclose(array, stored * 0.5 - 10)


def test_a_fourth_axis_of_length_one_is_dropped(tmp_path):
    data = np.random.default_rng(0).normal(size=(5, 6, 7, 1)).astype(np.float32)
    nib.save(nib.Nifti1Image(data, np.diag([1.0, 2.0, 3.0, 1.0])), tmp_path / "scan.nii")
    volume = read_volume(tmp_path / "scan.nii", "T1w")
    assert np.array_equal(volume.array, data[..., 0].transpose())
    assert volume.grid.spacing_ijk == pytest.approx((1, 2, 3))


@pytest.fixture
def two_channels(tmp_path):
    """A 4D file with two volumes, (i, j, k, channel)."""
    data = np.random.default_rng(0).normal(size=(5, 6, 7, 2)).astype(np.float32)
    affine = np.array([[0, -2.0, 0, 7], [1.5, 0, 0, -3], [0, 0, 3, 40], [0, 0, 0, 1]])
    nib.save(nib.Nifti1Image(data, affine), tmp_path / "pair.nii.gz")
    return tmp_path / "pair.nii.gz", data, affine


def test_one_channel_of_several_is_read_by_its_number(two_channels):
    path, data, affine = two_channels
    nib.save(nib.Nifti1Image(data[..., 0], affine), path.with_name("alone.nii"))
    alone = read_volume(path.with_name("alone.nii"), "T2")
    assert channel_count(path) == 2
    assert channel_count(path.with_name("alone.nii")) == 1
    for number in (0, 1):
        volume = read_volume(f"{path}#{number}", "T2")
        assert np.array_equal(volume.array, data[..., number].transpose())
        assert volume.grid.is_close(alone.grid)
    assert np.array_equal(read_volume(path.with_name("alone.nii#0"), "T2").array, alone.array)


def test_a_channel_that_is_not_there_is_named(two_channels, nifti):
    for path, number in ((two_channels[0], 2), (nifti, 1)):
        with pytest.raises(InputError, match=rf"{path.name} has no channel {number}") as caught:
            read_volume(f"{path}#{number}", "T2")
        assert caught.value.code == "no-channel"


def test_a_file_with_several_channels_is_refused_where_none_is_named_and_it_is_said_how_to(two_channels):
    with pytest.raises(InputError, match="size 5 x 6 x 7 x 2") as caught:
        read_volume(two_channels[0], "T2")
    assert caught.value.code == "not-3d"
    assert "pair.nii.gz#0" in caught.value.hint


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nan_in_a_channel_is_found_and_refused_in_that_one_alone(tmp_path, suffix):
    data = np.random.default_rng(0).normal(size=(5, 6, 7, 2)).astype(np.float32)
    data[1, 2, 3, 1] = np.nan
    nib.save(nib.Nifti1Image(data, np.eye(4)), tmp_path / f"pair{suffix}")
    read_volume(tmp_path / f"pair{suffix}#0", "T2")
    with pytest.raises(InputError, match="1 of 210 voxels") as caught:
        read_volume(tmp_path / f"pair{suffix}#1", "ADC")
    assert caught.value.code == "not-finite"


def test_a_file_with_such_a_name_is_the_file(nifti):
    assert read_volume(nifti.rename(nifti.with_name("scan#1.nii.gz")), "T2").array.size > 0
    assert split_channel(nifti.with_name("series#1")) == (nifti.with_name("series"), 1)
    nifti.with_name("series#1").mkdir()
    assert split_channel(nifti.with_name("series#1")) == (nifti.with_name("series#1"), None)


def code_of(path):
    with pytest.raises(CrossModalSegError) as caught:
        read_volume(path, "T1w")
    assert str(path) in caught.value.message or path.parent.name in caught.value.message
    assert caught.value.hint
    assert "\n" not in str(caught.value)
    return caught.value.code


def test_a_missing_file_is_named(tmp_path):
    assert code_of(tmp_path / "nowhere.nii.gz") == "not-found"


@pytest.mark.parametrize("name", ["text.nii.gz", "text.nii", "text.nrrd", "text.mha", "text.txt", "text"])
def test_a_file_that_is_no_image_is_refused(tmp_path, name):
    (tmp_path / name).write_text("this is no image " * 100)
    assert code_of(tmp_path / name) in ("unreadable", "truncated")


@pytest.mark.parametrize("name", ["empty.nii.gz", "empty.nii", "empty.nrrd", "empty.mha", "empty"])
def test_an_empty_file_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    assert code_of(tmp_path / name) in ("unreadable", "truncated")


@pytest.mark.parametrize("kept", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_nifti_file_that_was_cut_off_is_refused(nifti, kept):
    content = nifti.read_bytes()
    nifti.write_bytes(content[: int(len(content) * kept)])
    assert code_of(nifti) == "truncated"


def test_a_nifti_file_without_the_last_byte_is_refused(nifti):
    nifti.write_bytes(nifti.read_bytes()[:-1])
    assert code_of(nifti) == "truncated"


def test_a_nifti_file_that_was_cut_off_before_it_was_compressed_is_refused(nifti):
    content = gzip.decompress(nifti.read_bytes())
    nifti.write_bytes(gzip.compress(content[:-4]))
    assert code_of(nifti) == "truncated"


@pytest.mark.parametrize("kept", [0.01, 0.5, 0.999])
@pytest.mark.parametrize("suffix", [".nii", ".nrrd", ".mha"])
def test_other_files_that_were_cut_off_are_refused(tmp_path, suffix, kept):
    grid = random_grid(0)
    path = tmp_path / f"scan{suffix}"
    write_volume(path, noise(grid), grid)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    assert code_of(path) in ("truncated", "unreadable")


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_uncompressed_files_that_were_cut_off_are_refused(tmp_path, suffix):
    path = tmp_path / f"scan{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(noise(random_grid(0))), str(path), useCompression=False)
    path.write_bytes(path.read_bytes()[:-1000])
    assert code_of(path) in ("truncated", "unreadable")


def test_a_flipped_bit_in_a_compressed_file_is_refused(nifti):
    content = bytearray(nifti.read_bytes())
    content[len(content) // 2] ^= 0x10
    nifti.write_bytes(bytes(content))
    assert code_of(nifti) in ("unreadable", "truncated")


@pytest.mark.parametrize("shape", [(5, 6, 7, 3), (5, 6), (5, 6, 1), (1, 6, 7)])
def test_what_has_not_three_axes_is_refused(tmp_path, shape):
    data = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    nib.save(nib.Nifti1Image(data, np.eye(4)), tmp_path / "scan.nii.gz")
    assert code_of(tmp_path / "scan.nii.gz") == "not-3d"


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_colour_image_is_refused(tmp_path, suffix):
    colour = np.random.default_rng(0).integers(0, 255, (4, 5, 6, 3)).astype(np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(colour, isVector=True), str(tmp_path / f"scan{suffix}"))
    assert code_of(tmp_path / f"scan{suffix}") == "not-scalar"


def test_a_complex_image_is_refused(tmp_path):
    data = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.complex64)
    nib.save(nib.Nifti1Image(data, np.eye(4)), tmp_path / "scan.nii.gz")
    assert code_of(tmp_path / "scan.nii.gz") == "not-scalar"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("suffix", FORMATS)
def test_values_that_are_no_numbers_are_counted(tmp_path, suffix, value):
    grid = random_grid(0)
    array = noise(grid)
    array[0, 0, :3] = value
    write_volume(tmp_path / f"scan{suffix}", array, grid)
    with pytest.raises(InputError, match=f"has 3 of {array.size} voxels") as caught:
        read_volume(tmp_path / f"scan{suffix}", "T1w")
    assert caught.value.code == "not-finite"


@pytest.mark.parametrize("number", ["<f4", ">f4", "<f8", ">f8"])
def test_values_that_are_no_numbers_are_found_in_every_kind_of_nifti_file(tmp_path, monkeypatch, number):
    monkeypatch.setattr(decoding, "CHUNK_BYTES", 64)
    data = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(number)
    header = nib.Nifti1Header(endianness=number[0])
    nib.save(nib.Nifti1Image(data, np.eye(4), header), tmp_path / "scan.nii")
    assert (read_volume(tmp_path / "scan.nii", "T1w").array == data.T.astype(np.float32)).all()
    data[-1, -1, -1] = data[1, 2, 3] = np.nan
    nib.save(nib.Nifti1Image(data, np.eye(4), header), tmp_path / "scan.nii")
    assert code_of(tmp_path / "scan.nii") == "not-finite"


def test_a_constant_image_is_refused_as_a_scan_but_not_as_a_label_map(tmp_path):
    grid = random_grid(0)
    write_volume(tmp_path / "scan.nrrd", np.full(grid.shape_kji, 7, np.int16), grid)
    assert code_of(tmp_path / "scan.nrrd") == "constant"
    assert (read_image(tmp_path / "scan.nrrd")[0] == 7).all()


def write_nrrd_with_axes(path, directions):
    header = f"""NRRD0004
type: short
dimension: 3
space: right-anterior-superior
sizes: 4 4 4
space directions: {directions}
kinds: domain domain domain
endian: little
encoding: raw
space origin: (0,0,0)

"""
    path.write_bytes(header.encode() + np.arange(64, dtype="<i2").tobytes())


def test_a_gantry_tilt_left_in_the_axes_is_refused(tmp_path):
    write_nrrd_with_axes(tmp_path / "scan.nrrd", "(1,0,0) (0,1,0) (0,0.5,3)")
    assert code_of(tmp_path / "scan.nrrd") == "sheared-axes"


def test_dependent_axes_are_refused(tmp_path):
    write_nrrd_with_axes(tmp_path / "scan.nrrd", "(1,0,0) (0,1,0) (1,1,0)")
    assert code_of(tmp_path / "scan.nrrd") == "singular-affine"


def test_a_sheared_nifti_is_refused(tmp_path):
    affine = np.eye(4)
    affine[1, 2] = 0.3
    data = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32)
    image = nib.Nifti1Image(data, None)
    image.set_sform(affine, code=1)
    image.set_qform(None, code=0)
    nib.save(image, tmp_path / "scan.nii.gz")
    assert code_of(tmp_path / "scan.nii.gz") == "sheared-axes"


@pytest.mark.parametrize("row", [[0, 0, 0, 0], [np.nan, 0, 0, 0]])
def test_a_nifti_with_a_useless_affine_is_refused(tmp_path, row):
    image = nib.Nifti1Image(np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32), np.eye(4))
    nib.save(image, tmp_path / "scan.nii")
    content = bytearray((tmp_path / "scan.nii").read_bytes())
    struct.pack_into("<h", content, 252, 0)  # qform_code
    struct.pack_into("<4f", content, 280, *row)  # srow_x
    (tmp_path / "scan.nii").write_bytes(bytes(content))
    assert code_of(tmp_path / "scan.nii") in ("singular-affine", "bad-affine")


def test_a_volume_needs_an_array_of_its_grids_shape():
    with pytest.raises(GeometryError, match="shape-mismatch"):
        Volume(np.zeros((3, 4, 5), np.float32), Grid((5, 4, 3), np.eye(4)), "T1w")


def test_a_single_slice_is_no_volume():
    with pytest.raises(InputError, match="at least 2 slices"):
        Volume(np.zeros((1, 4, 5), np.float32), Grid((1, 4, 5), np.eye(4)), "T1w")


def test_nothing_is_left_behind_when_writing_fails(tmp_path):
    grid = Grid((4, 4, 4), np.eye(4))
    (tmp_path / "scan.nrrd").write_text("earlier result")
    with pytest.raises(GeometryError, match="shape-mismatch"):
        write_volume(tmp_path / "scan.nrrd", np.zeros((4, 4, 5), np.float32), grid)
    assert [file.name for file in tmp_path.iterdir()] == ["scan.nrrd"]
    assert (tmp_path / "scan.nrrd").read_text() == "earlier result"


def test_a_failure_inside_the_writer_is_typed_and_leaves_nothing(tmp_path, monkeypatch):
    def full_disk(*_args, **_kwargs):
        raise RuntimeError("ITK ERROR: write failed")

    monkeypatch.setattr(sitk, "WriteImage", full_disk)
    with pytest.raises(OutputError, match="write failed"):
        write_volume(tmp_path / "scan.nrrd", np.zeros((4, 4, 4), np.float32), Grid((4, 4, 4), np.eye(4)))
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_format_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(OutputError, match="unknown-format"):
        write_volume(tmp_path / "scan.xyz", np.zeros((4, 4, 4), np.float32), Grid((4, 4, 4), np.eye(4)))
    assert list(tmp_path.iterdir()) == []


def test_an_oblique_nifti_of_nibabel_lies_where_nibabel_says(tmp_path):
    affine = np.eye(4)
    affine[:3, :3] = rotation((20, -15, 40)) * [0.5, 0.5, 4.0]
    affine[:3, 3] = [11, -22, 33]
    data = np.random.default_rng(0).normal(size=(8, 9, 5)).astype(np.float32)
    nib.save(nib.Nifti1Image(data, affine), tmp_path / "scan.nii.gz")
    assert np.allclose(read_volume(tmp_path / "scan.nii.gz", "T1w").grid.ijk_to_ras, affine, atol=1e-4)
