"""NRRD files: every encoding and layout that is read gives the same voxels; silent and damaged headers are refused."""

import bz2
import gzip

import numpy as np
import pytest
import SimpleITK as sitk

from CrossModalSegLib.errors import CrossModalSegError
from CrossModalSegLib.imaging.volume import channel_count, read_image, read_volume
from Testing.volumes import grid_of_sitk

DATA = np.random.default_rng(0).integers(0, 900, (4, 5, 6)).astype(np.int16)  # (k, j, i)
RAW = DATA.astype("<i2").tobytes()
PLACE = {
    "space": "right-anterior-superior",
    "space directions": "(-2,0,0) (0,2.5,0) (0,0,4)",
    "space origin": "(53,-65,-43)",
}
AFFINE = np.array([[-2.0, 0, 0, 53], [0, 2.5, 0, -65], [0, 0, 4, -43], [0, 0, 0, 1]])
FIELDS = {"type": "short", "dimension": "3", "sizes": "6 5 4", "endian": "little", "encoding": "raw"} | PLACE


def header(changes):
    fields = {name: value for name, value in (FIELDS | changes).items() if value is not None}
    return ("NRRD0005\n" + "".join(f"{name}: {value}\n" for name, value in fields.items())).encode()


def write(path, data=RAW, **changes):
    """An attached file; names of fields with _ for spaces, None leaves a field out."""
    path.write_bytes(header({name.replace("_", " "): value for name, value in changes.items()}) + b"\n" + data)
    return path


def refused(path, **options):
    with pytest.raises(CrossModalSegError) as caught:
        read_volume(path, "T1w", **options)
    assert str(path.parent) in caught.value.message
    return caught.value


ENCODED = {
    "raw": RAW,
    "gzip": gzip.compress(RAW),
    "gz": gzip.compress(RAW),
    "bzip2": bz2.compress(RAW),
    "bz2": bz2.compress(RAW),
    "hex": RAW.hex().encode(),
    "ascii": " ".join(map(str, DATA.ravel())).encode(),
    "txt": "\n".join(map(str, DATA.ravel())).encode(),
}


@pytest.mark.parametrize("encoding", ENCODED)
def test_all_encodings_hold_the_same(tmp_path, encoding):
    array, grid = read_image(write(tmp_path / "scan.nrrd", ENCODED[encoding], encoding=encoding))
    assert np.array_equal(array, DATA)
    assert array.dtype == np.int16
    np.testing.assert_allclose(grid.ijk_to_ras, AFFINE)


@pytest.mark.parametrize("encoding", ENCODED)
@pytest.mark.parametrize("change", ["short", "long", "cut"])
def test_fewer_and_more_voxels_than_claimed_are_refused_in_all_encodings(tmp_path, encoding, change):
    data = ENCODED[encoding]
    if change == "cut":
        data = data[: len(data) // 2]
    else:
        sizes = "6 5 5" if change == "short" else "6 5 3"
        assert refused(write(tmp_path / "scan.nrrd", data, encoding=encoding, sizes=sizes)).code in (
            "truncated",
            "extra-bytes",
        )
        return
    assert refused(write(tmp_path / "scan.nrrd", data, encoding=encoding)).code in ("truncated", "unreadable")


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2", "hex", "ascii"])
@pytest.mark.parametrize("count", [1, 12, 65536])
def test_zeros_behind_the_voxels_are_refused_as_well(tmp_path, encoding, count):
    """Air at the end of a scan is zeros, too: they may be voxels that the header does not count."""
    with_zeros = {
        "raw": RAW + bytes(count),
        "gzip": gzip.compress(RAW + bytes(count)),
        "bzip2": bz2.compress(RAW + bytes(count)),
        "hex": (RAW + bytes(count)).hex().encode(),
        "ascii": ENCODED["ascii"] + count * b" 0",
    }
    path = write(tmp_path / "scan.nrrd", with_zeros[encoding], encoding=encoding)
    assert refused(path).code == "extra-bytes"


@pytest.mark.parametrize("encoding", ["gzip", "bzip2"])
def test_several_streams_are_read_and_nothing_else_follows_them(tmp_path, encoding):
    pack = {"gzip": gzip.compress, "bzip2": bz2.compress}[encoding]
    parts = pack(RAW[:50]) + pack(RAW[50:])
    assert np.array_equal(read_image(write(tmp_path / "scan.nrrd", parts + bytes(9), encoding=encoding))[0], DATA)
    assert refused(write(tmp_path / "scan.nrrd", parts + b"more", encoding=encoding)).code == "unreadable"
    assert refused(write(tmp_path / "scan.nrrd", parts + parts, encoding=encoding)).code == "extra-bytes"


@pytest.mark.parametrize("encoding", ["gzip", "bzip2"])
def test_a_changed_bit_in_a_compressed_file_is_refused(tmp_path, encoding):
    for place in range(len(ENCODED[encoding]) // 4, len(ENCODED[encoding]), 37):
        data = bytearray(ENCODED[encoding])
        data[place] ^= 0x10
        assert refused(write(tmp_path / "scan.nrrd", bytes(data), encoding=encoding)).code in (
            "unreadable",
            "truncated",
            "extra-bytes",
        )


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
def test_itk_and_this_reader_agree(tmp_path, encoding):
    path = write(tmp_path / "scan.nrrd", ENCODED[encoding], encoding=encoding)
    image = sitk.ReadImage(path)
    assert np.array_equal(read_image(path)[0], sitk.GetArrayFromImage(image))
    np.testing.assert_allclose(read_image(path)[1].ijk_to_ras, grid_of_sitk(image).ijk_to_ras, atol=1e-9)


def test_big_endian_is_read_and_no_order_is_refused(tmp_path):
    path = write(tmp_path / "scan.nrrd", DATA.astype(">i2").tobytes(), endian="big")
    assert np.array_equal(read_image(path)[0], DATA)
    assert refused(write(tmp_path / "scan.nrrd", endian=None)).code == "unreadable"


# --- data in files of their own


def test_lines_and_bytes_are_skipped(tmp_path):
    (tmp_path / "data").write_bytes(b"one line\nanother\n" + b"xyz" + RAW)
    path = write(tmp_path / "scan.nhdr", b"", data_file="data", line_skip="2", byte_skip="3")
    assert np.array_equal(read_image(path)[0], DATA)
    path = write(tmp_path / "scan.nhdr", b"", data_file="data", byte_skip="-1")
    assert np.array_equal(read_image(path)[0], DATA)
    (tmp_path / "data").write_bytes(b"one line\n" + gzip.compress(b"xyz" + RAW))
    path = write(tmp_path / "scan.nhdr", b"", data_file="data", line_skip="1", byte_skip="3", encoding="gzip")
    assert np.array_equal(read_image(path)[0], DATA)


@pytest.mark.parametrize("kind", ["list", "numbered", "slabs"])
def test_voxels_in_several_files_are_read_in_order(tmp_path, kind):
    parts = np.split(DATA, 2 if kind == "slabs" else 4)
    for number, part in enumerate(parts, start=1):
        (tmp_path / f"part{number:03d}.raw").write_bytes(part.astype("<i2").tobytes())
    names = "\n".join(f"part{number:03d}.raw" for number in range(1, len(parts) + 1))
    place = {"list": "LIST", "numbered": "part%03d.raw 1 4 1", "slabs": "LIST 3"}[kind]
    path = tmp_path / "scan.nhdr"
    path.write_bytes(header({"data file": place}) + (names.encode() if kind != "numbered" else b""))
    assert np.array_equal(read_image(path)[0], DATA)
    (tmp_path / "part002.raw").write_bytes(parts[1].astype("<i2").tobytes()[:-1])
    assert (refused(path).code, "part002" in refused(path).message) == ("truncated", True)
    (tmp_path / "part002.raw").unlink()
    assert (refused(path).code, "part002" in refused(path).message) == ("not-found", True)


def test_a_data_file_that_is_listed_twice_is_refused(tmp_path):
    (tmp_path / "half").write_bytes(RAW[: len(RAW) // 2])
    path = tmp_path / "scan.nhdr"
    path.write_bytes(header({"data file": "LIST"}) + b"half\n./half\n")
    assert (refused(path).code, "names half more than once" in refused(path).message) == ("unreadable", True)


def test_voxels_in_the_file_and_in_a_data_file_are_refused(tmp_path):
    (tmp_path / "data").write_bytes(RAW)
    assert np.array_equal(read_image(write(tmp_path / "scan.nrrd", b"\n", data_file="data"))[0], DATA)
    error = refused(write(tmp_path / "scan.nrrd", RAW, data_file="data"))
    assert (error.code, "'data'" in error.message) == ("unreadable", True)


def test_the_last_bytes_are_never_those_of_the_header(tmp_path):
    assert np.array_equal(read_image(write(tmp_path / "scan.nrrd", b"junk" + RAW, byte_skip="-1"))[0], DATA)
    assert refused(write(tmp_path / "scan.nrrd", RAW[:-2], byte_skip="-1")).code == "truncated"


def test_a_header_without_a_data_file_is_refused(tmp_path):
    assert refused(write(tmp_path / "scan.nhdr", b"")).code == "unreadable"


# --- place


@pytest.mark.parametrize(
    ("space", "signs"),
    [
        ("right-anterior-superior", (1, 1)),
        ("RAS", (1, 1)),
        ("left-anterior-superior", (-1, 1)),
        ("LPS", (-1, -1)),
        ("left-posterior-superior", (-1, -1)),
    ],
)
def test_spaces_with_named_axes_are_read(tmp_path, space, signs):
    grid = read_image(write(tmp_path / "scan.nrrd", space=space))[1]
    np.testing.assert_allclose(grid.ijk_to_ras, np.diag([*signs, 1, 1]) @ AFFINE)


@pytest.mark.parametrize("space", [None, "scanner-xyz", "3D-right-handed", "whatever"])
def test_spaces_whose_axes_are_not_named_are_refused(tmp_path, space):
    path = write(tmp_path / "scan.nrrd", space=space)
    assert refused(path).code == "unknown-orientation"
    volume = read_volume(path, "T1w", "PSR")
    assert volume.grid.spacing_ijk == pytest.approx((2, 2.5, 4))
    assert [one.code for one in volume.findings] == ["assumed-orientation"]


def test_spacings_alone_do_not_say_what_is_left(tmp_path):
    path = write(tmp_path / "scan.nrrd", space=None, space_directions=None, space_origin=None, spacings="2 2.5 4")
    assert refused(path).code == "unknown-orientation"
    assert read_volume(path, "T1w", "RAS").grid.spacing_ijk == pytest.approx((2, 2.5, 4))
    path = write(tmp_path / "scan.nrrd", space=None, space_directions=None, space_origin=None)
    assert refused(path, assumed_orientation="RAS").code == "bad-affine"  # no size either


def test_a_position_that_is_not_said_is_told(tmp_path):
    volume = read_volume(write(tmp_path / "scan.nrrd", space_origin=None), "T1w")
    assert [(one.severity, one.code) for one in volume.findings] == [("warning", "position-unknown")]


@pytest.mark.parametrize(
    ("units", "factor"), [('"mm" "mm" "mm"', 1), ('"m" "m" "m"', 1000), ('"um" "um" "um"', 0.001), ('"" "" ""', 1)]
)
def test_units_are_converted(tmp_path, units, factor):
    numbers = " ".join(f"({','.join(map(str, row))})" for row in (np.diag([2, 2.5, 4]) / factor).tolist())
    grid = read_image(
        write(tmp_path / "scan.nrrd", space_units=units, space_directions=numbers, space_origin="(0,0,0)")
    )[1]
    assert grid.spacing_ijk == pytest.approx((2, 2.5, 4))


@pytest.mark.parametrize(
    "changes",
    [
        {"sizes": "6 5"},
        {"sizes": "6 5 0"},
        {"sizes": "6 5 x"},
        {"dimension": "four"},
        {"type": "block"},
        {"type": None},
        {"encoding": "zrl"},
        {"encoding": None},
        {"space_directions": "(1,0,0) (0,1,0)"},
        {"space_directions": "(1,0,0) (0,1,0) (0,0)"},
        {"space_directions": "(1,0,0) (0,1,0) (0,0,z)"},
        {"space_directions": "(nan,0,0) (0,1,0) (0,0,1)"},
        {"space_directions": "(1,0,0) (0,1,0) (0,0,0)"},
        {"space_directions": "(1,0,0) (0,1,0) (1,1,0)"},
        {"space_directions": "(1,0,0) (0,1,0) (0.3,0,1)"},
        {"space_origin": "(0,0,inf)"},
        {"space_units": '"inch" "inch" "inch"'},
        {"spacings": "1 1 1"},
        {"byte_skip": "-2"},
        {"line_skip": "-1"},
        {"kinds": "domain domain"},
    ],
)
def test_headers_that_make_no_sense_are_refused(tmp_path, changes):
    path = write(tmp_path / "scan.nrrd", **changes)
    assert refused(path).code in ("unreadable", "bad-affine", "singular-affine", "sheared-axes")


def test_a_field_that_stands_twice_with_two_values_is_refused(tmp_path):
    path = write(tmp_path / "scan.nrrd")
    path.write_bytes(path.read_bytes().replace(b"sizes: 6 5 4\n", b"sizes: 6 5 4\nsizes: 5 6 4\n"))
    assert refused(path).code == "unreadable"


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2", "hex", "ascii"])
def test_a_header_that_claims_a_huge_volume_is_refused_before_memory_is_asked_for(tmp_path, encoding, monkeypatch):
    path = write(tmp_path / "scan.nrrd", ENCODED[encoding], encoding=encoding, sizes="30000 30000 30000")
    monkeypatch.setattr(np, "empty", lambda *_args, **_kwargs: pytest.fail("memory is asked for"))
    assert refused(path).code == "too-large"
    assert (
        refused(write(tmp_path / "scan.nrrd", ENCODED[encoding], encoding=encoding, sizes="1200 1200 1200")).code
        == "truncated"
    )


# --- more than one value


def test_several_values_per_voxel_are_refused_and_a_single_one_is_read(tmp_path):
    layers = {
        "dimension": "4",
        "kinds": "list domain domain domain",
        "space_directions": f"none {PLACE['space directions']}",
    }
    assert refused(write(tmp_path / "scan.nrrd", RAW + RAW, sizes="2 6 5 4", **layers)).code == "not-scalar"
    assert np.array_equal(read_image(write(tmp_path / "scan.nrrd", sizes="1 6 5 4", **layers))[0], DATA)


def test_several_volumes_are_read_by_number(tmp_path):
    place = f"{PLACE['space directions']} none"
    path = write(tmp_path / "scan.nrrd", RAW + RAW[::-1], dimension="4", sizes="6 5 4 2", space_directions=place)
    assert channel_count(path) == 2
    assert refused(path).code == "not-3d"
    assert np.array_equal(read_image(f"{path}#0")[0], DATA)
    assert (
        np.array_equal(read_image(f"{path}#1")[0].tobytes(), RAW[::-1])
        or read_image(f"{path}#1")[0].tobytes() == RAW[::-1]
    )


@pytest.mark.parametrize(
    "name", ["scan.gipl", "scan.vtk", "scan.mgz", "scan.tif", "scan.nii.bz2", "scan.img.gz", "scan.mnc"]
)
def test_other_suffixes_are_refused_whatever_they_hold(tmp_path, name):
    error = refused(write(tmp_path / name))
    assert error.code == "unreadable"
    assert "NRRD (.nrrd, .nhdr)" in error.hint


def test_skips_that_are_written_in_one_word_are_skipped(tmp_path):
    (tmp_path / "data").write_bytes(b"one line\n" + b"xyz" + RAW)
    for changes in ({"lineskip": "1", "byteskip": "3"}, {"byteskip": "-1"}):
        path = write(tmp_path / "scan.nhdr", b"", data_file="data", **changes)
        assert np.array_equal(read_image(path)[0], DATA)
    assert refused(write(tmp_path / "scan.nrrd", byte_skip="0", byteskip="3")).code == "unreadable"


def test_an_own_key_that_stands_twice_with_two_values_is_refused(tmp_path):
    path = tmp_path / "scan.nrrd"
    path.write_bytes(header({}) + b"Segment0_LabelValue:=1\nSegment0_LabelValue:=2\n\n" + RAW)
    assert refused(path).code == "unreadable"
