"""From patients to a trained network: what all rows of both benchmarks do alike."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from CrossModalSegLib.synthesis.samples import Sample
from CrossModalSegLib.training.config import TrainingConfig
from CrossModalSegLib.training.sources import CaseSource, Samples, SampleSource, UnlabelledSource
from CrossModalSegLib.training.training import Course, Place, build_network, train
from CrossModalSegLib.training.training_case import TrainingCase
from CrossModalSegLib.training.training_log import StepReport, TrainingLog
from Testing.Benchmarks.method.early_fusion import EarlyFusion, count
from Testing.Benchmarks.method.rows import Row
from Testing.Benchmarks.method.scoring import CPU


class OneLabelMap:
    """Samples in which the first scan's labels stand for both: early fusion has one label map."""

    def __init__(self, source: CaseSource):
        self.source, self.device = source, source.device

    def sample(self, seed: int) -> Sample:
        """As the source gives it where only one scan is there."""
        sample = self.source.sample(seed)
        if not bool(sample.presence.all()):
            return sample
        return replace(sample, labels=sample.labels[:1].expand_as(sample.labels).clone())


def make_network(row: Row, config: TrainingConfig, classes: int) -> nn.Module:
    """The row's network; early fusion gets as many parameters as this one with gated fusion has."""
    if row.network == "cross-modal":
        return build_network(config, classes)
    gated = replace(config, network=replace(config.network, fusion="gated"))
    return EarlyFusion(classes, count(build_network(gated, classes)), 1 if row.network == "early fusion" else 2)


def labelled_source(row: Row, cases: Sequence[TrainingCase], config: TrainingConfig) -> SampleSource:
    """Samples of the labelled cases, as the row's network learns from them."""
    source = CaseSource(cases, config)
    return OneLabelMap(source) if row.network == "early fusion" else source


def fit(
    config: TrainingConfig,
    structures: Sequence[str],
    labelled: SampleSource,
    unlabelled: Sequence[TrainingCase] | None,
    validation: SampleSource | None,
    network: Any,
    folder: Path,
    report: Callable[[StepReport], None],
) -> None:
    """Train ``network``, or go on from the checkpoint in ``folder``, and leave the averaged weights in it.

    ``validation`` is for the curves; nothing is chosen by it.
    """
    pool = None if unlabelled is None else UnlabelledSource(unlabelled, config)
    with TrainingLog(folder, list(structures)) as log:
        samples = Samples(labelled, pool, validation)
        weights = train(config, 1 + len(structures), samples, Place(folder, CPU), report, Course(network, log))
    network.load_state_dict(weights)
