"""The two streams of a training: which samples each step draws."""

from dataclasses import replace

import pytest

from CrossModalSegLib.training.batches import StepBatch, batches
from CrossModalSegLib.training.config import NetworkConfig, OptimisationConfig, SemiSupervisedConfig, TrainingConfig
from CrossModalSegLib.training.processes import ALONE, Processes
from CrossModalSegLib.training.seeds import PER_TRAINING, UNLABELLED
from CrossModalSegLib.training.sources import Samples
from Testing.halves import PATCH, LabelledHalves, UnlabelledHalves

CONFIG = TrainingConfig(
    patch=PATCH,
    network=NetworkConfig((4, 8), stem_stride=1),
    training=OptimisationConfig(iterations=3, batch=2),
    semi_supervised=SemiSupervisedConfig(batch=3, start=0.0),
)


def drawn(config: TrainingConfig = CONFIG, step: int = 0, processes: Processes = ALONE):
    """Seeds of the labelled and of the unlabelled samples from ``step`` to the end."""
    labelled, unlabelled = LabelledHalves(), UnlabelledHalves()
    steps = list(batches(Samples(labelled, unlabelled), config, step, processes))
    assert len(steps) == config.training.iterations - step
    return labelled.seeds, unlabelled.seeds


def test_each_stream_draws_its_own_number_of_samples_with_its_own_seeds():
    labelled, unlabelled = drawn()
    assert labelled == [0, 1, 2, 3, 4, 5]
    assert unlabelled == [UNLABELLED + n for n in range(9)]


def test_going_on_draws_what_would_have_been_drawn():
    assert drawn(step=1) == (drawn()[0][2:], drawn()[1][3:])


def test_another_training_seed_draws_other_samples():
    other = replace(CONFIG, training=replace(CONFIG.training, seed=2))
    assert drawn(other)[0] == [2 * PER_TRAINING + n for n in range(6)]
    assert drawn(other)[1] == [2 * PER_TRAINING + UNLABELLED + n for n in range(9)]


def test_several_processes_share_the_samples_of_each_step():
    alone = replace(
        CONFIG, training=replace(CONFIG.training, batch=4), semi_supervised=SemiSupervisedConfig(batch=6, start=0.0)
    )
    parts = [drawn(processes=Processes(rank, 2)) for rank in range(2)]
    for stream in range(2):
        assert sorted(parts[0][stream] + parts[1][stream]) == drawn(alone)[stream]
        assert not set(parts[0][stream]) & set(parts[1][stream])


def test_without_unlabelled_samples_there_is_one_stream():
    (batch, *_) = batches(Samples(LabelledHalves()), CONFIG, 0)
    assert batch.unlabelled is None
    assert batch.labelled.volumes.shape == (2, 2, 2, *PATCH)


@pytest.mark.slow
def test_another_process_may_prepare_the_batches():
    config = replace(CONFIG, training=replace(CONFIG.training, workers=1))
    here, there = (list(batches(Samples(LabelledHalves(), UnlabelledHalves()), c, 0)) for c in (CONFIG, config))
    for one, other in zip(here, there, strict=True):
        assert isinstance(other, StepBatch)
        assert all((a == b).all() for a, b in zip(one.labelled.tensors, other.labelled.tensors, strict=True))
        assert all((a == b).all() for a, b in zip(one.unlabelled.tensors, other.unlabelled.tensors, strict=True))
