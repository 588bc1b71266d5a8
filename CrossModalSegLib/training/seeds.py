"""The seeds of a training's random choices. Each training has a stretch of whole numbers, each stream a part of it.

PyTorch's generators on CPUs look at the low 32 bits of a seed alone. The streams of one training lie closer together
than that, so they never meet. Those of different trainings may meet as of the ninth seed, which does no harm.
"""

PER_TRAINING = 500_000_000
LABELLED = 0  # where each stream begins in the stretch of its training
UNLABELLED = 250_000_000
CELL_SUBSET = 400_000_000
COPY_PASTE = 450_000_000

# Validation samples are the same in every training. The high bits are no training's. The low ones lie where trainings
# hardly get to: not those with the seeds 0 to 7 at all, others below 10,000 not within 250,000 samples.
VALIDATION = 2**62 + 4_294_783_920


def seed_of(training: int, stream: int, number: int) -> int:
    """The seed of choice ``number`` in a ``stream`` of the training with the seed ``training``."""
    return training * PER_TRAINING + stream + number
