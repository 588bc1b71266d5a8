"""The candidate: how far it goes from the base's weights to the trained ones, and how it and its parent score."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from CrossModalSegLib.adaptation.gate import falls_too_far
from CrossModalSegLib.adaptation.plan import STEPS_BACK
from CrossModalSegLib.adaptation.run import Finetuning
from CrossModalSegLib.adaptation.scoring import CaseScorer, Scores, paired
from CrossModalSegLib.adaptation.site_data import DataCase
from CrossModalSegLib.adaptation.training import grown_network, start_weights
from CrossModalSegLib.inference.inference import Segmenter
from CrossModalSegLib.training.forgetting import between

PARENT = "parent"  # folder of the run with the base's results


def choose_share(run: Finetuning, parent: Mapping[str, Scores], trained: Mapping[str, Tensor]) -> float:
    """The share of the way that the candidate goes: the largest with which no frozen case or structure falls too far, else
    the largest with which none does so for certain, else the smallest.

    ``trained`` are the weights of the last training. The site's held-out cases are not looked at: they have told when that
    training ended, and nothing else before the gate. Where there are no frozen cases, the share asked for.
    """
    asked, tolerable = run.config.finetune.share, None
    if not run.frozen:
        return asked
    for share in [round(asked * back, 4) for back in STEPS_BACK]:
        scores = paired(
            run.frozen,
            parent,
            score_candidate(run, share_name(share), weights_at(run, run.plan.final.name, trained, share), run.frozen),
        )
        if not falls_too_far(scores, run.config.gate):
            return share
        if tolerable is None and not falls_too_far(scores, run.config.gate, certainly=True):
            tolerable = share
    return tolerable or share


def share_name(share: float) -> str:
    """Name of the folder with the frozen cases as the weights at this share segment them."""
    return f"share-{share:g}"


def weights_at(run: Finetuning, training: str, trained: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """The weights at this share of the way of a ``training``, as they are published: rounded to half precision."""
    there = between(start_weights(run, training), trained, share)
    return {name: tensor.half().float() for name, tensor in there.items()}


def parent_scorer(run: Finetuning, folder: Path) -> CaseScorer:
    """Segments with the base, in values of the new model; results are kept in ``folder``."""
    segmenter = Segmenter(run.base, run.device.type)
    return CaseScorer(segmenter, run.mapping.translation, run.mapping.label_map, folder)


def score_candidate(
    run: Finetuning, name: str, weights: Mapping[str, Tensor], cases: Sequence[DataCase]
) -> dict[str, Scores]:
    """The scores of the network with these weights; results are kept in ``RUN/candidate/<name>``."""
    network = grown_network(run)
    network.load_state_dict(dict(weights))
    bundle = replace(run.base, label_map=run.mapping.label_map)
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
