"""Random walks on a line of voxels, where the chances are known by hand."""

import numpy as np
import pytest

from CrossModalSegLib.imaging.random_walk import random_walk


def on_a_line(seeds, likeness, prior=None, pull=1e-9):
    seeds = np.array(seeds)[None, None]
    free = seeds < 0
    chances = np.full((2, *seeds.shape), 0.5) if prior is None else np.array(prior)[:, None, None]
    none = np.zeros((0, 1, seeds.size))
    edges = [none, none.reshape(1, 0, seeds.size), np.array(likeness, float)[None, None]]
    return random_walk(seeds, free, chances, np.full(seeds.shape, pull), edges)[0, 0].tolist()


def test_without_edges_in_the_scan_the_nearer_seed_wins():
    """The chance to reach the left end first falls linearly: 5/6, 4/6, 3/6 ..."""
    assert on_a_line([0, -1, -1, -1, -1, 1], np.ones(5)) == [-1, 0, 0, 1, 1, -1]


def test_a_walker_hardly_crosses_an_edge():
    assert on_a_line([0, -1, -1, -1, -1, 1], [1, 1, 1, 1, 0.01]) == [-1, 0, 0, 0, 0, -1]


@pytest.mark.parametrize(("pull", "expected"), [(0.01, [0, 0, 0]), (10.0, [1, 1, 1])])
def test_a_strong_prior_beats_a_seed_and_a_weak_one_does_not(pull, expected):
    prior = [[0.2] * 4, [0.8] * 4]
    assert on_a_line([0, -1, -1, -1], np.ones(3), prior, pull)[1:] == expected


def test_a_chance_is_what_the_equation_says():
    """One free voxel between the seeds: x = (1 + gamma p) / (2 + gamma), above a half only where p is."""
    assert on_a_line([0, -1, 1], [1, 1], [[0.51] * 3, [0.49] * 3], 1.0)[1] == 0
    assert on_a_line([0, -1, 1], [1, 1], [[0.49] * 3, [0.51] * 3], 1.0)[1] == 1
