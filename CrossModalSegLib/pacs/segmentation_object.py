"""A result as DICOM Segmentation (PS3.3 A.51), on the frames of the series that it is of."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from CrossModalSegLib.errors import OutputError
from CrossModalSegLib.labels import Code, Structure, Terminology
from CrossModalSegLib.pacs.made_object import MAKER, SEGMENTATION, Model, Origin, short
from CrossModalSegLib.pacs.packages import package
from CrossModalSegLib.pacs.source_images import SourceImages

SegmentationType = Literal["binary", "labelmap"]
Maker = Literal["AUTOMATIC", "SEMIAUTOMATIC"]  # SegmentAlgorithmType: SEMIAUTOMATIC where somebody has corrected it
TYPES: tuple[SegmentationType, ...] = ("binary", "labelmap")
WHAT = "writing a DICOM segmentation"
# For structures without a code of their own.
_CATEGORY = Code("SCT", "123037004", "Anatomical Structure")
_PRIVATE_SCHEME = "99CMSEG"


def segmentation_object(
    labels: np.ndarray,
    structures: tuple[Structure, ...],
    source: SourceImages,
    origin: Origin,
    kind: SegmentationType,
    how: Maker = "AUTOMATIC",
) -> Any:
    """The highdicom Segmentation of ``labels`` (K, J, I), label values, on the frames of ``source``.

    It holds the structures that ``labels`` has, in the order of ``structures``: numbered from 1 where it is binary (one
    bit per voxel and segment), by label value in a label map. Frames that no segment has are left out of a binary one.

    Raises OutputError ``nothing-found``; InstallError ``packages-missing``.
    """
    seg = package("highdicom.seg", WHAT)
    found = found_structures(labels, structures)
    if not found:
        raise OutputError("nothing-found", "no structure was found, so there is nothing to write", "look at the scan")
    numbers = segment_numbers(found, kind)
    pixels = _numbered(labels, numbers) if kind == "binary" else labels
    return seg.Segmentation(
        source_images=source.headers,
        pixel_array=source.in_order_of_frames(pixels),
        segmentation_type=kind.upper(),
        segment_descriptions=[_description(one, numbers[one.value], origin, how) for one in found],
        omit_empty_frames=kind == "binary",
        transfer_syntax_uid=ExplicitVRLittleEndian if kind == "binary" else RLELossless,
        content_label="SEGMENTATION",
        content_description=short(origin.model.intended_use),
        **origin.common(source, SEGMENTATION),
    )


def found_structures(labels: np.ndarray, structures: tuple[Structure, ...]) -> tuple[Structure, ...]:
    """Those of which there is a voxel."""
    present = np.bincount(labels.ravel()) > 0
    return tuple(one for one in structures if one.value < len(present) and present[one.value])


def segment_numbers(found: tuple[Structure, ...], kind: SegmentationType) -> dict[int, int]:
    """The segment's number by label value."""
    values = [one.value for one in found]
    return {value: number if kind == "binary" else value for number, value in enumerate(values, start=1)}


def write_object(made: Any, path: Path) -> None:
    """Raises OSError."""
    made.save_as(path, enforce_file_format=True)


def algorithm_parameters(model: Model) -> dict[str, str]:
    return {"bundle_sha256": model.sha256}


def coded(code: Code) -> Any:
    return package("highdicom.sr", WHAT).CodedConcept(code.value, code.scheme, code.meaning)


def terminology_of(structure: Structure) -> Terminology:
    """Its own, or, where the label map has none, a code of ours with its name as meaning (docs/pacs.md)."""
    own = Code(_PRIVATE_SCHEME, f"LABEL-{structure.value}"[:16], short(structure.name))
    return structure.terminology or Terminology(_CATEGORY, own)


def _numbered(labels: np.ndarray, numbers: dict[int, int]) -> np.ndarray:
    table = np.zeros(int(labels.max()) + 1, np.uint8 if len(numbers) < 256 else np.uint16)
    table[list(numbers)] = list(numbers.values())
    return table[labels]


def _description(structure: Structure, number: int, origin: Origin, how: Maker) -> Any:
    highdicom, seg = package("highdicom", WHAT), package("highdicom.seg", WHAT)
    terminology, model = terminology_of(structure), origin.model
    described = seg.SegmentDescription(
        segment_number=number,
        segment_label=short(structure.name),
        segmented_property_category=coded(terminology.category),
        segmented_property_type=coded(terminology.type),
        algorithm_type=how,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=short(model.name),
            family=coded(Code("DCM", "123110", "Artificial Intelligence")),
            version=short(model.version),
            source=MAKER,
            parameters=algorithm_parameters(model),
        ),
        display_color=highdicom.color.CIELabColor.from_rgb(*structure.color),
    )
    if terminology.modifier:
        (kind,) = described.SegmentedPropertyTypeCodeSequence
        kind.SegmentedPropertyTypeModifierCodeSequence = [coded(terminology.modifier)]
    return described
