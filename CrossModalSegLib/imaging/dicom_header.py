"""What the header of a DICOM file says: which series it belongs to, and where its slices lie."""

import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.filereader import read_partial
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID

HEAD_BYTES = 132  # preamble and prefix (PS3.10 7.1)
_PREFIX = b"DICM"
_META, _IDENTIFYING = 0x0002, 0x0008  # the groups that a file without preamble begins with
_IMAGE_CLASS = "Image Storage"  # in the names of the SOP classes of images (PS3.4 B.5)
_DIRECTORY_CLASS = "Media Storage Directory"
_NO_SCANS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.481.2")  # segmentation, dose: pixels, but no scan
_PIXELS = frozenset((Tag("FloatPixelData"), Tag("DoubleFloatPixelData"), Tag("PixelData")))
RESCALE = ("RescaleSlope", "RescaleIntercept")
_UNIT = 0.02  # how far the length of a direction in a header may be from 1
_KINDS = ("ImageType", "EchoTime", "TemporalPositionIdentifier", "PixelRepresentation")  # one in all slices of a scan
_TAGS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "InstanceNumber",
    "ImagesInAcquisition",
    "SeriesDescription",
    "ProtocolName",
    "Modality",
    "PatientID",
    "PatientName",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "PhotometricInterpretation",
    *_KINDS,
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SpacingBetweenSlices",
    "SliceThickness",
    "RescaleSlope",
    "RescaleIntercept",
    "ModalityLUTSequence",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)


@dataclass(frozen=True)
class Patient:
    """Whom a file is of, by its header, to compare with others; "" where it does not say. Never shown nor written."""

    id: str = ""
    name: str = ""

    def differs_from(self, other: "Patient") -> str:
        """By what two files are of different patients, in words; "" where nothing says so."""
        if self.id and other.id and self.id != other.id:
            return "IDs"
        if self.name and other.name and self.name != other.name:
            return "names"
        return ""


@dataclass(frozen=True, eq=False)
class Slice:
    """One slice of a series in LPS millimetres (DICOM PS3.3 C.7.6.2): the first pixel's centre and the in-plane
    axes."""

    file: Path
    frame: int
    frames_in_file: int
    size: tuple[int, int]  # rows, columns
    position: np.ndarray  # (3,)
    orientation: np.ndarray  # (2, 3): direction of growing column index, of growing row index
    spacing: tuple[float, float]  # mm between rows, mm between columns
    rescale: tuple[float, float]  # slope, intercept; 1, 0 where the header says nothing
    step: float | None = None  # mm to the next slice by its own header, where that says it
    patient: Patient = Patient()
    unsaid: tuple[str, ...] = ()  # of RESCALE, what its header leaves out

    @property
    def normal(self) -> np.ndarray:
        """Unit vector of the direction in which slices are stacked."""
        return np.cross(self.orientation[0], self.orientation[1])

    @property
    def name(self) -> str:
        """To name it in messages."""
        return self.file.name if self.frames_in_file == 1 else f"frame {self.frame + 1}"


@dataclass(frozen=True, eq=False)
class ImageFile:
    """A DICOM file that is an image: what tells its series, study and patient ("" where it does not say), its slices.

    ``problem`` says in words why it cannot be used, with no slices then; "" where nothing is wrong. ``number`` is the
    instance number, ``images_in_acquisition`` how many images there should be; None where it does not say.
    """

    path: Path
    sop_class: str
    instance_uid: str
    series_uid: str
    study_uid: str
    patient: Patient
    frame_of_reference: str
    number: int | None
    images_in_acquisition: int | None
    description: str
    protocol: str
    modality: str
    photometric: str
    kinds: tuple[tuple[str, str], ...]  # attribute of DICOM, value: what should be the same in all slices of a scan
    slices: tuple[Slice, ...]
    problem: str = ""
    lacks_position: bool = False


@dataclass(frozen=True)
class OtherObject:
    """A DICOM file that is no image in space, such as a report; ``kind`` in words."""

    path: Path
    kind: str


class DamagedHeader(Exception):
    """A DICOM file of which it cannot be told what it is; the text says why. ``series_uid``: "" where it is not
    known."""

    def __init__(self, reason: str, series_uid: str = ""):
        super().__init__(reason)
        self.series_uid = series_uid


def is_dicom(path: Path) -> bool:
    """True for a DICOM file, also one without preamble (PS3.10 7.1); the name does not matter."""
    with path.open("rb") as stream:
        return begins_dicom(stream.read(HEAD_BYTES))


def begins_dicom(head: bytes) -> bool:
    """Whether a file that begins with these bytes is DICOM: by its prefix, or by a first element as DICOM has it."""
    return _PREFIX in (head[128:132], head[:4]) or _begins_data_set(head)


def _begins_data_set(head: bytes) -> bool:
    """Group 2 or 8, an element number as low as their first ones, and a value representation or a short length."""
    if len(head) < 8:
        return False
    for order in "<>":
        group, element = struct.unpack(order + "HH", head[:4])
        (length,) = struct.unpack(order + "I", head[4:8])
        known = (group == _META and element <= 2) or (group == _IDENTIFYING and element <= 0x18)
        if known and (head[4:6] in (b"UL", b"OB", b"UI", b"CS", b"DA", b"TM", b"SQ", b"LO") or length <= 128):
            return True
    return False


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The file as a stream that begins with a preamble, as DICOM has it, or with the data set itself."""
    with path.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
        if head[:4] == _PREFIX and head[128:132] != _PREFIX:
            yield io.BytesIO(bytes(128) + head + stream.read())
        else:
            stream.seek(0)
            yield stream


def read_data_set(path: Path, **options: Any) -> FileDataset:
    """All that pydicom can read of a file; its complaints about values that do not matter here are not shown.

    Raises whatever pydicom raises for a damaged file, which may be anything.
    """
    with opened(path) as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(stream, force=True, **options)


def copy_header(path: Path, target: Path) -> None:
    """Write the file at ``path`` without its pixels to ``target``. Raises OSError, and whatever pydicom raises."""
    header = read_data_set(path, stop_before_pixels=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header.save_as(target)


def read_header(path: Path) -> ImageFile | OtherObject:
    """What the file at ``path`` is, by its header. Raises DamagedHeader, OSError."""
    try:
        header, has_pixels = _read_to_pixels(path)
        if not has_pixels and not _ends_whole(path):
            raise DamagedHeader("it was cut")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _interpreted(path, header, has_pixels)
    except DamagedHeader:
        raise
    except Exception as error:  # pydicom raises anything where a file is damaged, OSError too
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DamagedHeader(f"its header is damaged ({type(error).__name__}: {error})") from error


def _read_to_pixels(path: Path) -> tuple[FileDataset, bool]:
    """The header, and whether it goes on to pixels: one that was cut is read as if it had ended there."""
    reached = []

    def stop_at_pixels(tag: BaseTag, _representation: str | None, _length: int) -> bool:
        if tag in _PIXELS:
            reached.append(tag)
        return tag in _PIXELS

    with opened(path) as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = read_partial(stream, stop_at_pixels, force=True, specific_tags=[*map(Tag, _TAGS)])
    return header, bool(reached)


def _ends_whole(path: Path) -> bool:
    """Whether the last element of a file without pixels has its whole value: else it was cut, maybe within a UID."""
    header = read_data_set(path)
    tags = list(header.keys())
    last = header.get_item(tags[-1]) if tags else None
    if not isinstance(last, RawDataElement):
        return last is not None  # a sequence of no told length, which was read up to its end
    with opened(path) as stream:
        return last.value_tell + last.length == stream.seek(0, io.SEEK_END)


def _interpreted(path: Path, header: FileDataset, has_pixels: bool) -> ImageFile | OtherObject:
    sop_class = _text(header, "SOPClassUID") or _text(header.file_meta, "MediaStorageSOPClassUID")
    kind = UID(sop_class).name if sop_class else ""
    if kind.startswith(_DIRECTORY_CLASS):
        return OtherObject(path, "DICOMDIR")
    if sop_class in _NO_SCANS:
        return OtherObject(path, kind)
    series_uid = _text(header, "SeriesInstanceUID")
    if "Rows" not in header:
        if not sop_class or _IMAGE_CLASS in kind or has_pixels:
            raise DamagedHeader("its header does not say how large the image is", series_uid)
        return OtherObject(path, kind)
    slices, problem, lacks_position = _slices(path, header)
    if not series_uid:
        raise DamagedHeader("it names no series (SeriesInstanceUID)")
    patient = Patient(_text(header, "PatientID"), _plain_name(_text(header, "PatientName")))
    return ImageFile(
        path=path,
        sop_class=sop_class,
        instance_uid=_text(header, "SOPInstanceUID"),
        series_uid=series_uid,
        study_uid=_text(header, "StudyInstanceUID"),
        patient=patient,
        frame_of_reference=_text(header, "FrameOfReferenceUID"),
        number=_whole(header, "InstanceNumber"),
        images_in_acquisition=_whole(header, "ImagesInAcquisition"),
        description=_text(header, "SeriesDescription"),
        protocol=_text(header, "ProtocolName"),
        modality=_text(header, "Modality"),
        photometric=_text(header, "PhotometricInterpretation"),
        kinds=tuple((name, str(header.get(name, ""))) for name in _KINDS),
        slices=tuple(replace(one, patient=patient) for one in slices),
        problem=problem,
        lacks_position=lacks_position,
    )


def _plain_name(name: str) -> str:
    """Without what differs in the spelling of one name: capitals, empty components and spaces (PS3.5 6.2.1)."""
    return " ".join(name.casefold().replace("^", " ").split("=")[0].split())


def _slices(path: Path, header: Dataset) -> tuple[tuple[Slice, ...], str, bool]:
    """The slices; none where one of them cannot be used, with the reason, and whether it is that they lack a
    position."""
    frames, attributes = int(header.get("NumberOfFrames") or 1), [header]
    if "PerFrameFunctionalGroupsSequence" in header:
        groups = header.PerFrameFunctionalGroupsSequence or []
        if frames != len(groups):
            return (), f"it has {frames} frames, and the places of {len(groups)}", False
        attributes = [_functional_groups(header, n) for n in range(frames)]
    if any(not one.get("ImagePositionPatient") for one in attributes):
        return (), "it has no position in space (ImagePositionPatient)", True
    if any(one.get("ModalityLUTSequence") for one in attributes):  # PS3.3 C.11.1: in place of slope and intercept
        return (), "a table says what its values mean (ModalityLUTSequence), and tables are not applied here", False
    try:
        return tuple(_slice(header, path, n, frames, one) for n, one in enumerate(attributes)), "", False
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        return (), f"its header is damaged ({error})", False


def _functional_groups(header: Dataset, frame: int) -> Dataset:
    """One frame's attributes gathered from its own and the shared functional groups (PS3.3 C.7.6.16)."""
    gathered = Dataset()
    groups = [*(header.get("SharedFunctionalGroupsSequence") or []), header.PerFrameFunctionalGroupsSequence[frame]]
    for group in groups:
        for element in group:
            if element.VR == "SQ" and element.value and len(element.value) == 1:
                gathered.update(element.value[0])
    return gathered


def _slice(header: Dataset, file: Path, frame: int, frames_in_file: int, attributes: Dataset) -> Slice:
    orientation = _numbers(attributes, "ImageOrientationPatient", 6).reshape(2, 3)
    if np.abs(np.linalg.norm(orientation, axis=1) - 1).max() > _UNIT or abs(orientation[0] @ orientation[1]) > _UNIT:
        raise ValueError("ImageOrientationPatient is not two directions at right angles")
    between_rows, between_columns = _numbers(attributes, "PixelSpacing", 2)
    size = (int(_numbers(header, "Rows", 1)[0]), int(_numbers(header, "Columns", 1)[0]))
    if min(between_rows, between_columns) <= 0 or min(size) < 1:
        raise ValueError(f"{size[0]} x {size[1]} pixels at PixelSpacing {between_rows:g}, {between_columns:g}")
    slope = _number(attributes, "RescaleSlope", 1.0)
    if slope == 0:
        raise ValueError("RescaleSlope is 0: all voxels would have one value")
    return Slice(
        file=file,
        frame=frame,
        frames_in_file=frames_in_file,
        size=size,
        position=_numbers(attributes, "ImagePositionPatient", 3),
        orientation=orientation,
        spacing=(float(between_rows), float(between_columns)),
        rescale=(slope, _number(attributes, "RescaleIntercept", 0.0)),
        unsaid=tuple(keyword for keyword in RESCALE if attributes.get(keyword) in (None, "")),
        step=_step(attributes),
    )


def _step(attributes: Dataset) -> float | None:
    """The larger of both lengths: some scanners write the gap alone as SpacingBetweenSlices."""
    lengths = []
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        try:
            lengths.append(abs(_number(attributes, keyword, 0.0)))
        except (TypeError, ValueError):
            continue
    return max(lengths, default=0.0) or None


def _numbers(attributes: Dataset, keyword: str, count: int) -> np.ndarray:
    value = attributes.get(keyword)
    found = np.array([] if value is None else value, dtype=np.float64).reshape(-1)
    if len(found) != count or not np.isfinite(found).all():
        raise ValueError(f"{keyword} is {found.tolist() or 'empty'}")
    return found


def _number(attributes: Dataset, keyword: str, absent: float) -> float:
    """A number, or ``absent`` where the element is missing or empty."""
    return absent if attributes.get(keyword) in (None, "") else float(_numbers(attributes, keyword, 1)[0])


def _whole(header: Dataset, keyword: str) -> int | None:
    value = header.get(keyword)
    return int(value) if isinstance(value, int | float) else None


def _text(header: Dataset, keyword: str) -> str:
    """A text as one line; "" where the element is missing or empty."""
    value = header.get(keyword)
    if value is None:
        return ""
    return (" ".join(map(str, value)) if isinstance(value, MultiValue) else str(value)).strip("\0 ")
