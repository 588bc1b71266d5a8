"""NIfTI headers: read as nibabel reads them, and where they contradict themselves or say nothing, by the written
rule."""

import gzip
import itertools
import struct

import nibabel as nib
import numpy as np
import pytest

from CrossModalSegLib.errors import CrossModalSegError, GeometryError
from CrossModalSegLib.imaging.orientation import ORIENTATIONS, direction_of
from CrossModalSegLib.imaging.preflight import examine
from CrossModalSegLib.imaging.volume import read_grid, read_image, read_volume
from Testing.nifti_files import (
    AFFINE,
    BITPIX,
    DATA,
    DATATYPE,
    DIM,
    INTERCEPT,
    PIXDIM,
    QFORM_CODE,
    QUATERNION,
    SFORM_CODE,
    SLOPE,
    SROW,
    UNITS,
    VOX_OFFSET,
    patch,
    write_nifti,
)
from Testing.volumes import rotation

NAN, INF = float("nan"), float("inf")
MOVED = AFFINE.copy()
MOVED[:3, 3] += [6, 18, -11]
SHEARED = AFFINE.copy()
SHEARED[0, 1] = 0.3


def found(path):
    return {finding.code: finding for finding in read_volume(path, "T1w").findings}


def refused(path, **options):
    with pytest.raises(CrossModalSegError) as caught:
        read_volume(path, "T1w", **options)
    assert str(path) in caught.value.message
    return caught.value


# --- as nibabel reads it

CASES = list(
    itertools.product((nib.Nifti1Image, nib.Nifti2Image), "<>", (".nii", ".nii.gz"), (np.uint8, np.int16, np.float32))
)


@pytest.mark.parametrize(("kind", "endianness", "suffix", "dtype"), CASES)
def test_versions_byte_orders_and_types_are_read_as_nibabel_reads_them(tmp_path, kind, endianness, suffix, dtype):
    affine = np.eye(4)
    affine[:3, :3] = rotation((20, -15, 40)) * [0.5, -0.75, 4.0]
    affine[:3, 3] = [11, -22, 33]
    path = write_nifti(tmp_path / f"scan{suffix}", DATA.astype(dtype), affine, affine, kind=kind, endianness=endianness)
    array, grid = read_image(path)
    judge = nib.load(path)
    assert array.dtype == dtype
    assert np.array_equal(array, np.asarray(judge.dataobj).T)
    np.testing.assert_allclose(grid.ijk_to_ras, judge.affine, atol=1e-4)
    assert found(path) == {}


@pytest.mark.parametrize("name", ["scan.hdr", "scan.img"])
def test_a_pair_of_files_is_read_whichever_is_named(tmp_path, name):
    nib.save(nib.Nifti1Pair(DATA, AFFINE), tmp_path / "scan.img")
    array, grid = read_image(tmp_path / name)
    assert np.array_equal(array, DATA.T)
    np.testing.assert_allclose(grid.ijk_to_ras, AFFINE)


def test_half_of_a_pair_is_named(tmp_path):
    nib.save(nib.Nifti1Pair(DATA, AFFINE), tmp_path / "scan.img")
    (tmp_path / "scan.img").unlink()
    with pytest.raises(CrossModalSegError, match=r"scan\.img") as caught:
        read_volume(tmp_path / "scan.hdr", "T1w")
    assert caught.value.code == "not-found"


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_the_bytes_and_not_the_name_say_whether_a_file_is_compressed(tmp_path, suffix):
    path = write_nifti(tmp_path / f"scan{suffix}")
    content = path.read_bytes()
    path.write_bytes(gzip.decompress(content) if suffix == ".nii.gz" else gzip.compress(content))
    assert np.array_equal(read_image(path)[0], DATA.T)


def test_extensions_are_passed_over(tmp_path):
    image = nib.Nifti1Image(DATA, AFFINE)
    for remark in (b"who knows" * 50, b"nobody"):
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", remark))
    nib.save(image, tmp_path / "scan.nii.gz")
    volume = read_volume(tmp_path / "scan.nii.gz", "T1w")
    assert np.array_equal(volume.array, DATA.T)
    assert [one.code for one in volume.findings] == ["unknown-units"]


def test_names_with_letters_of_any_language_are_read(tmp_path):
    folder = tmp_path / "Zoë Ångström 脳"
    folder.mkdir()
    assert np.array_equal(read_image(write_nifti(folder / "頭 ß.nii.gz"))[0], DATA.T)


# --- contradictions


@pytest.mark.parametrize("codes", [(1, 1), (2, 1), (4, 2), (5, 5)])
def test_the_sform_counts_and_its_distance_from_the_qform_is_told(tmp_path, codes):
    path = write_nifti(tmp_path / "scan.nii.gz", sform=MOVED, codes=codes)
    np.testing.assert_allclose(read_grid(path).ijk_to_ras, MOVED)
    finding = found(path)["sform-qform"]
    assert finding.severity == "warning"
    assert "21.9 mm" in finding.message  # the length of (6, 18, -11)
    assert finding in examine([read_volume(path, "T1w")]).findings


def test_the_distance_is_that_of_the_farthest_corner(tmp_path):
    turned = AFFINE.copy()
    turned[:3, :3] = rotation((0, 0, 90)) @ AFFINE[:3, :3]
    path = write_nifti(tmp_path / "scan.nii.gz", sform=turned)
    corners = np.array(list(itertools.product((-0.5, 4.5), (-0.5, 5.5), (-0.5, 6.5), (1,)))).reshape(-1, 4)
    expected = np.linalg.norm(corners @ (turned - AFFINE).T, axis=1).max()
    assert f"{expected:.1f} mm" in found(path)["sform-qform"].message


def test_a_small_difference_is_information_and_a_rounding_is_nothing(tmp_path):
    for shift, expected in ((0.01, None), (0.5, "info"), (1.5, "warning")):
        near = AFFINE.copy()
        near[0, 3] += shift
        told = found(write_nifti(tmp_path / "scan.nii.gz", sform=near))
        assert (told["sform-qform"].severity if told else None) == expected


@pytest.mark.parametrize("lengths", [(-2.0, 2.5, 4.0), (2.0, -2.5, -4.0)])
def test_a_negative_voxel_size_mirrors_nothing_where_the_sform_says_the_place(tmp_path, lengths):
    path = patch(write_nifti(tmp_path / "scan.nii.gz"), PIXDIM + 4, "<3f", *lengths)
    np.testing.assert_allclose(read_grid(path).ijk_to_ras, AFFINE)
    told = found(path)["qform-unusable"]
    assert told.severity == "info"  # the lengths are the sform's
    assert "-2" in told.message


@pytest.mark.parametrize(
    ("offset", "values"),
    [
        (PIXDIM + 4, (-2.0,)),
        (PIXDIM + 8, (0.0,)),
        (PIXDIM + 12, (NAN,)),
        (PIXDIM + 4, (INF,)),
        (PIXDIM, (7.0,)),
        (PIXDIM, (NAN,)),
        (QUATERNION, (NAN,)),
        (QUATERNION, (0.9, 0.9, 0.0)),
        (QUATERNION + 12, (INF,)),
    ],
)
def test_a_senseless_qform_is_refused_where_there_is_nothing_else(tmp_path, offset, values):
    path = patch(write_nifti(tmp_path / "scan.nii.gz", codes=(0, 1)), offset, f"<{len(values)}f", *values)
    assert refused(path).code in ("singular-affine", "bad-affine")
    path = patch(write_nifti(tmp_path / "scan.nii.gz"), offset, f"<{len(values)}f", *values)
    np.testing.assert_allclose(read_grid(path).ijk_to_ras, AFFINE)
    assert "sform" in found(path)["qform-unusable"].message


def test_a_qfac_of_zero_means_one_and_is_told(tmp_path):
    right_handed = np.diag([2.0, 2.5, 4.0, 1.0])
    path = write_nifti(tmp_path / "scan.nii.gz", qform=right_handed, codes=(0, 1))
    np.testing.assert_allclose(read_grid(patch(path, PIXDIM, "<f", 0.0)).ijk_to_ras, right_handed)
    assert found(path)["qfac-zero"].severity == "warning"


def test_a_qform_alone_is_read_with_its_handedness(tmp_path):
    path = write_nifti(tmp_path / "scan.nii.gz", codes=(0, 1))
    np.testing.assert_allclose(read_grid(path).ijk_to_ras, nib.load(path).get_qform(), atol=1e-5)
    assert read_grid(path).is_left_handed
    assert found(path) == {}


def test_a_sheared_sform_gives_way_to_a_qform_and_that_is_told(tmp_path):
    path = write_nifti(tmp_path / "scan.nii.gz", sform=SHEARED, codes=(4, 1))
    np.testing.assert_allclose(read_grid(path).ijk_to_ras, AFFINE, atol=1e-5)
    told = found(path)["sform-sheared"]
    assert "qform (code 1) was taken" in told.message
    assert " mm from the sform (code 4)" in told.message
    assert refused(write_nifti(tmp_path / "scan.nii.gz", sform=SHEARED, codes=(4, 0))).code == "sheared-axes"


@pytest.mark.parametrize("row", [(0.0, 0.0, 0.0, 0.0), (NAN, 0.0, 0.0, 0.0), (0.0, 2.5, 0.0, 1.0)])
def test_a_senseless_sform_gives_way_to_a_qform_and_is_refused_alone(tmp_path, row):
    path = patch(write_nifti(tmp_path / "scan.nii.gz"), SROW, "<4f", *row)
    np.testing.assert_allclose(read_grid(path).ijk_to_ras, AFFINE, atol=1e-5)
    assert "sform" in found(path)["sform-unusable"].message
    patch(path, QFORM_CODE, "<h", 0)
    assert refused(path).code in ("singular-affine", "bad-affine")


def test_a_voxel_size_that_is_not_the_sform_s_is_told(tmp_path):
    path = patch(write_nifti(tmp_path / "scan.nii.gz", codes=(2, 0)), PIXDIM + 4, "<3f", 1.0, 1.0, 1.0)
    assert "2, 2.5, 4 mm by the sform, 1, 1, 1 mm by pixdim" in found(path)["spacing-differs"].message


@pytest.mark.parametrize("code", [-1, 6, 256, 999])
def test_a_code_that_does_not_exist_says_nothing_and_is_told(tmp_path, code):
    path = patch(write_nifti(tmp_path / "scan.nii.gz", sform=MOVED), SFORM_CODE, "<h", code)
    np.testing.assert_allclose(read_grid(path).ijk_to_ras, AFFINE, atol=1e-5)
    assert f"sform code {code}" in found(path)["unknown-code"].message
    assert refused(patch(path, QFORM_CODE, "<h", 0)).code == "unknown-orientation"


# --- nothing is said


def test_a_scan_whose_sides_cannot_be_known_is_refused_with_what_to_do(tmp_path):
    error = refused(write_nifti(tmp_path / "scan.nii.gz", codes=(0, 0)))
    assert isinstance(error, GeometryError)
    assert error.code == "unknown-orientation"
    assert "--assume-orientation" in error.hint


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_an_orientation_that_is_assumed_is_the_one_that_nibabel_names(tmp_path, orientation):
    path = write_nifti(tmp_path / "scan.nii.gz", codes=(0, 0))
    volume = read_volume(path, "T1w", orientation.lower())
    assert "".join(nib.aff2axcodes(volume.grid.ijk_to_ras)) == orientation
    assert volume.grid.spacing_ijk == pytest.approx((2, 2.5, 4))
    assert np.array_equal(volume.array, DATA.T)
    np.testing.assert_allclose(volume.grid.corners_ras().mean(axis=0), 0, atol=1e-9)
    (finding,) = volume.findings
    assert (finding.severity, finding.code) == ("warning", "assumed-orientation")
    assert orientation in finding.message


def test_what_is_assumed_changes_nothing_where_the_file_says_how_it_lies(tmp_path):
    volume = read_volume(write_nifti(tmp_path / "scan.nii.gz"), "T1w", "LPS")
    np.testing.assert_allclose(volume.grid.ijk_to_ras, AFFINE)
    assert volume.findings == ()
    refused(write_nifti(tmp_path / "scan.nii.gz", sform=SHEARED, codes=(1, 0)), assumed_orientation="RAS")


@pytest.mark.parametrize("text", ["RAL", "RSA ", "XYZ", "RA", "RRS"])
def test_letters_that_are_no_orientation_are_refused(tmp_path, text):
    with pytest.raises(CrossModalSegError, match="no orientation") as caught:
        read_volume(write_nifti(tmp_path / "scan.nii.gz"), "T1w", text)
    assert caught.value.code == "bad-orientation"


def test_axis_letters_by_hand():
    assert direction_of("LPS").tolist() == [[-1, 0, 0], [0, -1, 0], [0, 0, 1]]
    assert direction_of("ASR").tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]  # i to the front, j up, k to the right
    assert len(set(ORIENTATIONS)) == 48


@pytest.mark.parametrize("lengths", [(0.0, 1.0, 1.0), (NAN, 1.0, 1.0)])
def test_nothing_is_assumed_about_a_voxel_size(tmp_path, lengths):
    path = patch(write_nifti(tmp_path / "scan.nii.gz", codes=(0, 0)), PIXDIM + 4, "<3f", *lengths)
    assert refused(path, assumed_orientation="RAS").code == "bad-affine"


# --- units


@pytest.mark.parametrize(("units", "per_mm", "words"), [("micron", 1000.0, "microns"), ("meter", 0.001, "metres")])
@pytest.mark.parametrize("codes", [(1, 0), (0, 1)], ids=["sform", "qform"])
def test_metres_and_microns_are_converted_and_told(tmp_path, units, per_mm, words, codes):
    scaled = AFFINE.copy()
    scaled[:3] *= per_mm
    path = write_nifti(tmp_path / "scan.nii.gz", sform=scaled, qform=scaled, codes=codes, units=units)
    np.testing.assert_allclose(read_grid(path).ijk_to_ras, AFFINE, rtol=1e-4)
    told = found(path)
    assert set(told) == {"units-converted"}
    assert words in told["units-converted"].message


def test_unknown_units_are_millimetres_and_told_as_information(tmp_path):
    told = found(write_nifti(tmp_path / "scan.nii.gz", units="unknown"))
    assert {code: one.severity for code, one in told.items()} == {"unknown-units": "info"}
    told = found(patch(write_nifti(tmp_path / "scan.nii.gz"), UNITS, "<B", 5))
    assert {code: one.severity for code, one in told.items()} == {"unknown-units": "warning"}


@pytest.mark.parametrize(("units", "what"), [("meter", "field of view"), ("micron", "")])
def test_lengths_that_no_scanner_reaches_are_refused(tmp_path, units, what):
    path = write_nifti(tmp_path / "scan.nii.gz", units=units)
    if what:
        error = refused(path)
        assert error.code == "implausible-geometry"
        assert what in error.message
    else:  # voxels of 2 microns: microscopy
        assert examine([read_volume(path, "T1w")]).findings[0].severity == "warning"


def test_a_scan_a_kilometre_away_is_refused(tmp_path):
    far = AFFINE.copy()
    far[2, 3] = 1e6
    assert refused(write_nifti(tmp_path / "scan.nii.gz", sform=far, codes=(1, 0))).code == "implausible-geometry"


# --- numbers in the header that cannot be


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("offset", [0.0, NAN, INF, -1.0, 348.0, 351.0, 352.5, 1e30])
def test_voxels_that_begin_nowhere_are_refused(tmp_path, suffix, offset):
    path = patch(write_nifti(tmp_path / f"scan{suffix}"), VOX_OFFSET, "<f", offset)
    assert refused(path).code in ("unreadable", "truncated")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("offset", [354.0, 368.0, 10_000.0])
def test_voxels_that_begin_too_late_are_too_few(tmp_path, suffix, offset):
    path = patch(write_nifti(tmp_path / f"scan{suffix}"), VOX_OFFSET, "<f", offset)
    assert refused(path).code == "truncated"


@pytest.mark.parametrize("dim", [(0, 5, 6, 7), (9, 5, 6, 7), (-3, 5, 6, 7), (3, 5, -6, 7), (3, 5, 0, 7)])
def test_axes_that_cannot_be_are_refused(tmp_path, dim):
    path = patch(write_nifti(tmp_path / "scan.nii.gz"), DIM, "<4h", *dim)
    assert refused(path).code == "unreadable"


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_fewer_and_more_voxels_than_claimed_are_refused(tmp_path, suffix):
    assert refused(patch(write_nifti(tmp_path / f"scan{suffix}"), DIM, "<4h", 3, 5, 6, 8)).code == "truncated"
    assert refused(patch(write_nifti(tmp_path / f"scan{suffix}"), DIM, "<4h", 3, 5, 6, 6)).code == "extra-bytes"


@pytest.mark.parametrize("count", [1, 10, 512, 65536])
def test_zeros_behind_the_voxels_are_refused_as_well(tmp_path, count):
    path = write_nifti(tmp_path / "scan.nii")
    path.write_bytes(path.read_bytes() + bytes(count))
    assert refused(path).code == "extra-bytes"


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_gap_before_the_voxels_is_told(tmp_path, suffix):
    """A start that is wrong by a row of air, and as much air at the end: nothing else would show the shift."""
    whole = write_nifti(tmp_path / "whole.nii").read_bytes()
    content = bytearray(whole[:352] + bytes(10) + whole[352:])
    struct.pack_into("<f", content, VOX_OFFSET, 362.0)
    path = tmp_path / f"scan{suffix}"
    path.write_bytes(gzip.compress(content) if suffix == ".nii.gz" else content)
    volume = read_volume(path, "T1w")
    assert np.array_equal(volume.array, DATA.T)
    assert [(one.code, "byte 362" in one.message) for one in volume.findings] == [("voxels-late", True)]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_header_that_claims_a_huge_volume_is_refused_before_memory_is_asked_for(tmp_path, suffix, monkeypatch):
    path = patch(write_nifti(tmp_path / f"scan{suffix}"), DIM, "<4h", 3, 30_000, 30_000, 30_000)
    monkeypatch.setattr(np, "empty", lambda *_args, **_kwargs: pytest.fail("memory is asked for"))
    assert refused(path).code in ("truncated", "too-large")
    assert refused(patch(path, DIM, "<4h", 3, 1200, 1200, 1200)).code == "truncated"


def test_type_and_bits_that_contradict_each_other_are_refused(tmp_path):
    assert refused(patch(write_nifti(tmp_path / "scan.nii.gz"), BITPIX, "<h", 32)).code == "unreadable"
    assert refused(patch(write_nifti(tmp_path / "scan.nii.gz"), DATATYPE, "<h", 77)).code == "unreadable"


@pytest.mark.parametrize("slope", [0.0, NAN, 1.0])
def test_values_without_a_scale_are_what_is_stored(tmp_path, slope):
    path = patch(write_nifti(tmp_path / "scan.nii.gz"), SLOPE, "<2f", slope, 0.0)
    assert np.array_equal(read_volume(path, "T1w").array, DATA.T)
    assert np.array_equal(np.asarray(nib.load(path).dataobj).T, DATA.T)


@pytest.mark.parametrize(("slope", "intercept"), [(2.0, -100.0), (-0.5, 3.0)])
def test_values_with_a_scale_are_those_of_nibabel(tmp_path, slope, intercept):
    path = patch(write_nifti(tmp_path / "scan.nii.gz"), SLOPE, "<2f", slope, intercept)
    np.testing.assert_allclose(read_volume(path, "T1w").array, nib.load(path).get_fdata().T, rtol=1e-6)


@pytest.mark.parametrize(("slope", "intercept"), [(INF, 0.0), (1.0, NAN), (2.0, -INF)])
def test_a_scale_that_is_no_number_is_refused(tmp_path, slope, intercept):
    path = patch(patch(write_nifti(tmp_path / "scan.nii.gz"), SLOPE, "<f", slope), INTERCEPT, "<f", intercept)
    assert refused(path).code == "unreadable"


def test_values_that_float32_cannot_hold_are_refused(tmp_path):
    path = write_nifti(tmp_path / "scan.nii.gz", DATA.astype(np.float64) * 1e300)
    assert refused(path).code == "not-finite"


def test_analyze_files_are_refused_with_the_reason(tmp_path):
    nib.save(nib.AnalyzeImage(DATA, np.eye(4)), tmp_path / "scan.img")
    error = refused(tmp_path / "scan.hdr")
    assert error.code == "unreadable"
    assert "Analyze" in error.message


@pytest.mark.parametrize(("suffix", "endianness"), [(".nii", "<"), (".nii.gz", "<"), (".nii", ">")])
def test_voxels_that_begin_within_an_extension_are_refused(tmp_path, suffix, endianness):
    """Where the last voxels are background, nothing else would tell that all of them are shifted."""
    data = DATA.copy()
    data[..., -2:] = 0
    path = write_nifti(tmp_path / f"scan{suffix}", data, endianness=endianness)
    content = gzip.decompress(path.read_bytes()) if suffix == ".nii.gz" else path.read_bytes()
    extension = struct.pack(f"{endianness}ii", 32, 6) + b"a remark on the scan...."
    content = content[:348] + b"\1\0\0\0" + extension + content[352:]
    path.write_bytes(gzip.compress(content) if suffix == ".nii.gz" else content)
    assert refused(path).code == "unreadable"
    patch(path, VOX_OFFSET, f"{endianness}f", 384.0)
    assert np.array_equal(read_image(path)[0], data.transpose())
