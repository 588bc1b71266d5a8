"""Who may talk to the server: pages of its own, opened with the address that it has printed, on this computer."""

import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

HOST = "127.0.0.1"
_NAMES = (HOST, "localhost")
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
# Vue compiles the page's templates in the browser, hence unsafe-eval; everything comes from this server all the same.
_POLICY = {
    "default-src": "'self'",
    "script-src": "'self' 'unsafe-inline' 'unsafe-eval'",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "worker-src": "'self' blob:",
    "frame-ancestors": "'none'",
    "base-uri": "'self'",
    "form-action": "'self'",
}


def new_token() -> str:
    """192 random bits, fit for an address; in small letters, because trame's page writes addresses so."""
    return secrets.token_hex(24)


class Access:
    """Serves an application below ``/<token>/`` only, to requests that name this computer as host and come from it."""

    def __init__(self, token: str | None = None):
        self.token = token or new_token()

    @property
    def prefix(self) -> str:
        return f"/{self.token}"

    def address(self, port: int) -> str:
        """What to open in a browser."""
        return f"http://{HOST}:{port}{self.prefix}/index.html"

    def guard(self, application: web.Application) -> web.Application:
        """An application that has ``application`` below the token, and nothing else."""
        outer = web.Application(middlewares=[self._check], client_max_size=0)
        outer.add_subapp(self.prefix, application)
        return outer

    def routes(self) -> list[web.RouteDef]:
        """What trame's page asks first: where to connect to."""
        return [web.post("/paraview/", self._tell_websocket)]

    async def _tell_websocket(self, request: web.Request) -> web.Response:
        return web.json_response({"sessionURL": f"ws://{request.host}{self.prefix}/ws"})

    @web.middleware
    async def _check(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        port = _port(request)
        hosts = {f"{name}:{port}" for name in _NAMES}
        if request.headers.get("Host") not in hosts:  # another name that leads here: DNS rebinding
            raise web.HTTPForbidden(text="This server answers to 127.0.0.1 only.")
        if not secrets.compare_digest(request.path.split("/")[1].encode(), self.token.encode()):
            raise web.HTTPForbidden(text="Open the whole address that crossmodalseg-web has printed, with its token.")
        origin = request.headers.get("Origin")
        is_own = origin in {f"http://{host}" for host in hosts}
        if not is_own and (origin is not None or _is_websocket(request)):
            raise web.HTTPForbidden(text="Pages of other origins are refused.")
        response = await handler(request)
        if not response.prepared:
            response.headers.update(_headers(port))
        return response


def _port(request: web.Request) -> int:
    assert request.transport is not None
    return int(request.transport.get_extra_info("sockname")[1])


def _is_websocket(request: web.Request) -> bool:
    return request.headers.get("Upgrade", "").lower() == "websocket"


def _headers(port: int) -> dict[str, Any]:
    policy = _POLICY | {"connect-src": " ".join(["'self'", *(f"ws://{name}:{port}" for name in _NAMES)])}
    return {
        "Content-Security-Policy": "; ".join(f"{what} {whence}" for what, whence in policy.items()),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-store",
    }
