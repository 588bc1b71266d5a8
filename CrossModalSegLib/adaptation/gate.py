"""The gate: whether a candidate model may take the place of its parent, from scores of both on the same cases.

Scores are Dice in [0, 1]. Differences are candidate minus parent, paired by case; a case's modalities are averaged, and
so are the cases of one patient, because they are no independent evidence. There are two groups of cases: the site's own
held-out cases, on which the candidate must be better, and the bundle's frozen cases, which show what it loses
elsewhere. By default the model is for the site, and of these losses only a gross one decides; to keep what is general,
both groups are judged alike.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import numpy as np
from scipy import stats

from CrossModalSegLib.plurals import counted
from CrossModalSegLib.tables import AT_LEAST_0, AT_LEAST_2, FRACTION, Number, Whole, table, within

Decision = Literal["promote", "keep", "insufficient-evidence"]
MOST_PATIENTS = 200  # whoever would need more has no gain worth speaking of
ROUNDING = 1e-9  # a fall of exactly the limit is allowed, however it was computed
Fall = Annotated[Number, AT_LEAST_0]


@table()
class GateRules:
    """``structure_fall``, ``case_fall``: the most that the mean of a structure, or a case, may lose. On its own
    held-out cases, a model for one site may lose in a structure as much as it gains in the mean,
    ``most_structure_fall`` at most. ``lost_below``: a structure that the site draws is lost elsewhere where less than
    this share of the parent's Dice remains; ``gross_mean_fall``: what the mean may lose there. ``fewest_patients`` and
    ``confidence``: how many held-out patients, and how sure the mean gain above 0 must be, to promote. Two patients may
    do, because Student's interval of two is wide: their gains have to be large and alike. ``new_structure_least``: the
    least mean Dice of a structure that the parent does not have, to promote."""

    structure_fall: Fall = 0.01
    case_fall: Fall = 0.10
    most_structure_fall: Fall = 0.05
    lost_below: Annotated[Number, FRACTION] = 0.33
    gross_mean_fall: Fall = 0.20
    fewest_patients: Annotated[Whole, AT_LEAST_2] = 2
    confidence: Annotated[Number, within("between 0 and 1", lambda number: 0 < number < 1)] = 0.90
    new_structure_least: Annotated[Number, FRACTION] = 0.5


DEFAULTS = GateRules()


@dataclass(frozen=True)
class Aim:
    """Whom the new model is for: this site's next patients, or with ``keep_general`` several scanners as well, of whom
    the frozen cases stand for the others. ``own`` are the structures, by name, that the site's corrections show;
    ``protocol`` those that they draw otherwise than the parent, alike in all patients: no forgetting."""

    keep_general: bool = False
    own: frozenset[str] = frozenset()
    protocol: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Remarks:
    """What is known beside the scores, in words: ``contradictions`` in the labels that the candidate was trained on,
    and other ``doubts``. ``new`` are the structures, by name, that the parent does not have."""

    contradictions: Sequence[str] = ()
    doubts: Sequence[str] = ()
    new: Sequence[str] = ()


@dataclass(frozen=True)
class PairedCase:
    """One case as parent and candidate segment it: per modality, the Dice of each structure by name.

    A structure that either side lacks, or that is not a number (NaN) on either, is not compared.
    """

    id: str
    patient: str
    parent: Mapping[str, Mapping[str, float]]
    candidate: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Change:
    """A mean over patients: of how many, the parent's, the candidate's, and the confidence interval of the difference
    (infinite from a single patient)."""

    name: str
    patients: int
    parent: float
    candidate: float
    low: float
    high: float

    @property
    def difference(self) -> float:
        """Candidate minus parent."""
        return self.candidate - self.parent


@dataclass(frozen=True)
class GroupChanges:
    """All changes in one group of cases; ``mean`` is over the structures of each case, None where there is no case."""

    mean: Change | None
    structures: tuple[Change, ...]
    cases: tuple[Change, ...]


@dataclass(frozen=True)
class Verdict:
    """The decision, the reasons for it in words, the numbers behind them, and what the candidate ``costs``, in words:
    what it loses that does not speak against it. ``more_patients``: how many more corrected patients would make a gain
    of this size certain; 0 where it is, None where nothing can be said."""

    decision: Decision
    reasons: tuple[str, ...]
    site: GroupChanges
    frozen: GroupChanges
    costs: tuple[str, ...] = ()
    more_patients: int | None = None

    @property
    def means(self) -> tuple[str, ...]:
        """In words, what became of the mean Dice of each group that has cases, whatever the reasons are."""
        groups = (("held-out", self.site.mean), ("frozen", self.frozen.mean))
        return tuple(
            f"{name} cases: mean Dice {_arrow(mean)}, patients: {mean.patients}" for name, mean in groups if mean
        )


def judge(
    site: Sequence[PairedCase],
    frozen: Sequence[PairedCase],
    rules: GateRules = DEFAULTS,
    remarks: Remarks = Remarks(),
    aim: Aim = Aim(),
    alike: Sequence[PairedCase] | None = None,
) -> Verdict:
    """The verdict on a candidate.

    ``keep`` where anything speaks against it: ``contradictions`` in the labels it was trained on, a structure or a case
    that falls too far, no gain on the site's cases. ``insufficient-evidence`` where nothing does, but there are other
    ``doubts``, the held-out patients are too few, the interval of the gain reaches 0, a structure falls in the only
    patient of a group, whose mean does not: that may be chance; or a ``new`` structure, by name, is not found well, or
    shown by too few patients. Else ``promote``. What is too far on the frozen cases follows from the ``aim``: a model
    for one site is judged on those that are ``alike``, of that site's modalities, where not all are.
    """
    of_site, of_frozen = compare(site, rules), compare(frozen, rules)
    falls = [*_falls("held-out", of_site, rules, _allowed(of_site, rules, aim))]
    if aim.keep_general:
        falls += _falls("frozen", of_frozen, rules, rules.structure_fall)
    else:
        falls += _gross(frozen if alike is None else alike, rules, aim)
    against = [*remarks.contradictions, *(words for words, is_certain in falls if is_certain)]
    if of_site.mean and of_site.mean.difference <= 0:
        against.append(f"no gain on the held-out cases: mean Dice {_arrow(of_site.mean)}")
    costs = tuple(_costs(of_site, of_frozen, rules, aim))
    more = more_patients(list(gains(site).values()), rules)
    if against:
        return Verdict("keep", tuple(against), of_site, of_frozen, costs, more)
    chances = [words for words, _is_certain in falls]
    unsure = [*remarks.doubts, *chances, *_doubts(of_site, rules), *_doubts_about_new(site, remarks.new, rules)]
    if unsure:
        return Verdict("insufficient-evidence", tuple(unsure), of_site, of_frozen, costs, more)
    assert of_site.mean is not None
    gain = f"mean Dice on {of_site.mean.patients} held-out patients {_arrow(of_site.mean)}; nothing falls too far"
    return Verdict("promote", (gain,), of_site, of_frozen, costs, more)


def gains(cases: Sequence[PairedCase]) -> dict[str, float]:
    """Mean Dice over structures, candidate minus parent, by patient."""
    by_patient: dict[str, list[float]] = {}
    for case in cases:
        pair = _whole(case)
        if pair is not None:
            by_patient.setdefault(case.patient or case.id, []).append(pair[1] - pair[0])
    return {patient: float(np.mean(found)) for patient, found in by_patient.items()}


def more_patients(differences: Sequence[float], rules: GateRules = DEFAULTS) -> int | None:
    """How many more patients whose gains are like these would make the mean gain certain; 0 where it is, None where
    these are too few to tell, or where there is no gain."""
    count, mean = len(differences), float(np.mean(differences)) if differences else 0.0
    if count < 2 or mean <= 0:
        return None
    spread = float(np.std(differences, ddof=1))
    for number in range(max(count, rules.fewest_patients), MOST_PATIENTS + 1):
        if mean > float(stats.t.ppf((1 + rules.confidence) / 2, number - 1)) * spread / math.sqrt(number):
            return number - count
    return None


def falls_too_far(cases: Sequence[PairedCase], rules: GateRules = DEFAULTS, certainly: bool = False) -> bool:
    """Whether a structure or a case of this group loses more than is allowed; ``certainly``: so that it is no
    chance."""
    falls = _falls("", compare(cases, rules), rules, rules.structure_fall)
    return any(is_certain or not certainly for _words, is_certain in falls)


def falls_grossly(frozen: Sequence[PairedCase], rules: GateRules, aim: Aim) -> bool:
    """Whether a model for one site loses more elsewhere than it may."""
    return any(True for _ in _gross(frozen, rules, aim))


def compare(cases: Sequence[PairedCase], rules: GateRules = DEFAULTS) -> GroupChanges:
    """The changes in one group of cases: over all, by structure, and by case."""
    names = list(dict.fromkeys(name for case in cases for scores in case.parent.values() for name in scores))
    structures = [_change(name, cases, partial(_structure, name=name), rules) for name in names]
    return GroupChanges(
        mean=_change("mean", cases, _whole, rules),
        structures=tuple(change for change in structures if change),
        cases=tuple(change for case in cases if (change := _change(case.id, [case], _whole, rules))),
    )


Pair = tuple[float, float]


def _change(
    name: str, cases: Sequence[PairedCase], pair_of: Callable[[PairedCase], Pair | None], rules: GateRules
) -> Change | None:
    """The change of what ``pair_of`` reads from each case; None where it reads nothing anywhere."""
    by_patient: dict[str, list[Pair]] = {}
    for case in cases:
        pair = pair_of(case)
        if pair is not None:
            by_patient.setdefault(case.patient or case.id, []).append(pair)
    if not by_patient:
        return None
    means = np.array([np.mean(pairs, axis=0) for pairs in by_patient.values()])  # (patients, 2)
    low, high = _interval(means[:, 1] - means[:, 0], rules.confidence)
    parent, candidate = means.mean(axis=0)
    return Change(name, len(means), float(parent), float(candidate), low, high)


def _interval(differences: np.ndarray, confidence: float) -> tuple[float, float]:
    """Student's t interval of the mean."""
    count, mean = len(differences), float(differences.mean())
    if count < 2:
        return -math.inf, math.inf
    half = float(stats.t.ppf((1 + confidence) / 2, count - 1) * differences.std(ddof=1) / math.sqrt(count))
    return mean - half, mean + half


def _structure(case: PairedCase, name: str) -> Pair | None:
    return _mean_pair(
        (scores[name], case.candidate[modality][name])
        for modality, scores in case.parent.items()
        if name in scores and name in case.candidate.get(modality, {})
    )


def _whole(case: PairedCase) -> Pair | None:
    """The mean over the structures of a case."""
    names = dict.fromkeys(name for scores in case.parent.values() for name in scores)
    return _mean_pair(pair for name in names if (pair := _structure(case, name)))


def _mean_pair(pairs: Iterable[Pair]) -> Pair | None:
    known = [pair for pair in pairs if not any(map(math.isnan, pair))]
    if not known:
        return None
    parent, candidate = np.mean(known, axis=0)
    return float(parent), float(candidate)


def _allowed(site: GroupChanges, rules: GateRules, aim: Aim) -> float:
    """What a structure may lose on the site's held-out cases."""
    if aim.keep_general or site.mean is None:
        return rules.structure_fall
    return max(rules.structure_fall, min(site.mean.difference, rules.most_structure_fall))


def _falls(group: str, changes: GroupChanges, rules: GateRules, allowed: float) -> Iterable[tuple[str, bool]]:
    """What falls too far, in words, and whether that is certain: one structure of one patient may fall by chance."""
    mean_falls = changes.mean is not None and changes.mean.difference < -rules.structure_fall - ROUNDING
    for change in changes.structures:
        if change.difference < -allowed - ROUNDING:
            words = f"{change.name} falls on the {group} cases: Dice {_arrow(change)}, {allowed:.2g} is allowed"
            yield words, change.patients > 1 or mean_falls
    for change in changes.cases:
        if change.difference < -rules.case_fall - ROUNDING:
            yield f"{group} case {change.name} falls: mean Dice {_arrow(change)}, {rules.case_fall:g} is allowed", True


def _gross(frozen: Sequence[PairedCase], rules: GateRules, aim: Aim) -> Iterable[tuple[str, bool]]:
    """What a model for one site may not lose elsewhere: a structure that this site draws, and draws as the parent
    does."""
    changes = compare([_without(case, aim.protocol) for case in frozen], rules)
    for change in changes.structures:
        if change.name in aim.own and change.candidate < rules.lost_below * change.parent - ROUNDING:
            least = f"{rules.lost_below:.0%} of it must remain"
            words = f"{change.name} is lost on the frozen cases: Dice {_arrow(change)}, {least}"
            yield words, True
    if changes.mean and changes.mean.difference < -rules.gross_mean_fall - ROUNDING:
        words = f"the frozen cases fall: mean Dice {_arrow(changes.mean)}, {rules.gross_mean_fall:g} is allowed"
        yield words, True


def _without(case: PairedCase, names: Collection[str]) -> PairedCase:
    parent, candidate = (
        {m: {name: dice for name, dice in of.items() if name not in names} for m, of in side.items()}
        for side in (case.parent, case.candidate)
    )
    return PairedCase(case.id, case.patient, parent, candidate)


def _costs(site: GroupChanges, frozen: GroupChanges, rules: GateRules, aim: Aim) -> Iterable[str]:
    """What is lost and does not decide: more than ``structure_fall``, of a structure or of the frozen cases' mean."""
    limit = -rules.structure_fall - ROUNDING
    for change in sorted(site.structures, key=lambda one: one.difference):
        if change.difference < limit:
            yield f"{change.name} on the held-out cases: Dice {_arrow(change)}"
    if aim.keep_general or frozen.mean is None:
        return
    if frozen.mean.difference < limit:
        yield f"elsewhere (frozen cases): mean Dice {_arrow(frozen.mean)}"
    for change in sorted(frozen.structures, key=lambda one: one.difference):
        if change.difference < limit:
            why = ", which this site draws otherwise" if change.name in aim.protocol else ""
            yield f"{change.name} elsewhere: Dice {_arrow(change)}{why}"


def _doubts(site: GroupChanges, rules: GateRules) -> Iterable[str]:
    patients = site.mean.patients if site.mean else 0
    if patients < rules.fewest_patients:
        yield f"corrected cases of {counted(patients, 'patient')} could be held out, {rules.fewest_patients} are needed"
    elif site.mean and site.mean.low <= 0:
        interval = f"{site.mean.low:+.3f} to {site.mean.high:+.3f}"
        yield (
            f"the gain of {site.mean.difference:+.3f} may be chance: its {rules.confidence:.0%} interval is {interval}"
        )


def _doubts_about_new(cases: Sequence[PairedCase], names: Sequence[str], rules: GateRules) -> Iterable[str]:
    """The parent scores 0 where a structure occurs that it does not have, so that a gain over it says nothing."""
    for name in names:
        change = _change(name, cases, partial(_where_it_occurs, name=name), rules)
        patients = change.patients if change else 0
        if change is None or patients < rules.fewest_patients:
            yield (
                f"held-out cases of {counted(patients, 'patient')} show the new {name}, {rules.fewest_patients} "
                "are needed"
            )
        elif change.candidate < rules.new_structure_least - ROUNDING:
            least = rules.new_structure_least
            yield f"the new {name} is not found well: mean Dice {change.candidate:.3f}, at least {least:g} is needed"


def _where_it_occurs(case: PairedCase, name: str) -> Pair | None:
    """Where the reference does not have the structure either, the parent's Dice is 1."""
    return _mean_pair(
        (scores[name], case.candidate[modality][name])
        for modality, scores in case.parent.items()
        if scores.get(name) == 0 and name in case.candidate.get(modality, {})
    )


def _arrow(change: Change) -> str:
    return f"{change.parent:.3f} → {change.candidate:.3f} ({change.difference:+.3f})"
