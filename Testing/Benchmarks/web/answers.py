"""Milliseconds from the wheel in a slice view to its answer, while surfaces are made: for 3D shown anew, and after a
stroke.

    python Testing/Benchmarks/web/answers.py

Chromium opens the page with the phantom, segments it with the starter model, and turns the wheel about four times a
second; the answer is the new position of the slice, which the server sends. Prints the median and the longest of each
part; ends with 1 where one exceeds the limit. Needs a quiet computer.
"""

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import numpy as np

from Testing.web_page import RUN_SECONDS, Page, start_chromium
from Testing.web_server import WebServer, sample_inputs

LIMIT_MS = 300.0
VIEW, OTHER = "CrossModalSeg1Axial", "CrossModalSeg2Axial"  # where strokes are drawn, and where the wheel turns
STROKE = ((0.48, 0.47), (0.5, 0.5), (0.52, 0.53))
WATCH = """
const name = arguments[0], place = () => document.querySelector(`[data-view="${name}"] .slice`)?.value;
window.answered = new Promise((done) => window.addEventListener("wheel", () => {
    const began = performance.now(), before = place();
    const look = () => place() !== before ? done(performance.now() - began) : setTimeout(look, 2);
    look();
}, { capture: true, once: true }));
"""
ANSWERED = "const done = arguments[0]; window.answered.then(done)"


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        server = WebServer(Path(folder) / "server", *sample_inputs())
        browser = start_chromium(Path(folder) / "chromium")
        try:
            found = _measure(Page(browser, server.address).open())
        finally:
            browser.quit()
            server.stop()
    for what, taken in found.items():
        print(f"{what}: median {np.median(taken):.0f} ms, longest {max(taken):.0f} ms of {len(taken)}")
    longest = max(max(taken) for taken in found.values())
    print(f"longest: {longest:.0f} ms (limit {LIMIT_MS:g} ms)")
    return int(longest > LIMIT_MS)


def _measure(page: Page) -> dict[str, list[float]]:
    page.choose_model("brain-mr-pair")
    page.click("segment")
    page.wait(lambda: page.text("outcome").startswith("Done"), "the result", RUN_SECONDS)
    page.settle_pictures([VIEW, OTHER])
    found = {"slices alone": _answers(page, 5.0)}
    page.click("mode-both")
    page.wait(lambda: page.view("ThreeD").is_displayed(), "3D")
    found["while 3D is made for the first time"] = _answers(page, 15.0)
    page.unfold("structure")
    page.press("1")
    page.wait(lambda: page.tools_in_use() == ["Paint"], "the brush")
    strokes = page.strokes()
    page.drag(VIEW, *STROKE)
    found["after a stroke with 3D shown"] = _answers(page, 8.0)
    page.wait(lambda: page.strokes() > strokes, "the stroke")
    return found


def _answers(page: Page, seconds: float) -> list[float]:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

    taken: list[float] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        page.browser.execute_script(WATCH, OTHER)
        turn = 100 if len(taken) % 2 else -100
        ActionChains(page.browser, duration=0).scroll_from_origin(
            ScrollOrigin.from_element(page.view(OTHER)), 0, turn
        ).perform()
        taken.append(page.browser.execute_async_script(ANSWERED))
        time.sleep(0.2)
    return taken


if __name__ == "__main__":
    sys.exit(main())
