"""Files on their way from the browser: into a temporary folder, up to a limit, and gone when they have been read."""

import re
import shutil
from pathlib import Path
from urllib.parse import unquote

from aiohttp import web

from CrossModalSegLib.errors import InputError

_BATCH = re.compile(r"[0-9a-f]{8,32}")
_CHUNK_BYTES = 1 << 20
_LONGEST_NAME = 200  # bytes


class Uploads:
    """Keeps what is uploaded in batches below ``folder``; all that lies there together has at most ``limit_bytes``."""

    def __init__(self, folder: Path, limit_bytes: int):
        self.folder, self.limit_bytes = folder, limit_bytes
        self._bytes: dict[str, int] = {}

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/upload/{batch}", self._receive)]

    def folder_of(self, batch: str) -> Path:
        """Where the files of a batch lie. Raises InputError ``no-upload``."""
        if batch not in self._bytes:
            raise InputError("no-upload", "the files have not arrived", "choose them again")
        return self.folder / batch

    def remove(self, batch: str) -> None:
        """Delete the files of a batch."""
        self._bytes.pop(batch, None)
        if _BATCH.fullmatch(batch):
            shutil.rmtree(self.folder / batch, ignore_errors=True)

    async def _receive(self, request: web.Request) -> web.Response:
        """One file, whose path on the user's computer is in the header X-File-Name (percent-encoded)."""
        batch = request.match_info["batch"]
        name = _safe_name(unquote(request.headers.get("X-File-Name", "")))
        if not _BATCH.fullmatch(batch) or not name:
            raise web.HTTPBadRequest(text="not an upload of this page")
        self._refuse_above(request.content_length or 0, batch)
        path = _free_name(self.folder / batch / name)
        self._bytes.setdefault(batch, 0)
        try:
            await self._write(request, batch, path)
        except OSError as error:
            self.remove(batch)
            # The rest is not waited for: the connection is closed, as with what is over the limit.
            raise web.HTTPInsufficientStorage(text=f"{path.name}: {error.strerror or error}") from error
        except BaseException:  # whoever sends it is gone: half a file is none
            self._forget(batch, path)
            raise
        return web.Response(status=204)

    async def _write(self, request: web.Request, batch: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            async for chunk in request.content.iter_chunked(_CHUNK_BYTES):
                self._refuse_above(len(chunk), batch)
                self._bytes[batch] += len(chunk)
                file.write(chunk)

    def _forget(self, batch: str, path: Path) -> None:
        if path.is_file():
            self._bytes[batch] -= path.stat().st_size
            path.unlink()

    def _refuse_above(self, more: int, batch: str) -> None:
        if sum(self._bytes.values()) + more <= self.limit_bytes:
            return
        self.remove(batch)
        limit = self.limit_bytes / 1e9
        text = (
            f"More than {limit:g} GB at once: start crossmodalseg-web with --input, which reads files where they lie."
        )
        raise web.HTTPRequestEntityTooLarge(max_size=self.limit_bytes, actual_size=more, text=text)


def _free_name(path: Path) -> Path:
    """``path``, or one with a number before its name: files whose names became alike must not replace each other."""
    free, number = path, 1
    while free.exists():
        number += 1
        free = path.with_name(f"{number}_{path.name}")
    return free


def _safe_name(name: str) -> str:
    """A relative path with plain names only; "" where nothing is left of it."""
    parts = [_ended(re.sub(r"[^\w.+=@ -]", "_", part)) for part in re.split(r"[/\\]", name)]
    return "/".join(part for part in parts if part.strip(". "))


def _ended(name: str) -> str:
    """The end of a name that is too long, since its suffix says what it is."""
    while len(name.encode()) > _LONGEST_NAME:
        name = name[1:]
    return name
