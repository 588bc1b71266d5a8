"""The cases that were opened last from this computer's folders: their paths, to open them again with one click.

Files that a browser sends have no path: what was opened from the page itself is not among them.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from CrossModalSegLib.atomic import write_atomically
from CrossModalSegLib.errors import CrossModalSegError
from CrossModalSegLib.json_file import read_json
from CrossModalSegLib.user_folder import user_folder

_MOST = 8
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RecentCase:
    """Scans by modality, ``inputs`` (paths), or the case ``case`` of the folder ``site``; ``when`` in ISO 8601."""

    title: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    site: str = ""
    case: str = ""
    when: str = ""

    def is_same(self, other: "RecentCase") -> bool:
        """Whether both are of the same scans."""
        return (dict(self.inputs), self.site, self.case) == (dict(other.inputs), other.site, other.case)

    @property
    def day(self) -> str:
        return datetime.fromisoformat(self.when).strftime("%d %b, %H:%M") if self.when else ""


class RecentCases:
    """The list in ``file``, by default the user's own; what cannot be read or written is no list, and no error."""

    def __init__(self, file: Path | None = None):
        self._file = file or user_folder() / "recent.json"

    def all(self) -> list[RecentCase]:
        """The newest first."""
        if not self._file.is_file():
            return []
        try:
            return [RecentCase(**one) for one in read_json(self._file, "recent-damaged", "delete it")["cases"]]
        except (CrossModalSegError, KeyError, TypeError, ValueError):
            _log.exception("the list of recent cases cannot be read")
            return []

    def note(self, case: RecentCase) -> None:
        """It has been opened now."""
        now = datetime.now().isoformat(timespec="seconds")
        newest = RecentCase(**asdict(case) | {"when": now})
        self._write([newest, *(one for one in self.all() if not one.is_same(case))])

    def forget(self, case: RecentCase) -> None:
        """It is not listed any more."""
        self._write([one for one in self.all() if not one.is_same(case)])

    def _write(self, cases: list[RecentCase]) -> None:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._file, json.dumps({"cases": [asdict(one) for one in cases[:_MOST]]}, indent=1))
            self._file.chmod(0o600)
        except (OSError, CrossModalSegError):
            _log.exception("the list of recent cases cannot be written")
