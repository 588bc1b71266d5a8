"""The candidate of a fine-tuning as a bundle: its parent, its cases by hash, its configuration and its scores."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from CrossModalSegLib.adaptation.conclusion import Conclusion
from CrossModalSegLib.adaptation.frozen_cases import frozen_files, translated_files
from CrossModalSegLib.adaptation.gate import Change, Verdict
from CrossModalSegLib.adaptation.run import Finetuning
from CrossModalSegLib.adaptation.training import unlabelled_cases
from CrossModalSegLib.bundles.bundle import Bundle, load_bundle
from CrossModalSegLib.bundles.bundle_metadata import INTENDED_USE
from CrossModalSegLib.site.learnt_cases import LEARNT_FROM, learnt_by_child
from CrossModalSegLib.training.config import TrainingConfig
from CrossModalSegLib.training.templates import render
from CrossModalSegLib.training.trained_bundle import TrainedModel, publish_trained


def publish_candidate(
    run: Finetuning, config: TrainingConfig, weights: Mapping[str, Tensor], conclusion: Conclusion
) -> Bundle:
    """``RUN/<name>``: written now, unless this run had come so far before it was stopped."""
    target = run.folder / run.plan.name
    if target.is_dir():
        return load_bundle(target)  # it appeared whole, and the run is deterministic
    description = config.description.split(" Fine-tuned ")[0]
    config = dataclasses.replace(config, description=f"{description} Fine-tuned to a site's cases.")
    facts = training_facts(run, config)
    verdict = conclusion.verdict
    scores = {"gate": {"decision": verdict.decision, "reasons": list(verdict.reasons), **_numbers(verdict)}}
    is_identity = run.mapping.is_identity
    model = TrainedModel(
        config,
        run.mapping.label_map,
        weights,
        facts,
        card=model_card(run, config, conclusion),
        parent=run.parent.sha256,
        scores=scores,
        requires_both=run.parent.requires_both,
        locator=run.parent.read_locator(),
        expected_ml=run.parent.expected_ml if is_identity else {},
        more_files=frozen_files(run.parent) if is_identity else translated_files(run.frozen, run.mapping.label_map),
    )
    return publish_trained(target, model)


def training_facts(run: Finetuning, config: TrainingConfig) -> dict[str, Any]:
    """What the candidate was made from; cases that were judged on, and not learnt from, stand apart."""
    final = run.plan.final
    unlabelled = _unlabelled(run, config)
    judged = {name for training in run.plan.trainings for name in training.judged}
    return {
        "fine-tuned from": dataclasses.asdict(run.plan.parent),
        "corrected cases": len(final.learnt),
        "unlabelled cases": len(unlabelled),
        "iterations": config.training.iterations,
        "share": run.share,
        "device": run.device.type,
        "cases": {case: dict(run.plan.cases[case].sha256) for case in final.learnt},
        "judged cases": {case: dict(run.plan.cases[case].sha256) for case in sorted(judged)},
        LEARNT_FROM: learnt_by_child(run.parent, final.learnt, unlabelled).to_json(),
        "label mapping": dict(run.plan.mapping),
        "fine-tuning": dataclasses.asdict(run.plan.config),
    }


def model_card(run: Finetuning, config: TrainingConfig, conclusion: Conclusion) -> str:
    """Markdown: what it was made from and with, for whom, and what the gate found."""
    site = conclusion.verdict.site
    return render(
        "fine-tuned-card.md",
        config=config,
        intended_use=INTENDED_USE,
        parent=run.parent,
        corrected=len(run.plan.final.learnt),
        unlabelled=len(_unlabelled(run, config)),
        structures=[one.name for one in run.mapping.label_map.structures],
        mapping=run.mapping.in_words(),
        device=run.device.type,
        share=run.share,
        summary=conclusion.summary,
        verdict=conclusion.verdict,
        changes=[change for change in (site.mean, *site.structures) if change],
    )


def _unlabelled(run: Finetuning, config: TrainingConfig) -> list[str]:
    """The ids of the cases that the last training has learnt from without labels."""
    return [case.id for case in unlabelled_cases(run, run.plan.final)] if config.semi_supervised.batch else []


def _numbers(verdict: Verdict) -> dict[str, Any]:
    """Mean and structures of both groups, for the metadata."""
    groups = {"held-out": verdict.site, "frozen": verdict.frozen}
    return {
        name: {change.name: _plain(change) for change in (group.mean, *group.structures) if change}
        for name, group in groups.items()
    }


def _plain(change: Change) -> dict[str, float | int | None]:
    interval = [round(end, 4) if math.isfinite(end) else None for end in (change.low, change.high)]
    return {
        "patients": change.patients,
        "parent": round(change.parent, 4),
        "candidate": round(change.candidate, 4),
        "low": interval[0],
        "high": interval[1],
    }
