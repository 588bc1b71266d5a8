"""Volumes: an array on a grid, of a named modality. Reads and writes NIfTI, NRRD, MetaImage; reads DICOM."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from CrossModalSegLib.atomic import staged_file
from CrossModalSegLib.errors import GeometryError, InputError, OutputError, read_error
from CrossModalSegLib.imaging import dicom
from CrossModalSegLib.imaging.channels import split_channel, whole_of
from CrossModalSegLib.imaging.dicom_header import Slice
from CrossModalSegLib.imaging.finding import Finding, log_warnings
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.metaimage import read_metaimage_header
from CrossModalSegLib.imaging.nifti import read_nifti_header
from CrossModalSegLib.imaging.nifti_forms import NiftiForms
from CrossModalSegLib.imaging.nrrd import read_nrrd_header
from CrossModalSegLib.imaging.orientation import orientation_named
from CrossModalSegLib.imaging.placement import refuse_implausible, refuse_sheared
from CrossModalSegLib.imaging.stored_image import ImageHeader, read_voxels, refuse_impossible_size

WRITABLE = (".nii.gz", ".nii", ".nrrd", ".mha")
# Every suffix that is read, and who reads its header. What the bytes are checked for stands in docs/reliability.md.
READERS = {
    (".nii", ".nii.gz", ".hdr", ".img"): read_nifti_header,
    (".nrrd", ".nhdr"): read_nrrd_header,
    (".mha", ".mhd"): read_metaimage_header,
}


@dataclass(frozen=True, eq=False)
class Volume:
    """A scan: ``array`` float32 indexed (K, J, I) = slices, rows, columns, on ``grid``, of ``modality`` ("T1w", "CT").

    ``findings`` is what was found out while it was read, and is worth knowing: the preflight passes it on. ``forms``
    are its NIfTI file's own statements of its place, ``slices`` those of its DICOM series, along K. Raises InputError
    ``not-3d`` where an axis has a single voxel: one slice is no volume.
    """

    array: np.ndarray
    grid: Grid
    modality: str
    findings: tuple[Finding, ...] = ()
    forms: NiftiForms | None = None
    slices: tuple[Slice, ...] = ()

    def __post_init__(self) -> None:
        if self.array.shape != self.grid.shape_kji:
            message = f"{self.modality}: array of shape {self.array.shape} on a grid of {self.grid.shape_kji}"
            raise GeometryError("shape-mismatch", message, "give the array and the grid of one volume")
        if min(self.array.shape) < 2:
            message = f"{self.modality}: a volume needs at least 2 slices along each axis, not {self.array.shape}"
            raise InputError("not-3d", message, "give the whole series, not a single slice")
        object.__setattr__(self, "array", np.asarray(self.array, dtype=np.float32))


def read_volume(path: dicom.Source | str, modality: str, assumed_orientation: str | None = None) -> Volume:
    """Read a scan as float32 and check that it can be segmented.

    ``path`` is a NIfTI, NRRD or MetaImage file, a folder with one DICOM series anywhere below it, ``folder#UID`` for
    one of several, one DICOM file (its series in that folder, or an enhanced multi-frame object), or a series that was
    found in a tree. Rescale slope and intercept are applied. Of a file that holds several volumes, ``scan.nii.gz#1`` is
    the second one. ``assumed_orientation`` (such as "RAS") is that of files that do not say which way their voxel axes
    run; without it, they are refused.

    Raises InputError with the code ``not-found``, ``unreadable``, ``truncated``, ``extra-bytes``, ``too-large``,
    ``not-3d``, ``no-channel``, ``not-scalar``, ``not-finite``, ``constant``, ``several-series``, ``missing-slices`` or
    another one of `dicom.read_series`; GeometryError with ``unknown-orientation``, ``singular-affine``, ``bad-affine``,
    ``sheared-axes``, ``implausible-geometry``.
    """
    source = path if isinstance(path, dicom.Series) else Path(path)
    image = _read(source, assumed_orientation)
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite then, and refused
        array = np.asarray(image.array, np.float32)
    _refuse_useless(array, source)
    findings = tuple(finding.of(modality) for finding in image.findings)
    return Volume(array, image.grid, modality, findings, image.forms, image.slices)


def read_image(path: Path | str, assumed_orientation: str | None = None) -> tuple[np.ndarray, Grid]:
    """Read any 3D scalar image, such as a label map: (array (K, J, I) with the file's own type, grid).

    What is to be told about the file goes to the log. Raises what `read_volume` raises about the file and its geometry;
    the values are not judged.
    """
    image = _read(Path(path), assumed_orientation)
    log_warnings(path, image.findings)
    return image.array, image.grid


def channel_count(path: Path) -> int:
    """How many volumes an image file holds, by its header. Raises what `read_volume` raises about a file's header."""
    return _header_of(path).channels


def files_of(path: Path) -> tuple[Path, ...]:
    """The files that hold the voxels of an image file: itself, or those beside it; none where its header cannot be
    read."""
    try:
        return _header_of(path).data.files
    except (InputError, GeometryError):
        return ()


def read_grid(path: Path | str, assumed_orientation: str | None = None) -> Grid:
    """The grid of a NIfTI, NRRD or MetaImage file, from its header alone. Raises what `read_image` raises about it."""
    path = Path(path)
    header = _header_of(path)
    _refuse_wrong_kind(header, path, None)
    return header.placement.grid(path, header.shape_ijk, assumed_orientation)[0]


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


@dataclass(frozen=True)
class _Image:
    """What a file holds."""

    array: np.ndarray
    grid: Grid
    findings: tuple[Finding, ...] = ()
    forms: NiftiForms | None = None
    slices: tuple[Slice, ...] = ()


def _read(path: dicom.Source, assumed_orientation: str | None) -> _Image:
    assumed = orientation_named(assumed_orientation) if assumed_orientation else None
    file, channel = split_channel(path) if isinstance(path, Path) else (path, None)
    if isinstance(file, Path):
        _require_readable(whole_of(file))
    if not (isinstance(file, dicom.Series) or dicom.is_series(file)):
        return _read_file(file, channel, assumed)
    _refuse_channel(file, channel, 1)
    series = dicom.read_series(file)
    refuse_sheared(series.grid, path)
    refuse_implausible(series.grid, path)
    return _Image(series.array, series.grid, series.findings, slices=series.slices)


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


def _read_file(path: Path, channel: int | None, assumed: str | None) -> _Image:
    header = _header_of(path)
    _refuse_wrong_kind(header, path, channel)
    refuse_impossible_size(header)
    grid, findings = header.placement.grid(path, header.shape_ijk, assumed)
    return _Image(read_voxels(header, channel or 0), grid, findings, header.forms)


def _header_of(path: Path) -> ImageHeader:
    """By the suffix: each is read by a reader of its own that checks what it finds, or not at all."""
    name = path.name.lower()
    read = next((reader for suffixes, reader in READERS.items() if name.endswith(suffixes)), None)
    if read is None:
        hint = "give NIfTI (.nii, .nii.gz, .hdr and .img), NRRD (.nrrd, .nhdr), MetaImage (.mha, .mhd) or DICOM"
        raise InputError("unreadable", f"{path} is no image, or of a format that is not read", hint)
    return read(path)


def _refuse_wrong_kind(header: ImageHeader, path: Path, channel: int | None) -> None:
    size = header.sizes
    if header.components != 1 or header.dtype is None:
        message = f"{path} holds {header.components} values per voxel ({header.kind})"
        raise InputError("not-scalar", message, "give an image with one grey value per voxel, no colour or vectors")
    channels = header.channels
    if len(size) < 3 or any(n > 1 for n in size[4:]) or min(size[:3]) < 2 or (channels > 1 and channel is None):
        message = f"{path} has the size {' x '.join(map(str, size))}, which is not a 3D volume"
        hint = f"; one of several is read as {path.name}#0" if channels > 1 else ""
        raise InputError("not-3d", message, f"give one 3D volume; split a time series into its volumes{hint}")
    _refuse_channel(path, channel, channels)


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


def _last_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
