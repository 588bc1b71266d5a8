"""DICOM series: the slices' positions come from the headers and are checked; the pixels are read by ITK."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from CrossModalSegLib.errors import GeometryError, InputError
from CrossModalSegLib.imaging.grid import LPS_TO_RAS, Grid

_PREAMBLE_BYTES = 128
_POSITION_TOLERANCE_MM = 0.1  # slices further than this from their regular place are an error
_DIRECTION_TOLERANCE = 1e-3  # difference of direction cosines that rounding in the header explains


@dataclass(frozen=True)
class Slice:
    """One slice of a series in LPS millimetres (DICOM PS3.3 C.7.6.2): the first pixel's centre and the in-plane axes."""

    file: Path
    frame: int
    frames_in_file: int
    series_uid: str
    series_description: str
    size: tuple[int, int]  # rows, columns
    position: np.ndarray  # (3,)
    orientation: np.ndarray  # (2, 3): direction of growing column index, of growing row index
    spacing: tuple[float, float]  # mm between rows, mm between columns
    rescale: tuple[float, float]  # slope, intercept

    @property
    def normal(self) -> np.ndarray:
        """Unit vector of the direction in which slices are stacked."""
        return np.cross(self.orientation[0], self.orientation[1])


def is_dicom(path: Path) -> bool:
    """True for a file with a DICOM preamble (PS3.10 7.1); the name does not matter."""
    with path.open("rb") as stream:
        return stream.read(_PREAMBLE_BYTES + 4)[_PREAMBLE_BYTES:] == b"DICM"


def read_series(path: Path, pixel_type: int = sitk.sitkUnknown) -> tuple[np.ndarray, Grid]:
    """Read the one DICOM series of a folder, or the series to which a file belongs: (array (K, J, I), grid).

    Slices are ordered by position along their normal. Raises InputError ``not-found`` (no DICOM images),
    ``several-series`` (lists them), ``several-volumes`` (echoes or time points in one series), ``mixed-series``
    (slices of different size, spacing or orientation), ``missing-slices`` and ``uneven-slices`` (names the gap),
    ``not-3d`` (one slice), ``not-scalar``, ``unreadable``; GeometryError ``gantry-tilt``.
    """
    slices = _one_series(path)
    _refuse_mixed(slices, path)
    normal = slices[0].normal
    slices = sorted(slices, key=lambda one: float(one.position @ normal))
    _refuse_irregular(slices, path)
    array = _pixels(slices, pixel_type)
    return array, _grid(slices)


def _one_series(path: Path) -> list[Slice]:
    folder = path if path.is_dir() else path.parent
    files = sorted(f for f in folder.iterdir() if f.is_file() and is_dicom(f))
    series: dict[str, list[Slice]] = {}
    for file in files:
        for one in _slices_of(file):
            series.setdefault(one.series_uid, []).append(one)
    if path.is_file():
        wanted = [s for s in series.values() if any(one.file == path for one in s)]
        if not wanted:
            raise InputError("unreadable", f"{path} has no pixels with a position in space", "give a CT or MR series")
        return wanted[0]
    if not series:
        raise InputError("not-found", f"no DICOM images in {folder}", "give the folder that holds the slice files")
    if len(series) > 1:
        listed = "; ".join(f"{uid} '{s[0].series_description}' {len(s)} slices" for uid, s in series.items())
        hint = "give one file of the series you mean, or a folder with that series alone"
        raise InputError("several-series", f"{folder} holds {len(series)} series: {listed}", hint)
    return next(iter(series.values()))


def _slices_of(file: Path) -> list[Slice]:
    """The slices of a DICOM file; none for what is not an image in space (reports, presentation states, captures)."""
    try:
        header = pydicom.dcmread(file, stop_before_pixels=True)
    except (InvalidDicomError, EOFError) as error:
        raise InputError("unreadable", f"{file}: {error}", "copy or export the series again") from error
    if "Rows" not in header:
        return []
    if "PerFrameFunctionalGroupsSequence" in header:
        frames = header.PerFrameFunctionalGroupsSequence
        return [_slice(header, file, n, len(frames), _functional_groups(header, n)) for n in range(len(frames))]
    if "ImagePositionPatient" not in header or "PixelSpacing" not in header:
        return []
    return [_slice(header, file, 0, int(header.get("NumberOfFrames") or 1), header)]


def _functional_groups(header: Dataset, frame: int) -> Dataset:
    """One frame's attributes gathered from its own and the shared functional groups (PS3.3 C.7.6.16)."""
    gathered = Dataset()
    groups = [*header.get("SharedFunctionalGroupsSequence", []), header.PerFrameFunctionalGroupsSequence[frame]]
    for group in groups:
        for element in group:
            if element.VR == "SQ" and len(element.value) == 1:
                gathered.update(element.value[0])
    return gathered


def _slice(header: Dataset, file: Path, frame: int, frames_in_file: int, attributes: Dataset) -> Slice:
    try:
        return Slice(
            file=file,
            frame=frame,
            frames_in_file=frames_in_file,
            series_uid=str(header.SeriesInstanceUID),
            series_description=str(header.get("SeriesDescription", "")),
            size=(int(header.Rows), int(header.Columns)),
            position=np.array(attributes.ImagePositionPatient, dtype=np.float64),
            orientation=np.array(attributes.ImageOrientationPatient, dtype=np.float64).reshape(2, 3),
            spacing=(float(attributes.PixelSpacing[0]), float(attributes.PixelSpacing[1])),
            rescale=(float(attributes.get("RescaleSlope", 1)), float(attributes.get("RescaleIntercept", 0))),
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError("unreadable", f"{file}: {error}", "the slice's header is damaged: export it again") from error


def _refuse_mixed(slices: Sequence[Slice], path: Path) -> None:
    first = slices[0]
    for one in slices[1:]:
        same = (
            one.size == first.size
            and np.allclose(one.orientation, first.orientation, atol=_DIRECTION_TOLERANCE)
            and np.allclose(one.spacing, first.spacing, rtol=1e-3)
        )
        if not same:
            message = f"{path}: {one.file.name} differs from {first.file.name} in size, spacing or orientation"
            raise InputError("mixed-series", message, "give a folder with the slices of one stack")
    if len(slices) < 2:
        raise InputError("not-3d", f"{path} holds a single slice, {first.file.name}", "give the whole series")


def _refuse_irregular(slices: Sequence[Slice], path: Path) -> None:
    """Raise where the slices are not evenly spaced along their normal."""
    along = np.array([one.position @ slices[0].normal for one in slices])
    gaps = np.diff(along)
    if gaps.min() < _POSITION_TOLERANCE_MM:
        message = f"{path}: several slices at the position {along[int(gaps.argmin())]:.2f} mm along the stack"
        hint = "export one echo, phase or time point as a series of its own"
        raise InputError("several-volumes", message, hint)
    regular = np.linspace(along[0], along[-1], len(along))
    if np.abs(along - regular).max() > _POSITION_TOLERANCE_MM:
        raise _gap_error(slices, gaps, path)
    drift = slices[-1].position - slices[0].position
    aside = drift - (drift @ slices[0].normal) * slices[0].normal
    if np.linalg.norm(aside) > _POSITION_TOLERANCE_MM + _DIRECTION_TOLERANCE * np.linalg.norm(drift):
        tilt = np.degrees(np.arctan2(np.linalg.norm(aside), along[-1] - along[0]))
        message = f"{path}: the gantry was tilted, slices are shifted against each other by {tilt:.1f} degrees"
        raise GeometryError("gantry-tilt", message, "load it in 3D Slicer, which straightens it, and save it as NRRD")


def _gap_error(slices: Sequence[Slice], gaps: np.ndarray, path: Path) -> InputError:
    usual = float(np.median(gaps))
    worst = int(np.abs(gaps - usual).argmax())
    missing = gaps[worst] / usual - 1
    where = f"{gaps[worst]:.2f} mm between {_name(slices[worst])} and {_name(slices[worst + 1])}, usual {usual:.2f} mm"
    if missing > 0.5 and abs(missing - round(missing)) < 0.1:
        message = f"{path}: {round(missing)} slice(s) missing: {where}"
        return InputError("missing-slices", message, "copy or export the whole series again")
    return InputError("uneven-slices", f"{path}: {where}", "resample the series to even spacing, or export it again")


def _name(one: Slice) -> str:
    return one.file.name if one.frames_in_file == 1 else f"frame {one.frame + 1}"


def _pixels(slices: Sequence[Slice], pixel_type: int) -> np.ndarray:
    files = list(dict.fromkeys(str(one.file) for one in slices))
    if len(files) == len(slices) and all(one.frames_in_file == 1 for one in slices):
        return _execute(sitk.ImageSeriesReader(), files, pixel_type)
    if len(files) > 1:
        message = f"{slices[0].file.parent}: the series is {len(files)} multi-frame files"
        raise InputError("several-volumes", message, "give the one file you mean in a folder of its own")
    if len({one.rescale for one in slices}) > 1:
        message = f"{files[0]}: frames have different rescale slopes or intercepts"
        raise InputError("mixed-series", message, "export the series as single-frame DICOM, NRRD or NIfTI")
    stored = _execute(sitk.ImageFileReader(), files[0], pixel_type)
    return stored[[one.frame for one in slices]]


def _execute(
    reader: sitk.ImageSeriesReader | sitk.ImageFileReader, files: list[str] | str, pixel_type: int
) -> np.ndarray:
    if isinstance(reader, sitk.ImageSeriesReader):
        reader.SetFileNames(files)
    else:
        reader.SetFileName(files)
    reader.SetOutputPixelType(pixel_type)
    name = files if isinstance(files, str) else files[0]
    try:
        image = reader.Execute()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise InputError("unreadable", f"{name}: {reason}", "copy or export the series again") from error
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError("not-scalar", f"{name} is a colour image", "give a series with one grey value per voxel")
    return sitk.GetArrayFromImage(image)


def _grid(slices: Sequence[Slice]) -> Grid:
    first, last = slices[0], slices[-1]
    between_rows, between_columns = first.spacing
    lps = np.eye(4)
    lps[:3, 0] = first.orientation[0] * between_columns
    lps[:3, 1] = first.orientation[1] * between_rows
    lps[:3, 2] = (last.position - first.position) / (len(slices) - 1)
    lps[:3, 3] = first.position
    rows, columns = first.size
    return Grid((len(slices), rows, columns), LPS_TO_RAS @ lps)
