"""Reloads, tabs, lost connections, and the end of the server."""

from pathlib import Path

import psutil
import pytest

from Testing.web_page import Page
from Testing.web_server import WebServer

pytestmark = pytest.mark.timeout(600)  # on a computer that has much else to do


@pytest.mark.slow
def test_a_page_that_is_reloaded_in_the_middle_of_a_run_shows_it_and_can_cancel_it(page):
    page.choose_model("slow")
    page.click("segment")
    page.wait(lambda: page.text("stage").startswith("Network"), "the network's progress")
    page.reload()
    page.wait(lambda: page.text("stage").startswith("Network"), "the network's progress")
    page.click("cancel")
    page.wait(lambda: page.text("outcome").startswith("Cancelled"), "the end")


@pytest.mark.slow
def test_two_tabs_show_the_same_run_and_either_can_cancel_it(page):
    other = page.new_tab()
    try:
        other.choose_model("slow")
        other.click("segment")
        page.use()
        page.wait(lambda: page.text("stage").startswith("Network"), "the network's progress")
        page.click("cancel")
        other.use()
        other.wait(lambda: other.text("outcome").startswith("Cancelled"), "the end")
    finally:
        other.close()
        page.use()
    page.settle()


def test_a_lost_connection_is_said_and_made_again(page):
    page.lose_connection()
    page.wait(lambda: page.has("lost-connection"), "the page to say so")
    assert "nothing is lost" in page.text("lost-connection")
    page.browser.execute_script("document.querySelector('#lost-connection button').click()")
    page.wait(lambda: not page.has("lost-connection"), "the connection")
    page.settle()


def test_only_this_computer_is_listened_to(server):
    ports = psutil.Process(server.process.pid).net_connections(kind="inet")
    listening = {connection.laddr.ip for connection in ports if connection.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}


@pytest.mark.slow
def test_ctrl_c_ends_the_server_and_its_worker_and_removes_its_files(browser, bundles, scans, tmp_path):
    server = WebServer(tmp_path / "server", "--input", f"T1w={scans['T1w']}", CROSSMODALSEG_BUNDLES=str(bundles))
    try:
        browser.switch_to.new_window("tab")
        page = Page(browser, server.address)
        browser.get(server.address)
        page.wait(lambda: page.has("model"), "the page")
        page.choose_model("slow")
        page.click("segment")
        page.wait(lambda: page.text("stage").startswith("Network"), "the network's progress")
        children = psutil.Process(server.process.pid).children(recursive=True)
        assert any("CrossModalSegLib.worker" in " ".join(child.cmdline()) for child in children)
        assert server.stop() == 0
        gone, alive = psutil.wait_procs(children, timeout=30)
        assert (bool(gone), alive) == (True, [])
        assert list(server.temporary.iterdir()) == []
        page.wait(lambda: page.has("lost-connection"), "the page to say so")
    finally:
        server.stop()
        browser.close()
        browser.switch_to.window(browser.window_handles[0])


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--input", "T1w=/no/such/file.nrrd"], "not-found"),
        (["--input", "CT={scan}"], "unknown-modality"),
        (["--input", "just-a-name"], "MODALITY=PATH"),
        (["--host", "0.0.0.0"], "unrecognized arguments"),
    ],
)
def test_wrong_arguments_are_one_line_and_exit_code_2(arguments, code, scans, tmp_path):
    given = [argument.format(scan=scans["T1w"]) for argument in arguments]
    with pytest.raises(RuntimeError) as caught:
        WebServer(tmp_path / "server", *given)
    assert code in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert list(Path(tmp_path / "server" / "temporary").iterdir()) == []
