"""Dice of decided label maps: values worked by hand, and the same as MONAI's."""

import math

import pytest
import torch
from monai.metrics import compute_dice

from CrossModalSegLib.dice import dice, joint_counts, pairwise_dice

FIRST = torch.tensor([0, 1, 1, 1, 2, 2])
SECOND = torch.tensor([0, 1, 1, 2, 2, 0])


def test_counts_and_dice_are_those_worked_by_hand():
    counts = joint_counts(FIRST, SECOND, 4)
    assert counts.tolist() == [[1, 0, 0, 0], [0, 2, 1, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    assert dice(counts)[:3].tolist() == [2 / 3, 4 / 5, 2 / 4]
    assert pairwise_dice(counts)[1, 2] == 2 / 5


def test_a_class_that_neither_side_shows_is_not_a_number_and_one_that_a_single_side_shows_is_zero():
    found = dice(joint_counts(torch.tensor([1, 1]), torch.tensor([0, 0]), 3)).tolist()
    assert found[:2] == [0, 0]
    assert math.isnan(found[2])


def test_counts_of_two_scans_add_up_to_those_of_both_together():
    halves = joint_counts(FIRST[:3], SECOND[:3], 3) + joint_counts(FIRST[3:], SECOND[3:], 3)
    assert torch.equal(halves, joint_counts(FIRST, SECOND, 3))


def test_it_is_the_dice_of_monai():
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randint(0, 3, (6, 5, 4), generator=generator) for _ in range(2))
    one_hot = [torch.nn.functional.one_hot(one, 3).movedim(-1, 0)[None] for one in (first, second)]
    expected = compute_dice(*one_hot, include_background=True)[0].tolist()
    assert dice(joint_counts(first, second, 3)).tolist() == pytest.approx(expected)
