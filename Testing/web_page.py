"""The page as a user sees it in Chromium, for tests."""

import io
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from PIL import Image

T = TypeVar("T")
WAIT_SECONDS = 120.0  # on a computer that has much else to do; alone, nothing takes this long
RUN_SECONDS = 1800.0  # the same for a run with the starter model, which alone takes a minute
SIZE = (1280, 800)
VIEWS = tuple(f"CrossModalSeg{row}{orientation}" for row in (1, 2) for orientation in ("Axial", "Coronal", "Sagittal"))


def start_chromium(folder: Path) -> Any:
    """A headless Chromium with a profile in ``folder``. Skips where there is none, unless
    CROSSMODALSEG_BROWSER=required, and everywhere with CROSSMODALSEG_BROWSER=none."""
    if os.environ.get("CROSSMODALSEG_BROWSER") == "none":
        pytest.skip("CROSSMODALSEG_BROWSER=none")
    program, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if program is None or driver is None:
        message = "no Chromium with chromedriver: apt-get install chromium chromium-driver"
        if os.environ.get("CROSSMODALSEG_BROWSER") == "required":
            pytest.fail(message)
        pytest.skip(message)
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = program
    flags = "headless=new no-sandbox disable-gpu disable-dev-shm-usage no-first-run disable-background-networking"
    flags += " disable-component-update disable-sync disable-extensions"
    for flag in [*flags.split(), f"user-data-dir={folder / 'profile'}"]:
        options.add_argument(f"--{flag}")
    downloads = {"download.default_directory": str(folder / "downloads"), "download.prompt_for_download": False}
    options.add_experimental_option("prefs", downloads)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(driver))
    browser.downloads = downloads["download.default_directory"]
    browser.set_page_load_timeout(WAIT_SECONDS)
    browser.set_script_timeout(WAIT_SECONDS)
    resize(browser, SIZE)
    return browser


def resize(browser: Any, size: tuple[int, int]) -> None:
    """Give the page so many pixels, across and down."""
    browser.set_window_size(*size)
    missing = size[1] - browser.execute_script("return window.innerHeight")  # the window has a frame, even headless
    browser.set_window_size(size[0], size[1] + missing)


class Page:
    """One tab. Elements are named by their ids; every wait has an end; ``waits_in_vain`` counts those that met it."""

    waits_in_vain = 0

    def __init__(self, browser: Any, address: str):
        self.browser = browser
        self.address = address
        self._tab = browser.current_window_handle

    def open(self) -> "Page":
        self.browser.get(self.address)
        return self.settle()

    def reload(self) -> "Page":
        self.browser.refresh()
        return self.settle()

    def new_tab(self) -> "Page":
        """The same page in another tab."""
        self.browser.switch_to.new_window("tab")
        return Page(self.browser, self.address).open()

    def lose_connection(self) -> None:
        """Close the page's connection to the server, as a network that fails does."""
        note = """window.sockets = []; window.WebSocket = class extends WebSocket {
            constructor(...given) { super(...given); window.sockets.push(this) } }"""
        script = self.browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": note})
        try:
            self.reload()
        finally:
            self.browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)
        self.browser.execute_script("window.sockets.forEach((socket) => socket.close())")

    def use(self) -> "Page":
        """Look at this tab."""
        self.browser.switch_to.window(self._tab)
        return self

    def close(self) -> None:
        """Close this tab."""
        self.use()
        self.browser.close()

    def settle(self) -> "Page":
        """Wait until the page is there, with pictures in all views."""
        self.wait(lambda: self.has("model"), "the page")
        self.wait(lambda: all(self.picture(view).std() > 1 for view in VIEWS), "pictures")
        return self

    # --- elements

    def wait(self, until: Callable[[], T], what: str, seconds: float = WAIT_SECONDS) -> T:
        """Wait until ``until()`` is true; elements that go or change meanwhile are asked for again.

        A browser that has ended or crashed is not waited for.
        """
        from selenium.common.exceptions import WebDriverException

        end = time.monotonic() + seconds
        last: Any = None
        while time.monotonic() < end:
            try:
                if last := until():
                    return last
            except WebDriverException as error:
                if _is_end_of_browser(error):
                    raise
                last = error
            time.sleep(0.1)
        Page.waits_in_vain += 1
        self.browser.save_screenshot(str(Path(os.environ.get("TMPDIR", "/tmp")) / "crossmodalseg-web-failure.png"))
        pytest.fail(f"waited in vain for {what}; last: {last}; error on the page: {self.text('failure')!r}")

    def element(self, name: str) -> Any:
        from selenium.webdriver.common.by import By

        return self.browser.find_element(By.ID, name)

    def has(self, name: str) -> bool:
        return bool(self.browser.execute_script("return !!document.getElementById(arguments[0])", name))

    def text(self, name: str) -> str:
        """What stands in an element; "" where it is not there."""
        script = "const e = document.getElementById(arguments[0]); return e ? e.innerText : ''"
        return self.browser.execute_script(script, name)

    def value(self, name: str) -> str:
        return self.browser.execute_script("return document.getElementById(arguments[0]).value", name)

    def is_enabled(self, name: str) -> bool:
        script = "const e = document.getElementById(arguments[0]); return !!e && !e.matches(':disabled')"
        return self.browser.execute_script(script, name)

    def click(self, name: str) -> None:
        """Click as a user does: when it can be clicked, where it can be seen."""
        self.wait(lambda: self.is_enabled(name), f"{name} to be enabled")
        self.unfold(name)
        places = [self._place(name)]

        def is_still() -> bool:
            places.append(self._place(name))
            return places[-1] == places[-2]

        self.wait(is_still, f"{name} to stay where it is")
        self.wait(lambda: self.element(name).click() or True, f"a click on {name}")

    def _place(self, name: str) -> list[float]:
        script = "const b = document.getElementById(arguments[0]).getBoundingClientRect(); return [b.left, b.top]"
        return self.browser.execute_script(f"await new Promise((next) => setTimeout(next, 100)); {script}", name)

    def unfold(self, name: str) -> None:
        """Open the section that an element is in."""
        script = """const e = document.getElementById(arguments[0]);
            for (let d = e.closest('details'); d; d = d.parentElement.closest('details')) d.open = true;
            e.scrollIntoView({block: 'center'});"""
        self.browser.execute_script(script, name)

    def select(self, name: str, text: str) -> None:
        """Choose the entry that begins with ``text``."""
        from selenium.webdriver.support.ui import Select

        def choose() -> bool:
            self.unfold(name)  # each time: entries that cannot be seen have no text
            entries = Select(self.element(name))
            places = [place for place, option in enumerate(entries.options) if option.text.startswith(text)]
            if places:
                entries.select_by_index(places[0])
            return bool(places)

        self.wait(choose, f"{text} in {name}")

    def choose_model(self, name: str) -> None:
        """Choose a model, and wait until the scans have been examined for it."""
        self.select("model", name)
        examined = "const e = document.getElementById('preflight'); return e ? e.dataset.model : ''"
        self.wait(lambda: self.browser.execute_script(examined) == name, "the preflight")
        self.wait(lambda: self.is_enabled("segment"), "Segment to be enabled")

    def type(self, name: str, text: str) -> None:
        from selenium.webdriver.common.keys import Keys

        self.unfold(name)
        self.element(name).send_keys(Keys.CONTROL, "a")
        self.element(name).send_keys(text or Keys.DELETE, Keys.TAB)

    def press(self, *keys: str) -> None:
        """Press keys while no control has the focus."""
        from selenium.webdriver.common.action_chains import ActionChains

        self.browser.execute_script("document.activeElement.blur()")
        actions = ActionChains(self.browser)
        *held, last = keys
        for key in held:
            actions.key_down(key)
        actions.send_keys(last)
        for key in held:
            actions.key_up(key)
        actions.perform()

    def chosen_scans(self) -> list[str]:
        """The names of the two scans that are chosen."""
        script = "return ['first', 'second'].map((p) => document.getElementById(`scan-${p}`).selectedOptions[0].text)"
        return self.browser.execute_script(script)

    def view_title(self, view: str) -> str:
        script = f"return document.querySelector('[data-view={view}] .view-title').innerText"
        return self.browser.execute_script(script)

    def drop(self, *paths: Path) -> None:
        """Drag files or folders from elsewhere onto the page, and let go."""
        data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            event = {"type": kind, "x": SIZE[0] // 2, "y": SIZE[1] // 2, "data": data}
            self.browser.execute_cdp_cmd("Input.dispatchDragEvent", event)

    def downloaded(self, pattern: str) -> bytes:
        """The content of the one file that has been downloaded, whose name is as ``pattern`` says; it is removed."""
        folder = Path(self.browser.downloads)
        self.wait(lambda: list(folder.glob(pattern)) and not list(folder.glob("*.crdownload")), pattern)
        (file,) = folder.glob(pattern)  # tests of other files may have left others
        content = file.read_bytes()
        file.unlink()
        return content

    def current_place(self) -> int:
        """The number of the place in the review list that was gone to last; 0 where there is none."""
        script = "return document.querySelector('#review-list li.current .entry')?.innerText ?? '0.'"
        return int(self.browser.execute_script(script).split(".")[0])

    def tools_in_use(self) -> list[str]:
        """The tools of the segment editor that are pressed."""
        script = "return [...document.querySelectorAll('.tool[aria-pressed=true]')].map((e) => e.ariaLabel)"
        return self.browser.execute_script(script)

    def strokes(self) -> int:
        """How many strokes the page has told of."""
        return int(self.browser.execute_script("return document.getElementById('stroke')?.dataset.number ?? 0"))

    def press_button(self, text: str) -> None:
        """Click the button with this text, among the options of the tool in use."""
        from selenium.webdriver.common.by import By

        find = lambda: self.browser.find_element(By.XPATH, f'//*[@class="options"]//button[text()="{text}"]')
        self.wait(lambda: find().is_enabled() and (find().click() or True), f"a click on {text}")

    def set_option(self, title: str, value: str) -> None:
        """Choose, or type, ``value`` for an option of the tool in use."""
        from selenium.webdriver.common.by import By
        from selenium.webdriver.common.keys import Keys
        from selenium.webdriver.support.ui import Select

        path = f'//*[@class="options"]//label[starts-with(normalize-space(), "{title}")]/*[self::input or self::select]'
        control = self.wait(lambda: self.browser.find_element(By.XPATH, path), title)
        if control.tag_name == "select":
            Select(control).select_by_visible_text(value)
        else:
            control.clear()
            control.send_keys(value, Keys.TAB)

    # --- views

    def view(self, name: str) -> Any:
        from selenium.webdriver.common.by import By

        return self.browser.find_element(By.CSS_SELECTOR, f'[data-view="{name}"]')

    def picture(self, name: str) -> np.ndarray:
        """(height, width, 3): what a view shows, without the letters, titles and sliders over it."""
        hide = "document.querySelectorAll('[data-view]').forEach((e) => { e.style.visibility = arguments[0] })"
        self.browser.execute_script(hide, "hidden")
        data = self.view(name).screenshot_as_png
        self.browser.execute_script(hide, "")
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)

    def still_picture(self, name: str) -> np.ndarray:
        """`picture`, when nothing moves in it any more."""
        pictures = [self.picture(name)]

        def is_still() -> bool:
            time.sleep(0.5)
            pictures.append(self.picture(name))
            return np.array_equal(pictures[-1], pictures[-2])

        self.wait(is_still, f"{name} to be still")
        return pictures[-1]

    def settle_pictures(self, names: Iterable[str]) -> None:
        """Wait until nothing moves in these views, each a picture of the size of its view."""
        fits = """const e = document.querySelector(`[data-view="${arguments[0]}"]`);
            const i = e.parentElement.querySelector('img');
            const off = i && [i.naturalWidth - e.clientWidth, i.naturalHeight - e.clientHeight];
            return !!i && off.every((pixels) => Math.abs(pixels) <= 1)"""
        for name in names:
            self.wait(lambda name=name: self.browser.execute_script(fits, name), f"{name} in its size")
            self.still_picture(name)

    def drag(self, name: str, *places: tuple[float, float]) -> None:
        """Drag in a view through places given as shares of its width and height."""
        self.drag_and_hold(name, *places)()

    def drag_and_hold(self, name: str, *places: tuple[float, float]) -> Callable[[], None]:
        """The same without letting go of the button; what is returned does that."""
        from selenium.webdriver.common.action_chains import ActionChains

        element = self.view(name)
        width, height = element.size["width"], element.size["height"]
        steps = [(round((x - 0.5) * width), round((y - 0.5) * height)) for x, y in places]
        actions = ActionChains(self.browser, duration=50)
        actions.move_to_element_with_offset(element, *steps[0]).pause(0.3).click_and_hold().pause(0.2)
        for x, y in steps[1:]:
            actions.move_to_element_with_offset(element, x, y).pause(0.1)
        actions.perform()
        return lambda: ActionChains(self.browser).release().perform()

    def slices(self) -> dict[str, float]:
        """Where the slices of each view are, in mm along its axis."""
        script = """return Object.fromEntries([...document.querySelectorAll('[data-view] .slice')].map(
            (e) => [e.closest('[data-view]').dataset.view, Number(e.value)]))"""
        return self.browser.execute_script(script)

    # --- what the browser did

    def requested(self) -> set[str]:
        """The addresses of everything that the browser has asked for since this was called last."""
        events = [json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")]
        sent = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
        sockets = [event["params"]["url"] for event in events if event["method"] == "Network.webSocketCreated"]
        return {*sent, *sockets}


def _is_end_of_browser(error: Exception) -> bool:
    from selenium.common.exceptions import InvalidSessionIdException, NoSuchWindowException

    is_closed = isinstance(error, InvalidSessionIdException | NoSuchWindowException)
    return is_closed or any(word in str(error) for word in ("crashed", "disconnected", "not reachable"))


def coloured(picture: np.ndarray) -> int:
    """Number of pixels that are not grey: outlines of structures."""
    return int((picture.max(axis=2) - picture.min(axis=2) > 60).sum())
