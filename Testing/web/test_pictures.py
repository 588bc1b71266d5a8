"""The phantom through the page with the starter model, and a picture of the page in each state.

The pictures of docs/ are made by
    CROSSMODALSEG_PICTURES=docs .venv/bin/python -m pytest Testing/web/test_pictures.py
"""

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from Testing.web_page import RUN_SECONDS, VIEWS, Page, coloured
from Testing.web_server import WebServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]  # minutes of computing, on a computer that may be busy


@pytest.fixture
def pictures(tmp_path):
    folder = Path(os.environ.get("CROSSMODALSEG_PICTURES", tmp_path))
    folder.mkdir(exist_ok=True)
    return folder.resolve()


@pytest.fixture
def page(browser, tmp_path):
    server = WebServer(tmp_path / "server")
    yield Page(browser, server.address).open()
    server.stop()


def test_the_phantom_goes_through_the_page_from_the_start_to_a_correction(page, pictures):
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
    page.wait(lambda: page.current_place() == 1, "the first place")  # an eye, of which the model says that it is fluid
    page.select("structure", "cerebrospinal fluid")
    page.press("2")
    page.wait(lambda: page.tools_in_use() == ["Erase"], "the eraser")
    page.settle_pictures(VIEWS)
    page.drag("CrossModalSeg1Axial", (0.48, 0.47), (0.5, 0.5), (0.52, 0.53))
    page.unfold("structure")
    page.settle_pictures(VIEWS)
    save(page, pictures / "web-correct.png")


def save(page, path):
    image = Image.open(io.BytesIO(page.browser.get_screenshot_as_png())).convert("RGB")
    image.save(path, optimize=True)
    assert path.stat().st_size > 20_000
