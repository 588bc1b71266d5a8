"""MetaImage files: read as ITK reads whole ones; damaged, short and silent ones are refused by name."""

import gzip
import zlib

import numpy as np
import pytest
import SimpleITK as sitk

from CrossModalSegLib.errors import CrossModalSegError
from CrossModalSegLib.imaging.volume import read_image, read_volume
from Testing.volumes import grid_of_sitk, random_grid

GRID = random_grid(3, 30.0)
DATA = np.random.default_rng(0).integers(-500, 900, GRID.shape_kji).astype(np.int16)


def write(path, array=DATA, compressed=False):
    image = sitk.GetImageFromArray(array)
    GRID.to_sitk_geometry(image)
    sitk.WriteImage(image, path, useCompression=compressed)
    return path


def edit(path, old, new):
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))
    return path


def line(path, name):
    """The header's line of this name, as bytes."""
    return next(part for part in path.read_bytes().split(b"\n") if part.startswith(name)) + b"\n"


def refused(path, **options):
    with pytest.raises(CrossModalSegError) as caught:
        read_volume(path, "T1w", **options)
    assert str(path.parent) in caught.value.message
    return caught.value


@pytest.mark.parametrize("name", ["scan.mha", "scan.mhd"])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_what_itk_wrote_is_what_is_read(tmp_path, name, compressed, dtype):
    path = write(tmp_path / name, DATA.astype(dtype), compressed)
    array, grid = read_image(path)
    assert array.dtype == dtype
    assert np.array_equal(array, DATA.astype(dtype))
    np.testing.assert_allclose(grid.ijk_to_ras, grid_of_sitk(sitk.ReadImage(path)).ijk_to_ras, atol=1e-6)
    assert read_volume(path, "T1w").findings == ()


def test_big_endian_is_read(tmp_path):
    path = tmp_path / "scan.mha"
    head = write(path).read_bytes().split(b"LOCAL\n")[0] + b"LOCAL\n"
    path.write_bytes(
        head.replace(b"BinaryDataByteOrderMSB = False", b"ElementByteOrderMSB = True") + DATA.astype(">i2").tobytes()
    )
    assert np.array_equal(read_image(path)[0], DATA)


def test_text_and_lists_of_slices_are_read(tmp_path):
    header = write(tmp_path / "scan.mha").read_bytes().split(b"ElementDataFile")[0]
    text = header.replace(b"BinaryData = True", b"BinaryData = False")
    (tmp_path / "text.mha").write_bytes(text + b"ElementDataFile = LOCAL\n" + " ".join(map(str, DATA.ravel())).encode())
    assert np.array_equal(read_image(tmp_path / "text.mha")[0], DATA)
    for number, plane in enumerate(DATA):
        (tmp_path / f"{number}.raw").write_bytes(plane.tobytes())
    names = "\n".join(f"{number}.raw" for number in range(len(DATA)))
    (tmp_path / "list.mhd").write_bytes(header + f"ElementDataFile = LIST\n{names}\n".encode())
    assert np.array_equal(read_image(tmp_path / "list.mhd")[0], DATA)
    (tmp_path / "1.raw").write_bytes(DATA[1].tobytes()[:-2])
    error = refused(tmp_path / "list.mhd")
    assert (error.code, "1.raw" in error.message) == ("truncated", True)


@pytest.mark.parametrize("name", ["scan.mha", "scan.mhd"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.98])
def test_a_compressed_stream_whose_end_is_zeros_is_refused(tmp_path, name, kept):
    write(tmp_path / name, compressed=True)
    path = tmp_path / ("scan.mha" if name == "scan.mha" else "scan.zraw")
    content = path.read_bytes()
    start = content.find(b"LOCAL\n") + 6 if name == "scan.mha" else 0
    end = start + int((len(content) - start) * kept)
    path.write_bytes(content[:end] + bytes(len(content) - end))
    assert refused(tmp_path / name).code in ("truncated", "unreadable", "extra-bytes")


def test_every_single_changed_byte_of_a_compressed_stream_is_refused_or_changes_nothing(tmp_path):
    small = np.arange(64, dtype=np.int16).reshape(4, 4, 4)
    image = sitk.GetImageFromArray(small)
    sitk.WriteImage(image, tmp_path / "scan.mha", useCompression=True)
    content = (tmp_path / "scan.mha").read_bytes()
    for place in range(content.index(b"LOCAL\n") + 6, len(content)):
        changed = bytearray(content)
        changed[place] ^= 0x41
        (tmp_path / "scan.mha").write_bytes(bytes(changed))
        try:
            array, _ = read_image(tmp_path / "scan.mha")
        except CrossModalSegError:
            continue
        assert np.array_equal(array, small)


def test_the_stream_of_another_volume_is_refused(tmp_path):
    for other, code in ((DATA[:-1], "truncated"), (np.concatenate([DATA, DATA[:1]]), "extra-bytes")):
        write(tmp_path / "scan.mhd", compressed=True)
        stream = zlib.compress(np.ascontiguousarray(other).tobytes())
        (tmp_path / "scan.zraw").write_bytes(stream)
        edit(
            tmp_path / "scan.mhd",
            line(tmp_path / "scan.mhd", b"CompressedDataSize"),
            f"CompressedDataSize = {len(stream)}\n".encode(),
        )
        error = refused(tmp_path / "scan.mhd")
        assert error.code == code


def test_a_gzip_stream_is_read_as_itk_reads_it(tmp_path):
    path = write(tmp_path / "scan.mhd", compressed=True)
    stream = gzip.compress(DATA.tobytes())
    (tmp_path / "scan.zraw").write_bytes(stream)
    edit(path, line(path, b"CompressedDataSize"), f"CompressedDataSize = {len(stream)}\n".encode())
    assert np.array_equal(read_image(path)[0], DATA)


def test_a_length_that_is_not_the_stream_s_is_refused(tmp_path):
    path = write(tmp_path / "scan.mha", compressed=True)
    edit(path, line(path, b"CompressedDataSize"), b"CompressedDataSize = 99999999\n")
    assert refused(path).code == "truncated"


@pytest.mark.parametrize(
    ("change", "code"), [("missing", "not-found"), ("short", "truncated"), ("long", "extra-bytes")]
)
def test_a_data_file_that_is_missing_or_of_another_size_is_refused(tmp_path, change, code):
    write(tmp_path / "scan.mhd")
    raw = tmp_path / "scan.raw"
    content = raw.read_bytes()
    raw.unlink()
    if change != "missing":
        raw.write_bytes(content[:-4] if change == "short" else content + b"more")
    error = refused(tmp_path / "scan.mhd")
    assert error.code == code
    assert "scan.raw" in error.message


@pytest.mark.parametrize(("length", "code"), [("-5", "unreadable"), ("100", "extra-bytes")])
def test_a_length_that_is_below_the_stream_s_is_refused(tmp_path, length, code):
    path = write(tmp_path / "scan.mha", compressed=True)
    edit(path, line(path, b"CompressedDataSize"), f"CompressedDataSize = {length}\n".encode())
    assert (refused(path).code, length in refused(path).message) == (code, True)


def test_the_last_bytes_are_never_those_of_the_header(tmp_path):
    path = write(tmp_path / "scan.mha")
    edit(path, b"ElementDataFile", b"HeaderSize = -1\nElementDataFile")
    assert np.array_equal(read_image(path)[0], DATA)
    path.write_bytes(path.read_bytes()[:-2])
    assert refused(path).code == "truncated"


def test_a_data_file_that_is_listed_twice_is_refused(tmp_path):
    path = write(tmp_path / "scan.mhd")
    (tmp_path / "part").write_bytes((tmp_path / "scan.raw").read_bytes()[: DATA.nbytes // 2])
    edit(path, line(path, b"ElementDataFile"), b"ElementDataFile = LIST\npart\npart\n")
    assert (refused(path).code, "names part more than once" in refused(path).message) == ("unreadable", True)


def test_a_header_that_does_not_say_how_the_axes_run_is_refused_or_assumed(tmp_path):
    path = write(tmp_path / "scan.mha")
    edit(path, line(path, b"TransformMatrix"), b"")
    assert refused(path).code == "unknown-orientation"
    volume = read_volume(path, "T1w", "LPS")
    assert volume.grid.spacing_ijk == pytest.approx(GRID.spacing_ijk)
    assert volume.grid.direction.tolist() == [[-1, 0, 0], [0, -1, 0], [0, 0, 1]]
    assert [one.code for one in volume.findings] == ["assumed-orientation"]


@pytest.mark.parametrize(
    ("letters", "codes"), [("RAI", []), ("???", []), *((one, ["orientation-differs"]) for one in ("LAI", "RPI", "ARI"))]
)
def test_letters_that_contradict_the_matrix_are_told(tmp_path, letters, codes):
    image = sitk.GetImageFromArray(DATA)  # its axes run to left, posterior and superior
    sitk.WriteImage(image, tmp_path / "scan.mha")
    path = edit(tmp_path / "scan.mha", b"AnatomicalOrientation = RAI", f"AnatomicalOrientation = {letters}".encode())
    assert [one.code for one in read_volume(path, "T1w").findings] == codes


def test_letters_that_itk_writes_fit_every_matrix(tmp_path):
    for seed in range(40):
        grid = random_grid(seed, 45.0)
        image = sitk.GetImageFromArray(np.random.default_rng(seed).integers(0, 9, grid.shape_kji).astype(np.int16))
        grid.to_sitk_geometry(image)
        sitk.WriteImage(image, tmp_path / "scan.mha")
        assert b"AnatomicalOrientation = " in (tmp_path / "scan.mha").read_bytes()
        assert [one.code for one in read_volume(tmp_path / "scan.mha", "T1w").findings] == []


def test_what_else_the_header_leaves_open_is_told_or_refused(tmp_path):
    path = write(tmp_path / "scan.mha")
    edit(path, line(path, b"Offset"), b"")
    assert [one.code for one in read_volume(path, "T1w").findings] == ["position-unknown"]
    path = write(tmp_path / "scan.mha")
    edit(path, line(path, b"BinaryDataByteOrderMSB"), b"")
    assert [one.code for one in read_volume(path, "T1w").findings] == ["byte-order"]
    path = write(tmp_path / "scan.mha")
    edit(path, line(path, b"ElementSpacing"), b"")
    assert refused(path, assumed_orientation="RAS").code == "bad-affine"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DimSize", "5 6"),
        ("DimSize", "5 6 0"),
        ("DimSize", "5 6 -7"),
        ("DimSize", "5 6 x"),
        ("DimSize", "nan 6 7"),
        ("NDims", "9"),
        ("ElementType", "MET_WHATEVER"),
        ("ElementSpacing", "nan 1 1"),
        ("ElementSpacing", "0 1 1"),
        ("TransformMatrix", "1 0 0 0 1 0 0 0"),
        ("TransformMatrix", "1 0 0 0 1 0 1 0 0"),
        ("TransformMatrix", "2 0 0 0 1 0 0 0 1"),
        ("TransformMatrix", "1 0 0 0.3 0.953939 0 0 0 1"),
        ("Offset", "nan 0 0"),
        ("CompressedData", "perhaps"),
        ("BinaryDataByteOrderMSB", "middle"),
    ],
)
def test_headers_that_make_no_sense_are_refused(tmp_path, name, value):
    path = write(tmp_path / "scan.mha")
    edit(path, line(path, name.encode()), f"{name} = {value}\n".encode())
    assert refused(path).code in ("unreadable", "bad-affine", "singular-affine", "sheared-axes")


@pytest.mark.parametrize("compressed", [False, True])
def test_a_header_that_claims_a_huge_volume_is_refused_before_memory_is_asked_for(tmp_path, compressed, monkeypatch):
    path = write(tmp_path / "scan.mha", compressed=compressed)
    original = line(path, b"DimSize")
    edit(path, original, b"DimSize = 30000 30000 30000\n")
    monkeypatch.setattr(np, "empty", lambda *_args, **_kwargs: pytest.fail("memory is asked for"))
    assert refused(path).code == "too-large"
    edit(path, b"DimSize = 30000 30000 30000\n", b"DimSize = 1200 1200 1200\n")
    assert refused(path).code == "truncated"


@pytest.mark.parametrize(
    "more",
    [
        "Position = 90 90 90",
        "Orientation = -1 0 0 0 1 0 0 0 1",
        "ElementByteOrderMSB = True",
        "HeaderSize = " + 5000 * "9",
    ],
)
def test_headers_that_contradict_themselves_are_refused(tmp_path, more):
    path = write(tmp_path / "scan.mha")
    edit(path, b"NDims = 3\n", f"NDims = 3\n{more}\n".encode())
    assert refused(path).code == "unreadable"


def test_a_negative_voxel_size_is_refused(tmp_path):
    path = write(tmp_path / "scan.mha")
    edit(path, line(path, b"ElementSpacing"), b"ElementSpacing = -1 1 2\n")
    assert refused(path).code == "bad-affine"
    assert refused(path, assumed_orientation="RAS").code == "bad-affine"


@pytest.mark.parametrize(("name", "value"), [("NDims", 5000 * "9"), ("DimSize", "5 6 " + 5000 * "9")])
def test_a_number_without_end_is_refused(tmp_path, name, value):
    path = write(tmp_path / "scan.mha")
    edit(path, line(path, name.encode()), f"{name} = {value}\n".encode())
    assert refused(path).code == "unreadable"
