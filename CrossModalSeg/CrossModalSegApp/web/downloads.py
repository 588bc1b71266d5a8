"""Files on their way to the browser: made when asked for, and kept nowhere."""

import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from CrossModalSegLib.errors import CrossModalSegError


class Downloads:
    """Serves ``/download/<what>``; ``make(what, folder)`` writes the file into ``folder`` and returns its path.

    None stands for something that does not exist (any more); typed errors are the answer's text.
    """

    def __init__(self, folder: Path, make: Callable[[str, Path], Awaitable[Path | None]]):
        self._folder, self._make = folder, make

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/download/{what}", self._send)]

    async def _send(self, request: web.Request) -> web.Response:
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            try:
                path = await self._make(request.match_info["what"], Path(folder))
            except CrossModalSegError as error:
                raise web.HTTPConflict(text=f"{error.message}\n{error.hint}") from error
            if path is None:
                raise web.HTTPNotFound(text="This result is not there any more.")
            name = f"attachment; filename*=UTF-8''{quote(path.name)}"
            return web.Response(
                body=path.read_bytes(),
                headers={"Content-Disposition": name, "Content-Type": "application/octet-stream"},
            )
