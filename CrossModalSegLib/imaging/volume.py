"""Volumes: an array on a grid, of a named modality. Reads and writes NIfTI, NRRD, MetaImage; reads DICOM."""

import gzip
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import SimpleITK as sitk

from CrossModalSegLib.atomic import staged_file
from CrossModalSegLib.errors import GeometryError, InputError, OutputError, read_error
from CrossModalSegLib.imaging import dicom
from CrossModalSegLib.imaging.channels import split_channel, whole_of
from CrossModalSegLib.imaging.finding import Finding
from CrossModalSegLib.imaging.grid import Grid

WRITABLE = (".nii.gz", ".nii", ".nrrd", ".mha")
_NIFTI_SUFFIXES = (".nii", ".nii.gz")
_NIFTI_HEADER_BYTES = 348
_CHUNK_BYTES = 1 << 20
_LARGEST_SHEAR_DEGREES = 0.1


@dataclass(frozen=True, eq=False)
class Volume:
    """A scan: ``array`` float32 indexed (K, J, I) = slices, rows, columns, on ``grid``, of ``modality`` ("T1w", "CT").

    ``findings`` is what was found out while it was read, and is worth knowing: the preflight passes it on. Raises
    InputError ``not-3d`` where an axis has a single voxel: one slice is no volume.
    """

    array: np.ndarray
    grid: Grid
    modality: str
    findings: tuple[Finding, ...] = ()

    def __post_init__(self) -> None:
        if self.array.shape != self.grid.shape_kji:
            message = f"{self.modality}: array of shape {self.array.shape} on a grid of {self.grid.shape_kji}"
            raise GeometryError("shape-mismatch", message, "give the array and the grid of one volume")
        if min(self.array.shape) < 2:
            message = f"{self.modality}: a volume needs at least 2 slices along each axis, not {self.array.shape}"
            raise InputError("not-3d", message, "give the whole series, not a single slice")
        object.__setattr__(self, "array", np.asarray(self.array, dtype=np.float32))


def read_volume(path: dicom.Source | str, modality: str) -> Volume:
    """Read a scan as float32 and check that it can be segmented.

    ``path`` is a NIfTI, NRRD or MetaImage file, a folder with one DICOM series anywhere below it, ``folder#UID`` for one
    of several, one DICOM file (its series in that folder, or an enhanced multi-frame object), or a series that was found
    in a tree. Rescale slope and intercept are applied. Of a file that holds several volumes, ``scan.nii.gz#1`` is the
    second one.

    Raises InputError with the code ``not-found``, ``unreadable``, ``truncated``, ``not-3d``, ``no-channel``,
    ``not-scalar``, ``not-finite``, ``constant``, ``several-series``, ``missing-slices`` or another one of `dicom.read_series`;
    GeometryError with ``singular-affine``, ``bad-affine``, ``sheared-axes``.
    """
    source = path if isinstance(path, dicom.Series) else Path(path)
    array, grid, findings = _read(source, sitk.sitkFloat32)
    if isinstance(source, Path):
        _refuse_hidden_nan(source)
    _refuse_useless(array, source)
    return Volume(array, grid, modality, tuple(finding.of(modality) for finding in findings))


def read_image(path: Path | str) -> tuple[np.ndarray, Grid]:
    """Read any 3D scalar image, such as a label map: (array (K, J, I) with the file's own type, grid).

    Raises what `read_volume` raises about the file and its geometry; the values are not judged.
    """
    array, grid, _findings = _read(Path(path), sitk.sitkUnknown)
    return array, grid


def channel_count(path: Path) -> int:
    """How many volumes an image file holds, by its header. Raises what `read_volume` raises about a file's header."""
    return _channels_of(_header_of(path).GetSize())


def read_grid(path: Path | str) -> Grid:
    """The grid of a NIfTI, NRRD or MetaImage file, from its header alone. Raises what `read_image` raises about it."""
    reader = _header_of(Path(path))
    _refuse_wrong_kind(reader, Path(path), None)
    return _grid_of(reader, Path(path))


def write_volume(path: Path | str, array: np.ndarray, grid: Grid) -> None:
    """Write ``array`` (K, J, I) on ``grid`` to a .nii.gz, .nii, .nrrd or .mha file, compressed where the format can.

    The file appears complete or not at all: it is written beside its target and renamed. Raises OutputError
    ``unknown-format``, ``cannot-write``; GeometryError ``shape-mismatch``.
    """
    path = Path(path)
    if not path.name.lower().endswith(WRITABLE):
        raise OutputError("unknown-format", f"cannot write {path}", f"use one of {', '.join(WRITABLE)}")
    image = sitk.GetImageFromArray(array.astype(np.uint8) if array.dtype == bool else array)
    grid.to_sitk_geometry(image)
    with staged_file(path) as staged:
        try:
            sitk.WriteImage(image, staged, useCompression=True)
        except RuntimeError as error:
            raise OutputError("cannot-write", f"{path}: {_last_line(error)}", "check space and rights") from error


def _read(path: dicom.Source, pixel_type: int) -> tuple[np.ndarray, Grid, tuple[Finding, ...]]:
    findings: tuple[Finding, ...] = ()
    file, channel = split_channel(path) if isinstance(path, Path) else (path, None)
    if isinstance(file, Path):
        _require_readable(whole_of(file))
    if isinstance(file, dicom.Series) or dicom.is_series(file):
        _refuse_channel(file, channel, 1)
        array, grid, findings = dicom.read_series(file)
    else:
        _refuse_truncated_nifti(file)
        array, grid = _read_file(file, pixel_type, channel)
    if grid.shear_degrees > _LARGEST_SHEAR_DEGREES:
        message = f"{path}: the voxel axes are {grid.shear_degrees:.2f} degrees away from right angles"
        raise GeometryError("sheared-axes", message, "resample the volume to right angles, e.g. with 3D Slicer")
    return array, grid, findings


def _require_readable(file: Path) -> None:
    """Raises InputError ``not-found``, ``cannot-read``, ``path-too-long`` or ``unreadable``."""
    try:
        if not file.exists():
            raise InputError("not-found", f"no such file or folder: {file}", "check the path")
        if file.is_dir():
            next(file.iterdir(), None)
        elif file.is_file():
            file.open("rb").close()
        else:  # a pipe or a device, which ends never, or can be read only once
            raise InputError("unreadable", f"{file} is neither a file nor a folder", "copy it into a file first")
    except OSError as error:
        raise read_error(str(file), error) from error


def _read_file(path: Path, pixel_type: int, channel: int | None) -> tuple[np.ndarray, Grid]:
    reader = _header_of(path)
    _refuse_wrong_kind(reader, path, channel)
    reader.SetOutputPixelType(pixel_type)
    more = len(reader.GetSize()) - 3
    if more:
        reader.SetExtractSize([*reader.GetSize()[:3], *[0] * more])
        reader.SetExtractIndex([0, 0, 0, channel or 0, *[0] * (more - 1)])
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise _refusal(path, error) from error
    return sitk.GetArrayFromImage(image), _grid_of(image, path)


def _header_of(path: Path) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _refusal(path, error) from error
    return reader


def _grid_of(image: sitk.Image | sitk.ImageFileReader, path: Path) -> Grid:
    try:
        return Grid.from_sitk(image)
    except GeometryError as error:
        raise GeometryError(error.code, f"{path}: {error.message}", error.hint) from error


def _refuse_wrong_kind(reader: sitk.ImageFileReader, path: Path, channel: int | None) -> None:
    size = reader.GetSize()
    if reader.GetNumberOfComponents() != 1 or "complex" in sitk.GetPixelIDValueAsString(reader.GetPixelID()):
        kind = sitk.GetPixelIDValueAsString(reader.GetPixelID())
        message = f"{path} holds {reader.GetNumberOfComponents()} values per voxel ({kind})"
        raise InputError("not-scalar", message, "give an image with one grey value per voxel, no colour or vectors")
    channels = _channels_of(size)
    if len(size) < 3 or any(n > 1 for n in size[4:]) or min(size[:3]) < 2 or (channels > 1 and channel is None):
        message = f"{path} has the size {' x '.join(map(str, size))}, which is not a 3D volume"
        hint = f"; one of several is read as {path.name}#0" if channels > 1 else ""
        raise InputError("not-3d", message, f"give one 3D volume; split a time series into its volumes{hint}")
    _refuse_channel(path, channel, channels)


def _channels_of(size: Sequence[int]) -> int:
    return size[3] if len(size) > 3 else 1


def _refuse_channel(path: dicom.Source, channel: int | None, channels: int) -> None:
    if channel is not None and channel >= channels:
        message = f"{path} has no channel {channel}: it holds {channels}, counted from 0"
        raise InputError("no-channel", message, "correct the number after #, or give the file that holds the channel")


def _refuse_useless(array: np.ndarray, path: dicom.Source) -> None:
    low, high = float(array.min()), float(array.max())  # NaN comes through both
    if not np.isfinite([low, high]).all():
        raise _not_finite(path, array.size - int(np.isfinite(array).sum()), array.size)
    if low == high:
        raise InputError("constant", f"{path} has the value {low:g} in every voxel", "check that it is the right file")


def _not_finite(path: dicom.Source, count: int, size: int) -> InputError:
    message = f"{path} has {count} of {size} voxels that are NaN or infinite"
    return InputError("not-finite", message, "replace them, or export the volume again")


def _refuse_hidden_nan(path: Path) -> None:
    """ITK's NIfTI reader turns NaN and infinity into 0 without a word, so look for them in the file itself."""
    file, channel = split_channel(path)
    if not file.name.lower().endswith(_NIFTI_SUFFIXES):
        return
    with _open_nifti(file) as stream:
        layout = _nifti_layout(stream.read(_NIFTI_HEADER_BYTES))
        if layout is None or layout.float_type is None:
            return
        left, count = layout.volume_voxels * layout.bits // 8, 0
        stream.seek(max(layout.offset, _NIFTI_HEADER_BYTES) + left * (channel or 0))
        while left > 0 and (chunk := stream.read(min(left, _CHUNK_BYTES))):
            left -= len(chunk)
            count += int((~np.isfinite(np.frombuffer(chunk, layout.float_type))).sum())
    if count:
        raise _not_finite(path, count, layout.volume_voxels)


def _refuse_truncated_nifti(path: Path) -> None:
    """ITK reads a NIfTI file that ends early without an error (the rest is zero), so look at the bytes first."""
    if not path.name.lower().endswith(_NIFTI_SUFFIXES):
        return
    hint = "the file is damaged or not fully copied: copy or export it again"
    try:
        with _open_nifti(path) as stream:
            header = stream.read(_NIFTI_HEADER_BYTES)
            present = len(header)
            while chunk := stream.read(_CHUNK_BYTES):  # to the end, where gzip's checksum is
                present += len(chunk)
    except EOFError as error:
        raise InputError("truncated", f"{path} ends in the middle of the data", hint) from error
    except (OSError, zlib.error) as error:
        raise InputError("unreadable", f"{path}: {error}", hint) from error
    layout = _nifti_layout(header)
    expected = layout.offset + layout.voxels * layout.bits // 8 if layout else _NIFTI_HEADER_BYTES
    if present < expected:
        raise InputError("truncated", f"{path} holds {present} of {expected} bytes", hint)


def _open_nifti(path: Path) -> BinaryIO | gzip.GzipFile:
    return gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb")


@dataclass(frozen=True)
class _NiftiLayout:
    """Where the voxels of a NIfTI-1 file start and how they are stored; ``volume_voxels`` are those of each of its
    volumes, ``float_type`` is NumPy's, None for integers."""

    offset: int
    voxels: int
    volume_voxels: int
    bits: int
    float_type: str | None


def _nifti_layout(header: bytes) -> _NiftiLayout | None:
    """From nifti1.h: dim at 40, datatype at 70, bitpix at 72, vox_offset at 108. None where it is no such header."""
    if len(header) < _NIFTI_HEADER_BYTES:
        return None
    order = next((o for o in "<>" if struct.unpack(o + "i", header[:4])[0] == _NIFTI_HEADER_BYTES), None)
    if order is None:
        return None
    rank, *sizes = struct.unpack(order + "8h", header[40:56])
    datatype, bits = struct.unpack(order + "2h", header[70:74])
    (offset,) = struct.unpack(order + "f", header[108:112])
    lengths = [max(n, 1) for n in sizes[: max(rank, 0)]]
    voxels, of_volume = (int(np.prod(part, dtype=np.int64)) for part in (lengths, lengths[:3]))
    number = {16: "f4", 64: "f8"}.get(datatype)
    return _NiftiLayout(int(offset), voxels, of_volume, bits, f"{order}{number}" if number else None)


def _refusal(path: Path, error: RuntimeError) -> InputError | GeometryError:
    """What ITK's message means; it carries source lines, addresses and misleading reasons."""
    text = str(error)
    damaged = "the file is damaged or not fully copied: copy or export it again"
    if "determinant" in text or "orthonormal" in text:
        message = f"{path}: the axes in the header do not span space or are not at right angles"
        return GeometryError("singular-affine", message, "resample the volume to right angles, or export it again")
    if "Unable to determine ImageIO" in text:
        hint = "give NIfTI-1, NRRD, MetaImage or DICOM"
        return InputError("unreadable", f"{path} is no image, or of a format that is not known", hint)
    if "but received" in text:  # NRRD: expected so many bytes but received fewer
        return InputError("truncated", f"{path}: {_last_line(error)}", damaged)
    return InputError("unreadable", f"{path} cannot be read as an image", damaged)


def _last_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
