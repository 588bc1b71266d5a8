"""Scans that cannot be used, each of one kind of fault: how it is written, and what is to be said about it."""

import gzip
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk

from CrossModalSegLib.imaging.volume import write_volume
from Testing.dicom_files import write_series
from Testing.tiny_bundle import two_balls
from Testing.volumes import grid_around, sampled

GRID = grid_around((5.0, -10.0, 15.0), (27, 30, 28), (4.0, 4.0, 4.0))
WHOLE = sampled(two_balls, GRID).array


@dataclass(frozen=True)
class Fault:
    """``write`` puts a scan into a folder and returns its path; of the error: code, words of the message, of the
    remedy."""

    write: Callable[[Path], Path]
    code: str
    said: str
    remedy: str


def whole(folder: Path, name: str = "scan.nii.gz") -> Path:
    """A scan without fault."""
    write_volume(folder / name, WHOLE, GRID)
    return folder / name


def _missing(folder: Path) -> Path:
    return folder / "nowhere" / "scan.nii.gz"


def _bytes(content: bytes, name: str = "scan.nii.gz") -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return write


def _changed(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    """The whole scan as ``name``, its bytes changed; those of .nii.gz unpacked and packed again."""

    def write(folder: Path) -> Path:
        path = whole(folder, name)
        content = path.read_bytes()
        if name.endswith(".nii.gz"):
            path.write_bytes(gzip.compress(change(gzip.decompress(content))))
        else:
            path.write_bytes(change(content))
        return path

    return write


def _half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def _packed_half(folder: Path) -> Path:
    path = whole(folder)
    path.write_bytes(_half(path.read_bytes()))
    return path


def _packed_flip(folder: Path) -> Path:
    path = whole(folder)
    path.write_bytes(_flip(path.read_bytes()))
    return path


def _array(array: np.ndarray) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        write_volume(folder / "scan.nii.gz", array, GRID)
        return folder / "scan.nii.gz"

    return write


def _with(value: float) -> np.ndarray:
    array = WHOLE.copy()
    array[3, 4, 5] = value
    return array


def _image(make: Callable[[], sitk.Image], name: str = "scan.nrrd") -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        sitk.WriteImage(make(), folder / name)
        return folder / name

    return write


def _nifti_of_30000(content: bytes) -> bytes:
    return content[:42] + struct.pack("<3h", 30000, 30000, 30000) + content[48:]


def _nrrd_of_30000(folder: Path) -> Path:
    header = (
        "NRRD0004\ntype: short\ndimension: 3\nsizes: 30000 30000 30000\nspace: left-posterior-superior\nencoding: raw\n"
        "endian: little\nspace directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\n\n"
    )
    return _bytes(header.encode() + bytes(1000), "scan.nrrd")(folder)


def _meta_of_30000(folder: Path) -> Path:
    header = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = False\n"
        "TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\nElementSpacing = 1 1 1\nDimSize = 30000 30000 30000\n"
        "ElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    )
    return _bytes(header.encode() + bytes(1000), "scan.mha")(folder)


def _series(folder: Path) -> list[Path]:
    return write_series(folder / "series", WHOLE.astype(np.int16), GRID)


def _dicom(change: Callable[[list[Path]], None]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        change(_series(folder))
        return folder / "series"

    return write


def _with_tag(keyword: str, value: object, at: slice = slice(None)) -> Callable[[Path], Path]:
    """A series whose slices ``at`` have ``value`` for a tag; None: the tag is there and empty."""

    def change(files: list[Path]) -> None:
        for file in files[at]:
            header = pydicom.dcmread(file)
            setattr(header, keyword, value)
            header.save_as(file)

    return _dicom(change)


def _two_series(folder: Path) -> Path:
    _series(folder)
    write_series(folder / "series", WHOLE.astype(np.int16), GRID, description="coronal", name="B{:04d}")
    return folder / "series"


def _tilted(files: list[Path]) -> None:
    for number, file in enumerate(files):
        header = pydicom.dcmread(file)
        x, y, z = header.ImagePositionPatient
        header.ImagePositionPatient = [x, y + number, z]
        header.save_as(file)


def _pipe(folder: Path) -> Path:
    os.mkfifo(folder / "scan.nii.gz")
    return folder / "scan.nii.gz"


def _too_long(folder: Path) -> Path:
    return folder / f"{300 * 'x'}.nii.gz"


FAULTS = {
    "missing": Fault(_missing, "not-found", "nowhere/scan.nii.gz", "check the path"),
    "path too long": Fault(_too_long, "path-too-long", "xxx.nii.gz", "shorter"),
    "empty file": Fault(_bytes(b""), "truncated", "scan.nii.gz", "export it again"),
    "text": Fault(_bytes(b"hello\n" * 99, "scan.nrrd"), "unreadable", "not begin as an NRRD file", "export it again"),
    "pipe": Fault(_pipe, "unreadable", "neither a file nor a folder", "copy it"),
    "cut .nii": Fault(_changed("scan.nii", _half), "truncated", "45536 bytes", "export it again"),
    "cut .nii.gz": Fault(_packed_half, "truncated", "scan.nii.gz", "export it again"),
    "cut before it was packed": Fault(_changed("scan.nii.gz", _half), "truncated", "45184 of 90720 bytes", "again"),
    "flipped bit in .nii.gz": Fault(_packed_flip, "unreadable", "scan.nii.gz", "export it again"),
    "cut .nrrd": Fault(_changed("scan.nrrd", _half), "truncated", "scan.nrrd", "export it again"),
    "flipped bit in .nrrd": Fault(_changed("scan.nrrd", _flip), "unreadable", "scan.nrrd", "export it again"),
    "NaN": Fault(_array(_with(np.nan)), "not-finite", "1 of 22680 voxels", "export"),
    "infinity": Fault(_array(_with(np.inf)), "not-finite", "1 of 22680 voxels", "export"),
    "constant": Fault(_array(np.full_like(WHOLE, 7)), "constant", "the value 7 in every voxel", "right file"),
    "time series": Fault(
        _image(lambda: sitk.JoinSeries([sitk.GetImageFromArray(WHOLE)] * 3)), "not-3d", "27 x 30 x 28 x 3", "split"
    ),
    "one slice": Fault(_image(lambda: sitk.GetImageFromArray(WHOLE[:1])), "not-3d", "27 x 30 x 1", "3D volume"),
    "colours": Fault(
        _image(lambda: sitk.GetImageFromArray(np.stack([WHOLE] * 3, -1).astype(np.uint8), isVector=True)),
        "not-scalar", "3 values per voxel", "one grey value",
    ),
    "30000³ in NIfTI": Fault(_changed("scan.nii", _nifti_of_30000), "too-large", "30000 x 30000 x 30000", "crop"),
    "cut .mha": Fault(_changed("scan.mha", _half), "truncated", "scan.mha", "export it again"),
    "flipped bit in .mha": Fault(_changed("scan.mha", _flip), "unreadable", "scan.mha", "export it again"),
    "30000³ in NRRD": Fault(_nrrd_of_30000, "too-large", "30000 x 30000 x 30000", "crop"),
    "30000³ in MetaImage": Fault(_meta_of_30000, "too-large", "30000 x 30000 x 30000", "crop"),
    "several series": Fault(_two_series, "several-series", "coronal", "name the one"),
    "gantry tilt": Fault(_dicom(_tilted), "gantry-tilt", "14.0 degrees", "3D Slicer"),
    "missing slice": Fault(_dicom(lambda files: files[9].unlink()), "missing-slices", "1", "copy"),
    "empty folder": Fault(lambda folder: folder, "not-found", "no DICOM images", "slice files"),
    "empty position": Fault(_with_tag("ImagePositionPatient", None), "no-position", "ImagePositionPatient", "CT or MR"),
    "one empty position": Fault(_with_tag("ImagePositionPatient", None, slice(3, 4)), "no-position", "IM0003", "exp"),
    "empty orientation": Fault(_with_tag("ImageOrientationPatient", None), "unreadable", "ImageOrient", "CT or MR"),
    "empty spacing": Fault(_with_tag("PixelSpacing", None), "unreadable", "PixelSpacing is empty", "CT or MR"),
    "spacing of 0": Fault(_with_tag("PixelSpacing", [0, 0]), "unreadable", "PixelSpacing 0, 0", "CT or MR"),
    "empty rows": Fault(_with_tag("Rows", None), "unreadable", "Rows is empty", "CT or MR"),
    "empty columns": Fault(_with_tag("Columns", None), "unreadable", "Columns is empty", "CT or MR"),
    "empty series": Fault(_with_tag("SeriesInstanceUID", None), "unreadable", "SeriesInstanceUID", "export"),
    "empty bits": Fault(_with_tag("BitsAllocated", None), "unreadable", "its pixels cannot be read", "export"),
    "empty pixels": Fault(_with_tag("PixelData", None), "unreadable", "its pixels cannot be read", "export"),
}  # fmt: skip
