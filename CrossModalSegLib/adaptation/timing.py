"""How long things take here and now, and what therefore fits into the budget."""

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from CrossModalSegLib.adaptation import plan as finetune_plan
from CrossModalSegLib.adaptation.candidate import PARENT, parent_scorer
from CrossModalSegLib.adaptation.head_probe import probe_heads
from CrossModalSegLib.adaptation.plan import Schedule
from CrossModalSegLib.adaptation.run import Finetuning
from CrossModalSegLib.adaptation.scoring import SCORES_FILE
from CrossModalSegLib.adaptation.site_data import DataCase, is_partly_labelled
from CrossModalSegLib.adaptation.training import configuration, draw_from, grown_network, prepared_case, validated
from CrossModalSegLib.errors import ConfigError
from CrossModalSegLib.temporary import temporary_folder
from CrossModalSegLib.training.training import Course, Place, train

TIMED_STEPS = 4
LEAST_WEIGHT = 0.2  # of a frozen case beside the largest case: a model grid has its margins
TRIED_CASES = 2  # with labels, and without, that a dry run prepares
PREPARING_SHARE = 0.15  # of the budget for cases with labels, and as much for those without; the rest is not taken up
FEWEST_TAKEN = 8  # of each that are taken up in any case


def limit_plan(run: Finetuning) -> None:
    """Note in the plan the seconds that a case takes here, and judge no more cases than there is time for."""
    if not run.plan.case_seconds:
        seconds = max(time_case(run), 1e-3)
        run.decide(finetune_plan.within_budget(run.plan, run.config.finetune, seconds, frozen_weight(run)))


def make_schedule(run: Finetuning) -> Schedule:
    """Prepare the cases, measure a step here and now, and fill what is left of the budget."""
    prepare_all(run)
    step_seconds, probe_seconds = time_steps(run), time_probe(run)
    made = _fill(run, run.plan.budget_minutes * 60 - run.pace.elapsed, step_seconds, probe_seconds)
    made.save(run.folder)
    return made


def estimate_schedule(run: Finetuning) -> tuple[Schedule, str]:
    """What `make_schedule` will find, and how many cases there will be time for, in words, from a few cases: no others
    are prepared, and the parent scores none but the largest."""
    limit_plan(run)
    learnt, of_learnt = _estimate(run, run.plan.final.learnt, True)
    unlabelled, of_unlabelled = _estimate(run, run.plan.unlabelled, False)
    step_seconds, probe_seconds = time_steps(run), time_probe(run)
    scoring = run.plan.case_seconds * (sum(len(one.judged) for one in run.plan.trainings) + frozen_weight(run))
    seconds = run.plan.budget_minutes * 60 - run.pace.elapsed - scoring - of_learnt - of_unlabelled
    schedule = _fill(run, seconds, step_seconds, probe_seconds)
    plan = finetune_plan.with_cases(run.plan, run.plan.final.learnt[:learnt], run.plan.unlabelled[:unlabelled])
    return schedule, finetune_plan.describe_limit(plan)


def _estimate(run: Finetuning, names: Sequence[str], labelled: bool) -> tuple[int, float]:
    """How many of the cases will be taken up, and the seconds that preparing these takes, from the first few."""
    few = names[:TRIED_CASES]
    if not few:
        return 0, 0.0
    started = time.monotonic()
    _prepare(run, few, labelled)
    each, most = (time.monotonic() - started) / len(few), PREPARING_SHARE * run.plan.budget_minutes * 60
    count = min(len(names), max(FEWEST_TAKEN, math.ceil(most / each)))
    return count, count * each


def _fill(run: Finetuning, seconds: float, step_seconds: float, probe_seconds: float) -> Schedule:
    """The schedule that fills these seconds; where they are few, that of a model without evidence rather than none: the
    trainings that leave cases out are left out. Raises ConfigError ``budget-too-small``."""
    try:
        return _schedule(run, seconds, step_seconds, probe_seconds)
    except ConfigError:
        if not run.plan.folds:
            raise
        run.decide(replace(run.plan, trainings=(run.plan.final,)))
        return _schedule(run, seconds, step_seconds, probe_seconds)


def _schedule(run: Finetuning, seconds: float, step_seconds: float, probe_seconds: float) -> Schedule:
    """Each training begins with a probe."""
    rest = seconds - probe_seconds * len(run.plan.trainings)
    return finetune_plan.fit_schedule(run.plan, run.config.finetune, rest, step_seconds, frozen_weight(run))


def prepare_all(run: Finetuning) -> None:
    """Bring the cases onto their model grids, so that no training waits for them: as many with labels, and as many of
    the others, as there is time for. Ids are random, so the first ones do; the plan is left with these."""
    learnt = _prepare(run, finetune_plan.learning_order(run.plan), True)
    unlabelled = _prepare(run, run.plan.unlabelled, False)
    run.decide(finetune_plan.with_cases(run.plan, learnt, unlabelled))
    for name in dict.fromkeys(name for training in run.plan.trainings for name in validated(training)):
        prepared_case(run, run.cases[name], True)


def _prepare(run: Finetuning, names: Sequence[str], labelled: bool) -> list[str]:
    """Prepare cases until their part of the budget is spent; the ids of those that are. The parent segments those whose
    labels it completes."""
    started, taken = time.monotonic(), list[str]()
    cases = {case.id: case for case in (run.data.labelled if labelled else run.data.unlabelled)}
    parent = parent_scorer(run, run.folder / PARENT)
    for number, name in enumerate(names, start=1):
        spent = time.monotonic() - started
        if number > FEWEST_TAKEN and spent > PREPARING_SHARE * run.plan.budget_minutes * 60:
            break
        words = "corrected case" if labelled else "case without labels"
        run.pace.update("preparing", 0.0, f"{words} {number} of {len(names)}")
        if labelled and run.mapping.needs_parent:
            parent.score(cases[name])
        prepared_case(run, cases[name], labelled)
        if is_partly_labelled(cases[name]):
            prepared_case(run, cases[name], False)
        taken.append(name)
    return taken


def time_case(run: Finetuning) -> float:
    """Seconds that segmenting and scoring the largest case takes; its scores are those of the parent, and kept as
    such."""
    largest = _largest(run)
    with temporary_folder() as place:
        known = (run.folder / PARENT / largest.id / SCORES_FILE).is_file()  # of a run that was stopped
        scorer = parent_scorer(run, place if known else run.folder / PARENT)
        started = time.monotonic()
        scorer.score(largest)
        return time.monotonic() - started


def _largest(run: Finetuning) -> DataCase:
    judged = {name for training in run.plan.trainings for name in training.judged}
    cases = [case for case in run.data.labelled if case.id in judged] or list(run.data.labelled)
    return max([*cases, *run.frozen], key=_bytes)


def _bytes(case: DataCase) -> int:
    return sum(path.stat().st_size for path in case.scans.values())


def frozen_weight(run: Finetuning) -> float:
    """How many of the cases that were timed the frozen ones take the time of: they may be crops."""
    frozen = {case.id: case for case in (*run.frozen, *run.frozen_alike)}
    return sum(case_weight(run, case) for case in frozen.values())


def case_weight(run: Finetuning, case: DataCase) -> float:
    """Of how many of the largest case a case takes the time."""
    return max(LEAST_WEIGHT, _bytes(case) / _bytes(_largest(run)))


def time_steps(run: Finetuning) -> float:
    """Median seconds of a training step with everything in it, after the first one."""
    run.pace.update("timing", 0.0)
    config = configuration(run, TIMED_STEPS)
    semi = replace(config.semi_supervised, start=0.0)
    config = replace(config, semi_supervised=semi, training=replace(config.training, checkpoint_minutes=60.0))
    times: list[float] = []
    samples = draw_from(run, replace(run.plan.final, judged=()), config, most=TRIED_CASES)
    with temporary_folder() as place:
        train(
            config,
            len(run.mapping.label_map.channels),
            replace(samples, validation=None),
            Place(place, run.device),
            lambda _step: times.append(time.monotonic()),
            Course(grown_network(run)),
        )
    return statistics.median(after - before for before, after in pairwise(times))


def time_probe(run: Finetuning) -> float:
    """Seconds that fitting the heads of new structures takes, before each training."""
    if not run.mapping.new:
        return 0.0
    config = configuration(run, TIMED_STEPS)
    samples = draw_from(run, replace(run.plan.final, judged=()), config, most=TRIED_CASES)
    started = time.monotonic()
    probe_heads(grown_network(run).to(run.device), len(run.mapping.new), samples.labelled, run.device)
    return time.monotonic() - started


def stages(run: Finetuning, schedule: Schedule) -> dict[str, float]:
    """The expected seconds of each stage that is still to come, in their order."""
    steps = {fold.name: schedule.fold_steps for fold in run.plan.folds} | {run.plan.final.name: schedule.final_steps}
    expected = {f"training {name}": count * schedule.step_seconds for name, count in steps.items()}
    scored = finetune_plan.count_scored(run.plan, run.config.finetune, frozen_weight(run))
    expected["scoring the candidate"] = scored * run.plan.case_seconds
    return expected | {"report": finetune_plan.REPORT_SECONDS}
