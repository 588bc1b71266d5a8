"""The series of a study: what each is, and why it may not be segmented. By headers alone."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from CrossModalSegLib.errors import CrossModalSegError
from CrossModalSegLib.imaging.dicom import Series
from CrossModalSegLib.imaging.dicom_header import ImageFile, read_data_set
from CrossModalSegLib.imaging.dicom_stack import stacked
from CrossModalSegLib.imaging.dicom_tree import DicomTree
from CrossModalSegLib.imaging.modality_guess import ScanDescription, contrast_of
from CrossModalSegLib.plurals import counted

_FEWEST_SLICES = 5  # of a scan that shows a body; localizers have up to three per plane
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7."  # single images, and multi-frame ones below it (PS3.4 B.5)
_PLANES = ("sagittal", "coronal", "axial")  # normal along x, y, z


@dataclass(frozen=True, eq=False)
class StudySeries:
    """A series with what its first header says. ``problem``: in words why it is no scan to segment, "" where it may
    be."""

    series: Series
    number: int
    texts: tuple[str, ...]
    modality: str
    is_derived: bool
    plane: str
    spacing_mm: float
    problem: str

    @property
    def frame_of_reference(self) -> str:
        return self.series.images[0].frame_of_reference

    @property
    def description(self) -> ScanDescription:
        return ScanDescription(self.texts, self.modality)

    def __str__(self) -> str:
        """Series number, name, and what it consists of; never a patient's name."""
        plane = f", {self.plane}" if self.plane else ""
        return f"series {self.number} '{self.series.name}' ({counted(self.series.slice_count, 'slice')}{plane})"


def series_of_study(tree: DicomTree) -> list[StudySeries]:
    """All series of images below a folder, those that lie nowhere in space as well, in the order of their numbers."""
    by_uid: dict[str, list[ImageFile]] = {}
    for image in tree.images:
        by_uid.setdefault(image.series_uid, []).append(image)
    found = [_looked_at(Series(tree, uid, tuple(images))) for uid, images in by_uid.items()]
    return sorted(found, key=lambda one: (one.number, one.series.uid))


def _looked_at(series: Series) -> StudySeries:
    first = next((image for image in series.images if image.slices), series.images[0])
    header = read_data_set(first.path, stop_before_pixels=True)
    plane, spacing, problem = _stack_facts(series)
    image_type = [str(part).upper() for part in _values(header, "ImageType")]
    texts = (first.description, first.protocol, str(header.get("SequenceName") or ""))
    return StudySeries(
        series=series,
        number=int(header.get("SeriesNumber") or 0),
        texts=tuple(text for text in texts if text),
        modality=first.modality,
        is_derived=image_type[:1] == ["DERIVED"],
        plane=plane,
        spacing_mm=spacing,
        problem=_no_scan(header, image_type, texts) or problem,
    )


def _stack_facts(series: Series) -> tuple[str, float, str]:
    """Plane, distance of slices in mm, and what is wrong with the slices as a stack."""
    slices = [one for image in series.images for one in image.slices]
    if not slices:
        return "", 0.0, series.images[0].problem
    plane = _PLANES[int(np.abs(slices[0].normal).argmax())]
    if len(slices) < _FEWEST_SLICES:
        return plane, 0.0, f"it has only {counted(len(slices), 'slice')}"
    try:
        ordered = stacked(slices, Path(series.tree.folder.name))
    except CrossModalSegError as error:
        return plane, 0.0, error.message
    spacing = np.linalg.norm(ordered[-1].position - ordered[0].position) / (len(ordered) - 1)
    return plane, float(spacing), ""


def _no_scan(header: Dataset, image_type: list[str], texts: tuple[str, ...]) -> str:
    if "LOCALIZER" in image_type or any(contrast_of(text) == "localizer" for text in texts):
        return "it is a localizer"
    if f"{header.get('SOPClassUID')}.".startswith(_SECONDARY_CAPTURE):
        return "it is a secondary capture"
    if str(header.get("BurnedInAnnotation") or "").upper() == "YES":
        return "text is burnt into its images"
    return ""


def _values(header: Dataset, keyword: str) -> list[object]:
    value = header.get(keyword)
    return list(value) if isinstance(value, MultiValue) else [value] if value else []
