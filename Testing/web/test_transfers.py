"""Files to and from the page, over real connections: limits, names, and what is left of them."""

import asyncio
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from CrossModalSegApp.web.downloads import Downloads
from CrossModalSegApp.web.uploads import Uploads
from CrossModalSegLib.errors import InputError
from Testing.disk_faults import disturbed, failing_at

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:aiohttp")
BATCH = "0123456789abcdef"


def exchange(routes: list[web.RouteDef], *requests: tuple[str, str, bytes | None, str]) -> list[tuple[int, bytes, str]]:
    """(status, body, disposition) of the answers to requests (method, path, body, file name)."""

    async def ask() -> list[tuple[int, bytes, str]]:
        application = web.Application()
        application.add_routes(routes)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        answers = []
        try:
            async with aiohttp.ClientSession() as session:
                for method, path, body, name in requests:
                    headers = {"X-File-Name": name}
                    async with session.request(method, base + path, data=body, headers=headers) as answer:
                        disposition = answer.headers.get("Content-Disposition", "")
                        answers.append((answer.status, await answer.read(), disposition))
        finally:
            await runner.cleanup()
        return answers

    return asyncio.run(ask())


def upload(uploads: Uploads, body: bytes, name: str, batch: str = BATCH) -> int:
    return exchange(uploads.routes(), ("POST", f"/upload/{batch}", body, name))[0][0]


def test_files_of_a_batch_lie_together_as_they_were_and_go_when_they_have_been_read(tmp_path):
    uploads = Uploads(tmp_path, 1000)
    assert upload(uploads, b"one", "series/IM0001") == 204
    assert upload(uploads, b"two", "series/IM0002") == 204
    folder = uploads.folder_of(BATCH)
    assert {path.name: path.read_bytes() for path in folder.rglob("IM*")} == {"IM0001": b"one", "IM0002": b"two"}
    uploads.remove(BATCH)
    assert list(tmp_path.iterdir()) == []


def test_files_whose_names_become_the_same_are_all_kept(tmp_path):
    uploads = Uploads(tmp_path, 1000)
    for content, name in (
        (b"one", "A/IM%3A1"),
        (b"two", "A/IM%3F1"),
        (b"three", "A/IM_1"),
        (b"four", "x" * 200 + "IM_1"),
    ):
        assert upload(uploads, content, name) == 204
    assert upload(uploads, b"five", "y" + "x" * 199 + "IM_1") == 204
    kept = sorted(path.read_bytes() for path in uploads.folder_of(BATCH).rglob("*") if path.is_file())
    assert kept == [b"five", b"four", b"one", b"three", b"two"]


@pytest.mark.parametrize("name", ["../../out", "/etc/out", "..%5C..%5Cout", "a/../../../out", "C%3A%5Cout"])
def test_names_cannot_lead_out_of_the_folder(tmp_path, name):
    uploads = Uploads(tmp_path / "in", 1000)
    assert upload(uploads, b"x", name) == 204
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert file.is_relative_to(tmp_path / "in" / BATCH)


@pytest.mark.parametrize(("name", "batch"), [("", BATCH), ("..", BATCH), ("a", "..%2F..%2Fout"), ("a", "short")])
def test_what_no_page_of_ours_sends_is_refused(tmp_path, name, batch):
    assert upload(Uploads(tmp_path, 1000), b"x", name, batch) in (400, 404)
    assert list(tmp_path.iterdir()) == []


def test_more_than_the_limit_is_refused_and_nothing_of_it_stays(tmp_path):
    uploads = Uploads(tmp_path, 1000)
    assert upload(uploads, b"x" * 600, "a") == 204
    assert upload(uploads, b"x" * 600, "b") == 413
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="no-upload"):
        uploads.folder_of(BATCH)


def test_the_limit_holds_for_all_batches_together(tmp_path):
    uploads = Uploads(tmp_path, 1000)
    assert upload(uploads, b"x" * 600, "a") == 204
    assert upload(uploads, b"x" * 600, "a", "fedcba9876543210") == 413
    assert uploads.folder_of(BATCH).is_dir()


def test_a_length_that_is_kept_secret_does_not_lift_the_limit(tmp_path):
    async def parts():
        for _ in range(10):
            yield b"x" * 200

    uploads = Uploads(tmp_path, 1000)
    assert exchange(uploads.routes(), ("POST", f"/upload/{BATCH}", parts(), "a"))[0][0] == 413
    assert list(tmp_path.iterdir()) == []


def test_a_name_of_any_length_keeps_its_suffix(tmp_path):
    uploads = Uploads(tmp_path, 1000)
    assert upload(uploads, b"x", f"{100 * '%E8%85%A6'}.nii.gz") == 204  # 100 characters of three bytes each
    (file,) = uploads.folder_of(BATCH).iterdir()
    assert file.name.endswith("腦.nii.gz")
    assert len(file.name.encode()) <= 255


def test_files_whose_names_become_alike_do_not_replace_each_other(tmp_path):
    uploads = Uploads(tmp_path, 1000)
    for body, name in ((b"one", "s/IM%3A1"), (b"two", "s/IM%3F1"), (b"three", "s/IM_1")):
        assert upload(uploads, body, name) == 204
    assert {path.read_bytes() for path in uploads.folder_of(BATCH).rglob("*IM_1")} == {b"one", b"two", b"three"}


def test_a_disk_that_is_full_is_said_and_nothing_of_the_batch_stays(tmp_path):
    uploads = Uploads(tmp_path, 1000)
    assert upload(uploads, b"x", "a") == 204
    with disturbed(failing_at(1)):
        ((status, text, _),) = exchange(uploads.routes(), ("POST", f"/upload/{BATCH}", b"y", "b"))
    assert (status, text) == (507, b"b: No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_half_a_file_of_a_browser_that_is_gone_does_not_stay(tmp_path):
    uploads = Uploads(tmp_path, 1000)

    async def parts():
        yield b"x" * 200
        raise ConnectionError("the browser is closed")

    with pytest.raises(aiohttp.ClientError):
        exchange(uploads.routes(), ("POST", f"/upload/{BATCH}", parts(), "a"))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert upload(uploads, b"x" * 1000, "a") == 204  # what was lost is not counted


def test_a_download_has_its_name_and_leaves_nothing_behind(tmp_path):
    async def make(what: str, folder: Path) -> Path | None:
        if what != "table":
            return None
        (folder / "Größe.csv").write_bytes(b"1,2")
        return folder / "Größe.csv"

    routes = Downloads(tmp_path, make).routes()
    found, missing = exchange(routes, ("GET", "/download/table", None, ""), ("GET", "/download/other", None, ""))
    assert (found[0], found[1], missing[0]) == (200, b"1,2", 404)
    assert found[2] == "attachment; filename*=UTF-8''Gr%C3%B6%C3%9Fe.csv"
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_made_is_answered_with_the_reason(tmp_path):
    async def make(_what: str, _folder: Path) -> Path | None:
        raise InputError("overlapping-segments", "segments 'a' and 'b' overlap", "remove the overlap")

    ((status, body, _),) = exchange(Downloads(tmp_path, make).routes(), ("GET", "/download/T1w", None, ""))
    assert (status, body) == (409, b"segments 'a' and 'b' overlap\nremove the overlap")
