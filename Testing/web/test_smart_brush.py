"""The brush that keeps to what is alike in both scans, drawn as a hand does it along the outside of a ball."""

import numpy as np
import pytest
from selenium.webdriver.common.keys import Keys

from Testing.tiny_bundle import BALL_RADIUS, BALLS, LEFT, RIGHT, two_balls
from Testing.volumes import sampled
from Testing.web_head import FIRST_GRID

pytestmark = pytest.mark.timeout(600)  # on a computer that has much else to do
VIEW = "CrossModalSeg1Axial"
BALL = BALLS[RIGHT]
DEPTH = BALL[2]
BESIDE = BALL_RADIUS + 4.0  # mm from the middle of the ball: a brush of 16 mm reaches 4 mm into it
BRIGHT = sampled(two_balls, FIRST_GRID).array > 700  # the ball's own voxels: between tissue and ball


def choose_brush(page, diameter):
    script = """const e = document.querySelector('[aria-label="Brush diameter in mm"]');
        e.value = arguments[0]; e.dispatchEvent(new Event('input'))"""
    page.browser.execute_script(script, diameter)
    page.wait(lambda: f"Brush {diameter} mm" in page.browser.find_element("class name", "options").text, "the brush")


def test_it_paints_to_the_border_and_not_across(hand, result):
    hand.show(VIEW, DEPTH)
    before = hand.labels("T1w")
    hand.take("1", "Paint", "left bright ball")  # of which nothing is there
    choose_brush(result, 16)
    angles = np.deg2rad(np.arange(-60, 61, 15))
    arc = [(BALL[0] + BESIDE * np.cos(angle), BALL[1] + BESIDE * np.sin(angle), DEPTH) for angle in angles]
    said = hand.draw(VIEW, *arc)
    plain = hand.labels("T1w")
    assert (BRIGHT & (before != plain)).sum() > 10, said
    result.press(Keys.CONTROL, "z")
    result.wait(lambda: np.array_equal(hand.labels("T1w"), before), "the stroke to be undone")
    result.click("smart")
    said = hand.draw(VIEW, *arc)
    smart = hand.labels("T1w")
    result.click("smart")
    choose_brush(result, 6)
    painted = before != smart
    assert painted.sum() >= 0.5 * (~BRIGHT & (before != plain)).sum(), said
    assert (BRIGHT & painted).sum() <= 0.1 * (BRIGHT & (before != plain)).sum(), said
    assert set(smart[painted]) == {LEFT}
