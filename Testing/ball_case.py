"""A bright ball in one case or in two scans, and a configuration that leaves its intensities alone."""

from dataclasses import replace

import numpy as np
import torch

from CrossModalSegLib.imaging.volume import Volume
from CrossModalSegLib.preprocess import IntensityRule
from CrossModalSegLib.synthesis.samples import Sample
from CrossModalSegLib.synthesis.synthesis import SynthesisConfig
from CrossModalSegLib.training.config import NetworkConfig, TrainingConfig
from CrossModalSegLib.training.training_case import TrainingCase
from Testing.volumes import grid_around, points_of, rotation

CPU = torch.device("cpu")
CONFIG = TrainingConfig(
    modalities=("A", "B"),
    spacing=2.0,
    patch=(16, 16, 16),
    network=NetworkConfig(channels=(4, 8)),
    intensity={name: IntensityRule("window", 0, 1) for name in ("A", "B")},  # intensities as they are
    synthesis=SynthesisConfig(single_probability=0, displacement_probability=0, noise=0, bias=0, gamma=0, elastic=3.0),
)


def with_synthesis(**changes) -> TrainingConfig:
    return replace(CONFIG, synthesis=replace(CONFIG.synthesis, **changes))


def with_semi(**changes) -> TrainingConfig:
    return replace(CONFIG, semi_supervised=replace(CONFIG.semi_supervised, **changes))


def ball(points: np.ndarray) -> np.ndarray:
    """1 within 12 mm of (6, -4, 2), 0 elsewhere."""
    return (np.linalg.norm(points - [6.0, -4.0, 2.0], axis=-1) < 12).astype(np.float32)


def ball_case(presence=(True, True)) -> TrainingCase:
    """A bright ball labelled 1 in a (28, 28, 28) grid, in both modalities."""
    planted = torch.from_numpy(ball(points_of(grid_around((0, 0, 0), (28, 28, 28), (2, 2, 2)))))
    there = torch.tensor(presence).view(2, 1, 1, 1)
    covered = torch.ones(planted.shape, dtype=torch.bool)
    return TrainingCase(
        planted.expand(2, -1, -1, -1) * there, covered & there, (planted * there).to(torch.uint8), tuple(presence)
    )


def scans() -> dict[int, tuple[Volume, tuple]]:
    """The ball in two scans: one straight, one oblique, left-handed, shifted and coarser; each with its own labels."""
    direction = rotation((10, -15, 20))
    direction[:, 0] *= -1
    grids = {
        0: grid_around((0, 0, 0), (32, 30, 28), (2, 2, 2)),
        1: grid_around((8, 0, 0), (22, 24, 20), (2.5, 2.5, 3.0), direction),
    }
    return {
        slot: (
            Volume(ball(points_of(grid)) + 0.05, grid, "AB"[slot]),
            (7 * ball(points_of(grid)).astype(np.int16), grid),
        )
        for slot, grid in grids.items()
    }


def overlap(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def equal(one: Sample, other: Sample) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.tensors, other.tensors, strict=True))
