"""What a fine-tuning will do and how long it will take: which cases are held out, and how many steps fit the budget."""

import dataclasses
import json
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from CrossModalSegLib.adaptation.config import FinetuneConfig, FinetuneOptions
from CrossModalSegLib.adaptation.site_data import DataCase, SiteData
from CrossModalSegLib.atomic import output_errors, write_atomically
from CrossModalSegLib.errors import ConfigError, DataError
from CrossModalSegLib.json_file import read_json
from CrossModalSegLib.plurals import counted
from CrossModalSegLib.site.runs import PLAN_FILE
from CrossModalSegLib.tables import read_table

FEWEST_STEPS = 10  # of the last training: less teaches nothing
VALIDATION_COST = 0.4  # of a step, per validation patch
VALIDATION_SHARE = 0.2  # of the training time, at most
MOST_SAMPLES = 6  # patches of a validation
REPORT_SECONDS = 8.0
STEPS_BACK = (1.0, 0.7, 0.5, 0.35)  # of the share that was asked for, until the frozen cases lose nothing that matters
MARGIN = 0.95  # of the time that is left: other programs run too
SCHEDULE_FILE = "schedule.json"
START_ANEW = "start a new run, without --resume"


@dataclass(frozen=True)
class Training:
    """One training: its name, the ids of the labelled cases that it learns from, and of those it is judged on."""

    name: str
    learnt: tuple[str, ...]
    judged: tuple[str, ...]


@dataclass(frozen=True)
class Parent:
    """The bundle that a fine-tuning begins with."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True)
class PlannedCase:
    """The labels of a corrected case that are learnt from: its ``revision``, and the SHA-256 of each file of the
    case."""

    revision: int | None
    sha256: Mapping[str, str]


@dataclass(frozen=True)
class Counts:
    """How many there are, whether there will be time for them or not: corrected cases and others to learn from, cases
    without labels that are left out because they are of held-out patients or because many are corrected, and corrected
    patients whom the parent has learnt from."""

    corrected: int = 0
    unlabelled: int = 0
    held_out: int = 0
    spared: int = 0
    known_patients: int = 0


_COUNTS = {  # how plan.json names them
    "corrected": "corrected cases to learn from",
    "unlabelled": "cases without labels to learn from",
    "held_out": "cases without labels of held-out patients",
    "spared": "cases without labels that time is not spent on",
    "known_patients": "corrected patients whom the parent has learnt from",
}


@dataclass(frozen=True)
class Plan:
    """What is decided before anything is computed; a run that is resumed goes by it.

    ``cases`` are the labelled ones by id, ``unlabelled`` the ids of the others; ``mapping`` is what a `LabelMapping` is
    made of; ``case_seconds`` what segmenting and scoring a case takes here, 0 before it was measured.
    """

    name: str
    version: str
    parent: Parent
    trainings: tuple[Training, ...]
    cases: Mapping[str, PlannedCase]
    unlabelled: tuple[str, ...]
    config: FinetuneConfig
    mapping: Mapping[str, Any]
    budget_minutes: float
    case_seconds: float = 0.0
    counts: Counts = Counts()

    @property
    def folds(self) -> tuple[Training, ...]:
        """All trainings but the last, which makes the candidate."""
        return self.trainings[:-1]

    @property
    def final(self) -> Training:
        """The training that makes the candidate."""
        return self.trainings[-1]

    def save(self, folder: Path) -> None:
        """Write ``plan.json``; the folder is made with it. Raises OutputError ``cannot-write``."""
        with output_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        content = dataclasses.asdict(self)
        content["base"] = content.pop("parent")
        content["counts"] = {_COUNTS[name]: number for name, number in content["counts"].items()}
        write_atomically(folder / PLAN_FILE, json.dumps(content, indent=1))


@dataclass(frozen=True)
class Schedule:
    """How many steps each training takes, and the measured seconds that this follows from."""

    fold_steps: int
    final_steps: int
    step_seconds: float

    def save(self, folder: Path) -> None:
        """Write ``schedule.json``."""
        write_atomically(folder / SCHEDULE_FILE, json.dumps(dataclasses.asdict(self), indent=1))


def read_plan(folder: Path) -> Plan:
    """The plan that was saved in a run's folder. Raises DataError ``bad-run`` where it is damaged, or of another
    version of the software."""
    content = read_json(folder / PLAN_FILE, "bad-run", START_ANEW)
    try:
        trainings = [Training(one["name"], tuple(one["learnt"]), tuple(one["judged"])) for one in content["trainings"]]
        counts = content.pop("counts", {})
        _ = content["mapping"]["map"]
        return Plan(
            parent=Parent(**content.pop("base")),
            trainings=tuple(trainings),
            cases={case_id: PlannedCase(**facts) for case_id, facts in content.pop("cases").items()},
            unlabelled=tuple(content.pop("unlabelled")),
            config=read_table(FinetuneConfig, content.pop("config")),
            counts=Counts(**{name: counts.get(words, 0) for name, words in _COUNTS.items()}),
            **{name: value for name, value in content.items() if name != "trainings"},
        )
    except (AttributeError, ConfigError, KeyError, TypeError, ValueError) as error:
        raise _bad_run(folder / PLAN_FILE, error) from error


def read_schedule(folder: Path) -> Schedule | None:
    """The schedule of a run; None where it was stopped before it had one. Raises DataError ``bad-run``."""
    path = folder / SCHEDULE_FILE
    if not path.exists():
        return None
    try:
        return Schedule(**read_json(path, "bad-run", START_ANEW))
    except TypeError as error:
        raise _bad_run(path, error) from error


def _bad_run(file: Path, error: Exception) -> DataError:
    return DataError("bad-run", f"{file}: {type(error).__name__} {error}", START_ANEW)


def choose_trainings(
    data: SiteData, options: FinetuneOptions, known: AbstractSet[str] = frozenset()
) -> tuple[Training, ...]:
    """Which cases are learnt from and which are judged on, by patient, so that no patient is on both sides.

    With enough held-out patients one training learns from all others. With fewer, each fold leaves out a part of the
    patients, and the last training learns from all. With one patient nothing can be held out. Patients who are
    ``known`` to the parent, because it has learnt from them, are never judged on. Where a person has set patients
    apart, these alone are held out, however few. Raises DataError ``site-data`` where these are all.
    """
    by_person = {case.patient for case in data.labelled if case.set_apart}
    apart = by_person or {case.patient for case in data.labelled if case.held_out} - known
    rest = set(data.patients) - apart
    if by_person and not rest:
        what = (
            f"all {counted(len(data.patients), 'patient')} with corrected cases are held out: none is left to "
            "learn from"
        )
        hint = "correct a case of another patient, or: crossmodalseg site split SITE CASE training"
        raise DataError("site-data", what, hint)
    if rest and (by_person or len(apart) >= options.held_out_patients):
        return (Training("final", _ids(data.labelled, rest), _ids(data.labelled, apart - known)),)
    everything = Training("final", _ids(data.labelled, set(data.patients)), ())
    patients = [patient for patient in data.patients if patient not in known]
    if len(patients) < 2:
        return (everything,)
    count = min(options.folds, len(patients))
    parts = [set(patients[number::count]) for number in range(count)]
    folds = [
        Training(f"fold-{n}", _ids(data.labelled, set(data.patients) - part), _ids(data.labelled, part))
        for n, part in enumerate(parts, start=1)
    ]
    return (*folds, everything)


def _ids(cases: Sequence[DataCase], patients: set[str]) -> tuple[str, ...]:
    return tuple(case.id for case in cases if case.patient in patients)


def within_budget(plan: Plan, options: FinetuneOptions, case_seconds: float, frozen: float) -> Plan:
    """The plan with as many judged cases as can be scored for the parent and at each share of the way in the time for
    it; ids are random, so the first ones do. Every training keeps at least one."""
    each_judged, each_frozen = _times_scored(options)
    seconds = options.evaluation_share * plan.budget_minutes * 60
    most = int((seconds / case_seconds - (1 + each_frozen) * frozen) / (1 + each_judged))
    judged = [one for one in plan.trainings if one.judged]
    each = max(1, most // max(1, len(judged)))
    trainings = tuple(dataclasses.replace(one, judged=one.judged[:each]) for one in plan.trainings)
    return dataclasses.replace(plan, trainings=trainings, case_seconds=round(case_seconds, 3))


def learning_order(plan: Plan) -> tuple[str, ...]:
    """The ids of the corrected cases to learn from, such that each training has one however few are taken up."""
    return tuple(dict.fromkeys([*(one.learnt[0] for one in plan.trainings), *plan.final.learnt]))


def with_cases(plan: Plan, learnt: Collection[str], unlabelled: Sequence[str]) -> Plan:
    """The plan with these cases alone to learn from; what is judged stays."""
    trainings = tuple(
        dataclasses.replace(one, learnt=tuple(name for name in one.learnt if name in learnt)) for one in plan.trainings
    )
    return dataclasses.replace(plan, trainings=trainings, unlabelled=tuple(unlabelled))


def describe_limit(plan: Plan) -> str:
    """Of how many cases how many are learnt from; empty where time is enough for all."""
    there = [
        (len(plan.final.learnt), plan.counts.corrected, "corrected cases"),
        (len(plan.unlabelled), plan.counts.unlabelled, "cases without labels"),
    ]
    return " and ".join(f"{taken} of {found} {name}" for taken, found, name in there if taken < found)


def count_scored(plan: Plan, options: FinetuneOptions, frozen: float) -> float:
    """How often a case is segmented after the trainings: several times each of those that choose how far to go.
    ``frozen`` says how many cases the frozen ones are worth."""
    each_judged, each_frozen = _times_scored(options)
    return each_judged * sum(len(one.judged) for one in plan.trainings) + each_frozen * frozen


def _times_scored(options: FinetuneOptions) -> tuple[int, int]:
    """How often a held-out case is scored after its training, and a frozen one after the last."""
    return (1, len(STEPS_BACK)) if options.keep_general else (len(options.shares), 1)


def fit_schedule(plan: Plan, options: FinetuneOptions, seconds: float, step_seconds: float, frozen: float) -> Schedule:
    """The steps that fit into ``seconds``, after what judging the candidate on whole cases and the report take.

    Raises ConfigError ``budget-too-small``, which says what would do.
    """
    rest = seconds * MARGIN - REPORT_SECONDS - plan.case_seconds * count_scored(plan, options, frozen)
    steps = rest / step_seconds
    share = options.fold_share if plan.folds else 0.0
    final = _after_validation((1 - share) * steps, options) if plan.final.judged else (1 - share) * steps
    fold = _after_validation(share * steps / len(plan.folds), options) if plan.folds else 0.0
    if final < FEWEST_STEPS or (plan.folds and fold < FEWEST_STEPS):
        least = _least_seconds(plan, share, step_seconds) + seconds - rest
        spent = plan.budget_minutes * 60 - seconds
        needed = (least + spent) / 60 * 1.1
        raise ConfigError(
            "budget-too-small",
            f"{plan.budget_minutes:g} minutes leave {max(0.0, rest):.0f} s for training at {step_seconds:.2f} s "
            "per step",
            f"give --budget {needed:.0f} or more",
        )
    most = options.most_iterations
    return Schedule(min(most, int(fold)), min(most, int(final)), round(step_seconds, 4))


def _after_validation(steps: float, options: FinetuneOptions) -> float:
    """What is left of the time of ``steps`` for training itself."""
    all_validations = options.validations * MOST_SAMPLES * VALIDATION_COST
    if all_validations <= VALIDATION_SHARE * (steps - all_validations):
        return steps - all_validations
    return min(steps / (1 + VALIDATION_SHARE), steps - MOST_SAMPLES * VALIDATION_COST)


def validations(iterations: int, options: FinetuneOptions) -> int:
    """How often a training of so many steps is validated: less often where it would take more than a part of the
    time."""
    affordable = VALIDATION_SHARE * iterations / (MOST_SAMPLES * VALIDATION_COST)
    return max(1, min(options.validations, int(affordable)))


def _least_seconds(plan: Plan, share: float, step_seconds: float) -> float:
    """Seconds of training in which all trainings reach the fewest steps."""
    least = FEWEST_STEPS + max(MOST_SAMPLES * VALIDATION_COST, VALIDATION_SHARE * FEWEST_STEPS)
    of_folds = least * len(plan.folds) / share if plan.folds and share else 0.0
    return max(least / (1 - share), of_folds) * step_seconds


def validation_samples(cases: int) -> int:
    """Patches per validation: two of each case, 2 to 6."""
    return min(MOST_SAMPLES, max(2, 2 * cases))


def describe_plan(plan: Plan, data: SiteData, structures: Sequence[str], frozen: Sequence[DataCase]) -> list[str]:
    """What was found and what will be done."""
    labelled = f"{counted(len(data.labelled), 'corrected case')} of {counted(len(data.patients), 'patient')}"
    without = f"{counted(len(data.unlabelled), 'case')} without labels"
    lines = [f"{labelled}, {without}, {counted(len(structures), 'structure')}"]
    if plan.counts.spared:
        lines.append(
            f"{plan.counts.spared} more without labels left out: with so many corrected patients, the time is "
            "better spent on these"
        )
    if plan.counts.held_out:
        lines.append(f"{plan.counts.held_out} more without labels left out: of held-out patients, nothing is learnt")
    lines.append(
        f"parent {plan.parent.name} {plan.parent.version} ({plan.parent.sha256[:12]}) → {plan.name} {plan.version}"
    )
    if plan.folds:
        lines.append(
            f"few corrected cases: {len(plan.folds)} trainings each leave out a part, the last one learns from all"
        )
    elif plan.final.judged:
        count = len(plan.final.judged)
        learnt = counted(len(plan.final.learnt), "case")
        lines.append(f"learnt from: {learnt}; judged on: {count} held-out")
    elif plan.counts.known_patients:
        lines.append(f"{describe_known(plan)}: nothing can be held out, so the evidence will be insufficient")
    else:
        lines.append("one patient alone: nothing can be held out, so the evidence will be insufficient")
    lines.append(
        f"against forgetting: {counted(len(frozen), 'frozen case')}"
        if frozen
        else "the parent has no frozen cases: what is forgotten cannot be measured"
    )
    return lines


def describe_known(plan: Plan) -> str:
    """Why patients are not judged on, though they have corrected cases."""
    return (
        f"the parent has learnt from cases of {plan.counts.known_patients} of the corrected patients, who cannot "
        "be judged on"
    )
