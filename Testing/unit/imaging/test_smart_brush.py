"""A brush over a border that one of two scans shows, or the other, or both."""

import numpy as np
import pytest

from CrossModalSegLib.imaging.smart_brush import alike_in

SHAPE = (7, 40, 40)
SPACING = np.array([3.0, 1.0, 1.0])
RIGHT = np.broadcast_to(np.arange(40) >= 24, SHAPE)  # of the border
UPPER = np.broadcast_to(np.arange(40)[:, None] < 14, SHAPE)


def scan(bright, contrast=60.0, noise=5.0, seed=0):
    return (100 + contrast * bright + noise * np.random.default_rng(seed).normal(size=SHAPE)).astype(np.float32)


def brush(radius=8, slices=(3,), centre=(20, 20)):
    rows, columns = np.indices(SHAPE[1:])
    disc = np.hypot(rows - centre[0], columns - centre[1]) <= radius
    found = np.zeros(SHAPE, dtype=bool)
    found[list(slices)] = disc
    return found


@pytest.mark.parametrize("slices", [(3,), (2, 3, 4)], ids=["a disc", "a ball"])
@pytest.mark.parametrize("noise", [0.0, 5.0])
def test_it_ends_at_borders_that_either_scan_shows(slices, noise):
    whole = brush(slices=slices)
    scans = [scan(RIGHT, noise=noise), scan(UPPER, noise=noise, seed=1)]
    found = alike_in(whole, scans, SPACING)
    inside = whole & ~RIGHT & ~UPPER
    assert not (found & ~whole).any()
    assert (found & ~inside).sum() <= 0.02 * inside.sum()
    assert (found & inside).sum() >= 0.95 * inside.sum()


def test_without_a_border_nothing_is_taken_from_the_brush():
    whole = brush()
    flat = scan(np.zeros(SHAPE), noise=0.0)
    np.testing.assert_array_equal(alike_in(whole, [flat, flat], SPACING), whole)


def test_what_is_alike_beyond_a_border_is_left_out():
    band = np.broadcast_to((np.arange(40) >= 24) & (np.arange(40) < 26), SHAPE)
    found = alike_in(brush(), [scan(band)], SPACING)
    assert found[3, 20, 20]
    assert not found[..., 26:].any()


def test_a_scan_that_does_not_reach_there_has_no_say():
    nowhere = np.full(SHAPE, np.nan, np.float32)
    with_it = alike_in(brush(), [scan(RIGHT), nowhere], SPACING)
    np.testing.assert_array_equal(with_it, alike_in(brush(), [scan(RIGHT)], SPACING))


def test_an_empty_brush_is_empty():
    assert not alike_in(np.zeros(SHAPE, bool), [scan(RIGHT)], SPACING).any()
