"""The scans of a study that a model segments: found by rules, each choice with its reason, and never guessed."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from CrossModalSegLib.errors import InputError
from CrossModalSegLib.imaging.dicom import Series
from CrossModalSegLib.imaging.dicom_tree import DicomTree
from CrossModalSegLib.imaging.modality_guess import Aliases, fit_by_modality
from CrossModalSegLib.pacs.study_series import StudySeries, series_of_study

_EXACTLY = 4  # of `fit_by_modality`
PREFERENCES: dict[str, tuple[str, Callable[[StudySeries], float]]] = {
    "thinnest": ("thicker slices than another one", lambda one: one.spacing_mm),
    "most-slices": ("fewer slices than another one", lambda one: -one.series.slice_count),
    "newest": ("a lower series number than another one", lambda one: -one.number),
    "oldest": ("a higher series number than another one", lambda one: one.number),
}


@dataclass(frozen=True)
class PairRule:
    """How the series of one modality is told.

    ``description`` and ``exclude`` are regular expressions, looked for in the series description, the protocol and the
    sequence name, capitals or not; with a ``description``, it alone tells the modality. ``plane`` is axial, coronal or
    sagittal. ``derived``: reformatted and computed series count as well. ``prefer`` decides between several that are
    left, in this order.
    """

    description: str = ""
    exclude: str = ""
    plane: str = ""
    derived: bool = False
    prefer: tuple[str, ...] = ()


@dataclass(frozen=True)
class Candidate:
    """A series, the modality that it was ``chosen`` for ("": none), and the reason for either."""

    series: StudySeries
    chosen: str
    reason: str

    def __str__(self) -> str:
        return f"{self.series}: {self.chosen or 'left out'}, {self.reason}"


@dataclass(frozen=True)
class Pair:
    """The series by modality, and what was thought of each series of the study."""

    scans: Mapping[str, Series]
    candidates: tuple[Candidate, ...]


@dataclass
class _Search:
    """What is still possible for each modality, and why the others are not."""

    possible: dict[str, list[StudySeries]]
    reasons: dict[str, str] = field(default_factory=dict)  # by series UID, the last one counts

    def keep(self, modality: str, kept: Sequence[StudySeries], why_not: str) -> None:
        if not kept:
            return
        for one in self.possible[modality]:
            if one not in kept:
                self.reasons[one.series.uid] = why_not
        self.possible[modality] = list(kept)


def find_pair(
    tree: DicomTree, modalities: Sequence[str], aliases: Aliases, rules: Mapping[str, PairRule] | None = None
) -> Pair:
    """The one series of each modality in the ``tree``; a modality of which there is none is left out.

    What is no scan (localizers, screen captures, text burnt in, incomplete stacks) or is derived is left out. A series
    of exactly the modality goes before one under an alias, two in one frame of reference before two that are not, and
    then the rules decide. Raises InputError ``several-candidates`` where several are left, ``no-scan-in-study`` where
    there is none; both list every series with its reason.
    """
    rules = rules or {}
    found = series_of_study(tree)
    _refuse_several_patients(tree)
    search, levels = _Search({name: [] for name in modalities}), {}
    for one in found:
        for name in modalities:
            level, reason = _fit(one, name, modalities, aliases, rules.get(name, PairRule()))
            if level:
                search.possible[name].append(one)
                levels[name, one.series.uid] = level
            elif reason:
                search.reasons.setdefault(one.series.uid, reason)
    for name, fitting in search.possible.items():
        best = max((levels[name, one.series.uid] for one in fitting), default=0)
        kept = [one for one in fitting if levels[name, one.series.uid] == best]
        search.keep(name, kept, f"another one fits {name} better")
    _keep_common_frames(search, modalities)
    for name in modalities:
        _prefer(search, name, rules.get(name, PairRule()))
    return _decided(search, found, modalities)


def _fit(one: StudySeries, name: str, modalities: Sequence[str], aliases: Aliases, rule: PairRule) -> tuple[int, str]:
    """How well a series fits a modality (0: not at all), and why not; "" where it is of another modality."""
    if one.problem:
        return 0, one.problem
    if rule.description:
        level = _EXACTLY if _says(one, rule.description) else 0
    else:
        level = fit_by_modality(modalities, aliases, one.description).get(name, 0)
    if not level:
        return 0, ""
    if rule.exclude and _says(one, rule.exclude):
        return 0, f"the rule of {name} excludes it"
    if rule.plane and rule.plane != one.plane:
        return 0, f"the rule of {name} asks for {rule.plane} slices"
    if one.is_derived and not rule.derived:
        return 0, "it is derived from another series"
    return level, ""


def _says(one: StudySeries, pattern: str) -> bool:
    return any(re.search(pattern, text, re.IGNORECASE) for text in one.texts)


def _keep_common_frames(search: _Search, modalities: Sequence[str]) -> None:
    """Of several, those that share their frame of reference with one of every other modality."""
    present = [name for name in modalities if search.possible[name]]
    frames = [{one.frame_of_reference for one in search.possible[name]} for name in present]
    common = set.intersection(*frames) - {""} if frames else set()
    if len(present) < 2 or not common:
        return
    for name in present:
        kept = [one for one in search.possible[name] if one.frame_of_reference in common]
        search.keep(name, kept, "it is in another frame of reference than the other scans")


def _prefer(search: _Search, name: str, rule: PairRule) -> None:
    for preference in rule.prefer:
        why_not, measure = PREFERENCES[preference]
        left = search.possible[name]
        if len(left) > 1:
            best = min(measure(one) for one in left)
            search.keep(name, [one for one in left if measure(one) <= best + 1e-3], f"it has {why_not}")


def _decided(search: _Search, found: Sequence[StudySeries], modalities: Sequence[str]) -> Pair:
    chosen = {name: left[0] for name, left in search.possible.items() if len(left) == 1}
    several = [name for name, left in search.possible.items() if len(left) > 1]
    candidates = tuple(_candidate(one, search) for one in found)
    listed = "; ".join(map(str, candidates)) or "no series of images"
    if several:
        message = f"several series may be the {' and the '.join(several)}: {listed}"
        raise InputError("several-candidates", message, "name the series, or give a rule that tells them apart")
    if not chosen:
        message = f"no series is a {' or '.join(modalities)}: {listed}"
        raise InputError("no-scan-in-study", message, "name the series with --input, or give a rule that finds it")
    if len({one.series.uid for one in chosen.values()}) < len(chosen):
        message = f"one series is all there is for {' and '.join(chosen)}: {listed}"
        raise InputError("several-candidates", message, "give a rule that tells which modality it is")
    return Pair({name: one.series for name, one in chosen.items()}, candidates)


def _candidate(one: StudySeries, search: _Search) -> Candidate:
    fitting = {name: left for name, left in search.possible.items() if one in left}
    if not fitting:
        return Candidate(one, "", search.reasons.get(one.series.uid, "it is of no modality that the model knows"))
    name, left = next(iter(fitting.items()))
    return Candidate(one, name, "the only one left" if len(left) == 1 else f"one of {len(left)} that fit alike")


def _refuse_several_patients(tree: DicomTree) -> None:
    patients = {image.patient.id for image in tree.images}
    if len(patients) > 1:
        message = f"{tree.folder.name} holds images of {len(patients)} patients by their DICOM headers (PatientID)"
        raise InputError("several-patients", message, "give the folder of one study")
