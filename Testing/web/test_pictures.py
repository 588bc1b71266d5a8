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
_COLOURS = 256  # of the palette: a picture of the page is a fifth of its size then


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
    for place in (1, 2, 3):
        page.press("n")
        page.wait(lambda place=place: page.current_place() == place, f"place {place}")
    page.press("1")
    page.wait(lambda: page.tools_in_use() == ["Paint"], "the brush")
    page.drag("CrossModalSeg1Axial", (0.45, 0.42), (0.5, 0.45), (0.55, 0.5))
    page.unfold("structure")
    page.settle_pictures(VIEWS)
    save(page, pictures / "web-correct.png")


def save(page, path):
    """A picture with a palette, which is small."""
    image = Image.open(io.BytesIO(page.browser.get_screenshot_as_png())).convert("RGB")
    image.quantize(_COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)
    assert path.stat().st_size > 20_000
