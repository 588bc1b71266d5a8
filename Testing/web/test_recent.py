"""Recent cases: what was opened from paths is listed by the next program, and opened again with a click."""

from pathlib import Path

import pytest

from CrossModalSegApp.web.recent import RecentCase, RecentCases
from Testing.web_page import Page
from Testing.web_server import WebServer


def test_the_newest_is_first_once_and_a_damaged_list_is_none(tmp_path):
    recent = RecentCases(tmp_path / "user" / "recent.json")
    assert recent.all() == []
    for name in ("a", "b", "a", *"cdefghi"):
        recent.note(RecentCase(name, {"T1w": f"/{name}.nrrd"}))
    assert [one.title for one in recent.all()] == list("ihgfedca")  # eight at most
    recent.forget(RecentCase("any title", {"T1w": "/i.nrrd"}))
    assert recent.all()[0].title == "h"
    assert (tmp_path / "user" / "recent.json").stat().st_mode & 0o777 == 0o600
    (tmp_path / "user" / "recent.json").write_text("[")
    assert recent.all() == []


@pytest.mark.slow
@pytest.mark.timeout(1200)  # three starts of a server, on a computer that has much else to do
def test_a_case_of_the_command_line_is_opened_again_and_one_that_is_gone_says_so(browser, bundles, scans, tmp_path):
    given = [text for modality, path in scans.items() for text in ("--input", f"{modality}={path}")]
    gone = tmp_path / "gone_T1w.nrrd"
    gone.write_bytes(Path(scans["T1w"]).read_bytes())
    for arguments in (["--input", f"T1w={gone}"], given):
        WebServer(tmp_path / "server", *arguments, CROSSMODALSEG_BUNDLES=str(bundles)).stop()
    gone.unlink()
    server = WebServer(tmp_path / "server", CROSSMODALSEG_BUNDLES=str(bundles))
    browser.switch_to.new_window("tab")
    try:
        page = Page(browser, server.address)
        browser.get(page.address)
        press = """const e = document.querySelector(`[data-recent="${arguments[0]}"] button`);
            document.getElementById('recent').open = true; e?.click(); return !!e"""
        page.wait(lambda: browser.execute_script(press, 1), "the older case")
        page.wait(lambda: "gone_T1w.nrrd" in page.text("dialog-text"), "what is wrong")
        page.click("dialog-yes")
        page.wait(lambda: browser.execute_script(press, 0), "the newer case")
        page.wait(lambda: page.chosen_scans() == ["head_T1w", "head_T2w"], "the scans")
    finally:
        browser.close()
        browser.switch_to.window(browser.window_handles[0])
        server.stop()
