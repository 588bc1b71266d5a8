"""Seeds: no two streams of a training meet, and no training meets the samples that it is validated with."""

import pytest
import torch

from CrossModalSegLib.training.seeds import (
    CELL_SUBSET,
    COPY_PASTE,
    LABELLED,
    PER_TRAINING,
    UNLABELLED,
    VALIDATION,
    seed_of,
)

STREAMS = (LABELLED, UNLABELLED, CELL_SUBSET, COPY_PASTE)
LOW = 2**32  # PyTorch's generators on CPUs look at the low 32 bits alone


def reached_after(training: int, stream: int, wanted: int) -> int:
    """How many choices a stream makes before its generator is that of the seed ``wanted``."""
    return (wanted - seed_of(training, stream, 0)) % LOW


@pytest.mark.parametrize("training", [0, 1, 7, 8, 42, 2**32 - 1])
def test_the_streams_of_a_training_do_not_meet_within_50_million_choices(training):
    for stream in STREAMS:
        others = [seed_of(training, other, 0) for other in STREAMS if other != stream]
        assert min(reached_after(training, stream, other) for other in others) >= 50_000_000
    assert seed_of(training, COPY_PASTE, 50_000_000) <= seed_of(training + 1, LABELLED, 0)


@pytest.mark.parametrize(
    ("trainings", "choices"), [(8, 500_000_000), (100, 10_000_000), (1000, 1_000_000), (10_000, 250_000)]
)
def test_no_training_meets_its_validation_samples(trainings, choices):
    for training in range(trainings):
        for stream in (LABELLED, UNLABELLED):
            assert reached_after(training, stream, VALIDATION) > choices
            assert reached_after(training, stream, VALIDATION) + 1000 < LOW  # the validation samples after the first
    assert seed_of(2**32 - 1, COPY_PASTE, PER_TRAINING) < VALIDATION < 2**63


def test_validation_draws_other_numbers_than_the_first_trainings():
    def first_draw(seed: int) -> float:
        return float(torch.rand((), generator=torch.Generator().manual_seed(seed)))

    training = {first_draw(seed_of(seed, stream, n)) for seed in range(4) for stream in STREAMS for n in range(50)}
    assert not training & {first_draw(VALIDATION + n) for n in range(20)}
