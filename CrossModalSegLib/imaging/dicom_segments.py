"""DICOM Segmentations (PS3.3 A.51) as labels: ours, and what viewers save of corrections. Needs pydicom alone.

Frames that no segment has may be left out of the file, so its grid may be shorter than that of its scan: see
`lattice.placed_on`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels.utils import iter_pixels

from CrossModalSegLib.errors import GeometryError, InputError, LabelError
from CrossModalSegLib.imaging.dicom_header import is_dicom, read_data_set
from CrossModalSegLib.imaging.grid import LPS_TO_RAS, Grid
from CrossModalSegLib.labels import Code, LabelMap, Structure, Terminology

BINARY_CLASS = "1.2.840.10008.5.1.4.1.1.66.4"
LABELMAP_CLASS = "1.2.840.10008.5.1.4.1.1.66.7"
_CLASSES = (BINARY_CLASS, LABELMAP_CLASS)
_TOLERANCE_MM = 0.1  # of a frame from its regular place
_SAME_DIRECTION = 1e-3
_GREY = (128, 128, 128)
_SAVE_AGAIN = "save the segmentation again"
_WHITE = np.array([0.9505, 1.0, 1.089])  # D65, the white of sRGB


@dataclass(frozen=True, eq=False)
class SegmentsHeader:
    """Whose segmentation it is: the series that it refers to, and whether all of it was made by an algorithm alone."""

    path: Path
    instance_uid: str
    series_uids: frozenset[str]
    description: str
    is_automatic: bool


def is_segmentation_object(path: Path) -> bool:
    """Whether the file is a DICOM Segmentation. Raises OSError."""
    if not (path.is_file() and is_dicom(path)):
        return False
    return _sop_class(read_data_set(path, stop_before_pixels=True, specific_tags=["SOPClassUID"])) in _CLASSES


def read_segments_header(path: Path) -> SegmentsHeader:
    """Raises InputError ``unreadable``."""
    header = _read(path, stop_before_pixels=True)
    referenced = [str(one.SeriesInstanceUID) for one in header.get("ReferencedSeriesSequence") or []]
    kinds = {str(one.get("SegmentAlgorithmType", "")) for one in header.get("SegmentSequence") or []}
    return SegmentsHeader(
        path,
        str(header.get("SOPInstanceUID", "")),
        frozenset(referenced),
        str(header.get("SeriesDescription") or ""),
        kinds == {"AUTOMATIC"},
    )


def read_segmentation_object(path: Path) -> tuple[np.ndarray, Grid, LabelMap]:
    """Label values (K, J, I), which are the segments' numbers, on the grid that the file's frames span, and the
    segments by number.

    Raises InputError ``unreadable``, ``uneven-slices`` (frames that are no stack); GeometryError ``gantry-tilt``;
    LabelError ``bad-label-map``, ``overlapping-segments`` (a voxel has one label), ``not-integers`` (fractions).
    """
    data = _read(path)
    try:
        segments = {int(one.SegmentNumber): _structure(one) for one in data.SegmentSequence}
        frames = [_frame(data, number) for number in range(int(data.NumberOfFrames))]
        pixel_spacing = [float(x) for x in _functional(data, 0, "PixelMeasuresSequence").PixelSpacing]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, f"its header is damaged ({error})") from error
    if 0 in segments and _sop_class(data) == LABELMAP_CLASS:  # background may be described as a segment of its own
        del segments[0]
    try:
        label_map = LabelMap(tuple(segments.values()))
    except LabelError as error:
        raise LabelError("bad-label-map", f"{path}: {error.message}", _SAVE_AGAIN) from error
    grid, places = _stack(frames, data, pixel_spacing, path)
    labels = np.zeros(grid.shape_kji, np.uint8 if max(segments) < 256 else np.uint16)
    for place, segment, pixels in _planes(data, frames, places, path):
        _draw(labels[place], pixels, segment, label_map, path)
    return labels, grid, label_map


@dataclass(frozen=True, eq=False)
class _Frame:
    position: np.ndarray  # (3,) LPS mm
    orientation: np.ndarray  # (2, 3)
    segment: int | None  # None: the voxels tell


def _read(path: Path, **options: bool) -> Dataset:
    try:
        data = read_data_set(path, **options)
    except Exception as error:  # pydicom raises anything where a file is damaged
        raise _damaged(path, f"cannot be read ({type(error).__name__}: {error})") from error
    if _sop_class(data) not in _CLASSES:
        raise _damaged(path, "is no DICOM segmentation")
    return data


def _sop_class(data: Dataset) -> str:
    return str(data.get("SOPClassUID", ""))


def _functional(data: Dataset, frame: int, name: str) -> Dataset:
    """A functional group of a frame: its own, or the shared one (PS3.3 C.7.6.16). Raises KeyError, IndexError."""
    own = data.PerFrameFunctionalGroupsSequence[frame]
    group = own if name in own else (data.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    if name not in group:
        raise KeyError(name)
    return group[name].value[0]


def _frame(data: Dataset, number: int) -> _Frame:
    position = np.array(_functional(data, number, "PlanePositionSequence").ImagePositionPatient, np.float64)
    orientation = np.array(_functional(data, number, "PlaneOrientationSequence").ImageOrientationPatient, np.float64)
    if position.shape != (3,) or orientation.shape != (6,) or not np.isfinite([*position, *orientation]).all():
        raise ValueError(f"frame {number + 1} has no place in space")
    segment = None
    if _sop_class(data) == BINARY_CLASS:
        segment = int(_functional(data, number, "SegmentIdentificationSequence").ReferencedSegmentNumber)
    return _Frame(position, orientation.reshape(2, 3), segment)


def _stack(frames: list[_Frame], data: Dataset, pixel_spacing: list[float], path: Path) -> tuple[Grid, list[int]]:
    """The grid that all frames lie on, and the slice (index along K) of each."""
    first = frames[0]
    normal = np.cross(*first.orientation)
    along = np.array([(one.position - first.position) @ normal for one in frames])
    _refuse_not_above(frames, along, path)
    step = _step(along, data)
    places = np.rint((along - along.min()) / step).astype(int)
    if np.abs(along - along.min() - places * step).max() > _TOLERANCE_MM:
        raise InputError("uneven-slices", f"{path}: its frames are not {step:g} mm apart, or a multiple", _SAVE_AGAIN)
    lps = np.eye(4)
    lps[:3, 0], lps[:3, 1] = first.orientation[0] * pixel_spacing[1], first.orientation[1] * pixel_spacing[0]
    lowest = frames[int(along.argmin())]
    lps[:3, 2], lps[:3, 3] = normal * step, lowest.position
    shape = (int(places.max()) + 1, int(data.Rows), int(data.Columns))
    return Grid(shape, LPS_TO_RAS @ lps), places.tolist()


def _refuse_not_above(frames: list[_Frame], along: np.ndarray, path: Path) -> None:
    """Raises InputError ``uneven-slices``, GeometryError ``gantry-tilt`` where each frame is as far ``along`` (mm) the
    normal as it is shifted aside."""
    first = frames[0]
    normal = np.cross(*first.orientation)
    aside = np.array([one.position - first.position for one in frames]) - along[:, None] * normal
    tolerance = _TOLERANCE_MM + _SAME_DIRECTION * np.abs(along).max()
    turned = max(np.abs(one.orientation - first.orientation).max() for one in frames)
    if turned <= _SAME_DIRECTION and np.abs(aside).max() <= tolerance:
        return
    shift = along @ aside / max(float(along @ along), 1e-9)  # mm aside per mm along
    if turned <= _SAME_DIRECTION and np.abs(aside - along[:, None] * shift).max() <= tolerance:
        degrees = np.degrees(np.arctan(np.linalg.norm(shift)))
        message = f"{path}: it is of a scan with a tilted gantry, its frames are shifted by {degrees:.1f} degrees"
        hint = "straighten scan and segmentation in 3D Slicer, and save both as NRRD"
        raise GeometryError("gantry-tilt", message, hint)
    raise InputError("uneven-slices", f"{path}: its frames do not lie above each other", _SAVE_AGAIN)


def _step(along: np.ndarray, data: Dataset) -> float:
    """How far slices are apart: as the file says, where its frames agree; else the shortest distance of two."""
    measures = _functional(data, 0, "PixelMeasuresSequence")
    gaps = np.diff(np.unique(np.round(along, 3)))
    gaps = gaps[gaps > _TOLERANCE_MM]
    told = float(measures.get("SpacingBetweenSlices") or measures.get("SliceThickness") or 0)
    if not len(gaps):
        return told or 1.0
    agrees = told > 0 and np.abs(gaps - np.rint(gaps / told) * told).max() <= _TOLERANCE_MM and gaps.min() > told / 2
    if not agrees:
        return float(gaps.min())
    return float(np.ptp(along) / np.rint(np.ptp(along) / told))  # rounding in the header adds up over many slices


def _planes(
    data: Dataset, frames: list[_Frame], places: list[int], path: Path
) -> Iterator[tuple[int, int | None, np.ndarray]]:
    """Slice, segment (None: the values tell) and pixels (rows, columns) of each frame, one at a time."""
    highest = int(data.get("MaximumFractionalValue") or 1) if data.get("SegmentationType") == "FRACTIONAL" else 1
    is_packed = int(data.BitsAllocated) == 1 and not data.file_meta.TransferSyntaxUID.is_compressed
    decoded = _bits(data) if is_packed else iter_pixels(data)
    for number in count():
        try:
            pixels = next(decoded, None)
        except Exception as error:  # pydicom raises anything where a file is damaged
            raise _damaged(path, f"its pixels cannot be read ({error})") from error
        if pixels is None:
            break
        segment = frames[number].segment
        if segment is not None and not np.isin(pixels, (0, highest)).all():
            what = f"{path}: frame {number + 1} holds fractions, and a voxel belongs to a structure or not"
            raise LabelError("not-integers", what, "save it as a binary segmentation")
        yield places[number], segment, pixels
    if number != len(frames):
        raise _damaged(path, f"it has {number} of {len(frames)} frames")


def _bits(data: Dataset) -> Iterator[np.ndarray]:
    """Frames of one bit per voxel (PS3.5 8.2): the next one goes on in the byte in which the last one has ended, where
    pydicom's own iterator loses count. Raises ValueError."""
    size = int(data.Rows) * int(data.Columns)
    stored = np.frombuffer(data.PixelData, np.uint8)
    for number in range(int(data.NumberOfFrames)):
        first, end = number * size, (number + 1) * size
        if end > 8 * len(stored):
            raise ValueError(f"{len(stored)} bytes end within frame {number + 1}")
        bits = np.unpackbits(stored[first // 8 : (end + 7) // 8], bitorder="little")
        yield bits[first % 8 :][:size].reshape(int(data.Rows), int(data.Columns))


def _draw(plane: np.ndarray, pixels: np.ndarray, segment: int | None, label_map: LabelMap, path: Path) -> None:
    if segment is None:
        unknown = sorted(set(np.unique(pixels).tolist()) - {0, *label_map.values})
        if unknown:
            message = f"{path}: voxels hold {unknown[0]}, which no segment has"
            raise LabelError("unknown-label-values", message, _SAVE_AGAIN)
        plane[...] = pixels
        return
    if segment not in label_map.values:
        raise LabelError(
            "bad-label-map", f"{path}: a frame is of segment {segment}, which is not described", _SAVE_AGAIN
        )
    mask = pixels > 0
    others = plane[mask]
    if (clash := others[(others > 0) & (others != segment)]).size:
        names = [label_map.by_value(int(value)).name for value in (clash[0], segment)]
        what = f"{path}: segments {names[0]!r} and {names[1]!r} overlap"
        hint = "a voxel can have one label: remove the overlap in the viewer's editor"
        raise LabelError("overlapping-segments", what, hint)
    plane[mask] = segment


def _structure(segment: Dataset) -> Structure:
    number = int(segment.SegmentNumber)
    name = str(segment.get("SegmentLabel") or f"segment {number}").translate(str.maketrans("^~|", "   "))
    return Structure(number, name, _color(segment), _terminology(segment))


def _terminology(segment: Dataset) -> Terminology | None:
    category, kind = (
        (segment.get(f"SegmentedProperty{part}CodeSequence") or [None])[0] for part in ("Category", "Type")
    )
    if category is None or kind is None:
        return None
    modifier = (kind.get("SegmentedPropertyTypeModifierCodeSequence") or [None])[0]
    try:
        return Terminology(_code(category), _code(kind), _code(modifier) if modifier is not None else None)
    except LabelError:  # a code that is left empty says nothing
        return None


def _code(item: Dataset) -> Code:
    value = item.get("CodeValue") or item.get("LongCodeValue") or item.get("URNCodeValue") or ""
    return Code(str(item.get("CodingSchemeDesignator") or ""), str(value), str(item.get("CodeMeaning") or value))


def _color(segment: Dataset) -> tuple[int, int, int]:
    """Red, green, blue from 0 to 255 of a CIELab colour of 16 bits per part (PS3.3 C.10.7.1.1)."""
    stored = segment.get("RecommendedDisplayCIELabValue")
    if not stored or len(stored) != 3:
        return _GREY
    lightness, a, b = np.array(stored, np.float64) / 65535 * (100, 255, 255) - (0, 128, 128)
    f = (lightness + 16) / 116 + np.array([a / 500, 0, -b / 200])
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * _WHITE
    to_rgb = [[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]]
    linear = np.clip(np.array(to_rgb) @ xyz, 0, 1)
    red, green, blue = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    return round(red * 255), round(green * 255), round(blue * 255)


def _damaged(path: Path, why: str) -> InputError:
    return InputError("unreadable", f"{path}: {why}", "export the segmentation again")
