"""What is told about what the scans of a case show, beyond how they are stored: place, contrast, and what they are
called.

Judges numbers and names that others have found out, so that the panel, the page and the command line say the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from CrossModalSegLib.errors import GeometryError, NoMatchError
from CrossModalSegLib.imaging.finding import Finding
from CrossModalSegLib.imaging.modality_guess import Aliases, ScanDescription, contradicts, contrast_of, guess_modality
from CrossModalSegLib.imaging.registration import Report, RigidRefinement, rigid_refine
from CrossModalSegLib.imaging.volume import Volume

_DISPLACED_MM = 2.0  # less is within what a rigid registration of thick slices can tell
_CLEARLY = 0.15  # of the brightest tissue: what fluid must differ by from white matter
_SLIGHTLY = 0.05  # of it: enough for what it is called
_FLAT = 0.03  # of the brightest tissue: tissues that differ by less show no contrast
_PROTON_DENSITY = 0.65  # white matter relative to fluid; darker in a T2w
# Grey minus white matter, relative to the brightest tissue, from which on a scan with dark fluid is a FLAIR. It depends
# on what the scan is called: told is what clearly contradicts that.
_FLAIR_FROM = {"T1w": 0.03, "FLAIR": -0.12}
_FLAIR_OTHERWISE = -0.03
_LEAST_DEEP_ML = 10.0  # thalamus, putamen and caudate nucleus of an adult have about 30
_FAMILY = {"T1w": "T1w", "T1c": "T1w", "T2w": "T2w", "FLAIR": "FLAIR", "PDw": "PDw"}


@dataclass(frozen=True)
class TissueIntensities:
    """Median intensity of tissues in the middle of a brain scan, 1 for the scan's bright tissue.

    ``ventricle`` is the median of the ventricles' medians: where it differs from ``fluid``, the median over all of
    their voxels, something else was taken for one of them, such as a lesion. ``deep_ml`` is how much deep grey matter
    was recognised.
    """

    white: float
    grey: float
    fluid: float
    ventricle: float
    deep_ml: float

    def __str__(self) -> str:
        return f"white matter {self.white:.2f}, grey matter {self.grey:.2f}, fluid {self.fluid:.2f}"


@dataclass(frozen=True)
class Contents:
    """What the scans of a case show: ``findings``, and the motion of the second scan onto the first where one was
    looked for and found."""

    findings: tuple[Finding, ...] = ()
    refinement: RigidRefinement | None = field(default=None, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dump`."""
        refinement = self.refinement.to_json() if self.refinement else None
        return {"findings": [asdict(one) for one in self.findings], "refinement": refinement}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "Contents":
        """What `to_json` gave. Raises KeyError or TypeError where something is missing."""
        refinement = entry["refinement"]
        return cls(
            tuple(Finding(**one) for one in entry["findings"]),
            RigidRefinement.from_json(refinement) if refinement else None,
        )


def displacement(first: Volume, second: Volume, report: Report) -> Contents:
    """How far ``second`` lies from ``first``, by their contents; takes one to two seconds."""
    try:
        refinement = rigid_refine(first, second, report)
    except NoMatchError as error:
        return Contents((Finding("warning", error.code, f"{error.message}.", error.hint),))
    except GeometryError:  # they do not even meet, which was told already
        return Contents()
    return Contents(tuple(displacement_findings(refinement, first.modality, second.modality)), refinement)


def displacement_findings(refinement: RigidRefinement | None, first: str, second: str) -> list[Finding]:
    """Whether scan ``second`` lies elsewhere than ``first`` by more than can be measured, by what moves it there."""
    if refinement is None or not refinement.is_improvement or refinement.displacement_mm < _DISPLACED_MM:
        return []
    message = (
        f"{second} seems displaced by about {refinement.displacement_mm:.0f} mm "
        f"({refinement.rotation_degrees:.0f}°) against {first}."
    )
    remedy = f"align {second} to {first}, in the panel or with a registration, and look at the overlay"
    return [Finding("warning", "displaced", message, remedy)]


def name_findings(
    name: str, called: str, description: ScanDescription, modalities: Sequence[str], aliases: Aliases
) -> list[Finding]:
    """Whether what a scan is called (``called`` in words) says another of the bundle's modalities than it is given as.

    ``name`` is one of the bundle's ``modalities``, or an alias.
    """
    modality = guess_modality(modalities, aliases, name) or name
    other = contradicts(modality, modalities, aliases, description)
    if other is None:
        return []
    message = f"{called} is given as {name}, but its name or header says {other}."
    return [Finding("warning", "modality-doubt", message, "swap the scans if they are the wrong way round")]


def contrast_findings(
    name: str, tissue: TissueIntensities, modalities: Sequence[str], aliases: Aliases
) -> list[Finding]:
    """Whether the tissues of a brain scan are as bright as in what it is given as; nothing for contrasts unknown here.

    A warning where it looks like another modality of the bundle or is not recognised, an information where it looks
    like another contrast of the same modality.
    """
    brightest = max(tissue.white, tissue.grey, tissue.fluid)
    darkest = min(tissue.white, tissue.grey, tissue.fluid)
    if tissue.deep_ml < _LEAST_DEEP_ML or brightest - darkest < _FLAT * brightest:
        message = f"{name}: in the middle of the scan the model recognises {tissue.deep_ml:.0f} mL of deep grey matter"
        message += f" (about 30 in an adult), and {tissue}."
        remedy = "check that it shows what the model is made for, and that its orientation is right"
        return [Finding("warning", "not-recognised", message, remedy)]
    expected = _FAMILY.get(contrast_of(name) or "")
    fluids = (tissue.fluid, tissue.ventricle)
    if expected is None or expected in (_contrast(tissue, fluid, expected, _SLIGHTLY) for fluid in fluids):
        return []
    seen = next((one for fluid in fluids if (one := _contrast(tissue, fluid, expected, _CLEARLY))), None)
    if seen is None:
        return []
    message = f"{name}: looks like a {seen}, or an inverted scan: {tissue}."
    modality = guess_modality(modalities, aliases, name)
    if guess_modality(modalities, aliases, seen) == modality:
        remedy = f"nothing needs to be done: the model takes both as {modality}"
        return [Finding("info", "modality-doubt", message, remedy)]
    return [Finding("warning", "modality-doubt", message, "check that the scans were not swapped or mislabelled")]


def _contrast(tissue: TissueIntensities, fluid: float, expected: str, margin: float) -> str | None:
    """The contrast with tissues so bright, in favour of ``expected``; None where fluid differs by less than
    ``margin``."""
    white, grey = tissue.white, tissue.grey
    brightest = max(white, grey, fluid)
    if fluid > white + margin * brightest:
        if expected == "PDw":
            return expected
        return "T2w" if white < _PROTON_DENSITY * fluid else "PDw"
    if fluid < white - margin * brightest:
        is_flair = grey - white > _FLAIR_FROM.get(expected, _FLAIR_OTHERWISE) * brightest
        return "FLAIR" if is_flair else "T1w"
    return None
