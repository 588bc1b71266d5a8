"""Cases to add to a site from DICOM: one per study, with the scans that the rules of `pacs.pair` find in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from CrossModalSegLib.datasets.datalist import Entry
from CrossModalSegLib.errors import CrossModalSegError, DataError
from CrossModalSegLib.imaging.dicom import Series
from CrossModalSegLib.imaging.dicom_header import ImageFile
from CrossModalSegLib.imaging.dicom_segments import SegmentsHeader, is_segmentation_object, read_segments_header
from CrossModalSegLib.imaging.dicom_tree import DicomTree
from CrossModalSegLib.pacs.pair import find_pair
from CrossModalSegLib.plurals import some_of


@dataclass(frozen=True)
class Refused:
    """A study that is no case: where it lies, and the ``error`` that says why not."""

    title: str
    error: CrossModalSegError


def cases_of_studies(tree: DicomTree, modalities: Sequence[str]) -> tuple[list[Entry], list[Refused]]:
    """A case per study of the ``tree``, and the studies in which no scan, or more than one, may be that of a modality.

    Nothing is guessed between candidates: see `find_pair`.
    """
    studies: dict[tuple[str, str], list[ImageFile]] = {}
    for image in tree.images:
        studies.setdefault((image.patient.id, image.study_uid), []).append(image)
    segmentations = _segmentations_in(tree)
    cases, refused = [], []
    for (patient, _study), images in studies.items():
        try:
            cases.append(_case(replace(tree, images=tuple(images)), patient, modalities, segmentations))
        except CrossModalSegError as error:
            refused.append(Refused(str(images[0].path.parent), error))
    return cases, refused


def _case(study: DicomTree, patient: str, modalities: Sequence[str], segmentations: Sequence[SegmentsHeader]) -> Entry:
    """Raises InputError ``several-candidates`` or ``no-scan-in-study``, DataError ``several-segmentations``."""
    pair = find_pair(study, modalities, {})
    labels, predicted = _corrections(pair.scans, segmentations)
    left_out = [str(one) for one in pair.candidates if not one.chosen]
    return Entry(pair.scans, labels, patient_key=patient, left_out=(*left_out, *predicted))


def _segmentations_in(tree: DicomTree) -> list[SegmentsHeader]:
    others = {one.path for one in tree.passed_over if "Segmentation" in one.kind}
    return [read_segments_header(path) for path in sorted(others) if is_segmentation_object(path)]


def _corrections(
    scans: Mapping[str, Series], segmentations: Sequence[SegmentsHeader]
) -> tuple[dict[str, Path], list[str]]:
    """Per modality the segmentation of its series that a person has worked on, and the names of those of a model alone.

    Raises DataError ``several-segmentations``.
    """
    labels: dict[str, Path] = {}
    predicted = []
    for name, series in scans.items():
        own = [one for one in segmentations if series.uid in one.series_uids]
        predicted += [f"{one.path.name} (a model's, not corrected)" for one in own if one.is_automatic]
        corrected = [one for one in own if not one.is_automatic]
        if len(corrected) > 1:
            listed = some_of([f"{one.path.name} ({one.description or 'no description'})" for one in corrected])
            message = f"{len(corrected)} corrected segmentations of {series.name}: {listed}"
            raise DataError("several-segmentations", message, "remove those that do not count, or name one by --labels")
        if corrected:
            labels[name] = corrected[0].path
    return labels, predicted
