"""The batches of a training: one stream of samples with labels and one without, each cycled by itself.

Every sample is drawn by a seed that follows from the training's seed, the step and the process, so that a training
which was stopped goes on with the samples that it would have met.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch.utils.data import DataLoader, Dataset

from CrossModalSegLib.synthesis.samples import Sample, UnlabelledSample
from CrossModalSegLib.training.config import TrainingConfig
from CrossModalSegLib.training.seeds import LABELLED, UNLABELLED, seed_of
from CrossModalSegLib.training.sources import SampleSource


class UnlabelledSampleSource(Protocol):
    """Anything that training can draw unlabelled samples from."""

    def sample(self, seed: int) -> UnlabelledSample:
        """The sample that belongs to this seed."""


@dataclass(frozen=True)
class Share:
    """Which of several processes this is; each draws samples of its own."""

    rank: int = 0
    world: int = 1

    def number(self, step: int) -> int:
        """The number of its part of this step among those of all steps and processes."""
        return step * self.world + self.rank


WHOLE = Share()  # that of a single process


@dataclass(frozen=True)
class StepBatch:
    """What one step is given."""

    labelled: Sample
    unlabelled: UnlabelledSample | None

    def to(self, device: torch.device) -> "StepBatch":
        """The same batch on another device."""
        return StepBatch(self.labelled.to(device), self.unlabelled and self.unlabelled.to(device))


class StepDataset(Dataset[StepBatch]):
    """The batch of every step."""

    def __init__(
        self, labelled: SampleSource, unlabelled: UnlabelledSampleSource | None, config: TrainingConfig, share: Share
    ):
        self.labelled, self.unlabelled = labelled, unlabelled
        self.config, self.share = config, share

    def __len__(self) -> int:
        return self.config.training.iterations

    def __getitem__(self, step: int) -> StepBatch:
        seeds = self._seeds(LABELLED, step, self.config.training.batch)
        labelled = Sample.stack([self.labelled.sample(seed).to(self.labelled.device) for seed in seeds])
        if self.unlabelled is None or step < self.config.semi_supervised.start * len(self):
            return StepBatch(labelled, None)
        seeds = self._seeds(UNLABELLED, step, self.config.semi_supervised.batch)
        return StepBatch(labelled, UnlabelledSample.stack([self.unlabelled.sample(seed) for seed in seeds]))

    def _seeds(self, stream: int, step: int, batch: int) -> Sequence[int]:
        first = seed_of(self.config.training.seed, stream, self.share.number(step) * batch)
        return range(first, first + batch)


def batches(
    labelled: SampleSource,
    unlabelled: UnlabelledSampleSource | None,
    config: TrainingConfig,
    step: int,
    share: Share = WHOLE,
) -> DataLoader[StepBatch]:
    """The batches from ``step`` to the end, prepared by ``training.workers`` processes (0: by this one).

    A source that works on a GPU works in this process: it is quick, and CUDA does not survive a fork.
    """
    remaining = range(step, config.training.iterations)
    workers = config.training.workers if labelled.device.type == "cpu" else 0
    dataset = StepDataset(labelled, unlabelled, config, share)
    return DataLoader(dataset, batch_size=None, sampler=remaining, num_workers=workers)
