"""The DICOM images that a result is of: their headers, and in which order their frames lie."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from CrossModalSegLib.errors import InputError
from CrossModalSegLib.imaging.dicom_header import Slice, read_data_set
from CrossModalSegLib.imaging.volume import Volume
from CrossModalSegLib.plurals import some_of

# What an object takes over from its source and has to have, if empty (type 2 of PS3.3 C.7.1.1, C.7.2.1).
_TAKEN_OVER = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
_REQUIRED = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")


@dataclass(frozen=True, eq=False)
class SourceImages:
    """``headers`` without pixels: one per slice along K, or the one of a multi-frame file, and the ``slices`` along K.

    ``frames[n]`` is the slice (index along K) that the n-th frame of the headers shows.
    """

    headers: tuple[Dataset, ...]
    frames: np.ndarray
    slices: tuple[Slice, ...]

    @property
    def first(self) -> Dataset:
        return self.headers[0]

    @property
    def instance_uids(self) -> list[str]:
        return [str(header.SOPInstanceUID) for header in self.headers]

    @property
    def series_number(self) -> int:
        return int(self.first.get("SeriesNumber") or 0)

    def references(self) -> list[Dataset]:
        """To each slice along K, as an item of a sequence of images (PS3.3, table 10-3)."""
        return [self._reference(k) for k in range(len(self.slices))]

    def _reference(self, k: int) -> Dataset:
        header = self.headers[k if len(self.headers) > 1 else 0]
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
        if len(self.headers) == 1:
            item.ReferencedFrameNumber = self.slices[k].frame + 1
        return item

    def in_order_of_frames(self, array: np.ndarray) -> np.ndarray:
        """``array`` (K, rows, columns) as (frame, rows, columns)."""
        is_in_order = np.array_equal(self.frames, np.arange(len(array)))
        return array if is_in_order else array[self.frames]  # no copy of a large array that needs none


def refuse_not_dicom(volume: Volume) -> None:
    """Raises InputError ``not-dicom``: an object in DICOM refers to images in DICOM."""
    if not volume.slices:
        message = f"{volume.modality} is no DICOM series, and a DICOM segmentation refers to one"
        raise InputError("not-dicom", message, "give the DICOM series, or choose --format seg.nrrd")


def source_images(volume: Volume) -> SourceImages:
    """The images that ``volume`` was read from. Raises InputError ``not-dicom`` or ``incomplete-header``."""
    refuse_not_dicom(volume)
    return images_of(volume.modality, volume.slices)


def images_of(modality: str, slices: Sequence[Slice]) -> SourceImages:
    """The images whose frames are ``slices``, along K. Raises InputError ``incomplete-header``."""
    files = list(dict.fromkeys(one.file for one in slices))
    headers = tuple(read_data_set(file, stop_before_pixels=True) for file in files)
    missing = [*dict.fromkeys(name for header in headers for name in _REQUIRED if not header.get(name))]
    if missing:
        message = f"{modality}: {files[0].parent} has images without {some_of(missing)}"
        raise InputError("incomplete-header", message, "export the series again, with all of its headers")
    for header in headers:
        _complete(header)
    if len(files) == len(slices):
        return SourceImages(headers, np.arange(len(files)), tuple(slices))
    return SourceImages(headers, np.argsort([one.frame for one in slices]), tuple(slices))


def refuse_several_patients(sources: Iterator[SourceImages]) -> None:
    """Raises InputError ``several-patients``: scans of one case are of one patient."""
    known = {(str(one.first.PatientID), str(one.first.get("IssuerOfPatientID") or "")) for one in sources}
    if len(known) > 1:
        message = f"the scans are of {len(known)} patients by their DICOM headers (PatientID)"
        raise InputError("several-patients", message, "give two scans of one patient")


def _complete(header: Dataset) -> None:
    for name in _TAKEN_OVER:
        if name not in header:
            setattr(header, name, None if name.endswith(("Date", "Time")) else "")
