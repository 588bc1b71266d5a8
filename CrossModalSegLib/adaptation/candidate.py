"""The candidate: how far it goes from the parent's weights to the trained ones, and how it and its parent score.

A share that was chosen on the patients it is judged on would look better than it is. So patients are in groups (of a
fold each), and each group is judged at the share that all other groups choose; the candidate goes as far as all of them
say.
"""

import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from CrossModalSegLib.adaptation.gate import PairedCase, falls_too_far, gains
from CrossModalSegLib.adaptation.plan import STEPS_BACK, Training
from CrossModalSegLib.adaptation.run import Finetuning
from CrossModalSegLib.adaptation.scoring import CaseScorer, Scores, paired
from CrossModalSegLib.adaptation.site_data import DataCase
from CrossModalSegLib.adaptation.training import grown_network, start_weights
from CrossModalSegLib.inference.inference import Segmenter
from CrossModalSegLib.training.forgetting import between

PARENT = "parent"  # folder of the run with the parent's results
Trained = Mapping[str, Mapping[str, Tensor]]  # weights by training
_ALIKE = 4  # decimals of a mean Dice: of shares that do not differ in them, the smallest is taken

Gains = Mapping[float, Mapping[str, float]]  # by share and patient: mean Dice, candidate minus parent


@dataclass(frozen=True)
class Evidence:
    """What the held-out cases say: the ``gains`` by each share that was tried and patient, the share that each patient
    is ``judged_at``, which others have chosen, and the ``share`` that all of them choose."""

    gains: Gains
    judged_at: Mapping[str, float]
    share: float


def weigh_shares(run: Finetuning, parent: Mapping[str, Scores], trained: Trained) -> Evidence:
    """Score each training's held-out cases at all shares that are tried, and let them choose.

    Whoever wants to keep what is general has the frozen cases choose instead: then one share is asked for.
    """
    options = run.config.finetune
    groups = [sorted({run.cases[name].patient for name in one.judged}) for one in run.plan.trainings if one.judged]
    patients = {name for group in groups for name in group}
    if options.keep_general:
        return Evidence({}, dict.fromkeys(patients, options.share), options.share)
    scores = {share: score_held_out(run, trained, dict.fromkeys(run.cases, share)) for share in options.shares}
    found = {share: gains(paired(run.data.labelled, parent, of)) for share, of in scores.items()}
    if not run.plan.folds:
        groups = [part for group in groups for part in halves(group)]
    chosen = best_share(found, patients) if len(groups) > 1 else None
    share = options.share if chosen is None else chosen
    return Evidence(found, cross_fitted(found, groups, options.share), share)


def allowed_share(
    run: Finetuning,
    parent: Mapping[str, Scores],
    trained: Mapping[str, Tensor],
    wanted: float,
    too_far: Callable[[Sequence[PairedCase]], bool],
) -> float:
    """The share that the frozen cases allow, at most ``wanted``.

    By default it goes back only from what is ``too_far``: a gross loss on scans of this site's modalities. To keep what
    is general: the largest share with which no frozen case or structure falls too far, else the largest with which none
    does so for certain, else the smallest. ``trained`` are the weights of the last training. Without frozen cases, what
    is wanted.
    """
    options = run.config.finetune
    cases = run.frozen if options.keep_general else run.frozen_alike
    if not cases:
        return wanted
    if options.keep_general:
        return _general_share(run, parent, trained, wanted)
    back = [share for share in sorted(options.shares, reverse=True) if share < wanted]
    return next((one for one in (wanted, *back) if not too_far(_scored_at(run, parent, trained, one, cases))), wanted)


def _general_share(
    run: Finetuning, parent: Mapping[str, Scores], trained: Mapping[str, Tensor], wanted: float
) -> float:
    tolerable = None
    for share in [round(wanted * back, 4) for back in STEPS_BACK]:
        found = _scored_at(run, parent, trained, share, run.frozen)
        if not falls_too_far(found, run.config.gate):
            return share
        if tolerable is None and not falls_too_far(found, run.config.gate, certainly=True):
            tolerable = share
    return tolerable or share


def _scored_at(
    run: Finetuning,
    parent: Mapping[str, Scores],
    trained: Mapping[str, Tensor],
    share: float,
    cases: Sequence[DataCase],
) -> list[PairedCase]:
    return paired(cases, parent, score_frozen(run, trained, share, cases))


def score_frozen(
    run: Finetuning, trained: Mapping[str, Tensor], share: float, cases: Sequence[DataCase]
) -> dict[str, Scores]:
    """Frozen cases, as the last training's weights at this share segment them."""
    weights = weights_at(run, run.plan.final.name, trained, share)
    return score_candidate(run, share_name(share), weights, cases)


def score_held_out(run: Finetuning, trained: Trained, shares: Mapping[str, float]) -> dict[str, Scores]:
    """The held-out cases, each at its share (by id) of the way of the training that did not learn from it."""
    scores: dict[str, Scores] = {}
    for training in run.plan.trainings:
        for share in sorted({shares[name] for name in training.judged}):
            cases = [run.cases[name] for name in training.judged if shares[name] == share]
            weights = weights_at(run, training.name, trained[training.name], share)
            scores |= score_candidate(run, held_out_name(training, share), weights, cases)
    return scores


def share_name(share: float) -> str:
    """Name of the folder with the frozen cases as the weights at this share segment them."""
    return f"share-{share:g}"


def held_out_name(training: Training, share: float) -> str:
    """Name of the folder with the held-out cases of a training as its weights at this share segment them."""
    return f"{training.name}-{share:g}"


def weights_at(run: Finetuning, training: str, trained: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """The weights at this share of the way of a ``training``, as they are published: rounded to half precision."""
    there = between(start_weights(run, training), trained, share)
    return {name: tensor.half().float() for name, tensor in there.items()}


def parent_scorer(run: Finetuning, folder: Path) -> CaseScorer:
    """Segments with the parent, in values of the new model; results are kept in ``folder``."""
    segmenter = Segmenter(run.parent, run.device.type)
    return CaseScorer(segmenter, run.mapping.translation, run.mapping.label_map, folder)


def score_candidate(
    run: Finetuning, name: str, weights: Mapping[str, Tensor], cases: Sequence[DataCase]
) -> dict[str, Scores]:
    """The scores of the network with these weights; results are kept in ``RUN/candidate/<name>``."""
    network = grown_network(run)
    network.load_state_dict(dict(weights))
    bundle = replace(run.parent, label_map=run.mapping.label_map)
    segmenter = Segmenter(bundle, run.device.type, network)
    scorer = CaseScorer(segmenter, {}, run.mapping.label_map, run.folder / "candidate" / name)
    return score_cases(run, scorer, cases, "scoring the candidate")


def score_cases(run: Finetuning, scorer: CaseScorer, cases: Sequence[DataCase], stage: str) -> dict[str, Scores]:
    """The scores by case."""
    scores = {}
    for number, case in enumerate(cases):
        run.pace.update(stage, number / len(cases), f"case {number + 1} of {len(cases)}")
        scores[case.id] = scorer.score(case)
    return scores


# --- how far to go


def best_share(gains: Gains, patients: Collection[str]) -> float | None:
    """The share whose mean gain over these ``patients`` is the highest; None without any.

    The trainings that hold patients out are shorter than the last one, so that they never ask for too much.
    """
    means = {
        share: round(statistics.fmean(of[name] for name in of if name in patients), _ALIKE)
        for share, of in gains.items()
        if of.keys() & set(patients)
    }
    return min((share for share, mean in means.items() if mean == max(means.values())), default=None)


def cross_fitted(gains: Gains, groups: Sequence[Collection[str]], unproven: float) -> dict[str, float]:
    """For each patient the share that the patients of all other groups choose; ``unproven`` where there are none."""
    chosen: dict[str, float] = {}
    for number, group in enumerate(groups):
        others = {name for other in (*groups[:number], *groups[number + 1 :]) for name in other} - set(group)
        share = best_share(gains, others)
        chosen |= dict.fromkeys(group, unproven if share is None else share)
    return chosen


def halves(patients: Sequence[str]) -> list[list[str]]:
    """Two groups of patients who are all held out of one training."""
    return [part for part in (list(patients[::2]), list(patients[1::2])) if part]
