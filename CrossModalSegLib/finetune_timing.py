"""How long things take here and now, and what therefore fits into the budget."""

import statistics
import tempfile
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from CrossModalSegLib import finetune_plan
from CrossModalSegLib.errors import ConfigError
from CrossModalSegLib.finetune_candidate import PARENT, parent_scorer
from CrossModalSegLib.finetune_plan import Schedule
from CrossModalSegLib.finetune_run import Finetuning
from CrossModalSegLib.finetune_scoring import SCORES_FILE
from CrossModalSegLib.finetune_training import configuration, grown_network, prepared_case, sources
from CrossModalSegLib.training import train

TIMED_STEPS = 4
PREPARING_SHARE = 0.2  # of the budget, after which no more cases without labels are taken up
FEWEST_UNLABELLED = 8  # that are taken up in any case


def limit_plan(run: Finetuning) -> None:
    """Note in the plan the seconds that a case takes here, and judge no more cases than there is time for."""
    if run.processes.writes and not run.plan.case_seconds:
        seconds = max(time_case(run), 1e-3)
        finetune_plan.within_budget(run.plan, run.config.finetune, seconds, len(run.frozen)).save(run.folder)
    run.processes.wait()
    take_up(run)


def make_schedule(run: Finetuning) -> Schedule:
    """Measure a step here and now, and fill what is left of the budget."""
    if not run.processes.writes:
        return Schedule(1, 1, 0.0)
    step_seconds = time_steps(run)
    prepare_all(run)
    seconds = run.plan.budget_minutes * 60 - run.pace.elapsed
    try:
        made = finetune_plan.schedule(run.plan, run.config.finetune, seconds, step_seconds, len(run.frozen))
    except ConfigError:
        if not run.plan.folds:
            raise
        take_up(run)  # a model without evidence rather than none: the trainings that leave cases out are left out
        replace(run.plan, trainings=(run.plan.final,)).save(run.folder)
        take_up(run)
        made = finetune_plan.schedule(run.plan, run.config.finetune, seconds, step_seconds, len(run.frozen))
    made.save(run.folder)
    return made


def prepare_all(run: Finetuning) -> None:
    """Bring the cases onto their model grids, so that no training waits for them: all that have labels, and as many of
    the others as there is time for. Ids are random, so the first ones do; the plan is left with these."""
    for number, case in enumerate(run.data.labelled, start=1):
        run.pace.update("preparing", 0.0, f"corrected case {number} of {len(run.data.labelled)}")
        prepared_case(run, case, labelled=True)
    taken = []
    for number, case in enumerate(run.data.unlabelled, start=1):
        if number > FEWEST_UNLABELLED and run.pace.elapsed > PREPARING_SHARE * run.plan.budget_minutes * 60:
            break
        run.pace.update("preparing", 0.0, f"case without labels {number} of {len(run.data.unlabelled)}")
        prepared_case(run, case, labelled=False)
        taken.append(case.id)
    if len(taken) < len(run.data.unlabelled):
        replace(run.plan, unlabelled=tuple(taken)).save(run.folder)


def take_up(run: Finetuning) -> None:
    """The plan as the first process has left it, and the data that it names."""
    run.plan = finetune_plan.read_plan(run.folder)
    taken = set(run.plan.unlabelled)
    run.data = replace(run.data, unlabelled=tuple(case for case in run.data.unlabelled if case.id in taken))


def time_case(run: Finetuning) -> float:
    """Seconds that segmenting and scoring the largest case takes; its scores are those of the parent, and kept as such."""
    judged = {name for training in run.plan.trainings for name in training.judged}
    cases = [case for case in run.data.labelled if case.id in judged] or list(run.data.labelled)
    largest = max([*cases, *run.frozen], key=lambda case: sum(path.stat().st_size for path in case.scans.values()))
    with tempfile.TemporaryDirectory() as place:
        known = (run.folder / PARENT / largest.id / SCORES_FILE).is_file()  # of a run that was stopped
        scorer = parent_scorer(run, Path(place) if known else run.folder / PARENT)
        started = time.monotonic()
        scorer.score(largest)
        return time.monotonic() - started


def time_steps(run: Finetuning) -> float:
    """Median seconds of a training step with everything in it, after the first one."""
    run.pace.update("timing", 0.0)
    config = configuration(run, TIMED_STEPS)
    semi = replace(config.semi_supervised, start=0.0)
    config = replace(config, semi_supervised=semi, training=replace(config.training, checkpoint_minutes=60.0))
    times: list[float] = []
    labelled, unlabelled, _ = sources(run, run.plan.final, config, most=2)
    with tempfile.TemporaryDirectory() as place:
        train(
            config, len(run.mapping.label_map.channels), labelled, None, Path(place), run.device,
            lambda _progress: times.append(time.monotonic()), unlabelled, grown_network(run),
        )  # fmt: skip
    return statistics.median(after - before for before, after in pairwise(times))


def stages(run: Finetuning, schedule: Schedule) -> dict[str, float]:
    """The expected seconds of each stage that is still to come, in their order."""
    steps = {fold.name: schedule.fold_steps for fold in run.plan.folds} | {run.plan.final.name: schedule.final_steps}
    expected = {f"training {name}": count * schedule.step_seconds for name, count in steps.items()}
    expected["scoring the candidate"] = finetune_plan.scored(run.plan, len(run.frozen)) * run.plan.case_seconds
    return expected | {"report": finetune_plan.REPORT_SECONDS}
