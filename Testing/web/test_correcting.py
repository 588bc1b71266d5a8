"""Correcting as a hand does it: the mouse on the views, and voxels counted before and after, also of the neighbours."""

import signal

import numpy as np
import pytest
from selenium.webdriver.common.keys import Keys

from Testing.tiny_bundle import BALLS, LEFT, RIGHT, TISSUE
from Testing.web_hand import circle, counts

pytestmark = pytest.mark.timeout(600)  # on a computer that has much else to do
VIEW = "CrossModalSeg1Axial"
DEPTH = 14.0  # mm: a slice through both balls
BALL = BALLS[RIGHT]
NAME = "right bright ball"
BORDER = [
    (BALL[0] - 12, BALL[1], DEPTH),
    (BALL[0] - 16, BALL[1], DEPTH),
    (BALL[0] - 18, BALL[1], DEPTH),
]  # ball to tissue
INSIDE = [(BALL[0] - 5, BALL[1], DEPTH), (BALL[0], BALL[1], DEPTH), (BALL[0] + 5, BALL[1], DEPTH)]
AIR = [(BALL[0] + 4, 42.0, DEPTH), (BALL[0] + 8, 44.0, DEPTH), (BALL[0] + 12, 46.0, DEPTH)]


@pytest.fixture
def hand(hand):
    hand.show(VIEW, DEPTH)
    return hand


def can(page, what):
    return page.browser.execute_script(f"return !document.querySelector('[aria-label={what}]').disabled")


def test_painting_over_a_border_takes_from_the_neighbour_and_from_nothing_else(hand, result):
    before = hand.labels("T1w")
    other = hand.labels("T2w")
    hand.take("1", "Paint", NAME)
    said = hand.draw(VIEW, *BORDER)
    after = hand.labels("T1w")
    changed = before != after
    assert changed.sum() > 5
    assert (set(before[changed]), set(after[changed])) == ({TISSUE}, {RIGHT})
    assert f"{NAME} +{changed.sum():,}" in said
    assert f"tissue -{changed.sum():,}" in said
    np.testing.assert_array_equal(hand.labels("T2w"), other)
    result.press(Keys.CONTROL, "z")
    result.wait(lambda: np.array_equal(hand.labels("T1w"), before), "the stroke to be undone")
    assert not can(result, "Undo")
    result.press(Keys.CONTROL, "y")
    result.wait(lambda: np.array_equal(hand.labels("T1w"), after), "the stroke to be back")


def test_neighbours_that_are_left_alone_stay_and_a_stroke_that_changes_nothing_says_so(hand, result):
    before = hand.labels("T1w")
    result.select("masking", "Leave")
    hand.take("1", "Paint", NAME)
    assert "left alone" in hand.draw(VIEW, (BALL[0] - 20, BALL[1], DEPTH), (BALL[0] - 24, BALL[1], DEPTH))
    np.testing.assert_array_equal(hand.labels("T1w"), before)
    assert not can(result, "Undo")
    hand.draw(VIEW, *AIR)
    after = hand.labels("T1w")
    assert (set(before[before != after]), set(after[before != after])) == ({0}, {RIGHT})


def test_inside_the_body_air_stays_and_neighbours_give_way(hand, result):
    before = hand.labels("T1w")
    result.select("masking", "Anywhere")
    hand.take("1", "Paint", NAME)
    assert "No voxel" in hand.draw(VIEW, *AIR)
    np.testing.assert_array_equal(hand.labels("T1w"), before)
    hand.draw(VIEW, *BORDER)
    after = hand.labels("T1w")
    assert (set(before[before != after]), set(after[before != after])) == ({TISSUE}, {RIGHT})


@pytest.mark.parametrize("masking", ["Leave", "Take from", "Anywhere"])
def test_the_eraser_takes_from_the_chosen_structure_alone(hand, result, masking):
    before = hand.labels("T1w")
    result.select("masking", masking)
    hand.take("2", "Erase", NAME)
    said = hand.draw(VIEW, *BORDER, *INSIDE)
    after = hand.labels("T1w")
    changed = before != after
    assert changed.sum() > 5, said
    assert (set(before[changed]), set(after[changed])) == ({RIGHT}, {0})


def test_scissors_erase_what_is_inside_of_the_line_in_all_slices(hand):
    before = hand.labels("T1w")
    hand.take("3", "Scissors", NAME)
    said = hand.draw(VIEW, *circle(BALL, 18.0, DEPTH))
    assert said == f"Voxels: {NAME} -{(before == RIGHT).sum():,}"
    np.testing.assert_array_equal(hand.labels("T1w"), np.where(before == RIGHT, 0, before))


def test_a_line_that_is_drawn_while_the_program_is_busy_cuts_no_corners(hand, result, server):
    before = hand.labels("T1w")
    hand.take("8", "Draw", NAME)
    strokes = result.strokes()
    server.process.send_signal(signal.SIGSTOP)
    try:
        result.drag(VIEW, *hand.shares(VIEW, circle(BALL, 17.0, DEPTH, steps=24)))
    finally:
        server.process.send_signal(signal.SIGCONT)
    said = hand.said_after(strokes)
    after = hand.labels("T1w")
    (changed,) = np.flatnonzero((before != after).any(axis=(1, 2)))
    area = (after[changed] == RIGHT).sum() * 2.0 * 2.0  # mm²
    assert area == pytest.approx(np.pi * 17.0**2, rel=0.06), said


def test_islands_keep_the_largest(hand, result):
    before = hand.labels("T1w")
    hand.take("1", "Paint", NAME)
    hand.draw(VIEW, *AIR)
    assert counts(hand.labels("T1w"))[RIGHT] > counts(before)[RIGHT]
    hand.take("5", "Islands", NAME)
    strokes = result.strokes()
    result.press_button("Apply")
    hand.said_after(strokes)
    np.testing.assert_array_equal(hand.labels("T1w"), before)


def test_islands_smaller_than_what_the_page_says_are_removed(hand, result):
    before = hand.labels("T1w")
    hand.take("1", "Paint", NAME)
    hand.draw(VIEW, *AIR)
    hand.take("5", "Islands", NAME)
    result.set_option("Operation", "Remove small ones")
    strokes = result.strokes()
    result.press_button("Apply")
    hand.said_after(strokes)
    np.testing.assert_array_equal(hand.labels("T1w"), before)


def test_smoothing_takes_a_spike_away_and_leaves_the_other_ball(hand, result):
    hand.take("1", "Paint", NAME)
    hand.draw(VIEW, *AIR)
    before = hand.labels("T1w")
    hand.take("6", "Smoothing", NAME)
    result.set_option("Kernel size", "10")
    strokes = result.strokes()
    result.press_button("Apply")
    hand.said_after(strokes)
    after = hand.labels("T1w")
    assert counts(after)[RIGHT] < counts(before)[RIGHT]
    np.testing.assert_array_equal(after == LEFT, before == LEFT)


def test_a_line_that_is_drawn_is_filled_in_this_slice_alone(hand):
    before = hand.labels("T1w")
    hand.take("8", "Draw", NAME)
    hand.draw(VIEW, *circle(BALL, 16.0, DEPTH))
    after = hand.labels("T1w")
    changed = before != after
    assert (set(before[changed]), set(after[changed])) == ({TISSUE}, {RIGHT})
    assert np.flatnonzero(changed.any(axis=(1, 2))).size == 1


def test_a_threshold_is_painted_over_the_neighbour(hand, result):
    before = hand.labels("T1w")
    hand.take("4", "Threshold", "left bright ball")
    strokes = result.strokes()
    result.press_button("Apply")
    hand.said_after(strokes)
    after = hand.labels("T1w")
    changed = before != after
    assert set(after[changed]) == {LEFT}


def test_subtracting_and_clearing_change_the_chosen_structure_alone(hand, result):
    before = hand.labels("T1w")
    hand.take("7", "Logical operators", NAME)
    result.set_option("Operation", "Clear")
    strokes = result.strokes()
    result.press_button("Apply")
    hand.said_after(strokes)
    after = hand.labels("T1w")
    np.testing.assert_array_equal(after, np.where(before == RIGHT, 0, before))


def test_a_tool_and_contrast_put_each_other_down(hand, result):
    before = hand.labels("T1w")
    is_contrast = lambda: result.element("contrast").get_attribute("aria-pressed") == "true"
    hand.take("1", "Paint", NAME)
    result.press("c")
    result.wait(lambda: is_contrast() and result.tools_in_use() == ["No tool"], "the brush to be put down")
    shown = result.still_picture(VIEW)
    result.drag(VIEW, *hand.shares(VIEW, [BORDER[0], AIR[0]]))
    result.wait(lambda: (result.picture(VIEW) != shown).mean() > 0.05, "another contrast")
    np.testing.assert_array_equal(hand.labels("T1w"), before)
    result.press("1")
    result.wait(lambda: not is_contrast() and result.tools_in_use() == ["Paint"], "contrast to be put down")


def test_a_stroke_under_way_when_another_scan_is_chosen_stays_where_it_was_drawn(hand, result):
    before, other = hand.labels("T1w"), hand.labels("T2w")
    hand.take("2", "Erase", NAME)
    strokes = result.strokes()
    release = result.drag_and_hold(VIEW, *hand.shares(VIEW, [*BORDER, *INSIDE]))
    result.select("correct-modality", "T2w")
    hand.said_after(strokes)
    release()
    after = hand.labels("T1w")
    changed = before != after
    assert changed.sum() > 5
    assert (set(before[changed]), set(after[changed])) == ({RIGHT}, {0})
    np.testing.assert_array_equal(hand.labels("T2w"), other)
    assert not can(result, "Undo")
    result.select("correct-modality", "T1w")


@pytest.mark.parametrize("how", ["in the list", "by the next place to check"])
def test_a_stroke_under_way_when_another_structure_is_chosen_stays_with_its_own(hand, result, how):
    before = hand.labels("T1w")
    hand.take("2", "Erase", NAME)
    strokes = result.strokes()
    release = result.drag_and_hold(VIEW, *hand.shares(VIEW, [*BORDER, *INSIDE]))
    if how == "in the list":
        result.select("structure", "tissue")
    else:
        result.press("n")
        result.wait(lambda: result.current_place() > 0, "the next place")
    hand.said_after(strokes)
    release()
    result.wait(lambda: result.tools_in_use() == ["Erase"], "the tool to be in use still")
    after = hand.labels("T1w")
    changed = before != after
    assert changed.sum() > 5
    assert (set(before[changed]), set(after[changed])) == ({RIGHT}, {0})


def test_a_stroke_under_way_when_a_new_run_replaces_its_result_goes_with_it(hand, result):
    before = hand.labels("T1w")
    current = result.value("case")
    hand.take("2", "Erase", NAME)
    release = result.drag_and_hold(VIEW, *hand.shares(VIEW, [*BORDER, *INSIDE]))
    result.browser.execute_script("document.getElementById('segment').click()")  # as in another tab
    result.wait(lambda: result.value("case") != current, "the new result")
    release()
    result.select("correct-modality", "T1w")
    np.testing.assert_array_equal(hand.labels("T1w"), before)
    hand.take("2", "Erase", NAME)
    assert f"{NAME} -" in hand.draw(VIEW, *BORDER, *INSIDE)
