"""What a hand does at the beginning of a visit: files that are dropped, scans that are aligned, what was left
before."""

import json
import time

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from Testing.web_page import VIEWS, Page

pytestmark = pytest.mark.timeout(900)  # on a computer that has much else to do
VIEW = "CrossModalSeg1Axial"
BELOW = "CrossModalSeg2Axial"


def aligned(page, displaced):
    """The page with the alignment of two displaced scans shown, and not decided on."""
    page.drop(*displaced.values())
    page.wait(lambda: page.chosen_scans() == list(displaced), "the dropped scans to be chosen")
    page.choose_model("quick")
    page.wait(lambda: "displaced by about 12 mm" in page.text("preflight"), "the displacement")
    align(page)


def align(page):
    page.wait(lambda: page.browser.find_element("css selector", "[data-remedy=refine]").click() or True, "Align")
    page.wait(lambda: page.has("keep-alignment"), "the alignment to be shown")


@pytest.mark.slow
def test_files_that_are_dropped_are_opened_and_an_alignment_is_undone_or_kept(alone, displaced, tmp_path):
    page, _server = alone()
    aligned(page, displaced)
    assert "12" in page.text("preview")
    assert not page.is_enabled("segment"), "before Keep or Undo"
    page.click("undo-alignment")
    page.wait(lambda: not page.has("undo-alignment"), "the preview to end")
    page.wait(lambda: "displaced by about 12 mm" in page.text("preflight"), "the displacement, as before")

    align(page)
    page.click("keep-alignment")
    page.wait(lambda: "displaced" not in page.text("preflight"), "the displacement to be gone")
    page.wait(lambda: page.is_enabled("segment"), "Segment")

    folder = tmp_path / "a folder"
    folder.mkdir()
    (folder / "notes.txt").write_text("not a scan")
    page.drop(folder)
    page.wait(lambda: "notes.txt" in page.text("dialog-text"), "what is no scan to be named")
    page.click("dialog-yes")
    assert page.chosen_scans() == ["mine_T1w", "mine_T2w hardened"]


def test_a_site_folder_that_does_not_say_where_it_begins_is_refused(page):
    before = page.value("site-folder")
    assert before
    page.unfold("site-folder")
    page.element("site-folder").send_keys(Keys.CONTROL, "a")
    page.element("site-folder").send_keys("my-site", Keys.TAB)
    page.wait(lambda: "my-site" in page.text("dialog-text"), "the refusal")
    page.click("dialog-yes")
    page.wait(lambda: page.value("site-folder") == before, "the folder before")


def test_what_was_left_is_deleted_only_by_a_second_click(alone, tmp_path):
    kept = tmp_path / "server" / "user" / "crossmodalseg" / "unsaved" / "left"
    kept.mkdir(parents=True)
    about = {"process": 2**22 + 1, "when": "2026-01-02T03:04:05", "title": "head_T1w + head_T2w"}
    (kept / "case.json").write_text(json.dumps(about))
    page, _server = alone()
    delete = page.wait(lambda: page.browser.find_elements("css selector", "[data-unsaved] button")[1], "the offer")
    delete.click()
    page.click("dialog-no")
    page.wait(lambda: not page.has("dialog-no"), "the question to close")
    assert kept.is_dir()
    delete.click()
    page.click("dialog-yes")
    page.wait(lambda: not page.browser.find_elements("css selector", "[data-unsaved]"), "the offer to go")
    assert not kept.exists()


def test_a_window_beside_a_smaller_one_is_sharp_when_the_mouse_is_in_it(result):
    browser, first = result.browser, result.browser.current_window_handle
    result.settle_pictures(VIEWS)
    move_over(result, "model")
    browser.switch_to.new_window("window")
    browser.set_window_size(1000, 700)
    second = Page(browser, result.address).open()
    second.settle_pictures(VIEWS)
    second.close()
    browser.switch_to.window(first)
    time.sleep(1)  # the page looks twice a second at most
    move_over(result, "swap")
    result.settle_pictures(VIEWS)


def move_over(page, name):
    ActionChains(page.browser).move_to_element(page.element(name)).perform()
