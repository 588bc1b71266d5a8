"""The two statements that a NIfTI header makes of where its voxels lie, and which of them counts.

Source: nifti1.h, "3D image (volume) orientation and location in space". The rule, in this order:

1. The sform, where its code is set and its axes span space at right angles: SPM, FSL, FreeSurfer and nibabel take it,
too. 2. The qform, where its code is set and its numbers make sense. Where the sform is set, but sheared or unusable,
that is told. 3. Otherwise the volume is refused: a sheared sform without a qform, statements that make no sense, or
none at all (both codes 0): then nobody knows which side is left.

Where both are set, their distance is told. Metres and microns are converted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from CrossModalSegLib.errors import GeometryError
from CrossModalSegLib.imaging.finding import Finding
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.placement import LARGEST_SHEAR_DEGREES, Placement, distance_mm, unknown_orientation

_CODES = range(1, 6)  # scanner, aligned, Talairach, MNI, template
_UNITS_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # of xyzt_units, by its lowest three bits
_UNITS = {0: "no unit", 1: "metres", 2: "millimetres", 3: "microns"}
_WORTH_TELLING_MM = 0.1
_WORTH_A_WARNING_MM = 1.0
_LONGEST_QUATERNION = 1 + 1e-5  # squared; rounding to float32 explains as much
_SPACING_TOLERANCE = 0.01
_EXPORT = "export the volume again, with an orientation that its program stands for"


@dataclass(frozen=True)
class NiftiForms:
    """A header's own numbers: ``pixdim`` [qfac, i, j, k], ``quaternion`` b, c, d, ``offset`` of the qform, ``srow`` (3,
    4) of the sform, in the header's units. What is written for a scan carries them as they are."""

    pixdim: tuple[float, float, float, float]
    xyzt_units: int
    qform_code: int
    sform_code: int
    quaternion: tuple[float, float, float]
    offset: tuple[float, float, float]
    srow: tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True)
class _Reading:
    """One of the two statements: its affine (mm), or in words why there is none. ``is_sheared``: no right angles."""

    affine: np.ndarray | None
    problem: str = ""
    is_sheared: bool = False

    @property
    def is_usable(self) -> bool:
        return self.affine is not None and not self.is_sheared


def placement_of(forms: NiftiForms, shape_ijk: Sequence[int]) -> Placement:
    """Which statement counts, by the rule above, and what is to be told about it."""
    unit = forms.xyzt_units & 7
    scale = _UNITS_MM.get(unit, 1.0)
    findings = list(_unit_findings(unit))
    spacing = [scale * length for length in forms.pixdim[1:]]
    sform, qform = _sform(forms, scale), _qform(forms, scale)
    has_sform, has_qform = forms.sform_code in _CODES, forms.qform_code in _CODES
    findings += _code_findings(forms)
    if has_sform and sform.is_usable:
        assert sform.affine is not None
        findings += _beside_sform(forms, sform.affine, qform if has_qform else None, scale, shape_ijk)
        return Placement(sform.affine, None, tuple(findings))
    if has_qform and qform.is_usable:
        assert qform.affine is not None
        if has_sform:
            findings.append(_instead_of_sform(forms, sform, qform.affine, shape_ijk))
        findings += _qfac_findings(forms)
        return Placement(qform.affine, None, tuple(findings))
    if not (has_sform or has_qform):
        what = "the header does not say which way the voxel axes run (sform and qform code are 0)"
        return unknown_orientation(what, spacing, findings)
    return _refused(sform if has_sform else None, qform if has_qform else None, findings)


def _sform(forms: NiftiForms, scale: float) -> _Reading:
    affine = np.eye(4)
    affine[:3] = np.asarray(forms.srow, np.float64) * scale
    return _judged(affine, "sform")


def _qform(forms: NiftiForms, scale: float) -> _Reading:
    """nifti1.h, method 2. Lengths that are negative, and a qfac that is neither 1, -1 nor 0 (which means 1), are no
    reading that programs agree about."""
    numbers = (*forms.pixdim, *forms.quaternion, *forms.offset)
    if not np.isfinite(numbers).all():
        return _Reading(None, f"the qform has values that are no numbers: {_listed(numbers)}")
    b, c, d = forms.quaternion
    length = b * b + c * c + d * d
    if length > _LONGEST_QUATERNION:
        return _Reading(None, f"the qform's quaternion ({_listed((b, c, d))}) is longer than 1")
    if forms.pixdim[0] not in (1.0, -1.0, 0.0):
        return _Reading(None, f"pixdim[0], which must be 1 or -1, is {forms.pixdim[0]:g}")
    if min(forms.pixdim[1:]) <= 0:
        return _Reading(None, f"the voxel size in pixdim is {_listed(forms.pixdim[1:])}")
    return _judged(_qform_affine(forms, scale), "qform")


def _qform_affine(forms: NiftiForms, scale: float) -> np.ndarray:
    b, c, d = np.asarray(forms.quaternion) / max(1.0, float(np.linalg.norm(forms.quaternion)))
    a = np.sqrt(max(0.0, 1 - (b * b + c * c + d * d)))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    )
    qfac = -1.0 if forms.pixdim[0] < 0 else 1.0
    affine = np.eye(4)
    affine[:3, :3] = rotation * (np.abs(forms.pixdim[1:]) * [1.0, 1.0, qfac])
    affine[:3, 3] = forms.offset
    affine[:3] *= scale
    return affine


def _judged(affine: np.ndarray, name: str) -> _Reading:
    try:
        grid = Grid((1, 1, 1), affine)
    except GeometryError as error:
        return _Reading(None, f"the {name} cannot be used: {error.message}")
    degrees = grid.shear_degrees
    if degrees > LARGEST_SHEAR_DEGREES:
        return _Reading(affine, f"the {name}'s axes are {degrees:.2f} degrees away from right angles", True)
    return _Reading(affine)


def _unit_findings(unit: int) -> list[Finding]:
    if unit == 2:
        return []
    if unit in (1, 3):
        message = f"the header's lengths are in {_UNITS[unit]}; they were converted to millimetres"
        return [Finding("info", "units-converted", message, "check the voxel size in the report")]
    severity: Literal["info", "warning"] = "info" if unit == 0 else "warning"
    message = f"the header names {_UNITS.get(unit, f'an unknown unit, {unit}')}; millimetres were assumed"
    return [Finding(severity, "unknown-units", message, "check the voxel size in the report")]


def _code_findings(forms: NiftiForms) -> list[Finding]:
    """Codes that do not exist say nothing."""
    codes = {"sform": forms.sform_code, "qform": forms.qform_code}
    strange = [f"{name} code {code}" for name, code in codes.items() if code and code not in _CODES]
    if not strange:
        return []
    message = f"the header has the {' and the '.join(strange)}, which do not exist; they were counted as not set"
    return [Finding("warning", "unknown-code", message, "check on the overlay that the scan lies where it should")]


def _beside_sform(
    forms: NiftiForms, sform: np.ndarray, qform: _Reading | None, scale: float, shape_ijk: Sequence[int]
) -> list[Finding]:
    """What contradicts the sform, which was taken."""
    if qform is None:
        return _spacing_findings(forms, sform, scale)
    if qform.affine is not None:
        apart = distance_mm(sform, qform.affine, shape_ijk)
        if apart <= _WORTH_TELLING_MM:
            return []
        message = (
            f"sform (code {forms.sform_code}) and qform (code {forms.qform_code}) of the header lie up to "
            f"{apart:.1f} mm "
            "apart; the sform was taken"
        )
        remedy = "check on the overlay that the scans lie on each other; if they do not, correct the header"
        return [Finding("warning" if apart > _WORTH_A_WARNING_MM else "info", "sform-qform", message, remedy)]
    message = f"{qform.problem}; the sform (code {forms.sform_code}) was taken"
    severity: Literal["info", "warning"] = "warning"
    numbers = (*forms.pixdim[1:], *forms.quaternion, *forms.offset)
    if np.isfinite(numbers).all():
        apart = distance_mm(sform, _qform_affine(forms, scale), shape_ijk)
        message += f"; with lengths taken as positive they lie {apart:.1f} mm apart"
        severity = "info" if apart <= _WORTH_TELLING_MM else severity
    return [Finding(severity, "qform-unusable", message, "check on the overlay that left is left")]


def _qfac_findings(forms: NiftiForms) -> list[Finding]:
    """The one number that tells a scan from its mirror image, where nothing else does."""
    if forms.pixdim[0] != 0:
        return []
    message = "the qform's qfac (pixdim[0]) is 0, which counts as 1 by the standard: left and right hang on it"
    return [Finding("warning", "qfac-zero", message, "make sure that left is left")]


def _spacing_findings(forms: NiftiForms, sform: np.ndarray, scale: float) -> list[Finding]:
    """Without a qform, the header still says the voxel size a second time."""
    spacing = np.linalg.norm(sform[:3, :3], axis=0)
    other = np.asarray(forms.pixdim[1:]) * scale
    if np.isfinite(other).all() and np.allclose(np.abs(other), spacing, rtol=_SPACING_TOLERANCE, atol=0):
        return []
    message = (
        f"the voxel size is {_listed(spacing)} mm by the sform, {_listed(other)} mm by pixdim; the sform was taken"
    )
    return [Finding("warning", "spacing-differs", message, "check the voxel size; if it is wrong, correct the header")]


def _instead_of_sform(forms: NiftiForms, sform: _Reading, qform: np.ndarray, shape_ijk: Sequence[int]) -> Finding:
    message = f"{sform.problem}; the qform (code {forms.qform_code}) was taken"
    if sform.affine is not None:
        apart = distance_mm(sform.affine, qform, shape_ijk)
        message += f", up to {apart:.1f} mm from the sform (code {forms.sform_code})"
    remedy = "the result lies on the scan as it was taken, not as it was registered; resample it if you want the latter"
    return Finding("warning", "sform-sheared" if sform.is_sheared else "sform-unusable", message, remedy)


def _refused(sform: _Reading | None, qform: _Reading | None, findings: Sequence[Finding]) -> Placement:
    """Codes are set, and nothing that they stand for can be used."""
    problems = "; ".join(one.problem for one in (sform, qform) if one is not None)
    if sform is not None and sform.is_sheared:
        hint = "resample the volume to right angles, e.g. with 3D Slicer"
        return Placement(None, None, tuple(findings), ("sheared-axes", problems, hint))
    finite = "no numbers" not in problems
    return Placement(None, None, tuple(findings), ("singular-affine" if finite else "bad-affine", problems, _EXPORT))


def _listed(numbers: Sequence[float] | np.ndarray) -> str:
    return ", ".join(f"{number:.6g}" for number in numbers)
