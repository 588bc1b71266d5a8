"""A wrong structure in two scans of known anatomy, one stroke, and what becomes of the rest."""

import hashlib

import numpy as np
import pytest

from CrossModalSegLib.imaging.local_adaptation import LONGEST, REACH_MM, Strokes, adapt_locally, box_around

MM = np.array([2.0, 1.0, 1.0])
SHAPE = (24, 40, 40)
TRUE = np.zeros(SHAPE, np.uint16)
TRUE[4:20, 8:32, 8:32] = 1
TRUE[8:16, 14:26, 14:26] = 2
TRUE[8:16, 14:26, 28:31] = 3  # a neighbour that no stroke meets


def scan(levels, seed):
    noise = np.random.default_rng(seed).normal(0, 4, SHAPE)
    return (np.array(levels, float)[TRUE] + noise).astype(np.float32)


@pytest.fixture
def strokes():
    """The model misses the upper half of structure 2, and is sure; one slice of it is painted.

    Far away is a speck that it is not sure of, and a dab of the brush contradicts both scans.
    """
    before = TRUE.copy()
    before[12:16][before[12:16] == 2] = 1
    before[4, 12, 12] = 2
    now = before.copy()
    now[13, 14:26, 14:26] = now[13, 9, 9:11] = 2
    confidence = np.full(SHAPE, 0.9, np.float32)
    confidence[4, 12, 12] = 0.3
    scans = [scan([0, 100, 160, 130], 1), scan([0, 60, 90, 60], 2)]
    return Strokes(before, now, now != before, scans, MM, confidence)


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def digest(labels):
    return hashlib.sha256(np.ascontiguousarray(labels).tobytes()).hexdigest()


def test_the_rest_of_the_structure_follows_from_one_stroke(strokes):
    after = adapt_locally(strokes)
    assert dice(strokes.before == 2, TRUE == 2) < 0.7
    assert dice(strokes.now == 2, TRUE == 2) < 0.8
    assert dice(after == 2, TRUE == 2) > 0.93


def test_what_was_drawn_stays_and_so_do_others_and_what_is_far(strokes):
    after = adapt_locally(strokes)
    drawn, others = strokes.by_hand, ~np.isin(strokes.now, (1, 2))
    far = np.ones(SHAPE, bool)
    slices = int(REACH_MM / MM[0])
    far[13 - slices : 14 + slices] = False
    for part in (drawn, others, far):
        assert digest(after[part]) == digest(strokes.now[part])
    assert after.dtype == strokes.now.dtype
    assert digest(strokes.now) != digest(after)


def test_a_scan_that_does_not_cover_the_box_and_a_model_that_says_nothing_change_only_how_well(strokes):
    alone = [strokes.scans[0], np.full(SHAPE, np.nan, np.float32)]
    strokes = Strokes(strokes.before, strokes.now, strokes.by_hand, alone, MM)
    assert dice(adapt_locally(strokes) == 2, TRUE == 2) > 0.9


def test_without_a_stroke_nothing_changes(strokes):
    nothing = Strokes(strokes.before, strokes.before, np.zeros(SHAPE, bool), strokes.scans, MM)
    assert digest(adapt_locally(nothing)) == digest(strokes.before)
    assert box_around(np.zeros(SHAPE, bool), MM) is None


def test_the_box_holds_strokes_and_what_is_near_and_is_never_longer_than_64_voxels():
    by_hand = np.zeros((30, 200, 300), bool)
    by_hand[10:12, 100:110, 150:160] = True
    box = box_around(by_hand, MM)
    assert [(part.start, part.stop) for part in box] == [(1, 21), (83, 127), (133, 177)]
    by_hand[10, 20, 20] = by_hand[10, 190, 290] = True
    box = box_around(by_hand, MM, np.array([10.0, 104.0, 154.0]))
    assert by_hand[box].sum() == 200
    assert max(part.stop - part.start for part in box) == LONGEST
