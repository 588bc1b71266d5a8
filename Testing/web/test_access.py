"""Who may talk to the server: asked over real connections on this computer."""

import asyncio
from collections.abc import Mapping

import aiohttp
import pytest
from aiohttp import web

from CrossModalSegApp.web.access import Access

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:aiohttp")


async def hello(_request):
    return web.Response(text="hello")


async def echo(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.close()
    return socket


def status(
    path: str, headers: Mapping[str, str] | None = None, is_websocket: bool = False
) -> tuple[int, Mapping[str, str]]:
    """(status, headers) of the answer to a request; {token}, {host} and {port} in path and headers are filled in."""

    async def ask() -> tuple[int, Mapping[str, str]]:
        access = Access()
        inner = web.Application()
        inner.add_routes([web.get("/index.html", hello), web.get("/ws", echo), *access.routes()])
        runner = web.AppRunner(access.guard(inner))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        values = {"token": access.token, "host": f"127.0.0.1:{port}", "port": port}
        sent = {name: value.format(**values) for name, value in (headers or {}).items()}
        if is_websocket:
            sent |= {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
            sent |= {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
        try:
            async with aiohttp.ClientSession() as session:
                address = f"http://127.0.0.1:{port}{path.format(**values)}"
                async with session.get(address, headers=sent, allow_redirects=False) as answer:
                    return answer.status, dict(answer.headers)
        finally:
            await runner.cleanup()

    return asyncio.run(ask())


def test_the_page_is_there_for_those_who_have_the_token():
    assert status("/{token}/index.html")[0] == 200


@pytest.mark.parametrize(
    "path", ["/", "/index.html", "/x/index.html", "/{token}x/index.html", "/index.html?token={token}"]
)
def test_without_the_token_in_its_place_everything_is_refused(path):
    assert status(path)[0] == 403


def test_each_start_has_a_token_of_its_own_of_at_least_128_bits():
    tokens = {Access().token for _ in range(10)}
    assert len(tokens) == 10
    assert min(map(len, tokens)) >= 32  # 4 bits a letter
    assert {token.lower() for token in tokens} == tokens  # trame's page changes capitals


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1"])
def test_a_name_that_somebody_else_made_lead_here_is_refused(host):
    assert status("/{token}/index.html", {"Host": host})[0] == 403


def test_the_computer_s_own_name_for_itself_is_taken():
    assert status("/{token}/index.html", {"Host": "localhost:{port}"})[0] == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:1", "https://{host}", "null"])
@pytest.mark.parametrize("is_websocket", [False, True])
def test_pages_of_other_origins_are_refused(origin, is_websocket):
    path = "/{token}/ws" if is_websocket else "/{token}/index.html"
    assert status(path, {"Origin": origin}, is_websocket)[0] == 403


def test_the_page_s_own_origin_may_connect():
    assert status("/{token}/ws", {"Origin": "http://{host}"}, is_websocket=True)[0] == 101


def test_a_websocket_from_no_page_at_all_is_refused():
    assert status("/{token}/ws", is_websocket=True)[0] == 403


def test_the_browser_is_told_to_ask_nobody_else_and_to_tell_nobody_the_address():
    headers = status("/{token}/index.html")[1]
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'self'"
    assert all("http" not in sources and "*" not in sources for sources in policy.values())
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
