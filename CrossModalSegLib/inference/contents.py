"""What the scans of a case show, looked at before they are segmented: whether they lie on each other, and their contrasts.

Takes about three seconds for a pair on one core, most of it for the displacement.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.errors import GeometryError
from CrossModalSegLib.imaging import dicom
from CrossModalSegLib.imaging.content_findings import contrast_findings, displacement_findings, name_findings
from CrossModalSegLib.imaging.finding import Finding
from CrossModalSegLib.imaging.modality_guess import ScanDescription
from CrossModalSegLib.imaging.registration import RigidRefinement, rigid_refine
from CrossModalSegLib.imaging.volume import Volume
from CrossModalSegLib.inference.inference import Segmenter, modality_slot
from CrossModalSegLib.inference.likeness import tissue_intensities
from CrossModalSegLib.inference.sliding_window import Report


@dataclass(frozen=True)
class Contents:
    """``findings`` about the scans, and the motion of the second one onto the first where it was found."""

    findings: tuple[Finding, ...] = ()
    refinement: RigidRefinement | None = field(default=None, compare=False)


Look = Callable[[Segmenter, Mapping[str, Volume], Report], Contents]


def look_into(segmenter: Segmenter, volumes: Mapping[str, Volume], report: Report) -> Contents:
    """What the ``volumes`` of a case, by the names that they are given under, show. Raises what `modality_slot` raises."""
    refinement, findings = _displacement(segmenter, volumes, report)
    for name, volume in volumes.items():
        findings += _contrast(segmenter, name, volume)
    return Contents(tuple(findings), refinement)


def findings_of_names(bundle: Bundle, inputs: Mapping[str, Path]) -> list[Finding]:
    """Whether the files' names, or what their DICOM headers say, contradict the names that they are given under."""
    return [
        finding
        for name, path in inputs.items()
        for finding in name_findings(name, path.name, _description(path), bundle.modalities, bundle.modality_aliases)
    ]


def _description(path: Path) -> ScanDescription:
    if not dicom.is_series(path):
        return ScanDescription((path.name,))
    image = dicom.first_image(path)
    return ScanDescription((image.description, image.protocol), image.modality) if image else ScanDescription(())


def _displacement(
    segmenter: Segmenter, volumes: Mapping[str, Volume], report: Report
) -> tuple[RigidRefinement | None, list[Finding]]:
    """Of the second modality's scan against the first one's, in whatever order they are given."""
    first, *others = sorted(volumes, key=lambda name: modality_slot(segmenter.bundle, name))
    if not others:
        return None, []
    try:
        refinement = rigid_refine(volumes[first], volumes[others[0]], report)
    except GeometryError as error:  # they have nothing in common; where they do not even meet, it was told already
        told = error.code == "no-match"
        return None, [Finding("warning", error.code, f"{error.message}.", error.hint)] if told else []
    return refinement, displacement_findings(refinement, first, others[0])


def _contrast(segmenter: Segmenter, name: str, volume: Volume) -> list[Finding]:
    try:
        tissue = tissue_intensities(segmenter, volume)
    except torch.OutOfMemoryError:  # the run itself knows other ways, and tells
        return []
    if tissue is None:
        return []
    return contrast_findings(name, tissue, segmenter.bundle.modalities, segmenter.bundle.modality_aliases)
