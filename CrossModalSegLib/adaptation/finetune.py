"""Fine-tuning of a bundle to a site, read from top to bottom: score the parent, train, judge, publish.

Everything that is found out is written into the run's folder as it is done, so that a run which was stopped at any
moment goes on from there and ends with the same weights.
"""

import dataclasses
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from CrossModalSegLib.adaptation.candidate import (
    PARENT,
    allowed_share,
    parent_scorer,
    score_cases,
    score_frozen,
    score_held_out,
    weigh_shares,
    weights_at,
)
from CrossModalSegLib.adaptation.conclusion import Conclusion, Findings
from CrossModalSegLib.adaptation.gate import Aim, PairedCase, Remarks, compare, falls_grossly, judge
from CrossModalSegLib.adaptation.label_contradictions import confusion, exchanges, in_words, mutual, odd_cases
from CrossModalSegLib.adaptation.plan import Schedule, describe_known, describe_limit, read_schedule
from CrossModalSegLib.adaptation.protocol_difference import (
    ProtocolDifference,
    StructureShift,
    consistent_differences,
    structure_shifts,
)
from CrossModalSegLib.adaptation.publish import publish_candidate
from CrossModalSegLib.adaptation.report import write_report
from CrossModalSegLib.adaptation.run import Finetuning, Outcome
from CrossModalSegLib.adaptation.scoring import SCORES_FILE, Scores, paired, read_prediction
from CrossModalSegLib.adaptation.site_data import DataCase
from CrossModalSegLib.adaptation.timing import case_weight, limit_plan, make_schedule, stages
from CrossModalSegLib.adaptation.training import PREPARED, configuration, final_steps, mean_weights, train_one
from CrossModalSegLib.adaptation.undrawn import settle_undrawn
from CrossModalSegLib.atomic import write_atomically
from CrossModalSegLib.errors import ConfigError
from CrossModalSegLib.site.models import adopt
from CrossModalSegLib.site.runs import METRICS_FILE, give_up

MOST_TOLD = 5  # costs that are told where the report is not open
FEWEST_TIMED = 2  # cases as large as the largest
MOST_CHECKED = 4  # corrected cases whose labels are compared with the parent's where none are judged on


def carry_out(run: Finetuning) -> Outcome | None:
    """Everything after the plan; of several processes the first one writes, and it alone knows what came of it."""
    parent: dict[str, Scores] = {}
    schedule = None
    if run.processes.writes:
        limit_plan(run)
        settle_undrawn(run, parent_scorer(run, run.folder / PARENT), checked_cases(run))
        parent = time_parent(run)
        schedule = read_schedule(run.folder) or _scheduled(run)
    plan, schedule = run.processes.from_first((run.plan, schedule))
    assert schedule is not None
    run.follow(plan)
    run.pace.expect(stages(run, schedule))
    trained = train_all(run, schedule)
    outcome = judge_all(run, schedule, parent, trained) if run.processes.writes else None
    run.processes.wait()
    return outcome


def _scheduled(run: Finetuning) -> Schedule:
    """The schedule, made here and now. A run whose budget is too small is given up: its budget stays what it is."""
    try:
        return make_schedule(run)
    except ConfigError as error:
        give_up(run.folder, error)
        shutil.rmtree(run.folder / PREPARED, ignore_errors=True)
        raise


def train_all(run: Finetuning, schedule: Schedule) -> dict[str, dict[str, Tensor]]:
    """The weights after each training, by its name. The last one goes on from the mean of the folds: their time is not
    lost. What is judged are the folds, so that this takes nothing from the judgement."""
    trained = {fold.name: train_one(run, fold, schedule.fold_steps) for fold in run.plan.folds}
    run.processes.wait()  # the first process has written what the length of the last training follows from
    start = mean_weights(list(trained.values())) if trained else None
    trained[run.plan.final.name] = train_one(run, run.plan.final, final_steps(run, schedule), start)
    return trained


def judge_all(
    run: Finetuning, schedule: Schedule, parent: Mapping[str, Scores], trained: Mapping[str, Mapping[str, Tensor]]
) -> Outcome:
    """Choose how far to go, and score that: each training on what it did not learn from, the last on the frozen
    cases."""
    final = run.plan.final.name
    differences = protocol_differences(run, parent)
    aim = aim_of(run, differences)
    evidence = weigh_shares(run, parent, trained)
    gross = partial(falls_grossly, rules=run.config.gate, aim=aim)
    run.share = allowed_share(run, parent, trained[final], evidence.share, gross)
    run.judged_at = {
        name: min(evidence.judged_at[run.cases[name].patient], run.share if run.share < evidence.share else 1.0)
        for training in run.plan.trainings
        for name in training.judged
    }
    candidate = score_held_out(run, trained, run.judged_at) | score_frozen(
        run, trained[final], run.share, [*run.frozen, *run.frozen_alike]
    )
    weights = weights_at(run, final, trained[final], run.share)
    return conclude(run, schedule, parent, candidate, weights, Findings(evidence, differences, aim))


# --- the parent


def time_parent(run: Finetuning) -> dict[str, Scores]:
    """`score_parent`, and from now on the seconds of a case are the mean of these: the first one, which was timed
    before, also waits for what is loaded once."""
    known = {path.parent.name for path in (run.folder / PARENT).glob(f"*/{SCORES_FILE}")}
    began = run.pace.elapsed
    scores = score_parent(run)
    weight = sum(case_weight(run, case) for case in scored_by_parent(run) if case.id not in known)
    if weight >= FEWEST_TIMED:
        run.decide(dataclasses.replace(run.plan, case_seconds=round(max((run.pace.elapsed - began) / weight, 1e-3), 3)))
    return scores


def score_parent(run: Finetuning) -> dict[str, Scores]:
    """The parent's scores of all cases that are judged on, and of some others where none are."""
    return score_cases(run, parent_scorer(run, run.folder / PARENT), scored_by_parent(run), "scoring the parent")


def scored_by_parent(run: Finetuning) -> list[DataCase]:
    """Each case once."""
    cases = {case.id: case for case in (*checked_cases(run), *run.frozen, *run.frozen_alike)}
    return list(cases.values())


def checked_cases(run: Finetuning) -> list[DataCase]:
    """The cases whose labels are compared with the parent's: those that are judged on, else some of the others."""
    judged = {name for training in run.plan.trainings for name in training.judged}
    return [case for case in run.data.labelled if case.id in judged] or list(run.data.labelled[:MOST_CHECKED])


def contradictions(run: Finetuning, parent: Mapping[str, Scores]) -> tuple[list[str], list[str]]:
    """What speaks against the corrected labels themselves, and what makes one doubt them or the parent, both in words;
    see ``label_contradictions``."""
    values = [value for value in run.mapping.site.values if run.mapping.origin[value] is not None]
    matrices = {}
    for case in (one for one in run.data.labelled if values and one.id in parent):
        predicted, reference = read_prediction(run.folder / PARENT, case), case.reference()
        for modality, (labels, _grid) in reference.items():
            matrices[f"{case.id} {modality}"] = confusion(labels, predicted[modality][0], values)
    names = {one.value: one.name for one in run.mapping.site.structures}
    found = exchanges(matrices, values)
    exchanged = mutual(found)
    return in_words(exchanged, names), in_words([one for one in found if one not in exchanged], names)


def protocol_differences(run: Finetuning, parent: Mapping[str, Scores]) -> list[ProtocolDifference]:
    """How the corrections differ from the parent in the same way in all patients."""
    known = {one.value: one.name for one in run.mapping.site.structures if run.mapping.origin[one.value] is not None}
    shifts: dict[str, list[dict[int, StructureShift]]] = {}
    for case in (one for one in run.data.labelled if known and one.id in parent):
        predicted = read_prediction(run.folder / PARENT, case)
        for modality, labels in case.reference().items():
            found = structure_shifts(labels, predicted[modality], list(known))
            shifts.setdefault(case.patient, []).append(found)
    return consistent_differences(shifts, known)


def aim_of(run: Finetuning, differences: Sequence[ProtocolDifference]) -> Aim:
    """Whom the model is for, and what this site draws, in which way."""
    own = {one.name for one in run.mapping.site.structures if one.value not in run.data.unshown}
    return Aim(run.config.finetune.keep_general, frozenset(own), frozenset(one.name for one in differences))


def doubts(run: Finetuning, judged: Sequence[PairedCase]) -> list[str]:
    """Why the evidence is thin, beyond what the scores show."""
    too_few = len({case.patient for case in judged}) < run.config.gate.fewest_patients
    agreement = {case.id: change.parent for case in judged if (change := compare([case]).mean)}
    known = [describe_known(run.plan)] if too_few and run.plan.counts.known_patients else []
    return [*known, *odd_cases(agreement)]


# --- the candidate


def conclude(
    run: Finetuning,
    schedule: Schedule,
    parent: Mapping[str, Scores],
    candidate: Mapping[str, Scores],
    weights: Mapping[str, Tensor],
    findings: Findings,
) -> Outcome:
    """The verdict, the candidate's bundle, the report, and last the file that marks the run as done."""
    run.pace.update("report", 0.0)
    site = paired(run.data.labelled, parent, candidate)
    frozen = paired(run.frozen, parent, candidate)
    new = [one.name for one in run.mapping.new]
    exchanged, doubtful = contradictions(run, parent)
    remarks = Remarks(exchanged, [*doubtful, *doubts(run, site)], new)
    alike = paired(run.frozen_alike, parent, candidate)
    verdict = judge(site, frozen, run.config.gate, remarks, findings.aim, alike)
    conclusion = Conclusion(schedule, verdict, parent, candidate, findings)
    steps = final_steps(run, schedule)
    bundle = publish_candidate(run, configuration(run, steps), weights, conclusion)
    metrics = {
        "verdict": dataclasses.asdict(verdict),
        "summary": conclusion.summary,
        "protocol": [dataclasses.asdict(one) for one in findings.differences],
        "candidate": {"name": bundle.name, "version": bundle.version, "sha256": bundle.sha256},
        "parent": dataclasses.asdict(run.plan.parent),
        "schedule": dataclasses.asdict(schedule),
        "share": run.share,
        "shares": {
            "gain by share and patient": findings.evidence.gains,
            "judged at": findings.evidence.judged_at,
        },
        "seconds": round(run.pace.elapsed),
        "scores": {"parent": parent, "candidate": candidate},
    }
    report = write_report(run, conclusion, bundle)
    promoted = adopt(run.site, bundle.path) if verdict.decision == "promote" else None
    write_atomically(run.folder / METRICS_FILE, json.dumps(_without_infinity(metrics), indent=1, allow_nan=False))
    shutil.rmtree(run.folder / PREPARED, ignore_errors=True)  # only spares time: what cannot be removed does no harm
    told = [one.in_words() for one in findings.differences]
    notes = (
        *((f"there was time to learn from {taken}",) if (taken := describe_limit(run.plan)) else ()),
        *run.mapping.undrawn_in_words(),
        *((f"your protocol differs in {'; '.join(told)}",) if told else ()),
        *((f"what it costs: {_few(verdict.costs)}",) if verdict.costs else ()),
    )
    return Outcome(verdict, bundle, promoted, report, conclusion.summary, notes)


def _few(costs: Sequence[str]) -> str:
    """The first of them, which are the greatest, and how many more the report has."""
    more = len(costs) - MOST_TOLD
    return "; ".join(costs[:MOST_TOLD]) + (f"; and {more} more in the report" if more > 0 else "")


def _without_infinity(content: Any) -> Any:
    """JSON knows neither NaN nor infinity: null."""
    if isinstance(content, Mapping):
        return {str(key): _without_infinity(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_without_infinity(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
