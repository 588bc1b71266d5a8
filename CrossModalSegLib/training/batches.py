"""The batches of a training: one stream of samples with labels and one without, each cycled by itself.

Every sample is drawn by a seed that follows from the training's seed, the step and the process, so that a training
which was stopped goes on with the samples that it would have met.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.utils.data import DataLoader, Dataset

from CrossModalSegLib.synthesis.samples import Sample, UnlabelledSample
from CrossModalSegLib.training.config import TrainingConfig
from CrossModalSegLib.training.processes import ALONE, Processes
from CrossModalSegLib.training.seeds import LABELLED, UNLABELLED, seed_of
from CrossModalSegLib.training.sources import Samples


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

    def __init__(self, samples: Samples, config: TrainingConfig, processes: Processes):
        self.labelled, self.unlabelled = samples.labelled, samples.unlabelled
        self.config, self.processes = config, processes

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
        first = seed_of(self.config.training.seed, stream, self.processes.number(step) * batch)
        return range(first, first + batch)


def batches(samples: Samples, config: TrainingConfig, step: int, processes: Processes = ALONE) -> DataLoader[StepBatch]:
    """The batches from ``step`` to the end, prepared by ``training.workers`` processes (0: by this one).

    A source that works on a GPU works in this process: it is quick, and CUDA does not survive a fork.
    """
    remaining = range(step, config.training.iterations)
    workers = config.training.workers if samples.labelled.device.type == "cpu" else 0
    dataset = StepDataset(samples, config, processes)
    return DataLoader(dataset, batch_size=None, sampler=remaining, num_workers=workers)
