"""The values of DICOM slices, however files store them: as a reader that is not ours finds them, or refused."""

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames

from CrossModalSegLib.imaging.dicom import read_series
from Testing.dicom_files import write_series
from Testing.dicom_series import compressed, edit, refused, series, whole
from Testing.volumes import grid_around


def test_values_above_the_bits_that_are_said_to_be_stored_are_told(tmp_path):
    files = series(tmp_path)
    for file in files:
        edit(file, BitsStored=12, HighBit=11, PixelRepresentation=0)
    pixels = np.full(42, 0x0123, "<u2")
    edit(files[1], PixelData=(pixels | 0x4000).tobytes())
    image = read_series(tmp_path)
    (finding,) = image.findings
    assert (finding.code, finding.severity) == ("bits-left-out", "warning")
    assert finding.message.startswith(f"{files[1].name}: ")
    overlay = pydicom.dcmread(files[1])
    overlay.add_new(0x60000100, "US", 16)
    overlay.add_new(0x60000102, "US", 14)
    overlay.save_as(files[1])
    assert read_series(tmp_path).findings == ()


@pytest.mark.parametrize("negative", [0xFFFE, 0x0FFE])  # -2 in 12 bits, with the sign repeated above them or not
def test_a_sign_that_is_repeated_or_not_is_no_surplus(tmp_path, negative):
    files = series(tmp_path)
    pixels = np.full(42, negative, "<u2")
    edit(files[0], BitsStored=12, HighBit=11, PixelRepresentation=1, PixelData=pixels.tobytes())
    image = read_series(tmp_path)
    assert image.findings == ()
    assert (image.array == -2).sum() == 42


def bare(file):
    """The data set alone, without preamble, prefix and meta information."""
    header = pydicom.dcmread(file)
    header.file_meta, header.preamble = FileMetaDataset(), None
    header.save_as(file, implicit_vr=False, little_endian=True, enforce_file_format=False)


def test_files_without_preamble_or_prefix_are_read(tmp_path):
    files = series(tmp_path)
    content = files[0].read_bytes()
    files[0].write_bytes(content[128:])
    files[1].write_bytes(files[1].read_bytes()[132:])
    bare(files[2])
    assert pydicom.dcmread(files[2], force=True).preamble is None
    assert whole(tmp_path) == {}
    assert whole(files[0]) == {}
    assert whole(files[2]) == {}


KINDS = ("rle", "deflated", "big", "JPEG", "JPEG2000")


def test_a_series_of_mixed_transfer_syntaxes_is_read(tmp_path):
    files = series(tmp_path)
    for file, kind in zip(files, KINDS, strict=False):
        compressed(file, kind)
    syntaxes = {pydicom.dcmread(file).file_meta.TransferSyntaxUID for file in files}
    assert len(syntaxes) == len(KINDS) + 1
    assert whole(tmp_path) == {}


@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000"])
def test_a_compressed_file_without_preamble_is_read(tmp_path, kind):
    file = series(tmp_path)[0]
    compressed(file, kind)
    file.write_bytes(file.read_bytes()[128:])
    assert whole(tmp_path) == {}


@pytest.mark.parametrize("kind", ["rle", "JPEG", "JPEG2000"])
@pytest.mark.parametrize("damage", [lambda s: s[: len(s) // 4 * 2], lambda s: s[: len(s) // 2] + bytes(len(s) // 2)])
def test_a_compressed_slice_whose_stream_is_cut_is_refused_by_name(tmp_path, kind, damage):
    file = series(tmp_path)[-1]
    compressed(file, kind)
    header = pydicom.dcmread(file)
    header.PixelData = encapsulate([damage(next(generate_frames(header.PixelData, number_of_frames=1)))])
    header.save_as(file)
    error = refused(tmp_path)
    assert error.code == "unreadable"
    assert "IM0007" in error.message


def test_a_jpeg_stream_without_its_end_is_refused_though_gdcm_reads_it(tmp_path):
    """GDCM makes something up for the rest of the slice, and tells nobody."""
    grid = grid_around((0, 0, 0), (64, 64, 3), (1, 1, 2))
    noise = np.random.default_rng(1).integers(0, 900, grid.shape_kji).astype(np.int16)
    file = write_series(tmp_path, noise, grid)[-1]
    compressed(file, "JPEG")
    header = pydicom.dcmread(file)
    stream = next(generate_frames(header.PixelData, number_of_frames=1))
    header.PixelData = encapsulate([stream[: len(stream) // 2] + bytes(len(stream) - len(stream) // 2)])
    header.save_as(file)
    made_up = sitk.GetArrayFromImage(sitk.ReadImage(str(file)))[0]
    assert not np.array_equal(made_up, noise[-1])
    error = refused(tmp_path)
    assert error.code == "unreadable"
    assert "the compressed pixels of frame 1 are cut or damaged" in error.message


@pytest.mark.parametrize(
    ("syntax", "name"),
    [
        ("1.2.840.10008.1.2.4.201", "High-Throughput JPEG 2000"),
        ("1.2.840.10008.1.2.4.102", "MPEG-4"),
        ("1.2.3.4", "1.2.3.4"),
    ],
)
def test_a_compression_that_cannot_be_decoded_is_refused_by_its_name(tmp_path, syntax, name):
    file = series(tmp_path)[-1]
    header = pydicom.dcmread(file)
    header.PixelData = encapsulate([b"\xff\x4f\xff\x51" + bytes(100)])
    header.file_meta.TransferSyntaxUID = syntax
    header.save_as(file, implicit_vr=False, little_endian=True)
    error = refused(tmp_path)
    assert error.code == "compression"
    assert "IM0007" in error.message
    assert name in error.message


@pytest.mark.parametrize("pixels", [b"", bytes(40)])
def test_a_slice_with_too_few_pixels_is_refused_by_name(tmp_path, pixels):
    edit(series(tmp_path)[-1], PixelData=pixels)
    error = refused(tmp_path)
    assert error.code == "unreadable"
    assert "IM0007" in error.message


@pytest.mark.parametrize("kind", ["plain", "rle", "JPEG", "JPEG2000"])
@pytest.mark.parametrize("rows", [32, 100])
def test_another_size_than_the_pixels_have_is_refused(tmp_path, kind, rows):
    grid = grid_around((0, 0, 0), (64, 64, 3), (1, 1, 2))
    noise = np.random.default_rng(1).integers(0, 900, grid.shape_kji).astype(np.int16)
    for file in write_series(tmp_path, noise, grid):
        if kind != "plain":
            compressed(file, kind)
        edit(file, Rows=rows)
    error = refused(tmp_path)
    assert error.code == "unreadable"
    assert "IM0000" in error.message


def test_pixels_are_those_that_gdcm_finds(tmp_path):
    """Signs, unused bits, inverted display and rescaling, against an independent reader."""
    generator = np.random.default_rng(3)
    facts = [
        {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0},
        {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 1},
        {"BitsStored": 16, "HighBit": 15, "PixelRepresentation": 0, "PhotometricInterpretation": "MONOCHROME1"},
        {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0, "RescaleSlope": 0.5, "RescaleIntercept": -7},
        {"BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1, "RescaleSlope": 2, "RescaleIntercept": -1024},
        {"BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1, "PhotometricInterpretation": "MONOCHROME1"},
    ]
    files = series(tmp_path)
    for file, changed in zip(files, facts, strict=False):
        edit(file, **changed, PixelData=generator.integers(0, 4096, 42).astype("<u2").tobytes())
    image = read_series(tmp_path)
    array, findings = image.array, image.findings
    assert [finding.code for finding in findings] == ["slice-kinds", "inverted"]
    assert f"{files[2].name} and 1 more of {len(files)} files" in findings[1].message  # those that are, not the first
    expected = [sitk.GetArrayFromImage(sitk.ReadImage(str(file), sitk.sitkFloat64))[0] for file in files]
    assert np.allclose(array, expected) or np.allclose(array, expected[::-1])


def test_a_colour_series_is_refused(tmp_path):
    edit(series(tmp_path)[0], PhotometricInterpretation="PALETTE COLOR")
    assert refused(tmp_path).code == "not-scalar"
