"""One small DICOM series for tests: written, changed file by file, and read as a whole or refused."""

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless

from CrossModalSegLib.errors import CrossModalSegError
from CrossModalSegLib.imaging.volume import read_volume
from Testing.dicom_files import write_series
from Testing.volumes import grid_around

GRID = grid_around((12, -30, 45), (7, 6, 8), (0.8, 0.9, 3.0))
NUMBERS = np.arange(np.prod(GRID.shape_kji), dtype=np.int16).reshape(GRID.shape_kji)


def series(folder, **options):
    return write_series(folder, NUMBERS, GRID, **options)


def whole(source):
    """The volume, which has to hold every slice with the values that were written; what was found out."""
    volume = read_volume(source, "CT")
    assert np.array_equal(np.sort(volume.array.ravel()), np.sort(NUMBERS.ravel().astype(np.float32)))
    assert volume.grid.shape_kji == GRID.shape_kji
    return {finding.code: finding for finding in volume.findings}


def refused(source):
    with pytest.raises(CrossModalSegError) as caught:
        read_volume(source, "CT")
    return caught.value


def edit(file, **attributes):
    """Set attributes of a file; None leaves an element without a value."""
    header = pydicom.dcmread(file)
    for keyword, value in attributes.items():
        setattr(header, keyword, value)
    header.save_as(file)


def without(file, *keywords):
    """Remove attributes of a file."""
    header = pydicom.dcmread(file)
    for keyword in keywords:
        delattr(header, keyword)
    header.save_as(file)


def moved(files, folder):
    folder.mkdir(parents=True, exist_ok=True)
    return [file.rename(folder / file.name) for file in files]


def compressed(file, kind):
    """Rewrite a slice with another transfer syntax."""
    header = pydicom.dcmread(file)
    if kind == "rle":
        header.compress(RLELossless, generate_instance_uid=False)
    elif kind == "deflated":
        header.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    elif kind == "big":
        header.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        header.PixelData = np.frombuffer(header.PixelData, "<i2").astype(">i2").tobytes()
        pydicom.dcmwrite(file, header, implicit_vr=False, little_endian=False, force_encoding=True)
        return
    else:
        writer = sitk.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.KeepOriginalImageUIDOn()
        writer.UseCompressionOn()
        writer.SetCompressor(kind)
        writer.SetFileName(str(file.with_name("compressed.dcm")))
        writer.Execute(sitk.GetImageFromArray(header.pixel_array[None]))
        other = pydicom.dcmread(file.with_name("compressed.dcm"))
        header.PixelData, header.file_meta.TransferSyntaxUID = other.PixelData, other.file_meta.TransferSyntaxUID
        header["PixelData"].VR, header["PixelData"].is_undefined_length = "OB", True
        file.with_name("compressed.dcm").unlink()
    header.save_as(file)
