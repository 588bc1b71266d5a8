"""What the scans of a case show, looked at before they are segmented: whether they lie on each other, and their
contrasts.

Takes about three seconds for a pair on one core, most of it for the displacement.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.imaging import dicom
from CrossModalSegLib.imaging.content_findings import Contents, contrast_findings, displacement, name_findings
from CrossModalSegLib.imaging.finding import Finding
from CrossModalSegLib.imaging.modality_guess import ScanDescription
from CrossModalSegLib.imaging.volume import Volume
from CrossModalSegLib.inference.inference import Segmenter, modality_slot
from CrossModalSegLib.inference.likeness import tissue_intensities
from CrossModalSegLib.inference.sliding_window import Report

Look = Callable[[Segmenter, Mapping[str, Volume], Report], Contents]


def look_into(segmenter: Segmenter, volumes: Mapping[str, Volume], report: Report) -> Contents:
    """What the ``volumes`` of a case, by the names that they are given under, show. Raises what `modality_slot`
    raises."""
    first, *others = sorted(volumes, key=lambda name: modality_slot(segmenter.bundle, name))
    apart = displacement(volumes[first], volumes[others[0]], report) if others else Contents()
    contrasts = [finding for name, volume in volumes.items() for finding in _contrast(segmenter, name, volume)]
    return Contents((*apart.findings, *contrasts), apart.refinement)


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


def _contrast(segmenter: Segmenter, name: str, volume: Volume) -> list[Finding]:
    try:
        tissue = tissue_intensities(segmenter, volume)
    except torch.OutOfMemoryError:  # the run itself knows other ways, and tells
        return []
    if tissue is None:
        return []
    return contrast_findings(name, tissue, segmenter.bundle.modalities, segmenter.bundle.modality_aliases)
