"""Slices as a stack: in order, of one kind, evenly spaced; what is not is refused with the place where it is not."""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from CrossModalSegLib.errors import GeometryError, InputError
from CrossModalSegLib.imaging.dicom_header import RESCALE, ImageFile, Slice
from CrossModalSegLib.imaging.finding import Finding
from CrossModalSegLib.imaging.grid import LPS_TO_RAS, Grid
from CrossModalSegLib.plurals import some_of

_POSITION_TOLERANCE_MM = 0.1  # slices further than this from their regular place are an error
_DIRECTION_TOLERANCE = 1e-3  # difference of direction cosines that rounding in the header explains
_MOST_RANGES = 5


def stacked(slices: Sequence[Slice], path: Path) -> list[Slice]:
    """The slices in the order of their positions along the normal.

    Raises InputError ``mixed-series``, ``not-3d``, ``several-volumes``, ``missing-slices`` or ``uneven-slices``;
    GeometryError ``gantry-tilt``.
    """
    _refuse_mixed(slices, path)
    _refuse_half_scaled(slices, path)
    normal = slices[0].normal
    ordered = sorted(slices, key=lambda one: float(one.position @ normal))
    _refuse_irregular(ordered, path)
    return ordered


def grid_of(slices: Sequence[Slice]) -> Grid:
    """The grid of slices that are stacked."""
    first, last = slices[0], slices[-1]
    between_rows, between_columns = first.spacing
    lps = np.eye(4)
    lps[:3, 0] = first.orientation[0] * between_columns
    lps[:3, 1] = first.orientation[1] * between_rows
    lps[:3, 2] = (last.position - first.position) / (len(slices) - 1)
    lps[:3, 3] = first.position
    rows, columns = first.size
    return Grid((len(slices), rows, columns), LPS_TO_RAS @ lps)


def refuse_mixed_origin(images: Sequence[ImageFile], path: Path) -> list[Finding]:
    """Raises InputError ``mixed-series`` where files of one series name several patients, studies or frames of
    reference.

    Where each file has one of its own, as some anonymisers do it, they tell nothing: that is a finding.
    """
    findings = []
    told: tuple[tuple[str, Callable[[ImageFile], str]], ...] = (
        ("patients", lambda image: image.patient.id),
        ("studies", lambda image: image.study_uid),
        ("frames of reference", lambda image: image.frame_of_reference),
    )
    for what, value in told:
        telling = [image for image in images if value(image)]
        values = [value(image) for image in telling]
        if len(set(values)) < 2:
            continue
        if len(set(values)) < len(values):
            other = next(image for image in telling if value(image) != values[0])
            message = f"{path}: files of one series name different {what}: {telling[0].path.name} and {other.path.name}"
            raise InputError("mixed-series", message, "export the series again, or give its files alone")
        message = f"Each of the {len(values)} files names another one of the {what}, though they are one series."
        findings.append(Finding("warning", "series-identity", message, "check that the slices belong together"))
    named = [image for image in images if image.patient.name]
    others = [image for image in named if image.patient.name != named[0].patient.name]
    if others and not findings:
        message = f"Files of one series have one patient ID, and different names: {named[0].path.name} and"
        message += f" {others[0].path.name}."
        findings.append(Finding("warning", "series-identity", message, "check that all slices are of one patient"))
    return findings


def kind_findings(images: Sequence[ImageFile]) -> list[Finding]:
    """A warning where slices of one series are of different kinds by their headers: magnitude and phase, two echoes or
    time points that take turns, signed and unsigned values."""
    first = images[0]
    findings = []
    for place, (name, value) in enumerate(first.kinds):
        other = next((image for image in images if image.kinds[place][1] != value), None)
        if other is not None:
            message = f"Slices of one series differ in {name}: {first.path.name} has {value or 'none'},"
            message += f" {other.path.name} {other.kinds[place][1] or 'none'}."
            remedy = "check that all slices are of one volume, and export each volume by itself"
            findings.append(Finding("warning", "slice-kinds", message, remedy))
    return findings


def numbering_findings(images: Sequence[ImageFile]) -> list[Finding]:
    """Instance numbers with gaps, or fewer images than the header says there were: slices may be missing at an end,
    where positions do not tell."""
    findings = []
    numbers = sorted({image.number for image in images if image.number is not None})
    step = int(np.gcd.reduce(np.diff(numbers))) if len(numbers) > 1 else 1
    gaps = [(a + step, b - step) for a, b in pairwise(numbers) if b - a > step]
    if len(images) == len(numbers) > 1 and numbers[0] > 1 and step == 1:
        gaps.insert(0, (1, numbers[0] - 1))
    if gaps:
        listed = ", ".join(f"{a}" if a == b else f"{a} to {b}" for a, b in gaps[:_MOST_RANGES])
        more = f" and {len(gaps) - _MOST_RANGES} more gaps" if len(gaps) > _MOST_RANGES else ""
        message = f"Instance numbers run to {numbers[-1]}, and {listed}{more} are not there: slices may be missing."
        findings.append(Finding("warning", "slice-numbers", message, "check that the series is complete"))
    if step > 1 and not gaps and len(images) == len(numbers) and _are_apart(images, step):
        message = (
            f"Instance numbers are {step} apart, and so are the slices by their headers: some may be missing between."
        )
        findings.append(Finding("warning", "slice-numbers", message, "check that the series is complete"))
    told = Counter(image.images_in_acquisition for image in images if image.images_in_acquisition)
    frames = sum(len(image.slices) for image in images)
    if len(told) == 1 and frames < next(iter(told)):
        message = f"The header says that {next(iter(told))} images were acquired; there are {frames}."
        findings.append(Finding("warning", "slice-numbers", message, "check that the series is complete"))
    return findings


def _are_apart(images: Sequence[ImageFile], step: int) -> bool:
    """Whether slices lie ``step`` times as far from each other as their headers say."""
    slices = [one for image in images for one in image.slices]
    told = {one.step for one in slices}
    length = told.pop() if len(told) == 1 else None
    if length is None or len(slices) < 2:
        return False
    places = np.sort([one.position @ slices[0].normal for one in slices])
    return bool(np.median(np.diff(places)) > (step - 0.1) * length)


def _refuse_mixed(slices: Sequence[Slice], path: Path) -> None:
    first = slices[0]
    for one in slices[1:]:
        same = (
            one.size == first.size
            and np.allclose(one.orientation, first.orientation, atol=_DIRECTION_TOLERANCE)
            and np.allclose(one.spacing, first.spacing, rtol=1e-3)
        )
        if not same:
            message = f"{path}: {one.file.name} differs from {first.file.name} in size, spacing or orientation"
            raise InputError("mixed-series", message, "give a folder with the slices of one stack")
    if len(slices) < 2:
        raise InputError("not-3d", f"{path} holds a single slice, {first.file.name}", "give the whole series")


def _refuse_half_scaled(slices: Sequence[Slice], path: Path) -> None:
    """Raise where some slices are to be rescaled and others do not say by what."""
    for position, (keyword, usual) in enumerate(zip(RESCALE, (1.0, 0.0), strict=True)):
        silent = [one for one in slices if keyword in one.unsaid]
        scaled = next((one for one in slices if one.rescale[position] != usual), None)
        if silent and scaled is not None:
            message = f"{path}: {scaled.name} has {keyword} {scaled.rescale[position]:g}, and "
            message += f"{some_of([one.name for one in silent])} none: their values do not go together"
            raise InputError("mixed-series", message, "export the series again, with all of its headers")


def _refuse_irregular(slices: Sequence[Slice], path: Path) -> None:
    """Raise where the slices are not evenly spaced along their normal."""
    along = np.array([one.position @ slices[0].normal for one in slices])
    gaps = np.diff(along)
    if gaps.min() < _POSITION_TOLERANCE_MM:
        at = int(gaps.argmin())
        message = (
            f"{path}: {slices[at].name} and {slices[at + 1].name} lie at one position, {along[at]:.2f} mm along "
            "the stack"
        )
        hint = "export one echo, phase or time point as a series of its own"
        raise InputError("several-volumes", message, hint)
    regular = np.linspace(along[0], along[-1], len(along))
    if np.abs(along - regular).max() > _POSITION_TOLERANCE_MM:
        raise _gap_error(slices, gaps, path)
    drift = slices[-1].position - slices[0].position
    _refuse_aside(slices, drift, path)
    aside = drift - (drift @ slices[0].normal) * slices[0].normal
    if np.linalg.norm(aside) > _POSITION_TOLERANCE_MM + _DIRECTION_TOLERANCE * np.linalg.norm(drift):
        tilt = np.degrees(np.arctan2(np.linalg.norm(aside), along[-1] - along[0]))
        message = f"{path}: the gantry was tilted, slices are shifted against each other by {tilt:.1f} degrees"
        raise GeometryError("gantry-tilt", message, "load it in 3D Slicer, which straightens it, and save it as NRRD")


def _refuse_aside(slices: Sequence[Slice], drift: np.ndarray, path: Path) -> None:
    """Raise where a slice lies beside the line from the first to the last one, and not where a tilt would put it."""
    places = np.array([one.position for one in slices])
    line = slices[0].position + np.linspace(0, 1, len(slices))[:, None] * drift
    beside = np.linalg.norm(places - line, axis=1)
    worst = int(beside.argmax())
    if beside[worst] > 2 * _POSITION_TOLERANCE_MM:
        message = f"{path}: {slices[worst].name} lies {beside[worst]:.2f} mm beside the line of the others"
        raise InputError("uneven-slices", message, "export the series again, or resample it")


def _gap_error(slices: Sequence[Slice], gaps: np.ndarray, path: Path) -> InputError:
    usual = float(np.median(gaps))
    worst = int(np.abs(gaps - usual).argmax())
    missing = gaps[worst] / usual - 1
    where = f"{gaps[worst]:.2f} mm between {slices[worst].name} and {slices[worst + 1].name}, usual {usual:.2f} mm"
    if missing > 0.5 and abs(missing - round(missing)) < 0.1:
        message = f"{path}: {round(missing)} slice(s) missing: {where}"
        return InputError("missing-slices", message, "copy or export the whole series again")
    return InputError("uneven-slices", f"{path}: {where}", "resample the series to even spacing, or export it again")
