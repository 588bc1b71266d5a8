"""The candidate of a fine-tuning as a bundle: its parent, its cases by hash, its configuration and its scores."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from CrossModalSegLib.adaptation.frozen_cases import frozen_files, translated_files
from CrossModalSegLib.adaptation.gate import Change, Verdict
from CrossModalSegLib.adaptation.run import Finetuning
from CrossModalSegLib.adaptation.training import unlabelled_cases
from CrossModalSegLib.bundles.bundle import Bundle, load_bundle
from CrossModalSegLib.site.learnt_cases import learnt_by_child
from CrossModalSegLib.training.config import TrainingConfig
from CrossModalSegLib.training.trained_bundle import publish_trained


def publish_candidate(
    run: Finetuning, config: TrainingConfig, weights: Mapping[str, Tensor], verdict: Verdict, summary: Sequence[str]
) -> Bundle:
    """``RUN/<name>``: written now, unless this run had come so far before it was stopped."""
    target = run.folder / run.plan.name
    if target.is_dir():
        return load_bundle(target)  # it appeared whole, and the run is deterministic
    description = config.description.split(" Fine-tuned ")[0]
    config = dataclasses.replace(config, description=f"{description} Fine-tuned to a site's cases.")
    facts = training_facts(run, config)
    scores = {"gate": {"decision": verdict.decision, "reasons": list(verdict.reasons), **_numbers(verdict)}}
    return publish_trained(
        target,
        config,
        run.mapping.label_map,
        weights,
        facts,
        [],
        card=model_card(run, config, verdict, facts, summary),
        parent=run.base.sha256,
        scores=scores,
        requires_both=run.base.requires_both,
        locator=run.base.read_locator(),
        more_files=frozen_files(run.base)
        if run.mapping.is_identity
        else translated_files(run.frozen, run.mapping.label_map),
    )


def training_facts(run: Finetuning, config: TrainingConfig) -> dict[str, Any]:
    """What the candidate was made from; cases that were judged on, and not learnt from, stand apart."""
    final = run.plan.final
    unlabelled = [case.id for case in unlabelled_cases(run, final)] if config.semi_supervised.batch else []
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
        **learnt_by_child(run.base, final.learnt, unlabelled),
        "label mapping": dict(run.plan.mapping),
        "fine-tuning": dataclasses.asdict(run.plan.config),
    }


def model_card(
    run: Finetuning, config: TrainingConfig, verdict: Verdict, facts: Mapping[str, Any], summary: Sequence[str]
) -> str:
    """Markdown: what it was made from and with, for whom, and what the gate found; ``summary`` in two sentences."""
    lines = [
        f"# {config.name} {config.version}",
        "",
        config.description,
        "",
        "**Research and education. Not for clinical use.**",
        "",
        f"- Parent: {run.base.name} {run.base.version} (SHA-256 {run.base.sha256}); its card holds for this model too.",
        f"- Cases: {facts['corrected cases']} corrected, {facts['unlabelled cases']} without labels, of one site.",
        f"- Structures: {', '.join(one.name for one in run.mapping.label_map.structures)}.",
        *[f"- {words}." for words in run.mapping.in_words()],
        f"- Steps: {config.training.iterations} on {run.device.type}; {run.share:.0%} of the way from the parent's weights to the trained.",
        f"- Licence: {config.licence}; whether the site's cases allow passing it on is the site's to judge.",
        "",
        "## Comparison with the parent",
        "",
        " ".join(summary),
        "",
        f"**{verdict.decision}**: {'; '.join(verdict.reasons)}.",
        *(["", f"What it costs: {'; '.join(verdict.costs)}."] if verdict.costs else []),
        "",
        "| structure | patients | parent, Dice | this model, Dice | difference |",
        "|---|---|---|---|---|",
        *[_row(change) for change in (verdict.site.mean, *verdict.site.structures) if change],
        "",
    ]
    return "\n".join(lines)


def _row(change: Change) -> str:
    return f"| {change.name} | {change.patients} | {change.parent:.3f} | {change.candidate:.3f} | {change.difference:+.3f} |"


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
