"""The tutorial of docs/web.md, from the start to a saved correction, with a picture of the page in each state.

The pictures of docs/ are made by
    CROSSMODALSEG_PICTURES=docs .venv/bin/python -m pytest Testing/web/test_pictures.py
"""

import io
import os
from pathlib import Path

import pytest
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from CrossModalSegLib.site.case_store import CaseStore
from Testing.web_page import RUN_SECONDS, SIZE, VIEWS, Page, coloured, resize
from Testing.web_server import WebServer

WIDE = (1920, 1080)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]  # minutes of computing, on a computer that may be busy


@pytest.fixture
def pictures(tmp_path):
    folder = Path(os.environ.get("CROSSMODALSEG_PICTURES", tmp_path))
    folder.mkdir(exist_ok=True)
    return folder.resolve()


@pytest.fixture
def page(browser, tmp_path):
    server = WebServer(tmp_path / "server")
    page = Page(browser, server.address)
    browser.get(page.address)
    page.wait(lambda: page.has("model"), "the page")
    page.click("open-sample")
    yield page.settle()
    server.stop()


def test_the_tutorial_of_the_docs(page, pictures, tmp_path):
    def picture(name):
        page.browser.execute_script("document.querySelector('.panel').scrollTop = arguments[0]", 0)
        save(page, pictures / f"web-{name}.png")

    assert "140 × 191 × 148" in page.wait(lambda: page.text("preflight"), "the preflight")
    picture("start")
    page.click("segment")
    page.wait(lambda: "left" in page.text("stage"), "the time left")
    picture("running")
    page.wait(lambda: page.text("outcome").startswith("Done"), "the result", RUN_SECONDS)
    page.wait(lambda: all(coloured(page.picture(view)) > 500 for view in VIEWS), "outlines")
    assert page.browser.execute_script("return document.querySelectorAll('#volumes tbody tr').length") == 32
    picture("result")
    page.click("mode-both")
    page.wait(lambda: coloured(page.picture("ThreeD")) > 2000, "surfaces")
    page.settle_pictures((*VIEWS, "ThreeD"))
    picture("3d")
    page.click("mode-slices")
    page.press("n")
    page.wait(lambda: page.current_place() == 1, "the first place")
    page.settle_pictures(VIEWS)
    ActionChains(page.browser).move_to_element(page.view("CrossModalSeg1Axial")).double_click().perform()
    structure = page.wait(lambda: there(page), "the structure that is there")
    page.wait(lambda: chosen(page) == structure, "the structure that is there to be chosen")
    page.press("2")
    page.wait(lambda: page.tools_in_use() == ["Erase"], "the eraser")
    page.settle_pictures(VIEWS)
    strokes = page.strokes()
    page.drag("CrossModalSeg1Axial", (0.48, 0.47), (0.5, 0.5), (0.52, 0.53))
    page.wait(lambda: page.strokes() > strokes, "the stroke")
    assert f"{structure} -" in page.text("stroke"), "of what was there, and of nothing else"
    assert page.text("stroke").count(structure) == page.text("stroke").count(" -") == 1
    page.unfold("structure")
    page.settle_pictures(VIEWS)
    save(page, pictures / "web-correct.png")
    resize(page.browser, WIDE)
    page.settle_pictures(VIEWS)
    picture("wide")
    resize(page.browser, SIZE)
    page.settle_pictures(VIEWS)
    page.unfold("compare")
    page.select("compare", "the model's own result")
    page.wait(lambda: "in the other result" in page.browser.find_element("id", "review-list").text, "differences")
    page.press("0", "u")
    page.settle_pictures(VIEWS)
    picture("compare")
    page.press("u")
    page.select("compare", "nothing")
    page.wait(lambda: page.current_place() == 1, "the places to check again")

    page.press("1")
    page.wait(lambda: page.tools_in_use() == ["Paint"], "the brush")
    page.drag("CrossModalSeg1Axial", (0.48, 0.47), (0.5, 0.5), (0.52, 0.53))
    page.wait(lambda: page.strokes() > strokes + 1, "the stroke")
    assert f"{structure} +" in page.text("stroke")
    page.press(Keys.CONTROL, "z")
    page.press("0")

    page.type("site-folder", str(tmp_path / "site"))
    page.type("annotator", "AB")
    page.click("save-correction")
    page.wait(lambda: page.text("site-message").startswith("Correction saved"), "the correction to be saved")
    (case,) = CaseStore(tmp_path / "site").cases()
    assert case.status == "corrected"
    for what, name in (
        ("T1w", "phantom_T1w_segmentation.seg.nrrd"),
        ("table", "phantom_T1w___phantom_T2w_volumes.csv"),
    ):
        page.click(f"download-{what}")
        file = Path(page.browser.downloads) / name
        page.wait(file.is_file, name)
        file.unlink()
    page.press("n")
    page.wait(lambda: page.current_place() == 2, "the second place: the page goes on after downloads")


def there(page):
    """The name of the structure of the T1w below the mouse."""
    script = "return document.querySelector('.reading[data-modality=T1w]')?.lastChild.textContent.trim()"
    return page.browser.execute_script(script)


def chosen(page):
    return page.browser.execute_script("return document.getElementById('structure').selectedOptions[0].text")


def save(page, path):
    image = Image.open(io.BytesIO(page.browser.get_screenshot_as_png())).convert("RGB")
    image.save(path, optimize=True)
    assert path.stat().st_size > 20_000
