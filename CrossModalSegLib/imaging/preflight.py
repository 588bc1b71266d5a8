"""What is found out about the scans before anything is computed: grids, overlap, and what to be careful about."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from CrossModalSegLib.errors import GeometryError
from CrossModalSegLib.imaging.background import percent_below_air, raised_background, with_dark_background
from CrossModalSegLib.imaging.finding import Finding
from CrossModalSegLib.imaging.geometry import background_level, body_box, corner_values, overlap_fraction
from CrossModalSegLib.imaging.volume import Volume

_LOW_OVERLAP_PERCENT = 50.0
_COARSE_SPACING_MM = 5.0
_FINE_SPACING_MM = 0.1
_ANISOTROPY = 8.0  # largest to smallest spacing
_OBLIQUE_DEGREES = 30.0
_SMALL_EXTENT_MM = 20.0
_LARGE_EXTENT_MM = 700.0
_BELOW_ANY_MR = -500.0  # HU of air and lung; MR intensities, z-scored ones too, do not go there
_ABOVE_ANY_AIR = -200.0
_ALIKE_PERCENT = 70.0  # of neighbours in a label map are equal, 80 to 98 measured; in scans at most 7
_SAMPLE = 2_000_000  # voxels
_INVERTED_PERCENT = 90.0  # of what is not air is darker than air


@dataclass(frozen=True)
class VolumeFacts:
    """How one scan is stored; per-axis values are along i, j, k (columns, rows, slices), lengths in mm."""

    modality: str
    shape_ijk: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    extent_mm: tuple[float, float, float]
    obliquity_degrees: float
    is_left_handed: bool
    intensity_range: tuple[float, float]


@dataclass(frozen=True)
class Preflight:
    """The facts about each scan, how far they overlap, and the findings, gravest first.

    The overlaps are in percent of the smaller one; the lowest of all pairs, None for a single scan.
    """

    volumes: tuple[VolumeFacts, ...]
    field_of_view_overlap_percent: float | None
    body_overlap_percent: float | None
    findings: tuple[Finding, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dump`."""
        return asdict(self)

    def with_findings(self, more: Sequence[Finding]) -> "Preflight":
        """The same with more findings, gravest first."""
        return replace(self, findings=_gravest_first([*self.findings, *more]))

    def raise_if_refused(self) -> None:
        """Raise GeometryError with the code, message and remedy of the first error among the findings, if any."""
        for finding in self.findings:
            if finding.severity == "error":
                raise GeometryError(finding.code, finding.message, finding.remedy)


def examine(volumes: Sequence[Volume]) -> Preflight:
    """Look at the scans of one patient before they are segmented. Judges only; raises nothing."""
    facts = tuple(_facts(volume) for volume in volumes)
    pairs = list(combinations(volumes, 2))
    field_overlap = min((100 * overlap_fraction(a.grid, b.grid) for a, b in pairs), default=None)
    boxes = [body_box(with_dark_background(volume)) for volume in volumes] if pairs else []
    body_overlap = min((100 * _box_overlap(a, b) for a, b in combinations(boxes, 2)), default=None)
    findings = [finding for volume in volumes for finding in volume.findings]
    findings += _overlap_findings(field_overlap, body_overlap)
    for one in facts:
        findings += [*_spacing_findings(one), *_extent_findings(one), *_orientation_findings(one)]
        findings += _modality_findings(one)
    findings += [finding for volume in volumes for finding in _background_findings(volume)]
    findings += [finding for volume in volumes for finding in label_findings(volume)]
    findings += [finding for a, b in pairs for finding in (*same_image_findings(a, b), *patient_findings(a, b))]
    return Preflight(facts, field_overlap, body_overlap, _gravest_first(findings))


def _gravest_first(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda finding: ("error", "warning", "info").index(finding.severity)))


def _facts(volume: Volume) -> VolumeFacts:
    grid = volume.grid
    return VolumeFacts(
        modality=volume.modality,
        shape_ijk=grid.shape_ijk,
        spacing_mm=grid.spacing_ijk,
        extent_mm=grid.extent_mm,
        obliquity_degrees=grid.obliquity_degrees,
        is_left_handed=grid.is_left_handed,
        intensity_range=(float(volume.array.min()), float(volume.array.max())),
    )


def _box_overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Share (0 to 1) of the smaller of two boxes, (2, 3) lower and upper corner, that lies in the other one."""
    common = np.maximum(np.minimum(a[1], b[1]) - np.maximum(a[0], b[0]), 0.0)
    return float(common.prod() / min((a[1] - a[0]).prod(), (b[1] - b[0]).prod()))


def _overlap_findings(field_percent: float | None, body_percent: float | None) -> list[Finding]:
    if field_percent is None or body_percent is None:
        return []
    if field_percent == 0.0:
        message = "The scans do not overlap anywhere in space."
        remedy = "check that both are of one patient and one examination, or register one to the other first"
        return [Finding("error", "no-overlap", message, remedy)]
    if field_percent < _LOW_OVERLAP_PERCENT:
        message = f"Only {field_percent:.0f} % of the smaller field of view is covered by the other scan."
        remedy = "outside the overlap each scan is segmented alone; check that they belong together"
        return [Finding("warning", "low-overlap", message, remedy)]
    if body_percent < _LOW_OVERLAP_PERCENT:
        message = f"The fields of view overlap, but only {body_percent:.0f} % of the anatomy in them does."
        remedy = "one scan may have lost its position: overlay them, and register one to the other if they are apart"
        return [Finding("warning", "anatomy-apart", message, remedy)]
    return []


def _spacing_findings(facts: VolumeFacts) -> list[Finding]:
    smallest, largest = min(facts.spacing_mm), max(facts.spacing_mm)
    findings = []
    if largest > _COARSE_SPACING_MM:
        message = f"{facts.modality}: slices are {largest:.1f} mm apart; structures thinner than that are unreliable."
        findings.append(
            Finding("warning", "coarse-spacing", message, "use a series with thinner slices if there is one")
        )
    if largest > _ANISOTROPY * smallest:
        message = f"{facts.modality}: voxels are {largest / smallest:.0f} times as long as wide ({_lengths(facts)})."
        findings.append(Finding("warning", "anisotropic", message, "check the result across the slices"))
    if smallest < _FINE_SPACING_MM:
        message = f"{facts.modality}: a voxel size of {smallest:.3g} mm is no clinical scan's ({_lengths(facts)})."
        findings.append(Finding("warning", "fine-spacing", message, "check the units in the file's header"))
    return findings


def _extent_findings(facts: VolumeFacts) -> list[Finding]:
    shortest, longest = min(facts.extent_mm), max(facts.extent_mm)
    if shortest < _SMALL_EXTENT_MM:
        message = f"{facts.modality}: the field of view is only {shortest:.0f} mm wide along one axis."
        return [
            Finding("warning", "small-field", message, "the model may not recognise the anatomy; use a larger scan")
        ]
    if longest > _LARGE_EXTENT_MM:
        message = f"{facts.modality}: the field of view is {longest:.0f} mm long; this takes more time and memory."
        return [Finding("warning", "large-field", message, "crop the scan to the region of interest")]
    return []


def _orientation_findings(facts: VolumeFacts) -> list[Finding]:
    if facts.obliquity_degrees <= _OBLIQUE_DEGREES:
        return []
    message = f"{facts.modality}: the slices are tilted by {facts.obliquity_degrees:.0f} degrees against the body axes."
    return [Finding("warning", "oblique", message, "the tilt is accounted for; check that the overlay looks right")]


def _modality_findings(facts: VolumeFacts) -> list[Finding]:
    low, high = facts.intensity_range
    named_ct = facts.modality.upper() == "CT"
    if named_ct and low > _ABOVE_ANY_AIR:
        message = f"{facts.modality}: intensities run from {low:.0f} to {high:.0f}, without air, so they may not be HU."
    elif not named_ct and low < _BELOW_ANY_MR:
        message = f"{facts.modality}: intensities start at {low:.0f}, as in a CT in HU."
    else:
        return []
    return [Finding("warning", "modality-doubt", message, "check that the scans were not swapped or mislabelled")]


def _background_findings(volume: Volume) -> list[Finding]:
    percent = percent_below_air(volume)
    if percent >= _INVERTED_PERCENT:
        message = f"{volume.modality}: {percent:.0f} % of the scan is darker than what surrounds it, as if inverted."
        remedy = "check the contrast; where the scan was inverted for display, export it as it was acquired"
        return [Finding("warning", "looks-inverted", message, remedy)]
    raised = raised_background(volume)
    if raised is None:
        return []
    message = f"{volume.modality}: the background is {raised.value:g}, and {raised.percent_darker:.0f} % of the scan"
    message += f" is darker; it was taken as dark background ({raised.darkest:.3g})."
    return [Finding("info", "raised-background", message, "nothing needs to be done, unless this is no background")]


def label_findings(volume: Volume) -> list[Finding]:
    """A warning where a scan looks like a label map: whole numbers, and neighbours that are mostly equal."""
    some = volume.array[:: max(1, volume.array.size // _SAMPLE)]
    here, after = some[..., :-1], some[..., 1:]
    inside = here != background_level(corner_values(volume.array))[0]
    if not inside.any() or not np.array_equal(some, np.rint(some)):
        return []
    percent = 100 * float((here[inside] == after[inside]).mean())
    if percent < _ALIKE_PERCENT:
        return []
    message = f"{volume.modality}: looks like a label map, no scan: whole numbers, {percent:.0f} % of neighbours equal."
    return [Finding("warning", "looks-like-labels", message, "check the file; labels are given as such, not as a scan")]


def same_image_findings(a: Volume, b: Volume) -> list[Finding]:
    """A warning where both scans of a patient hold the same voxels in the same place."""
    if not a.grid.is_close(b.grid) or not np.array_equal(a.array, b.array):
        return []
    message = f"{a.modality} and {b.modality} are the same image."
    return [Finding("warning", "same-image", message, "choose the second scan, or give this one alone")]


def patient_findings(a: Volume, b: Volume) -> list[Finding]:
    """A warning where two scans were read from DICOM, and their headers name different patients."""
    differs = a.slices[0].patient.differs_from(b.slices[0].patient) if a.slices and b.slices else ""
    if not differs:
        return []
    message = f"{a.modality} and {b.modality} are of different patients, by the {differs} in their headers."
    return [Finding("warning", "patients-differ", message, "check that both scans are of one patient")]


def _lengths(facts: VolumeFacts) -> str:
    return " x ".join(f"{length:.3g}" for length in facts.spacing_mm) + " mm"
