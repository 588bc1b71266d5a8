"""Adapting around strokes as a hand does it: erase too much of a ball's side, paint a part of it back, adapt."""

import numpy as np
import pytest
from selenium.webdriver.common.keys import Keys

from Testing.tiny_bundle import BALLS, LEFT, RIGHT
from Testing.web_hand import circle

pytestmark = pytest.mark.timeout(600)  # on a computer that has much else to do
VIEW = "CrossModalSeg1Axial"
BALL = BALLS[RIGHT]
DEPTH = BALL[2]
NAME = "right bright ball"


def can_redo(page):
    return page.browser.execute_script("return !document.querySelector('[aria-label=Redo]').disabled")


def test_strokes_stay_the_rest_follows_and_one_step_back_undoes_it(hand, result):
    hand.show(VIEW, DEPTH)
    model, other = hand.labels("T1w"), hand.labels("T2w")
    hand.take("8", "Draw", NAME)
    hand.draw(VIEW, *circle(BALL, 17.0, DEPTH))  # too large: tissue around the ball is taken
    drawn = hand.labels("T1w")
    by_hand = drawn != model
    hand.put_down()
    strokes = result.strokes()
    result.press("a")
    said = hand.said_after(strokes)
    adapted = hand.labels("T1w")
    rest = adapted != drawn
    assert rest.any(), said
    assert result.text("adapt-words").startswith(f"{rest.sum():,} voxels adapted to {by_hand.sum():,} that were drawn")
    assert not (rest & by_hand).any(), "what was drawn stays"
    assert set(drawn[rest]) | set(adapted[rest]) <= set(model[by_hand]) | {RIGHT}
    np.testing.assert_array_equal(adapted == LEFT, drawn == LEFT)
    np.testing.assert_array_equal(hand.labels("T2w"), other)
    result.press(Keys.CONTROL, "z")
    result.wait(lambda: np.array_equal(hand.labels("T1w"), drawn), "the adaptation to be undone")
    result.wait(lambda: can_redo(result), "Redo to be enabled")
    result.press(Keys.CONTROL, "y")
    result.wait(lambda: np.array_equal(hand.labels("T1w"), adapted), "the adaptation to be back")


def test_without_a_stroke_it_says_so(hand, result):
    before = hand.labels("T1w")
    result.click("adapt")
    result.wait(lambda: result.text("adapt-words").startswith("Nothing was drawn yet"), "the words")
    np.testing.assert_array_equal(hand.labels("T1w"), before)


@pytest.mark.slow
def test_slices_between_drawn_ones_are_filled_once_they_were_looked_at(hand, result):
    """Discs of 10 and 18 mm are drawn 16 mm apart."""
    centre = (-5.0, BALL[1] + 22.0)
    before, other = hand.labels("T1w"), hand.labels("T2w")
    for radius, depth in ((5.0, DEPTH - 8), (9.0, DEPTH + 8)):
        hand.show(VIEW, depth)
        hand.take("8", "Draw", NAME)
        hand.draw(VIEW, *circle(centre, radius, depth))
    drawn = hand.labels("T1w")
    by_hand = drawn != before
    slices = np.flatnonzero(by_hand.any(axis=(1, 2)))
    assert slices.size == 2
    hand.put_down()
    result.press("b")
    result.wait(lambda: result.has("fill-keep"), "the preview")
    np.testing.assert_array_equal(hand.labels("T1w"), drawn)
    count = int(result.text("fill-words").split()[0].replace(",", ""))
    strokes = result.strokes()
    result.click("fill-keep")
    hand.said_after(strokes)
    filled = hand.labels("T1w")
    changed = filled != drawn
    assert changed.sum() == count
    assert set(np.flatnonzero(changed.any(axis=(1, 2)))) == set(range(slices[0] + 1, slices[1]))
    areas = np.count_nonzero((filled != before)[slices[0] : slices[1] + 1], axis=(1, 2))
    assert (np.diff(areas) >= 0).all() or (np.diff(areas) <= 0).all(), "from the small disc to the large one"
    assert set(before[changed]) <= set(before[by_hand]), "only what the strokes took from"
    np.testing.assert_array_equal(hand.labels("T2w"), other)
    result.press(Keys.CONTROL, "z")
    result.wait(lambda: np.array_equal(hand.labels("T1w"), drawn), "the filling to be undone")
    result.press("b")
    result.wait(lambda: result.has("fill-keep"), "the preview again")
    result.click("fill-discard")
    result.wait(lambda: not result.has("fill-keep"), "the preview to go")
    np.testing.assert_array_equal(hand.labels("T1w"), drawn)
