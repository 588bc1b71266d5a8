"""Reading a result as a hand does it: the mouse and the keys, and what the page says and shows before and after."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.mouse_button import MouseButton
from selenium.webdriver.common.keys import Keys

from CrossModalSegApp.scene.display_colors import display_colors
from Testing.tiny_bundle import BALL_RADIUS, BALLS, LABEL_MAP, RIGHT
from Testing.web_hand import Hand
from Testing.web_head import FIRST_GRID, SECOND_GRID

pytestmark = pytest.mark.timeout(600)  # on a computer that has much else to do
VIEW = "CrossModalSeg1Axial"
BALL = tuple(BALLS[RIGHT])
NAME = "right bright ball"
NAMES = [structure.name for structure in LABEL_MAP.structures]


@pytest.fixture
def hand(result, server, tmp_path):
    """A hand over the model's own result, without a tool, on the slice through the ball."""
    hand = Hand(result, server, (FIRST_GRID, SECOND_GRID), tmp_path)
    result.press("0")
    hand.show(VIEW, BALL[2])
    yield hand
    result.click("legend-all")


def at(hand, view, place):
    """Actions with the mouse over a place (RAS, mm)."""
    element = hand.page.view(view)
    (x, y), size = hand.shares(view, [place])[0], element.size
    offsets = round((x - 0.5) * size["width"]), round((y - 0.5) * size["height"])
    return ActionChains(hand.page.browser, duration=50).move_to_element_with_offset(element, *offsets)


def pixels_of(picture, name):
    """How many pixels have the colour of a structure."""
    color = np.rint(255 * np.array(display_colors(NAMES)[name]))
    return int((np.abs(picture - color).max(axis=2) < 40).sum())


def line(page):
    return page.browser.execute_script("return document.querySelector('footer.place').innerText")


def current(page):
    script = "return document.querySelector('#legend li.current .entry')?.innerText ?? ''"
    return page.browser.execute_script(script)


def listed(page):
    script = "return [...document.querySelectorAll('#legend .entry')].map((e) => e.innerText)"
    return page.browser.execute_script(script)


def test_the_line_below_says_where_the_mouse_is_and_what_is_there(hand, result):
    at(hand, VIEW, BALL).perform()
    result.wait(lambda: line(result).count(NAME) == 2, "the ball in both scans")
    place = result.text("place").split()
    found = [sign * float(mm) for sign, mm in zip((1, -1, 1), place[1:6:2], strict=True)]
    assert place[::2] == ["R", "P", "S", "mm"]
    np.testing.assert_allclose(found, BALL, atol=1.5)  # a pixel
    intensities = result.browser.execute_script(
        "return [...document.querySelectorAll('.reading b')].map((e) => Number(e.innerText))"
    )
    assert intensities == [1000, 1000]


def test_a_click_sets_the_crosshair_in_all_views(hand, result):
    place = (BALL[0] + 4, BALL[1] - 6, BALL[2])
    at(hand, VIEW, place).click().perform()
    wanted = {
        f"CrossModalSeg{row}{view}": mm for row in (1, 2) for view, mm in (("Coronal", place[1]), ("Axial", place[2]))
    }
    wanted |= {f"CrossModalSeg{row}Sagittal": place[0] for row in (1, 2)}
    near = lambda: all(abs(abs(result.slices()[view]) - abs(mm)) < 2 for view, mm in wanted.items())
    result.wait(near, "the slices through the place")


@pytest.mark.slow
def test_with_a_tool_a_click_is_the_tools_and_shift_moves_the_crosshair(hand, result):
    hand.take("1", "Paint", NAME)
    before = result.slices()
    strokes = result.strokes()
    hand.draw(VIEW, BALL, (BALL[0] + 1, BALL[1], BALL[2]))
    assert result.strokes() > strokes
    assert result.slices() == before
    at(hand, VIEW, (BALL[0] - 10, BALL[1] - 8, BALL[2])).perform()
    ActionChains(result.browser).key_down(Keys.SHIFT).move_by_offset(3, 3).move_by_offset(3, 3).key_up(
        Keys.SHIFT
    ).perform()
    result.wait(lambda: result.slices() != before, "the crosshair to follow")


@pytest.mark.slow
@pytest.mark.usefixtures("hand")
def test_the_right_button_windows_and_a_preset_and_reset_set_numbers(result):
    numbers = lambda: [float(result.value(f"{name}-0") or 0) for name in ("window", "level")]
    result.press("f")
    before = numbers()
    element, builder = result.view(VIEW), ActionBuilder(result.browser, duration=50)
    pointer = builder.pointer_action
    pointer.move_to(element, 0, 0).pointer_down(MouseButton.RIGHT)
    for step in range(1, 6):
        pointer.move_to(element, 10 * step, -4 * step)
    pointer.pointer_up(MouseButton.RIGHT)
    builder.perform()
    lowest, highest = 0, 1000  # of the scan
    wanted = [before[0] + 50 * (highest - lowest) / 500, before[1] + 20 * (highest - lowest) / 500]
    result.wait(lambda: np.allclose(numbers(), wanted, atol=3), f"{wanted} after {before}")
    result.click("window")
    result.select("preset-0", "Brain T1")
    result.wait(lambda: not np.allclose(numbers(), wanted, atol=3), "the preset")
    assert numbers()[1] + numbers()[0] / 2 == pytest.approx(
        1000, abs=20
    )  # the balls are brighter than 99 % of the body
    result.click("reset-0")
    result.wait(lambda: np.allclose(numbers(), before), "the first window")
    result.press(Keys.ESCAPE)


@pytest.mark.slow
def test_arrows_and_page_keys_step_through_the_view_below_the_mouse(hand, result):
    at(hand, VIEW, BALL).perform()
    before = result.slices()[VIEW]
    result.press(Keys.ARROW_UP)
    result.wait(lambda: result.slices()[VIEW] == pytest.approx(before + 2.0), "the next slice")  # of 2 mm
    result.press(Keys.PAGE_DOWN)
    result.wait(lambda: result.slices()[VIEW] == pytest.approx(before - 8.0), "five slices back")


@pytest.mark.slow
def test_a_double_click_chooses_the_structure(hand, result):
    result.select("structure", "tissue")
    result.wait(lambda: current(result) == "tissue", "the legend to follow the editor")
    at(hand, VIEW, BALL).double_click().perform()
    result.wait(lambda: current(result) == NAME, "the ball")
    assert (
        result.browser.execute_script(
            "const e = document.getElementById('structure'); return e.selectedOptions[0].text"
        )
        == NAME
    )


def test_the_legend_finds_hides_and_shows_structures(hand, result):
    at(hand, VIEW, (0.0, -60.0, BALL[2])).perform()
    result.press("f")
    hand.show(VIEW, BALL[2])
    assert pixels_of(result.still_picture(VIEW), NAME) > 30
    result.type("legend-search", "RIGHT ball")
    result.wait(lambda: listed(result) == [NAME], "the structure that is sought")
    result.click("legend-none")
    result.wait(lambda: "2 of 3" in result.text("legend-count"), "one less")
    result.wait(lambda: pixels_of(result.picture(VIEW), NAME) == 0, "the outline to go")
    result.type("legend-search", "")
    result.wait(lambda: listed(result) == NAMES, "all")
    result.browser.execute_script(f"document.querySelector('[aria-label=\"Only {NAME}\"]').click()")
    result.wait(lambda: pixels_of(result.picture(VIEW), NAME) > 30, "the outline to be back")
    assert "1 of 3" in result.text("legend-count")
    assert pixels_of(result.picture(VIEW), "tissue") == 0
    result.browser.execute_script("document.querySelectorAll('#legend .entry')[2].click()")
    result.wait(lambda: current(result) == NAME, "the structure")
    result.browser.execute_script(
        "const e = document.getElementById('legend-opacity'); e.value = 0; e.dispatchEvent(new Event('input'))"
    )
    result.wait(lambda: pixels_of(result.picture(VIEW), NAME) == 0, "the outline to fade")
    result.browser.execute_script(
        "const e = document.getElementById('legend-opacity'); e.value = 100; e.dispatchEvent(new Event('input'))"
    )
    result.wait(lambda: pixels_of(result.picture(VIEW), NAME) > 30, "the outline to be back")


@pytest.mark.slow
@pytest.mark.usefixtures("hand")
def test_outlines_have_a_dark_rim(result):
    picture = result.still_picture(VIEW)
    color = np.rint(255 * np.array(display_colors(NAMES)[NAME]))
    ys, xs = np.nonzero(np.abs(picture - color).max(axis=2) < 40)
    around = [picture[y - 2 : y + 3, x - 2 : x + 3].max(axis=2).min() for y, x in zip(ys, xs, strict=True)]
    assert np.mean(np.array(around) < 110) > 0.9  # within a ball of 1000 in tissue of 400


@pytest.mark.slow
@pytest.mark.usefixtures("hand")
def test_a_key_hides_the_outlines(result):
    assert pixels_of(result.still_picture(VIEW), NAME) > 30
    result.press("o")
    result.wait(lambda: pixels_of(result.picture(VIEW), NAME) == 0, "the scan alone")
    result.press("o")
    result.wait(lambda: pixels_of(result.picture(VIEW), NAME) > 30, "the outlines")


@pytest.mark.slow
def test_a_question_mark_shows_all_keys(result):
    is_open = lambda: result.browser.execute_script("return document.getElementById('keys').matches(':popover-open')")
    assert not is_open()
    result.press("?")
    result.wait(is_open, "the keys")
    assert "next and previous place to check" in result.text("keys")
    result.press(Keys.ESCAPE)
    result.wait(lambda: not is_open(), "the keys to go")


@pytest.mark.slow
def test_a_picture_of_the_view_is_saved_with_its_scale(hand, result):
    at(hand, VIEW, BALL).perform()
    result.press("s")
    path = Path(result.browser.downloads) / "T1w_head_T1w_axial.png"
    result.wait(path.is_file, "the picture")
    saved = np.asarray(Image.open(path).convert("RGB")).astype(int)
    size = result.view(VIEW).size
    assert abs(saved.shape[1] - size["width"]) <= 1
    script = """const e = document.querySelector(`[data-view="${arguments[0]}"] .scale`);
        return [Number(e.dataset.pixels), parseInt(e.innerText)]"""
    pixels, mm = result.browser.execute_script(script, VIEW)
    across = np.abs(hand.shares(VIEW, [(0.0, 0.0, 0.0)])[0][0] - hand.shares(VIEW, [(float(mm), 0.0, 0.0)])[0][0])
    assert pixels == pytest.approx(across * size["width"], rel=0.02)
    bar = saved[-9:-6, -round(pixels) - 4 : -10]
    assert bar.min() > 240, "a white bar at the lower right"


@pytest.mark.slow
def test_a_place_to_check_chooses_its_structure_and_a_key_ticks_it_and_goes_on(hand, result):
    assert hand
    result.press("n")
    result.wait(lambda: result.current_place() >= 1, "a place")
    here = result.current_place()
    entry = lambda: result.browser.execute_script("return document.querySelector('#review-list li.current').innerText")
    assert current(result) in entry()
    result.press("d")
    done = "return document.querySelectorAll('#review-list input')[arguments[0] - 1].checked"
    result.wait(lambda: result.browser.execute_script(done, here), "the tick")
    count = result.browser.execute_script("return document.querySelectorAll('#review-list li').length")
    result.wait(lambda: result.current_place() == min(here + 1, count), "the next place")
    result.wait(lambda: current(result) in entry(), "its structure")


@pytest.mark.slow
def test_the_tools_can_be_seen_beside_a_result_without_scrolling(result):
    result.reload()  # with no section that a test has opened
    script = """document.querySelector('.panel').scrollTop = 0;
        return document.querySelector('.tools').getBoundingClientRect().bottom - window.innerHeight"""
    result.wait(lambda: result.browser.execute_script(script) < 0, "the tools above the fold")


def test_u_lays_the_uncertainty_over_the_scan_and_takes_it_away(hand, result):
    hand.show(VIEW, BALL[2])
    result.press("o")
    plain = result.still_picture(VIEW)
    result.press("u")
    result.wait(lambda: result.element("uncertain").get_attribute("aria-pressed") == "true", "the button")
    changed = np.abs(result.still_picture(VIEW) - plain).max(axis=2) > 20
    assert 0.001 < changed.mean() < 0.5, "borders are uncertain, and not all of it"
    result.press("u")
    result.wait(lambda: result.element("uncertain").get_attribute("aria-pressed") == "false", "the button")
    assert (np.abs(result.still_picture(VIEW) - plain).max(axis=2) > 20).mean() < 0.001
    result.press("o")


def test_m_measures_from_the_place_below_the_mouse(hand, result):
    hand.show(VIEW, BALL[2])
    at(hand, VIEW, BALL).perform()
    result.wait(lambda: line(result).count(NAME) == 2, "the ball in both scans")
    result.press("m")
    at(hand, VIEW, (BALL[0] - 30, BALL[1] - 40, BALL[2])).perform()
    found = lambda: result.text("mark").split(" mm")[0]
    result.wait(lambda: found().replace(".", "").isdigit() and abs(float(found()) - 50) < 3, "50 mm")
    result.press("m")
    result.wait(lambda: result.text("mark") == "Distance (M)", "no distance")


def test_the_structure_that_is_chosen_is_measured_in_both_scans(hand, result):
    del hand
    result.browser.find_element("xpath", f"//ul[@id='legend']//button[text()='{NAME}']").click()
    script = "return [...document.querySelectorAll('.measure')].map((e) => e.innerText)"
    lines = lambda: result.browser.execute_script(script)
    ml = 4 / 3 * np.pi * BALL_RADIUS**3 / 1000
    is_near = lambda: [abs(float(one.split()[1]) - ml) < 0.15 * ml for one in lines()][:1] == [True]
    result.wait(is_near, f"{ml:.1f} mL", 20)
    assert [one.split(":")[0] for one in lines()] == ["T1w", "T2w"]
    assert 850 < float(lines()[0].split("intensity ")[1].split()[0]) <= 1000, "1000 inside, less at the border"
