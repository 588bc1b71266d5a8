"""Filling between drawn slices, by hand."""

import hashlib

import numpy as np
import pytest

from CrossModalSegLib.imaging.fill_between import fill_between

MM = np.array([3.0, 1.0, 1.0])
SHAPE = (12, 30, 30)


def disc(radius, centre=(15, 15)):
    rows, columns = np.indices(SHAPE[1:])
    return np.hypot(rows - centre[0], columns - centre[1]) <= radius


def drawn_on(before, shapes, value):
    """``shapes`` by slice are painted."""
    now = before.copy()
    for k, shape in shapes.items():
        now[k][shape] = value
    return now, now != before


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_between_a_small_and_a_large_disc_are_discs_whose_radius_grows_evenly(axis):
    before = np.ones(SHAPE, np.uint16)
    now, by_hand = drawn_on(before, {2: disc(4), 6: disc(10)}, 5)
    turned = [np.moveaxis(one, 0, axis) for one in (now, before, by_hand)]
    spacing = np.insert(MM[1:], axis, MM[0])
    after = np.moveaxis(fill_between(*turned, 5, spacing), axis, 0)
    areas = [(part == 5).sum() for part in after]
    assert areas[:2] == [0, 0]
    assert areas[7:] == [0] * 5
    radii = np.sqrt(np.array(areas[2:7]) / np.pi)
    np.testing.assert_allclose(radii, [4, 5.5, 7, 8.5, 10], atol=0.45)
    assert (after[4] == 5)[disc(6)].all()


def test_what_was_drawn_and_neighbours_that_no_stroke_met_stay():
    before = np.ones(SHAPE, np.uint16)
    before[:, 15:, :] = 2  # a neighbour in the half, which the strokes leave alone
    now, by_hand = drawn_on(before, {2: disc(6) & (before[2] == 1), 7: disc(6) & (before[7] == 1)}, 5)
    after = fill_between(now, before, by_hand, 5, MM)
    digest = lambda labels: hashlib.sha256(np.ascontiguousarray(labels).tobytes()).hexdigest()
    for untouched in (before == 2, by_hand):
        assert digest(after[untouched]) == digest(now[untouched])
    for far in (slice(0, 3), slice(7, None)):
        assert digest(after[far]) == digest(now[far])
    assert (after[4] == 5)[disc(5) & (before[4] == 1)].all()


def test_what_is_erased_on_both_sides_is_erased_between_and_only_near():
    before = np.zeros(SHAPE, np.uint16)
    before[:, 5:25, 5:25] = 5
    before[:, 2:4, 2:4] = 5  # the same structure, elsewhere
    now = before.copy()
    now[3, 5:25, 5:11] = now[7, 5:25, 5:11] = 0
    after = fill_between(now, before, now != before, 5, MM)
    np.testing.assert_array_equal(after[4:7], now[[3, 3, 3]])
    np.testing.assert_array_equal(after[:4], now[:4])


@pytest.mark.parametrize("slices", [[], [4], [4, 5]])
def test_without_a_gap_nothing_changes(slices):
    before = np.zeros(SHAPE, np.uint16)
    now, by_hand = drawn_on(before, dict.fromkeys(slices, disc(5)), 5)
    np.testing.assert_array_equal(fill_between(now, before, by_hand, 5, MM), now)
