"""Fine-tuning of a bundle to a site, read from top to bottom: check, plan, score the parent, train, judge, publish.

Everything that is found out is written into the run's folder as it is done, so that a run which was stopped at any
moment goes on from there and ends with the same weights.
"""

import dataclasses
import json
import math
import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from CrossModalSegLib import finetune_plan
from CrossModalSegLib.atomic import write_atomically
from CrossModalSegLib.bundle import Bundle
from CrossModalSegLib.case_store import CaseStore
from CrossModalSegLib.checkpoint import read_curve
from CrossModalSegLib.config import TrainingConfig
from CrossModalSegLib.early_stop import EarlyStop, best_of
from CrossModalSegLib.errors import DataError
from CrossModalSegLib.finetune_config import FinetuneConfig, finetune_config_from, training_config
from CrossModalSegLib.finetune_plan import Plan, Schedule, Training
from CrossModalSegLib.finetune_publish import promote, publish_candidate
from CrossModalSegLib.finetune_report import write_report
from CrossModalSegLib.finetune_run import METRICS_FILE, Finetuning, Outcome, Pace, Tell
from CrossModalSegLib.finetune_scoring import CaseScorer, Scores, paired, read_prediction
from CrossModalSegLib.forgetting import Anchor
from CrossModalSegLib.frozen_cases import frozen_cases
from CrossModalSegLib.gate import judge
from CrossModalSegLib.inference import Segmenter, intensity_rules, load_network
from CrossModalSegLib.label_contradictions import confusion, exchanges, in_words
from CrossModalSegLib.label_mapping import LabelMapping
from CrossModalSegLib.network import CrossModalNetwork
from CrossModalSegLib.processes import ALONE, Processes
from CrossModalSegLib.site_data import DataCase, SiteData, needs_completion, prepared, site_data
from CrossModalSegLib.site_folder import read_splits
from CrossModalSegLib.sources import CaseSource, UnlabelledSource
from CrossModalSegLib.training import train
from CrossModalSegLib.training_case import TrainingCase, load_case, save_case
from CrossModalSegLib.training_log import Progress, TrainingLog

TIMED_STEPS = 4
PREPARED = "prepared"  # folder of the run, removed at its end
RESTART = "start anew, without --resume"
STILL: dict[str, Any] = {"rotation": 0.0, "scaling": 0.0, "shear": 0.0, "elastic": 0.0, "displacement_probability": 0.0}
STILL |= {"single_probability": 0.0, "bias": 0.0, "noise": 0.0, "gamma": 0.0, "position_error": 0.0}


def make_plan(
    site: Path, base: Bundle, mapping: LabelMapping, config: FinetuneConfig, name: str, version: str, minutes: float
) -> tuple[Plan, SiteData]:
    """Check all data and decide what will be done. Raises DataError ``site-data`` with all problems."""
    training_config(base, name, version, config, iterations=100)  # so that wrong entries are told now
    data = site_data(CaseStore(site).cases(), base, mapping, read_splits(site))
    plan = Plan(
        name=name,
        version=version,
        base={"name": base.name, "version": base.version, "sha256": base.sha256},
        trainings=finetune_plan.choose_trainings(data, config.finetune),
        cases={case.id: {"revision": case.revision, "sha256": dict(case.sha256 or {})} for case in data.labelled},
        unlabelled=tuple(case.id for case in data.unlabelled),
        config=config.to_tables(),
        mapping=mapping.to_json(),
        budget_minutes=minutes,
    )
    return plan, data


def planned_data(site: Path, base: Bundle, mapping: LabelMapping, plan: Plan) -> SiteData:
    """The data of a run that is resumed: the cases and revisions that it began with, whatever was added since.

    Raises DataError ``data-changed``.
    """
    store = {case.id: case for case in CaseStore(site).cases()}
    missing = [case for case in (*plan.cases, *plan.unlabelled) if case not in store]
    if missing:
        raise DataError("data-changed", f"cases {', '.join(missing)} are gone", RESTART)
    chosen = []
    for case_id, facts in plan.cases.items():
        case = store[case_id]
        revision = next((one for one in case.revisions if one.number == facts["revision"]), None)
        if revision is None:
            what = f"revision {facts['revision']} of case {case_id} is gone"
            raise DataError("data-changed", what, RESTART)
        chosen.append(replace(case, trusted=revision))
    changed = [case.id for case in chosen if case.sha256 != plan.cases[case.id]["sha256"]]
    if changed:
        raise DataError("data-changed", f"the files of {', '.join(changed)} are not those of the plan", RESTART)
    rest = [replace(store[case_id], trusted=None) for case_id in plan.unlabelled]
    return site_data([*chosen, *rest], base, mapping)


def carry_out(run: Finetuning) -> Outcome | None:
    """Everything after the plan; of several processes the first one writes, and it alone knows what came of it."""
    run.plan = limited_plan(run)
    parent = score_parent(run)
    schedule = finetune_plan.read_schedule(run.folder) or make_schedule(run)
    run.processes.wait()
    schedule = finetune_plan.read_schedule(run.folder) or schedule
    run.pace.expect(_stages(run, schedule))
    candidate: dict[str, Scores] = {}
    for fold in run.plan.folds:
        weights = train_one(run, fold, schedule.fold_steps)
        candidate |= score_candidate(run, fold.name, weights, [run.cases[name] for name in fold.judged])
    final = run.plan.final
    weights = train_one(run, final, final_steps(run, schedule))
    judged = [run.cases[name] for name in final.judged]
    candidate |= score_candidate(run, final.name, weights, [*judged, *run.frozen])
    return conclude(run, schedule, parent, candidate, weights) if run.processes.writes else None


# --- the parent


def score_parent(run: Finetuning) -> dict[str, Scores]:
    """The parent's scores of all cases that are judged on, and its labels where those of the site are incomplete."""
    scorer = CaseScorer(
        Segmenter(run.base, run.device.type), run.mapping.translation, run.mapping.label_map, run.folder / "parent"
    )
    judged = {name for training in run.plan.trainings for name in training.judged}
    wanted = [
        c
        for c in run.data.labelled
        if c.id in judged or needs_completion(c, run.mapping) or len(run.data.patients) == 1
    ]
    return _score_all(run, scorer, [*wanted, *run.frozen], "scoring the base")


def _score_all(run: Finetuning, scorer: CaseScorer, cases: Sequence[DataCase], stage: str) -> dict[str, Scores]:
    scores = {}
    for number, case in enumerate(cases):
        if run.processes.writes:
            run.pace.update(stage, number / len(cases), f"case {number + 1} of {len(cases)}")
            scores[case.id] = scorer.score(case)
    run.processes.wait()
    return scores


def contradictions(run: Finetuning) -> list[str]:
    """What speaks against the corrected labels themselves, in words; see ``label_contradictions``."""
    values = [value for value in run.mapping.site.values if run.mapping.origin[value] is not None]
    matrices = {}
    for case in run.data.labelled if values else ():
        if (run.folder / "parent" / case.id).is_dir():
            predicted, reference = read_prediction(run.folder / "parent", case), case.reference()
            for modality, (labels, _grid) in reference.items():
                matrices[f"{case.id} {modality}"] = confusion(labels, predicted[modality][0], values)
    names = {one.value: one.name for one in run.mapping.site.structures}
    return in_words(exchanges(matrices, values), names)


# --- time


def limited_plan(run: Finetuning) -> Plan:
    """The plan with the seconds that a case takes here, and no more cases to judge than there is time for."""
    if run.processes.writes and not run.plan.case_seconds:
        seconds = max(time_case(run), 1e-3)
        finetune_plan.within_budget(run.plan, run.config.finetune, seconds, len(run.frozen)).save(run.folder)
    run.processes.wait()
    return finetune_plan.read_plan(run.folder)


def make_schedule(run: Finetuning) -> Schedule:
    """Measure a step here and now, and fill what is left of the budget."""
    if not run.processes.writes:
        return Schedule(1, 1, 0.0)
    step_seconds = time_steps(run)
    prepare_all(run)
    seconds = run.plan.budget_minutes * 60 - run.pace.elapsed
    made = finetune_plan.schedule(run.plan, run.config.finetune, seconds, step_seconds, len(run.frozen))
    made.save(run.folder)
    return made


def prepare_all(run: Finetuning) -> None:
    """Every case is brought onto its model grid, so that no training waits for it."""
    cases = [*((case, True) for case in run.data.labelled), *((case, False) for case in run.data.unlabelled)]
    for number, (case, labelled) in enumerate(cases, start=1):
        run.pace.update("preparing", 0.0, f"case {number} of {len(cases)}")
        _prepared(run, case, labelled)


def time_case(run: Finetuning) -> float:
    """Seconds that segmenting and scoring the largest case takes."""
    cases = [*run.data.labelled, *run.frozen]
    largest = max(cases, key=lambda case: sum(path.stat().st_size for path in case.scans.values()))
    with tempfile.TemporaryDirectory() as place:
        scorer = CaseScorer(
            Segmenter(run.base, run.device.type), run.mapping.translation, run.mapping.label_map, Path(place)
        )
        started = time.monotonic()
        scorer.score(largest)
        return time.monotonic() - started


def time_steps(run: Finetuning) -> float:
    """Median seconds of a training step with everything in it, after the first one."""
    run.pace.update("timing", 0.0)
    config = _training_config(run, TIMED_STEPS)
    semi = replace(config.semi_supervised, start=0.0)
    config = replace(config, semi_supervised=semi, training=replace(config.training, checkpoint_minutes=60.0))
    times: list[float] = []
    labelled, unlabelled, _ = _sources(run, run.plan.final, config, most=2)
    with tempfile.TemporaryDirectory() as place:
        train(
            config, len(run.mapping.label_map.channels), labelled, None, Path(place), run.device,
            lambda _progress: times.append(time.monotonic()), unlabelled, _network(run),
        )  # fmt: skip
    return statistics.median(after - before for before, after in pairwise(times))


def _stages(run: Finetuning, schedule: Schedule) -> dict[str, float]:
    stages: dict[str, float] = {}
    for fold in run.plan.folds:
        stages[f"training {fold.name}"] = schedule.fold_steps * schedule.step_seconds
        stages[f"scoring {fold.name}"] = len(fold.judged) * run.plan.case_seconds
    stages["training final"] = schedule.final_steps * schedule.step_seconds
    stages["scoring final"] = (len(run.plan.final.judged) + len(run.frozen)) * run.plan.case_seconds
    return stages | {"report": finetune_plan.REPORT_SECONDS}


# --- training


def train_one(run: Finetuning, training: Training, steps: int) -> dict[str, Tensor]:
    """The weights after a training: those of its best validation, or the last ones where nothing is held out."""
    folder = run.folder / "training" / training.name
    folder.mkdir(parents=True, exist_ok=True)
    config = _training_config(run, steps)
    labelled, unlabelled, validation = _sources(run, training, config)
    if validation:
        samples = finetune_plan.validation_samples(len(training.judged))
        config = replace(config, training=replace(config.training, validation_samples=samples))
    network = _network(run)
    options = run.config.finetune
    stop = EarlyStop(folder, options.patience) if training.judged else None
    anchor = (
        Anchor(network.to(run.device), options.anchor, ["heads."] if run.mapping.new else [])
        if options.anchor
        else None
    )

    def report(progress: Progress) -> None:
        words = f"step {progress.step} of {progress.iterations}, loss {progress.loss:.3f}"
        words += "" if math.isnan(progress.mean_dice) else f", Dice {progress.mean_dice:.3f}"
        run.pace.update(f"training {training.name}", progress.step / progress.iterations, words)

    names = [structure.name for structure in run.mapping.label_map.structures]
    with TrainingLog(folder, names) as log:
        average = train(
            config, len(run.mapping.label_map.channels), labelled, validation, folder, run.device, report, unlabelled,
            network, log if run.processes.writes else None, run.processes, anchor, stop,
        )  # fmt: skip
    best = stop.best_weights() if stop else None
    return {name: tensor.detach().cpu().half().float() for name, tensor in (best or average).items()}


def final_steps(run: Finetuning, schedule: Schedule) -> int:
    """As many steps as fit; fewer where the folds were best long before their end, which is how overfitting shows."""
    shares = []
    for fold in run.plan.folds:
        curve = read_curve(run.folder / "training" / fold.name)
        if curve:
            shares.append(curve[best_of(curve)]["step"] / schedule.fold_steps)
    share = min(1.0, max(0.3, statistics.mean(shares))) if shares else 1.0
    return max(1, round(share * schedule.final_steps))


def _training_config(run: Finetuning, steps: int) -> TrainingConfig:
    return training_config(run.base, run.plan.name, run.plan.version, run.config, steps)


def _network(run: Finetuning) -> CrossModalNetwork:
    """The base's network, with heads for all structures of the new model."""
    arguments = {**run.base.network, "classes": len(run.mapping.label_map.channels)}
    network = CrossModalNetwork(**arguments)
    network.load_state_dict(run.mapping.grow(load_network(run.base).state_dict()))
    return network


def _sources(
    run: Finetuning, training: Training, config: TrainingConfig, most: int | None = None
) -> tuple[CaseSource, UnlabelledSource | None, CaseSource | None]:
    """Samples to learn from with and without labels, and those of the cases that are judged on, which are not varied."""
    learnt = [_prepared(run, run.cases[name], True) for name in training.learnt[:most]]
    judged = [_prepared(run, run.cases[name], True) for name in training.judged[:most]] if run.processes.writes else []
    without = (
        [_prepared(run, case, False) for case in run.data.unlabelled[:most]] if config.semi_supervised.batch else []
    )
    still = replace(config, synthesis=replace(config.synthesis, **STILL))
    return (
        CaseSource(learnt, config),
        UnlabelledSource(without, config) if without else None,
        CaseSource(judged, still) if judged else None,
    )


def _prepared(run: Finetuning, case: DataCase, labelled: bool) -> TrainingCase:
    """The case ready for patches, from the run's folder, where it is put the first time."""
    path = run.folder / PREPARED / f"{case.id}.pt"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        completed = labelled and needs_completion(case, run.mapping)
        predicted = read_prediction(run.folder / "parent", case) if completed else None
        made = prepared(case, run.base, run.mapping, predicted, labelled)
        save_case(path, made.normalised(intensity_rules(run.base)))
    return load_case(path)


# --- the candidate


def score_candidate(
    run: Finetuning, name: str, weights: Mapping[str, Tensor], cases: Sequence[DataCase]
) -> dict[str, Scores]:
    """The scores of the network with these weights."""
    network = _network(run)
    network.load_state_dict(dict(weights))
    bundle = replace(run.base, label_map=run.mapping.label_map)
    segmenter = Segmenter(bundle, run.device.type, network)
    scorer = CaseScorer(segmenter, {}, run.mapping.label_map, run.folder / "candidate" / name)
    return _score_all(run, scorer, cases, f"scoring {name}")


def conclude(
    run: Finetuning,
    schedule: Schedule,
    parent: Mapping[str, Scores],
    candidate: Mapping[str, Scores],
    weights: Mapping[str, Tensor],
) -> Outcome:
    """The verdict, the candidate's bundle, the report, and last the file that marks the run as done."""
    run.pace.update("report", 0.0)
    site = paired(run.data.labelled, parent, candidate)
    verdict = judge(site, paired(run.frozen, parent, candidate), run.config.gate, contradictions(run))
    steps = final_steps(run, schedule)
    bundle = publish_candidate(run, _training_config(run, steps), weights, verdict)
    metrics = {
        "verdict": dataclasses.asdict(verdict),
        "candidate": {"name": bundle.name, "version": bundle.version, "sha256": bundle.sha256},
        "parent": dict(run.plan.base),
        "schedule": dataclasses.asdict(schedule),
        "seconds": round(run.pace.elapsed),
        "scores": {"parent": parent, "candidate": candidate},
    }
    report = write_report(run, schedule, verdict, parent, candidate, bundle)
    promoted = promote(run, bundle) if verdict.decision == "promote" else None
    write_atomically(run.folder / METRICS_FILE, json.dumps(_without_infinity(metrics), indent=1, allow_nan=False))
    shutil.rmtree(run.folder / PREPARED, ignore_errors=True)  # only spares time: what cannot be removed does no harm
    return Outcome(verdict, bundle, promoted, report)


def _without_infinity(content: Any) -> Any:
    """JSON knows neither NaN nor infinity: null."""
    if isinstance(content, Mapping):
        return {str(key): _without_infinity(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_without_infinity(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def new_finetuning(site: Path, folder: Path, base: Bundle, mapping: LabelMapping, plan: Plan, data: SiteData,
                   device: torch.device, tell: Tell, processes: Processes = ALONE) -> Finetuning:  # fmt: skip
    """What ``carry_out`` needs, from a plan that was made or read."""
    config = finetune_config_from(plan.config)
    frozen = frozen_cases(base, mapping.translation)
    return Finetuning(site, folder, base, mapping, config, data, frozen, plan, device, Pace(tell), processes)
