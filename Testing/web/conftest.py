"""The page for tests: the real server and worker with small models, in real headless Chromium."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from CrossModalSegLib.imaging.volume import write_volume
from Testing.tiny_bundle import intensity_bundle, two_balls
from Testing.volumes import sampled
from Testing.web_hand import Hand
from Testing.web_head import FIRST_GRID, HERE, SECOND_GRID, THERE, another_ball
from Testing.web_page import Page, start_chromium
from Testing.web_server import WebServer

MOST_WAITS_IN_VAIN = 3  # two minutes each; after them, the rest of the tests is given up


@pytest.fixture(scope="session")
def scans(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files of one head in two scans by modality. The second is oblique, has one ball less, and one elsewhere."""
    folder = tmp_path_factory.mktemp("scans")
    grids = {"T1w": FIRST_GRID, "T2w": SECOND_GRID}
    for (modality, grid), field in zip(grids.items(), (two_balls, another_ball), strict=True):
        write_volume(folder / f"head_{modality}.nrrd", sampled(field, grid).array, grid)
    return {modality: folder / f"head_{modality}.nrrd" for modality in grids}


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models "quick", which takes about a second, and "slow", some minutes."""
    folder = tmp_path_factory.mktemp("bundles")
    intensity_bundle(folder / "quick", (32, 36, 32), 4.0)
    intensity_bundle(folder / "slow", (24, 24, 24), 0.5)
    return folder


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    browser = start_chromium(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.quit()


@pytest.fixture(scope="session")
def server(
    browser: Any, tmp_path_factory: pytest.TempPathFactory, scans: dict[str, Path], bundles: Path
) -> Iterator[WebServer]:
    """The server with the two scans, for all tests that leave it running; without a browser it is not started."""
    assert browser is not None
    folder = tmp_path_factory.mktemp("server")
    inputs = [text for modality, path in scans.items() for text in ("--input", f"{modality}={path}")]
    site = folder / "site"
    server = WebServer(folder, *inputs, "--site", site, CROSSMODALSEG_BUNDLES=str(bundles))
    server.site = site
    yield server
    server.stop()


@pytest.fixture(scope="session")
def opened(browser: Any, server: WebServer) -> Page:
    """The page, opened once."""
    return Page(browser, server.address).open()


@pytest.fixture
def page(opened: Page, server: WebServer) -> Page:
    """The page with the quick model chosen and nothing going on."""
    assert server.process.poll() is None, f"the server has ended:\n{server.log}"
    if Page.waits_in_vain >= MOST_WAITS_IN_VAIN:
        pytest.fail(f"{Page.waits_in_vain} tests before have waited in vain; this one would, too")
    opened.use()
    if opened.has("cancel"):
        opened.click("cancel")
    opened.wait(lambda: opened.has("segment"), "the run before to end")
    opened.choose_model("quick")
    return opened


@pytest.fixture
def result(page: Page) -> Page:
    """The page with a result."""
    if not page.has("case"):
        page.click("segment")
        page.wait(lambda: page.text("outcome").startswith("Done"), "a result")
    elif not page.value("case"):  # other scans are chosen, of which there is none
        page.select("case", "head_T1w + head_T2w")
        page.wait(lambda: page.is_enabled("segment"), "the scans of the result")
    return page


@pytest.fixture(scope="module")
def fresh() -> dict[str, bool]:
    """Whether the tests of this file have begun with the model's own result: those of others may have drawn on it."""
    return {"result": False}


@pytest.fixture
def hand(result: Page, server: WebServer, tmp_path: Path, fresh: dict[str, bool]) -> Iterator[Hand]:
    """A hand over the model's own result in the first scan, which it is again at the end; it takes from neighbours."""
    hand = Hand(result, server, (FIRST_GRID, SECOND_GRID), tmp_path)
    result.select("correct-modality", "T1w")
    result.select("masking", "Take from")
    if not fresh["result"]:
        hand.restore()
        fresh["result"] = True
    yield hand
    hand.restore()
    result.select("correct-modality", "T2w")  # and with it other steps back


@pytest.fixture
def displaced(tmp_path: Path) -> dict[str, Path]:
    """One head in two files; the second one says that it lies 12 mm higher."""
    paths = {}
    for name, grid, weight in (("mine_T1w", HERE, 1.0), ("mine_T2w", THERE, 0.8)):
        paths[name] = tmp_path / f"{name}.nrrd"
        write_volume(paths[name], sampled(two_balls, HERE).array * weight, grid)
    return paths


@pytest.fixture
def alone(browser: Any, bundles: Path, tmp_path: Path) -> Iterator[Callable[[], tuple[Page, WebServer]]]:
    """A tab of a server of its own that was started without scans, and the way to start the next one."""
    started: list[WebServer] = []

    def start() -> tuple[Page, WebServer]:
        started.append(WebServer(tmp_path / "server", CROSSMODALSEG_BUNDLES=str(bundles)))
        page = Page(browser, started[-1].address)
        browser.get(page.address)
        page.wait(lambda: page.has("model"), "the page")
        return page, started[-1]

    browser.switch_to.new_window("tab")
    yield start
    for server in started:
        server.stop()
    browser.close()
    browser.switch_to.window(browser.window_handles[0])
