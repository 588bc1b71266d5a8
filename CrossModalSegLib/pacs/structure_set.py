"""A result as RT Structure Set (PS3.3 A.19): contours on the slices of the series that it is of, for radiotherapy."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage
from pydicom.valuerep import format_number_as_ds
from scipy import ndimage

from CrossModalSegLib.errors import OutputError
from CrossModalSegLib.imaging.dicom_header import Slice
from CrossModalSegLib.labels import Structure
from CrossModalSegLib.pacs.contours import contours
from CrossModalSegLib.pacs.made_object import NOT_CLINICAL, STRUCTURE_SET, Origin, short
from CrossModalSegLib.pacs.packages import package
from CrossModalSegLib.pacs.segmentation_object import Maker, coded, found_structures, terminology_of
from CrossModalSegLib.pacs.source_images import SourceImages

WHAT = "writing a DICOM structure set"
_STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"  # Detached Study Management: retired, and what is written here ever since
_LABEL = "CrossModalSeg"  # of type SH: 16 characters


def structure_set_object(
    labels: np.ndarray, structures: tuple[Structure, ...], source: SourceImages, origin: Origin, how: Maker
) -> Any:
    """The RT Structure Set of ``labels`` (K, J, I), label values, on the slices of ``source``: an ROI for each
    structure that there is, numbered from 1 in the order of ``structures``.

    Raises OutputError ``nothing-found``; InstallError ``packages-missing``.
    """
    found = found_structures(labels, structures)
    if not found:
        raise OutputError("nothing-found", "no structure was found, so there is nothing to write", "look at the scan")
    made = _empty(source, origin)
    made.StructureSetROISequence = [_region(n, one, source, origin, how) for n, one in enumerate(found, start=1)]
    made.RTROIObservationsSequence = [_observation(n, one) for n, one in enumerate(found, start=1)]
    drawn: dict[int, list[Dataset]] = {one.value: [] for one in found}
    for value, contour in _contours(labels, source):
        if value in drawn:
            drawn[value].append(contour)
    made.ROIContourSequence = [_drawn(n, one, drawn[one.value]) for n, one in enumerate(found, start=1)]
    return made


def _empty(source: SourceImages, origin: Origin) -> Any:
    first = source.first
    made = package("highdicom", WHAT).SOPClass(
        study_instance_uid=first.StudyInstanceUID,
        sop_class_uid=RTStructureSetStorage,
        modality="RTSTRUCT",
        transfer_syntax_uid=ImplicitVRLittleEndian,  # which alone has no limit of 64 KB to the points of a contour
        patient_id=first.PatientID,
        patient_name=first.PatientName,
        patient_birth_date=first.PatientBirthDate,
        patient_sex=first.PatientSex,
        accession_number=first.AccessionNumber,
        study_id=first.StudyID,
        study_date=first.StudyDate,
        study_time=first.StudyTime,
        referring_physician_name=first.ReferringPhysicianName,
        **origin.common(source, STRUCTURE_SET),
    )
    made.copy_patient_and_study_information(first)
    made.OperatorsName = ""
    made.StructureSetLabel = _LABEL
    made.StructureSetName = short(origin.model.title)
    made.StructureSetDescription = f"{NOT_CLINICAL}. {origin.model.intended_use}"
    made.StructureSetDate, made.StructureSetTime = made.InstanceCreationDate, made.InstanceCreationTime
    made.ApprovalStatus = "UNAPPROVED"
    made.FrameOfReferenceUID = first.FrameOfReferenceUID
    made.PositionReferenceIndicator = first.get("PositionReferenceIndicator", "")
    made.ReferencedFrameOfReferenceSequence = [_frame_of_reference(source)]
    return made


def _frame_of_reference(source: SourceImages) -> Dataset:
    images = [
        _item(ReferencedSOPClassUID=one.SOPClassUID, ReferencedSOPInstanceUID=one.SOPInstanceUID)
        for one in source.headers
    ]
    series = _item(SeriesInstanceUID=source.first.SeriesInstanceUID, ContourImageSequence=images)
    study = _item(
        ReferencedSOPClassUID=_STUDY_CLASS,
        ReferencedSOPInstanceUID=source.first.StudyInstanceUID,
        RTReferencedSeriesSequence=[series],
    )
    return _item(FrameOfReferenceUID=source.first.FrameOfReferenceUID, RTReferencedStudySequence=[study])


def _region(number: int, structure: Structure, source: SourceImages, origin: Origin, how: Maker) -> Dataset:
    return _item(
        ROINumber=number,
        ReferencedFrameOfReferenceUID=source.first.FrameOfReferenceUID,
        ROIName=short(structure.name),
        ROIGenerationAlgorithm=how,
        ROIGenerationDescription=short(f"{origin.model.name} {origin.model.version}"),
    )


def _observation(number: int, structure: Structure) -> Dataset:
    terminology = terminology_of(structure)
    kind = coded(terminology.type)
    if terminology.modifier:
        kind.SegmentedPropertyTypeModifierCodeSequence = [coded(terminology.modifier)]
    return _item(
        ObservationNumber=number,
        ReferencedROINumber=number,
        RTROIInterpretedType="ORGAN",
        ROIInterpreter="",
        RTROIIdentificationCodeSequence=[kind],
    )


def _drawn(number: int, structure: Structure, contours: list[Dataset]) -> Dataset:
    return _item(ReferencedROINumber=number, ROIDisplayColor=[*structure.color], ContourSequence=contours)


def _contours(labels: np.ndarray, source: SourceImages) -> Iterator[tuple[int, Dataset]]:
    """Label value and contour of each part of a structure in a slice, slice by slice."""
    for plane, one, image in zip(labels, source.slices, source.references(), strict=True):
        for value, box in enumerate(ndimage.find_objects(plane), start=1):
            if box is None:
                continue
            corner = (box[1].start, box[0].start)
            for points in contours(plane[box] == value):
                yield value, _contour(points + corner, one, image)


def _contour(points: np.ndarray, one: Slice, image: Dataset) -> Dataset:
    between_rows, between_columns = one.spacing
    lps = one.position + points * (between_columns, between_rows) @ one.orientation
    return _item(
        ContourImageSequence=[image],
        ContourGeometricType="CLOSED_PLANAR",
        NumberOfContourPoints=len(points),
        ContourData=[format_number_as_ds(round(x, 4)) for x in lps.ravel().tolist()],
    )


def _item(**attributes: object) -> Dataset:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item
