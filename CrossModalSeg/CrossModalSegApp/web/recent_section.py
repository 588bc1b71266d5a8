"""Recent cases in the section Open."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trame_server import Server

from CrossModalSegApp.web.dialogs import Dialogs
from CrossModalSegApp.web.page_state import PageState
from CrossModalSegApp.web.recent import RecentCase, RecentCases
from CrossModalSegLib.errors import CrossModalSegError


@dataclass(frozen=True)
class Openers:
    """How scans are opened by modality, and a case of a site by folder and id."""

    scans: Callable[[dict[str, Path]], None]
    site_case: Callable[[str, str], None]


class RecentSection:
    """Lists recent cases, and opens them with ``openers``."""

    def __init__(self, server: Server, recent: RecentCases, dialogs: Dialogs, openers: Openers):
        self._recent, self._dialogs, self._openers = recent, dialogs, openers
        self._state = PageState(server, "recent", cases=[])
        self._state.on("open", self._open)
        self._state.on("forget", self._forget)
        self._show()

    def note_scans(self, inputs: dict[str, Path]) -> None:
        """Scans were opened from these files or folders, by modality."""
        paths = {name: str(path.absolute()) for name, path in inputs.items()}
        self._note(RecentCase(" + ".join(path.name for path in inputs.values()), paths))

    def note_site_case(self, site: str, case: str, title: str) -> None:
        """A case of a site was opened."""
        self._note(RecentCase(title, site=site, case=case))

    def _note(self, case: RecentCase) -> None:
        self._recent.note(case)
        self._show()

    def _open(self, place: int) -> None:
        case = self._recent.all()[place]
        try:
            if case.site:
                self._openers.site_case(case.site, case.case)
            else:
                self._openers.scans({name: Path(path) for name, path in case.inputs.items()})
                self._note(case)
        except CrossModalSegError as error:
            self._dialogs.show_error(error)

    def _forget(self, place: int) -> None:
        self._recent.forget(self._recent.all()[place])
        self._show()

    def _show(self) -> None:
        self._state.show(cases=[{"title": one.title, "when": one.day} for one in self._recent.all()])
