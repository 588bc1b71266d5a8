"""What was measured, as a structured report (TID 1500 of PS3.16), one per scan.

Volumes are SCT 118565006 in mL (UCUM). Confidence and agreement have no code in the standard: theirs are of the private
scheme ``99CMSEG`` (docs/pacs.md), from 0 to 1 without unit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from CrossModalSegLib.labels import Code, Structure
from CrossModalSegLib.pacs.made_object import MAKER, REPORT, Origin, short
from CrossModalSegLib.pacs.packages import package
from CrossModalSegLib.pacs.segmentation_object import algorithm_parameters, coded, terminology_of
from CrossModalSegLib.pacs.source_images import SourceImages
from CrossModalSegLib.pacs.uids import derived_uid

WHAT = "writing a DICOM report"
VOLUME = Code("SCT", "118565006", "Volume")
CONFIDENCE = Code("99CMSEG", "CONFIDENCE", "Mean highest class probability")
AGREEMENT = Code("99CMSEG", "AGREEMENT", "Dice of the results of both scans")
MILLILITRE = Code("UCUM", "mL", "milliliter")
NO_UNITS = Code("UCUM", "1", "no units")
_PROCEDURE = Code("SCT", "363679005", "Imaging procedure")
_LEFT_RIGHT = ("7771000", "24028007")  # the modifiers that are a laterality
_LANGUAGE = Code("RFC5646", "en-GB", "English (United Kingdom)")


@dataclass(frozen=True)
class Measured:
    """What is known of one structure in one scan; None: not known. Agreement and confidence from 0 to 1."""

    volume_ml: float
    confidence: float | None = None
    agreement: float | None = None


def measured_in(report: Mapping[str, Any], modality: str) -> dict[int, Measured]:
    """By label value, what ``report.json`` says of the scan that was given as ``modality``."""
    agreement = report["agreement"] or {}
    return {
        row["value"]: Measured(row["volume_ml"][modality], row["confidence"][modality], agreement.get(row["name"]))
        for row in report["structures"]
    }


def report_object(
    segmentation: Any,
    structures: Sequence[Structure],
    numbers: Mapping[int, int],
    measured: Mapping[int, Measured],
    source: SourceImages,
    origin: Origin,
) -> Any:
    """The highdicom Comprehensive3DSR of the ``structures`` in a ``segmentation`` object, whose segments are
    ``numbers`` by label value. Raises InstallError ``packages-missing``."""
    sr = package("highdicom.sr", WHAT)
    groups = [
        _group(structure, numbers[structure.value], measured[structure.value], segmentation, source, origin)
        for structure in structures
    ]
    content = sr.MeasurementReport(
        observation_context=_observer(origin),
        procedure_reported=coded(_PROCEDURE),
        imaging_measurements=groups,
        title=coded(Code("DCM", "126000", "Imaging Measurement Report")),
        language_of_content_item_and_descendants=sr.LanguageOfContentItemAndDescendants(coded(_LANGUAGE)),
    )
    made = sr.Comprehensive3DSR(
        evidence=[segmentation, *source.headers],
        content=content,
        is_complete=True,
        is_final=False,
        is_verified=False,
        **origin.common(source, REPORT),
    )
    made.CompletionFlagDescription = short(origin.model.intended_use)
    return made


def _observer(origin: Origin) -> Any:
    sr = package("highdicom.sr", WHAT)
    model = origin.model
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=derived_uid(MAKER, "device", model.sha256),
        name=short(model.title),
        manufacturer_name=MAKER,
        model_name=short(model.name),
        serial_number=model.sha256,
    )
    observer = sr.ObserverContext(coded(Code("DCM", "121007", "Device")), device)
    return sr.ObservationContext(observer_device_context=observer)


def _group(
    structure: Structure, number: int, measured: Measured, segmentation: Any, source: SourceImages, origin: Origin
) -> Any:
    sr = package("highdicom.sr", WHAT)
    terminology = terminology_of(structure)
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=origin.uid(source, "tracking", str(structure.value)), identifier=short(structure.name)
        ),
        referenced_segment=sr.ReferencedSegment(
            sop_class_uid=segmentation.SOPClassUID,
            sop_instance_uid=segmentation.SOPInstanceUID,
            segment_number=number,
            source_series=sr.SourceSeriesForSegmentation(source.first.SeriesInstanceUID),
        ),
        finding_category=coded(terminology.category),
        finding_type=coded(terminology.type),
        finding_sites=_sites(structure),
        algorithm_id=sr.AlgorithmIdentification(
            name=short(origin.model.name),
            version=short(origin.model.version),
            parameters=[f"{name}={value}" for name, value in algorithm_parameters(origin.model).items()],
        ),
        measurements=_measurements(measured),
    )


def _sites(structure: Structure) -> list[Any]:
    """The side of the body: a finding site is where TID 1411 has place for it."""
    sr = package("highdicom.sr", WHAT)
    terminology = terminology_of(structure)
    side = terminology.modifier if terminology.modifier and terminology.modifier.value in _LEFT_RIGHT else None
    return [sr.FindingSite(coded(terminology.type), laterality=coded(side))] if side else []


def _measurements(measured: Measured) -> list[Any]:
    sr = package("highdicom.sr", WHAT)
    values = (
        (VOLUME, measured.volume_ml, MILLILITRE),
        (CONFIDENCE, measured.confidence, NO_UNITS),
        (AGREEMENT, measured.agreement, NO_UNITS),
    )
    return [
        sr.Measurement(name=coded(name), value=round(value, 6), unit=coded(unit))
        for name, value, unit in values
        if value is not None
    ]
