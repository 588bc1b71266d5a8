"""The section Site: what is in its folder, the next case to correct, saving and approving."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from trame_server import Server

from CrossModalSegApp.logic.logic import SegmentationLogic
from CrossModalSegApp.logic.wording import saved_words, short_id, site_summary, untouched_question
from CrossModalSegApp.scene.case_nodes import CaseNodes
from CrossModalSegApp.scene.opened_case import OpenedCase
from CrossModalSegApp.web.dialogs import Dialogs
from CrossModalSegApp.web.page_state import PageState
from CrossModalSegApp.web.scans_section import ScansSection
from CrossModalSegLib.errors import CrossModalSegError, InputError
from CrossModalSegLib.site.case_files import SavedCase

_T = TypeVar("_T")
_SHOWN_CASES = 50  # of the work list


class SiteSection:
    """Saves and approves the case that is shown, adds the scans that are chosen, opens the next case.

    ``on_open`` is called with a case of the site that was loaded into the scene, ``on_saved`` with a result that was saved.
    """

    def __init__(
        self,
        server: Server,
        logic: SegmentationLogic,
        scans: ScansSection,
        dialogs: Dialogs,
        on_open: Callable[[OpenedCase], None],
        on_saved: Callable[[CaseNodes], None],
        folder: Path | None = None,
    ):
        self._logic, self._scans, self._dialogs, self._on_open = logic, scans, dialogs, on_open
        self._on_saved = on_saved
        self._case: CaseNodes | None = None
        self._state = PageState(
            server,
            "site",
            folder=str(folder.expanduser().absolute()) if folder else "",
            refused=0,  # folders: each time the page shows again the one that is used
            annotator="",
            has_case=False,
            has_scans=False,
            summary="",
            cases=[],
            chosen="",
            message="",
        )
        self._use(folder)
        self._state.on("folder", self._choose_folder)
        self._state.on("annotator", lambda initials: self._state.show(annotator=initials.strip()))
        self._state.on("choose", lambda case_id: self._state.show(chosen=case_id))
        self._state.on("look", self._look_again)
        self._state.on("save", self._save_correction)
        self._state.on("add", self._add_unlabelled)
        self._state.on("approve", self._approve)
        self._state.on("open", self._open_case)

    def show_case(self, case: CaseNodes | None) -> None:
        self._case = case
        self._state.show(has_case=case is not None)

    def show_scans(self, volumes: Mapping[str, Any]) -> None:
        self._state.show(has_scans=bool(volumes))

    def look(self) -> None:
        """Read the site folder anew. A folder that is no site yet is not an error: the first case makes it one."""
        folder, work, problem = self.folder, None, ""
        try:
            work = self._logic.site_work(folder, _SHOWN_CASES) if folder else None
        except CrossModalSegError as error:
            problem = f"{error.message} ({error.hint})"
        items = work.items if work else ()
        cases = [
            {"id": item.case.id, "name": short_id(item.case.id), "status": item.case.status, "why": item.reason}
            for item in items
        ]
        chosen = self._state["chosen"] if any(case["id"] == self._state["chosen"] for case in cases) else ""
        self._state.show(summary=problem or (site_summary(work) if work else ""), cases=cases, chosen=chosen)

    @property
    def folder(self) -> str:
        """The site folder; "" where none is chosen."""
        return self._state["folder"]

    def _choose_folder(self, folder: str) -> None:
        path = Path(folder.strip()).expanduser() if folder.strip() else None
        if path is not None and not path.is_absolute():  # of which folder? the page cannot know
            what = f"{folder.strip()} does not say where it is"
            self._dialogs.show_error(InputError("relative-folder", what, "type the whole path, from / or ~"))
            self._state.show(refused=self._state["refused"] + 1)
            return
        self._state.show(folder=str(path or ""), message="")
        self._use(path)
        self.look()

    def _look_again(self) -> None:
        """Cases and models: a fine-tuning may have made one."""
        self._scans.list_models()
        self.look()

    def _use(self, folder: Path | None) -> None:
        """The site's own models are among those to choose from."""
        self._logic.use_site(folder)
        self._scans.list_models()

    def _save_correction(self) -> None:
        case, author = self._case, self._state["annotator"]
        if case is None or not self.folder:
            return

        def save(is_confirmed: bool) -> None:
            correct = lambda: self._logic.save_correction(case, self.folder, author, is_confirmed)
            if self._save(correct, "Correction saved"):
                self._on_saved(case)

        is_unconfirmed = self._tried(lambda: self._logic.is_unconfirmed(case, self.folder, author))
        if is_unconfirmed:
            self._dialogs.ask(untouched_question(author), "Save as confirmed", lambda: save(True))
        elif is_unconfirmed is False:
            save(False)

    def _add_unlabelled(self) -> None:
        bundle, volumes = self._scans.bundle, self._scans.volumes
        if bundle is not None and volumes and self.folder:
            self._save(lambda: self._logic.add_unlabelled(volumes, bundle, self.folder), "Added without labels")

    def _save(self, save: Callable[[], SavedCase], words: str) -> bool:
        saved = self._tried(save)
        if saved is not None:
            self._state.show(message=saved_words(words, saved))
            self.look()
        return saved is not None

    def _approve(self) -> None:
        case, author = self._case, self._state["annotator"]
        if case is None or not self.folder:
            return
        approved = self._tried(lambda: self._logic.approve(case, self.folder, author))
        if approved is not None:
            self._state.show(message=f"Revision {approved.revision} of case {approved.id} is approved")
            self.look()

    def _open_case(self) -> None:
        bundle, cases = self._scans.bundle, self._state["cases"]
        chosen = self._state["chosen"] or (cases[0]["id"] if cases else "")
        if bundle is None or not chosen:
            return
        opened = self._tried(lambda: self._logic.open_site_case(chosen, bundle, self.folder))
        if opened is not None:
            self._state.show(message="")
            self._on_open(opened)

    def _tried(self, action: Callable[[], _T]) -> _T | None:
        """What ``action`` gives; None where it fails, which is shown."""
        try:
            return action()
        except CrossModalSegError as error:
            self._state.show(message="")
            self._dialogs.show_error(error)
            return None
