"""The way of a case through the page: real server, real worker, real Chromium; a small model."""

import urllib.parse
import zipfile

import numpy as np
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from CrossModalSegLib.imaging.segmentation_io import read_segmentation
from CrossModalSegLib.site.case_store import CaseStore
from CrossModalSegLib.site.work_list import read_ranking
from Testing.dicom_files import write_series
from Testing.nifti_files import write_nifti
from Testing.tiny_bundle import LABEL_MAP, LEFT, RIGHT, TISSUE, dice, intensity_bundle, true_labels
from Testing.volumes import grid_around, points_of
from Testing.web_page import VIEWS, coloured

pytestmark = pytest.mark.timeout(600)  # on a computer that has much else to do
DICOM = np.arange(8 * 10 * 12, dtype=np.int16).reshape(8, 10, 12)


def labels_of(server, tmp_path, modality):
    """(label values, grid) of a result, as a user downloads it."""
    path = tmp_path / f"{modality}.seg.nrrd"
    path.write_bytes(server.get(f"download/{modality}"))
    labels, grid, label_map = read_segmentation(path)
    assert label_map == LABEL_MAP
    return labels, grid


def test_the_page_opens_with_both_scans_chosen_and_shown_and_says_what_it_found_out(page):
    shown = page.browser.find_element(By.ID, "scan-first").text, page.browser.find_element(By.ID, "scan-second").text
    assert "head_T1w" in shown[0]
    assert "head_T2w" in shown[1]
    page.unfold("scan-first")
    assert "54 × 60 × 56, 2 × 2 × 2 mm" in page.text("preflight")
    assert "Overlap of the fields of view" in page.text("preflight")
    titles = [page.view(view).find_element(By.CLASS_NAME, "view-title").text for view in VIEWS]
    assert titles[0] == "T1w: head_T1w axial"
    assert titles[5] == "T2w: head_T2w sagittal"


def test_nothing_is_asked_of_anybody_but_this_computer(page):
    page.requested()
    page.reload()
    asked = {urllib.parse.urlsplit(address) for address in page.requested()}
    hosts = {address.netloc for address in asked if address.scheme not in ("data", "blob")}
    assert hosts == {urllib.parse.urlsplit(page.address).netloc}
    paths = " ".join(address.path for address in asked)
    assert "CrossModalSeg.png" in paths  # the icon, which browsers fetch from elsewhere where a page tells them to
    assert "vuetify3.css" in paths


def test_every_control_has_a_name_and_fits_on_the_screen(result):
    nameless = result.browser.execute_script("""
        document.querySelectorAll('details').forEach((d) => { d.open = true });
        const named = (e) => e.ariaLabel || e.innerText.trim() || e.title || e.labels?.[0]?.innerText.trim() ||
            e.closest('label')?.innerText.trim() || e.closest('[aria-labelledby]');
        return [...document.querySelectorAll('button, input, select, a[href], summary, progress')]
            .filter((e) => e.checkVisibility() && !named(e)).map((e) => e.outerHTML.slice(0, 200))""")
    assert nameless == []
    widths = result.browser.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert widths[0] <= widths[1] == 1280
    panel = result.browser.execute_script(
        "const p = document.querySelector('.panel'); return [p.scrollWidth, p.clientWidth]"
    )
    assert panel[0] <= panel[1]


def test_the_keyboard_reaches_the_buttons_and_shows_where_it_is(page):
    page.unfold("segment")
    page.browser.execute_script("document.getElementById('device').focus()")
    page.element("device").send_keys(Keys.SHIFT, Keys.TAB)
    style = page.browser.execute_script(
        "const e = document.activeElement, s = getComputedStyle(e); return [e.id, s.outlineStyle, s.outlineWidth]"
    )
    assert style == ["segment", "solid", "2px"]


def test_a_run_shows_its_progress_can_be_cancelled_and_another_one_gives_a_result(page, server, tmp_path):
    page.choose_model("slow")
    page.click("segment")
    page.wait(lambda: page.text("stage").startswith("Network"), "the network's progress")
    page.wait(lambda: float(page.value("progress")) > 0, "progress")
    assert not page.is_enabled("model")
    page.click("cancel")
    page.wait(lambda: page.text("outcome").startswith("Cancelled"), "the end")

    page.choose_model("quick")
    page.click("segment")
    page.wait(lambda: page.text("outcome").startswith("Done"), "the result")
    for modality, structures in (("T1w", (TISSUE, LEFT, RIGHT)), ("T2w", (TISSUE,))):  # its balls are others
        labels, grid = labels_of(server, tmp_path, modality)
        truth = true_labels(points_of(grid))
        assert min(dice(labels, truth, value) for value in structures) > 0.8
    table = server.get("download/table").decode()
    assert table.startswith("structure,T1w volume (mL),T2w volume (mL),agreement (Dice)")


def test_the_result_is_outlined_in_both_rows(result):
    for view in VIEWS:
        result.wait(lambda view=view: coloured(result.picture(view)) > 50, f"outlines in {view}")


def test_n_and_p_go_through_the_places_to_check_in_both_rows(result):
    result.press("n")
    result.wait(lambda: result.has("next") and result.current_place() == 1, "the first place")
    result.press("n")
    result.wait(lambda: result.current_place() == 2, "the second place")
    second = result.wait(result.slices, "sliders")
    for orientation in ("Axial", "Coronal", "Sagittal"):
        assert second[f"CrossModalSeg1{orientation}"] == pytest.approx(second[f"CrossModalSeg2{orientation}"], abs=2.0)
    result.press("p")
    result.wait(lambda: result.current_place() == 1, "the first place")
    result.wait(lambda: result.slices() != second, "the views to jump")


def test_a_place_that_was_checked_is_ticked(result):
    result.unfold("review-list")
    box = result.browser.find_elements(By.CSS_SELECTOR, "#review-list input")
    box[0].click()
    result.wait(lambda: result.text("review-count").startswith("1 of"), "the count")
    box[0].click()
    result.wait(lambda: result.text("review-count").startswith("0 of"), "the count")


def test_a_slider_moves_the_slices_of_both_rows(result):
    before = result.slices()["CrossModalSeg1Axial"]
    script = """const e = document.querySelector('[data-view=CrossModalSeg1Axial] .slice');
        e.value = Number(e.value) + 10; e.dispatchEvent(new Event('input'))"""
    result.browser.execute_script(script)
    for view in ("CrossModalSeg1Axial", "CrossModalSeg2Axial"):
        result.wait(lambda view=view: abs(result.slices()[view] - before - 10) < 2.5, f"{view} to move")


def test_fading_shows_the_other_scan(result):
    """The scans differ in their balls, through which the middle slice goes."""
    view = "CrossModalSeg1Axial"
    result.press("f")
    middle = result.wait(result.slices, "sliders")["CrossModalSeg1Sagittal"]
    result.wait(lambda: result.slices()["CrossModalSeg2Sagittal"] == pytest.approx(middle, abs=2.5), "the middle")
    before = result.still_picture(view)
    script = (
        "const e = document.getElementById('crossfade'); e.value = arguments[0]; e.dispatchEvent(new Event('input'))"
    )
    result.browser.execute_script(script, 100)
    result.wait(lambda: different(result.picture(view), before) > 100, "the other scan")
    result.browser.execute_script(script, 0)
    result.wait(lambda: different(result.picture(view), before) < 100, "the own scan")


def test_surfaces_are_shown_in_3d(result):
    result.click("mode-both")
    surfaces = lambda: coloured(np.asarray(result.picture("ThreeD")))
    result.wait(lambda: surfaces() > 500, "surfaces")
    result.click("mode-slices")
    result.settle()


def test_the_number_keys_choose_tools(result):
    for key, tool in (("2", "Erase"), ("4", "Threshold"), ("0", "No tool")):
        result.press(key)
        result.wait(lambda tool=tool: result.tools_in_use() == [tool], tool)


def test_keys_do_nothing_while_something_is_typed(result):
    result.unfold("annotator")
    result.element("annotator").send_keys("n1p")
    assert (result.tools_in_use(), result.value("annotator")) == (["No tool"], "n1p")


def test_a_result_that_nobody_has_changed_is_saved_only_where_somebody_confirms_it(result, server):
    result.type("annotator", "")
    result.click("save-correction")
    result.wait(lambda: "nobody stands" in result.text("dialog-text"), "the question for initials")
    result.click("dialog-yes")
    result.type("annotator", "AB")
    result.click("save-correction")
    result.wait(lambda: "Nothing was changed" in result.text("dialog-text"), "the question")
    assert result.browser.execute_script("return document.activeElement.id") == "dialog-no"
    result.click("dialog-no")
    result.wait(lambda: not result.has("dialog-text"), "the dialog to close")
    assert CaseStore(server.site).folder.exists() is False or CaseStore(server.site).cases() == []
    result.type("annotator", "")


def test_a_correction_is_saved_to_the_site_and_opened_from_there_again(result, server, tmp_path):
    paint(result)
    result.press("0")
    labels, grid = labels_of(server, tmp_path, "T1w")
    result.click("save-correction")
    result.wait(lambda: result.text("site-message").startswith("Correction saved"), "the correction to be saved")
    (case,) = CaseStore(server.site).cases()
    saved, saved_grid, _ = read_segmentation(case.labels["T1w"])
    assert case.status == "corrected"
    assert saved_grid.is_close(grid)
    np.testing.assert_array_equal(saved, labels)
    assert "1 corrected" in result.text("site-summary")

    result.click("approve")
    result.wait(lambda: "nobody stands" in result.text("dialog-text"), "the question for initials")
    result.click("dialog-yes")
    result.type("annotator", "AB")
    result.click("approve")
    result.wait(lambda: "approved" in result.text("site-message"), "the approval")
    assert CaseStore(server.site).cases()[0].status == "approved"
    assert not any("AB" in file.read_text() for file in (server.site / "cases" / case.id).glob("*.json"))


def test_a_zip_file_of_dicom_and_other_files_are_opened_and_what_cannot_be_read_is_named(result, tmp_path):
    write_series(
        tmp_path / "series", DICOM, grid_around((0.0, 0.0, 0.0), (12, 10, 8), (8.0, 9.0, 10.0)), description="axial"
    )
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        for file in (tmp_path / "series").iterdir():
            archive.write(file, f"DICOM/{file.name}")
    (tmp_path / "broken.nrrd").write_bytes(b"NRRD0004\nno header")
    result.unfold("open-files")
    result.element("open-files").send_keys(f"{tmp_path / 'study.zip'}\n{tmp_path / 'broken.nrrd'}")
    result.wait(lambda: "Opened: axial" in result.text("files-message"), "the series")
    assert "broken was left out" in result.text("files-message")
    assert "axial" in result.element("scan-first").text
    result.wait(lambda: result.text("reason") == "Choose one or two scans of one patient.", "what to do")
    title = "return document.querySelector('[data-view=CrossModalSeg1Axial] .view-title').innerText"
    assert "axial" in result.browser.execute_script(title), "what was opened last is shown"
    result.select("case", "head_T1w + head_T2w")
    result.wait(lambda: result.is_enabled("segment"), "the scans of the result")


def test_a_file_that_does_not_say_what_is_left_is_asked_about_and_opened_as_the_user_says(page, tmp_path):
    page.unfold("open-files")
    for name, button in (("silent", "open-oriented"), ("unwanted", "leave-out")):
        scan = write_nifti(tmp_path / f"{name}.nii.gz", DICOM.T, codes=(0, 0))
        page.element("open-files").send_keys(str(scan))
        page.wait(lambda: page.has("orientation-question"), "the question")
        assert f"{name}: not said in the file which side is left" in page.text("orientation-question")
        assert "Nothing was opened" in page.text("files-message")
        assert not page.is_enabled("open-oriented")
        page.select("orientation", "LAS")
        page.wait(lambda: page.is_enabled("open-oriented"), "an answer that can be sent")
        page.click(button)
        page.wait(lambda: not page.has("orientation-question"), "the question to be gone")
        if name == "silent":
            page.wait(lambda: "Opened: silent" in page.text("files-message"), "the scan")
            assert "LAS was assumed" in page.text("files-message")
    page.wait(lambda: "silent" in page.element("scan-first").text, "the scan among those to choose")
    assert "unwanted" not in page.element("scan-first").text
    page.select("scan-first", "head_T1w")
    page.select("scan-second", "head_T2w")
    page.wait(lambda: page.is_enabled("segment"), "the scans of before")


def test_scans_without_labels_are_added_and_the_next_case_is_opened(page, tmp_path):
    site = tmp_path / "site"  # of its own: in the other one, the same scans are a case with labels
    page.type("site-folder", str(site))
    page.click("add-unlabelled")
    page.wait(lambda: page.text("site-message").startswith(f"Added without labels: {site}"), "the case to be added")
    (case,) = CaseStore(site).cases()
    assert case.status == "unlabelled"
    page.click("open-case")
    chosen = "return document.getElementById('scan-first').selectedOptions[0].text"
    page.wait(lambda: page.browser.execute_script(chosen).startswith(case.id[:6]), "the case's scans")


def test_the_chosen_model_orders_the_work_list_and_can_be_stopped(page, tmp_path):
    site = tmp_path / "site"
    page.type("site-folder", str(site))
    page.click("add-unlabelled")
    page.wait(lambda: page.text("site-message").startswith(f"Added without labels: {site}"), "the case to be added")
    (case,) = CaseStore(site).cases()

    page.choose_model("slow")
    page.click("rank")
    page.wait(lambda: page.has("cancel-ranking"), "the ordering to begin")
    page.click("cancel-ranking")
    page.wait(lambda: page.text("ranking").startswith("Stopped."), "the ordering to end")
    assert read_ranking(site).scores == {}

    page.choose_model("quick")
    page.click("rank")
    page.wait(lambda: page.text("ranking").startswith("Done"), "the order")
    assert "uncertainty" in page.element("work").text
    assert set(read_ranking(site).scores) == {case.id}
    assert not page.has("ranking-failure")


def test_models_of_the_site_are_among_those_to_choose_from(page, tmp_path):
    models = tmp_path / "site" / "models"
    intensity_bundle(models / "of-the-site", (32, 36, 32), 4.0)
    page.type("site-folder", str(tmp_path / "site"))
    page.choose_model("of-the-site")
    intensity_bundle(models / "made-later", (32, 36, 32), 4.0)
    page.click("look")
    page.choose_model("made-later")


def different(picture, other):
    """Number of pixels that are clearly not the same."""
    return int((np.abs(picture - other).max(axis=2) > 40).sum())


def paint(page):
    """A stroke of tissue beside the head, in the upper axial view."""
    page.select("correct-modality", "T1w")
    page.select("structure", "tissue")
    page.press("f")
    page.press("1")
    page.wait(lambda: page.tools_in_use() == ["Paint"], "the brush")
    page.drag("CrossModalSeg1Axial", (0.08, 0.2), (0.12, 0.25), (0.16, 0.25))
    undo = "return !document.querySelector('[aria-label=Undo]').disabled"
    page.wait(lambda: page.browser.execute_script(undo), "a stroke")
