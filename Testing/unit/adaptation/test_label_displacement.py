"""How far two scans lie apart, by what is labelled in both."""

import numpy as np
import pytest

from CrossModalSegLib.adaptation.label_displacement import displacement_mm, structure_centres
from CrossModalSegLib.imaging.grid import Grid

TURNED = np.array([[0.0, -2.0, 0.0, 10.0], [1.0, 0.0, 0.0, 20.0], [0.0, 0.0, 3.0, 30.0], [0.0, 0.0, 0.0, 1.0]])


def test_the_centre_of_a_structure_is_given_in_the_world():
    labels = np.zeros((6, 7, 8), np.uint16)  # (K, J, I)
    labels[1, 2, 3] = labels[1, 2, 5] = 4  # mean: i 4, j 2, k 1
    centres = structure_centres(labels, Grid(labels.shape, TURNED))
    assert list(centres) == [4]
    assert centres[4] == pytest.approx([10 - 2 * 2, 20 + 4, 30 + 3 * 1])


@pytest.mark.parametrize("place", [(0, 3, 3), (5, 3, 3), (3, 0, 3), (3, 6, 3), (3, 3, 0), (3, 3, 7)])
def test_a_structure_that_the_scan_may_cut_off_has_no_centre(place):
    labels = np.zeros((6, 7, 8), np.uint16)
    labels[2:4, 2:4, 2:4] = 1
    labels[3, 3, 3] = 2
    assert set(structure_centres(labels, Grid(labels.shape, np.eye(4)))) == {1, 2}
    labels[place] = 2
    assert set(structure_centres(labels, Grid(labels.shape, np.eye(4)))) == {1}


def test_the_median_of_the_distances_counts():
    first = {1: np.zeros(3), 2: np.zeros(3), 3: np.zeros(3), 5: np.zeros(3)}
    second = {1: np.array([3.0, 4.0, 0.0]), 2: np.array([0.0, 1.0, 0.0]), 3: np.array([0.0, 0.0, 90.0]), 4: np.ones(3)}
    assert displacement_mm(first, second) == 5.0


def test_without_anything_in_common_nothing_is_known():
    assert displacement_mm({1: np.zeros(3)}, {2: np.zeros(3)}) is None
