"""A copy of a site's small JSON files in one file, so that a site of many cases is listed in less than a second.

What is copied is never changed once it is written (`case_store`), so a copy is never out of date; which files there are
is always asked of the folder itself. The index may be deleted at any time.
"""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from CrossModalSegLib.atomic import write_atomically
from CrossModalSegLib.errors import DataError, OutputError
from CrossModalSegLib.json_file import read_json
from CrossModalSegLib.site.folder import CASES

INDEX_FILE = "index.json"
_WORTH_WRITING = 200  # files that the index did not have


class SiteIndex:
    """Reads the JSON files below ``cases/`` of the site in ``folder``, each from its file once, then from the index."""

    def __init__(self, folder: Path):
        self._file = folder / INDEX_FILE
        self._cases = f"{folder}{os.sep}{CASES}{os.sep}"
        self._known = self._load()
        self._new: dict[str, Any] = {}

    def read(self, path: str, hint: str) -> dict[str, Any]:
        """The JSON object in the file ``path``, which must exist. Raises DataError ``damaged-case`` with ``hint``."""
        key = path.removeprefix(self._cases)
        content = self._known.get(key)
        if content is None:
            content = self._new[key] = read_json(path, "damaged-case", hint)
        return content

    def save(self) -> None:
        """Write the index anew where many files were not in it. Where nothing may be written, it is read anew each
        time."""
        if len(self._new) >= _WORTH_WRITING:
            with suppress(OutputError):
                write_atomically(self._file, json.dumps(self._known | self._new, separators=(",", ":")))

    def _load(self) -> dict[str, Any]:
        """What the index holds; nothing where it is damaged: it is only a copy."""
        with suppress(DataError):
            return read_json(self._file, "damaged-index", "delete it") if self._file.is_file() else {}
        return {}
