"""Comparing as a hand does it: erase, compare with the model's own result, walk what differs, end it."""

import numpy as np
import pytest

from Testing.tiny_bundle import BALLS, LABEL_MAP, RIGHT
from Testing.web_hand import counts
from Testing.web_head import FIRST_GRID

pytestmark = pytest.mark.timeout(600)  # on a computer that has much else to do
VIEW = "CrossModalSeg1Axial"
BALL = tuple(BALLS[RIGHT])
NAME = next(one.name for one in LABEL_MAP.structures if one.value == RIGHT)


def whites(page):
    """Which pixels of the view are white."""
    return (page.still_picture(VIEW) > 240).all(axis=2)


def entries(page):
    script = "return [...document.querySelectorAll('#review-list .entry')].map((e) => e.innerText)"
    return page.browser.execute_script(script)


def row_of(page, name):
    script = "return [...document.querySelectorAll('#compared tbody tr')].map((row) => row.innerText.split('\\t'))"
    return next(row for row in page.browser.execute_script(script) if row[0] == name)


def test_what_was_erased_is_outlined_listed_and_walked(hand, result):
    hand.show(VIEW, BALL[2])
    before, own = counts(hand.labels("T1w"))[RIGHT], entries(result)
    hand.take("2", "Erase", NAME)
    said = hand.draw(VIEW, *[(BALL[0] + 8, BALL[1] + along, BALL[2]) for along in range(-14, 15, 2)])  # a side
    hand.put_down()
    after = counts(hand.labels("T1w"))[RIGHT]
    assert 0 < after < before, said
    result.unfold("compare")
    result.select("compare", "the model's own result")
    result.wait(lambda: any("in the other result, T1w" in one for one in entries(result)), "the differences")
    found = entries(result)
    assert all(NAME in one and "T1w" in one for one in found), found
    ml = FIRST_GRID.voxel_volume_ml
    here, there = (float(cell) for cell in row_of(result, NAME)[2:4])
    np.testing.assert_allclose([here, there], [after * ml, before * ml], atol=0.006)
    assert float(row_of(result, NAME)[1]) == pytest.approx(2 * after / (after + before), abs=6e-4)
    hand.show(VIEW, BALL[2])
    unasked = whites(result)
    hand.show(VIEW, BALL[2] + 12)
    result.press("n")
    near = lambda: abs(abs(result.slices()[VIEW]) - abs(BALL[2])) < 5
    result.wait(near, "the slice of the difference")
    hand.show(VIEW, BALL[2])
    result.wait(lambda: (whites(result) & ~unasked).sum() > 10, "a dashed line around the region in question")
    compared = whites(result)
    result.select("compare", "nothing")
    result.wait(lambda: entries(result) == own, "the places to check again")
    assert compared.sum() > whites(result).sum() + 20, "the other result is outlined in white"
