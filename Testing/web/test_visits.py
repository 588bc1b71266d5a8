"""Visits: files by clicks, other scans, corrections that outlive the program. Real server, real Chromium."""

import signal

import numpy as np
import pytest
from selenium.webdriver.common.by import By

from CrossModalSegLib.imaging.segmentation_io import read_segmentation
from CrossModalSegLib.site.case_store import CaseStore
from Testing.tiny_bundle import BALLS, RIGHT
from Testing.web_hand import Hand, counts
from Testing.web_head import FIRST_GRID, HERE, SECOND_GRID, THERE

pytestmark = pytest.mark.timeout(900)  # on a computer that has much else to do
VIEW = "CrossModalSeg1Axial"
BALL = BALLS[RIGHT]
DEPTH = 14.0
BORDER = [(BALL[0] - 12, BALL[1], DEPTH), (BALL[0] - 16, BALL[1], DEPTH), (BALL[0] - 18, BALL[1], DEPTH)]


def test_each_download_is_a_click_and_the_page_goes_on(result, server, tmp_path):
    for modality in ("T1w", "T2w"):
        result.click(f"download-{modality}")
        path = tmp_path / f"{modality}.seg.nrrd"
        path.write_bytes(result.downloaded(f"head_{modality}_segmentation.seg.nrrd"))
        labels, grid, _ = read_segmentation(path)
        assert grid.is_close({"T1w": FIRST_GRID, "T2w": SECOND_GRID}[modality])
        assert len(np.unique(labels)) > 2
    result.click("download-table")
    assert b"T1w volume (mL)" in result.downloaded(
        "head_T1w___head_T2w_volumes*.csv"
    )  # a number where results came before
    assert result.browser.current_url == server.address
    assert not result.has("lost-connection")
    before = result.slices()
    result.press("n")
    result.wait(lambda: result.current_place() >= 1, "the first place")
    result.press("n")
    result.wait(lambda: result.slices() != before, "the views to move")


def test_a_download_that_cannot_be_made_is_told_and_the_page_goes_on(result):
    result.browser.execute_script("window.crossmodalsegDownload('nothing', document.body)")
    result.wait(lambda: "not there any more" in result.text("dialog-text"), "the reason")
    result.click("dialog-yes")
    result.wait(lambda: not result.has("dialog-text"), "the dialog to close")
    assert not result.has("lost-connection")


def test_with_other_scans_the_result_its_tools_and_its_review_go_and_come_back_together(result):
    shown = "return document.getElementById('structure')?.checkVisibility() ?? false"
    assert result.browser.execute_script(shown)
    result.click("swap")
    result.wait(lambda: result.value("case") == "", "the result to go")
    result.wait(lambda: not result.has("review-list"), "the review to go")
    assert not result.browser.execute_script(shown)
    assert not result.has("download-T1w")
    assert result.text("outcome") == "", "what was done is not of these scans"
    assert not result.is_enabled("save-correction")
    assert result.view_title(VIEW).startswith("T1w: head_T2w")
    result.select("case", "head_T1w + head_T2w")
    result.wait(lambda: result.has("review-list"), "the review")
    assert result.view_title(VIEW).startswith("T1w: head_T1w")
    assert result.browser.execute_script(shown)


@pytest.mark.slow
def test_what_is_opened_after_the_phantom_is_segmented_and_strokes_outlive_a_killed_server(alone, displaced, tmp_path):
    page, server = alone()
    assert page.text("reason") == "Open scans first."
    assert not page.is_enabled("segment")
    page.click("open-sample")
    page.settle()
    assert page.chosen_scans() == ["HeadPhantom_T1w", "HeadPhantom_T2w"] or page.chosen_scans() == [
        "phantom_T1w",
        "phantom_T2w",
    ]

    page.element("open-files").send_keys("\n".join(map(str, displaced.values())))
    page.wait(lambda: page.chosen_scans() == ["mine_T1w", "mine_T2w"], "the own scans to be chosen")
    page.wait(lambda: page.view_title(VIEW).startswith("T1w: mine_T1w"), "the own scans to be shown")
    page.wait(lambda: "displaced by about 12 mm" in page.text("preflight"), "the displacement, which no click asks for")

    page.choose_model("quick")
    page.click("segment")
    page.wait(lambda: page.text("outcome").startswith("Done"), "the result")
    hand = Hand(page, server, (HERE, THERE), tmp_path)
    assert hand.labels("T1w").shape == HERE.shape_kji
    page.settle()
    hand.show(VIEW, DEPTH)
    before = hand.labels("T1w")
    hand.take("1", "Paint", "right bright ball")
    hand.draw(VIEW, *BORDER)
    after = hand.labels("T1w")
    assert counts(after)[RIGHT] > counts(before)[RIGHT]
    page.reload()
    np.testing.assert_array_equal(hand.labels("T1w"), after)
    kept = tmp_path / "server" / "user" / "crossmodalseg" / "unsaved"
    page.wait(lambda: list(kept.glob("*/case.json")), "the strokes on disk")
    assert {path.stat().st_mode & 0o077 for path in kept.iterdir()} == {0}
    page.wait(lambda: is_kept(kept, after), "the strokes on disk")
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()

    page, server = alone()
    offer = page.wait(lambda: page.browser.find_element(By.CSS_SELECTOR, "[data-unsaved] button"), "the offer")
    offer.click()
    page.wait(lambda: page.has("download-T1w"), "the result")
    page.wait(lambda: page.chosen_scans() == ["mine_T1w", "mine_T2w"], "its scans")
    hand = Hand(page, server, (HERE, THERE), tmp_path)
    np.testing.assert_array_equal(hand.labels("T1w"), after)
    assert page.has("review-list")
    assert page.browser.find_elements(By.CSS_SELECTOR, "[data-unsaved]") == []
    page.type("site-folder", str(tmp_path / "site"))
    page.click("save-correction")
    page.wait(lambda: page.text("site-message").startswith("Correction saved"), "the correction to be saved")
    page.wait(lambda: not list(kept.iterdir()), "what is saved to be kept no longer")
    (case,) = CaseStore(tmp_path / "site").cases()
    np.testing.assert_array_equal(read_segmentation(case.labels["T1w"])[0], after)


def is_kept(folder, labels):
    (path,) = folder.glob("*/labels_T1w.npz")
    with np.load(path) as stored:
        return np.array_equal(stored["labels"], labels)
