"""A result as DICOM Segmentation (PS3.3 A.51), on the frames of the series that it is of."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from CrossModalSegLib.errors import OutputError
from CrossModalSegLib.imaging.label_counts import counts_by_slice
from CrossModalSegLib.labels import Code, Structure, Terminology
from CrossModalSegLib.pacs.made_object import MAKER, SEGMENTATION, Model, Origin, short
from CrossModalSegLib.pacs.packages import package
from CrossModalSegLib.pacs.packed_frames import PackedFrames
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
    bit per voxel and segment), by label value in a label map. Frames that no segment has are left out of a binary one,
    and its pixels are packed from ``labels`` while it is written.

    Raises OutputError ``nothing-found``; InstallError ``packages-missing``.
    """
    found = found_structures(labels, structures)
    if not found:
        raise OutputError("nothing-found", "no structure was found, so there is nothing to write", "look at the scan")
    frames = source.in_order_of_frames(labels)
    if kind == "binary":
        return _binary(frames, found, source, origin, how)
    return _made(source.headers, frames, _descriptions(found, kind, origin, how), source, origin, kind)


def found_structures(labels: np.ndarray, structures: tuple[Structure, ...]) -> tuple[Structure, ...]:
    """Those of which there is a voxel."""
    present = set(np.flatnonzero(counts_by_slice(labels).any(axis=0)).tolist())
    return tuple(one for one in structures if one.value in present)


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


def _binary(frames: np.ndarray, found: tuple[Structure, ...], source: SourceImages, origin: Origin, how: Maker) -> Any:
    """Made of frames of a single voxel each, which say what is there; then it is given the pixels of ``frames``."""
    values = [one.value for one in found]
    is_there = counts_by_slice(frames)[:, values] > 0
    headers = [_with_size(header, 1, 1) for header in source.headers]
    described = _descriptions(found, "binary", origin, how)
    made = _made(headers, is_there[:, None, None].astype(np.uint8), described, source, origin, "binary")
    made.Rows, made.Columns = frames.shape[1:]
    made.SegmentsOverlap = "NO"  # a voxel has one label
    content = _content(made, source)

    def planes() -> Iterator[np.ndarray]:
        return (frames[frame] == values[number - 1] for number, frame in content)

    made.PixelData = PackedFrames(planes, len(content), frames[0].size)
    return made


def _content(made: Any, source: SourceImages) -> list[tuple[int, int]]:
    """Segment number and source frame (index) of each frame of a binary segmentation."""
    headers = {str(header.SOPInstanceUID): n for n, header in enumerate(source.headers)}
    (shared,) = made.SharedFunctionalGroupsSequence
    content = []
    for groups in made.PerFrameFunctionalGroupsSequence:
        own = groups if "SegmentIdentificationSequence" in groups else shared  # shared where there is one segment
        (image,) = groups.DerivationImageSequence[0].SourceImageSequence
        frame = image.get("ReferencedFrameNumber")
        index = headers[str(image.ReferencedSOPInstanceUID)] if frame is None else int(frame) - 1
        content.append((int(own.SegmentIdentificationSequence[0].ReferencedSegmentNumber), index))
    return content


def _with_size(header: Dataset, rows: int, columns: int) -> Dataset:
    own = Dataset(dict(header.items()))
    del own.Rows, own.Columns  # else they would be set in ``header`` as well
    own.Rows, own.Columns = rows, columns
    return own


def _made(
    headers: Sequence[Dataset],
    pixels: np.ndarray,
    descriptions: list[Any],
    source: SourceImages,
    origin: Origin,
    kind: SegmentationType,
) -> Any:
    return package("highdicom.seg", WHAT).Segmentation(
        source_images=headers,
        pixel_array=pixels,
        segmentation_type=kind.upper(),
        segment_descriptions=descriptions,
        omit_empty_frames=kind == "binary",
        transfer_syntax_uid=ExplicitVRLittleEndian if kind == "binary" else RLELossless,
        content_label="SEGMENTATION",
        content_description=short(origin.model.intended_use),
        **origin.common(source, SEGMENTATION),
    )


def _descriptions(found: tuple[Structure, ...], kind: SegmentationType, origin: Origin, how: Maker) -> list[Any]:
    numbers = segment_numbers(found, kind)
    return [_description(one, numbers[one.value], origin, how) for one in found]


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
