"""A scan that was z-scored within the brain reaches the network, in inference and in training, as it was before."""

import numpy as np
import pytest

from CrossModalSegLib.imaging.volume import Volume
from CrossModalSegLib.inference.model_input import prepare
from CrossModalSegLib.preprocess import IntensityRule
from CrossModalSegLib.training.training_case import training_case
from Testing.volumes import grid_around, head, sampled

GRID = grid_around((5, -10, 15), (50, 56, 56), (4, 4, 4))
RULES = [IntensityRule()] * 2


def as_inference(volume: Volume) -> np.ndarray:
    return prepare({0: volume}, (3.0, 3.0, 3.0), RULES).volumes[0, 0].numpy()


def as_training(volume: Volume) -> np.ndarray:
    return training_case({0: volume}, {}, (0, 1), 3.0).normalised(RULES).images[0].numpy()


@pytest.mark.parametrize("way", [as_inference, as_training])
def test_z_scoring_within_the_brain_changes_little_of_what_the_network_sees(way):
    smooth = sampled(head, GRID).array
    tissue = 80 + 800 * np.random.default_rng(1).random(smooth.shape)
    inside = smooth > 500
    plain = Volume(np.where(inside, tissue, 0), GRID, "T1w")
    scored = Volume(np.where(inside, (tissue - tissue[inside].mean()) / tissue[inside].std(), 0), GRID, "T1w")
    before, after = way(plain), way(scored)
    assert np.abs(before - after).max() < 0.08  # with 0 as it is, what surrounds the brain would be 0.5
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.999
