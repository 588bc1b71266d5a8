"""The section of the site: what is in its folder, the next case to correct, saving and approving."""

from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Any, TypeVar

import qt
from slicer.i18n import tr as _

from CrossModalSegApp.logic.logic import SegmentationLogic
from CrossModalSegApp.logic.wording import saved_words, untouched_question
from CrossModalSegApp.qt.dialogs import Dialogs
from CrossModalSegApp.qt.work_panel import WorkPanel
from CrossModalSegApp.scene.case_nodes import CaseNodes
from CrossModalSegApp.scene.opened_case import OpenedCase
from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.errors import CrossModalSegError
from CrossModalSegLib.site.case_files import SavedCase

_T = TypeVar("_T")
_SHOWN_CASES = 50  # of the work list
_FOLDER_KEY, _ANNOTATOR_KEY = "CrossModalSeg/SiteFolder", "CrossModalSeg/Annotator"


class SitePanel:
    """Saves and approves the case that is shown, adds the scans that are chosen, opens the next case.

    ``on_open`` is called with a case of the site that was loaded into the scene, ``on_look`` with the folder each time it
    is read, None where it is no site. Folder and initials are application settings, not part of the scene: scenes are
    passed on to others.
    """

    def __init__(
        self,
        ui: Any,
        logic: SegmentationLogic,
        dialogs: Dialogs,
        on_open: Callable[[OpenedCase], None],
        on_look: Callable[[Path | None], None],
    ):
        self._ui, self._logic, self._dialogs, self._on_open, self._on_look = ui, logic, dialogs, on_open, on_look
        self._work = WorkPanel(ui, self._open_case)
        self._case: CaseNodes | None = None
        self._bundle: Bundle | None = None
        self._volumes: Mapping[str, Any] = {}
        ui.siteFolderEdit.text = _setting(_FOLDER_KEY)
        ui.annotatorEdit.text = _setting(_ANNOTATOR_KEY)
        ui.siteFolderEdit.textChanged.connect(self._folder_changed)
        ui.annotatorEdit.textChanged.connect(lambda text: qt.QSettings().setValue(_ANNOTATOR_KEY, text))
        ui.browseSiteButton.clicked.connect(self._browse)
        ui.saveCorrectionButton.clicked.connect(self._save_correction)
        ui.addUnlabelledButton.clicked.connect(self._add_unlabelled)
        ui.approveButton.clicked.connect(self._approve)
        ui.refreshSiteButton.clicked.connect(lambda *_args: self.look())
        self.look()
        self._render()

    def show_case(self, case: CaseNodes | None) -> None:
        self._case = case
        self._render()

    def show_scans(self, bundle: Bundle | None, volumes: Mapping[str, Any]) -> None:
        self._bundle, self._volumes = bundle, volumes
        self._render()

    def _render(self) -> None:
        has_folder = bool(self._ui.siteFolderEdit.text.strip())
        self._ui.saveCorrectionButton.enabled = has_folder and self._case is not None
        self._ui.approveButton.enabled = has_folder and self._case is not None
        self._ui.refreshSiteButton.enabled = has_folder
        self._ui.addUnlabelledButton.enabled = has_folder and bool(self._volumes) and self._bundle is not None

    def _folder_changed(self, text: str) -> None:
        qt.QSettings().setValue(_FOLDER_KEY, text)
        self.look()
        self._render()

    def _browse(self, *_args: object) -> None:
        folder = self._dialogs.choose_folder(_("Choose the site folder"), self._ui.siteFolderEdit.text)
        if folder is not None:
            self._ui.siteFolderEdit.text = str(folder)

    def _save_correction(self, *_args: object) -> None:
        case, folder, author = self._case, self._ui.siteFolderEdit.text.strip(), self._ui.annotatorEdit.text.strip()
        untouched = self._tried(lambda: case is not None and self._logic.is_unconfirmed(case, folder, author))
        if case is None or untouched is None or (untouched and not self._dialogs.confirm(untouched_question(author))):
            return
        self._save(lambda: self._logic.save_correction(case, folder, author, untouched), _("Correction saved"))

    def _add_unlabelled(self, *_args: object) -> None:
        bundle, folder = self._bundle, self._ui.siteFolderEdit.text.strip()
        if bundle is not None:
            add = lambda: self._logic.add_unlabelled(self._volumes, bundle, folder)
            self._save(add, _("Added without labels"))

    def _save(self, save: Callable[[], SavedCase], words: str) -> None:
        saved = self._tried(save)
        if saved is not None:
            self._ui.siteLabel.text = escape(saved_words(words, saved))
            self.look()

    def _approve(self, *_args: object) -> None:
        case, folder, author = self._case, self._ui.siteFolderEdit.text.strip(), self._ui.annotatorEdit.text.strip()
        if case is None:
            return
        approved = self._tried(lambda: self._logic.approve(case, folder, author))
        if approved is not None:
            words = _("Revision {number} of case {case} is approved")
            self._ui.siteLabel.text = escape(words.format(number=approved.revision, case=approved.id))
            self.look()

    def _open_case(self, case_id: str) -> None:
        bundle, folder = self._bundle, self._ui.siteFolderEdit.text.strip()
        if bundle is None:
            return
        opened = self._tried(lambda: self._logic.open_site_case(case_id, bundle, folder))
        if opened is not None:
            self._on_open(opened)

    def look(self) -> None:
        """Read the site folder anew. A folder that is no site yet is not an error: the first case makes it one."""
        text = self._ui.siteFolderEdit.text.strip()
        try:
            work = self._logic.site_work(text, _SHOWN_CASES) if text else None
        except CrossModalSegError as error:
            self._on_look(None if error.code == "site-unreadable" else Path(text))
            self._work.show_problem(error)
            return
        self._on_look(Path(text) if work else None)
        self._work.show(work)

    def _tried(self, action: Callable[[], _T]) -> _T | None:
        """What ``action`` gives; None where it fails, which is shown."""
        try:
            return action()
        except CrossModalSegError as error:
            self._ui.siteLabel.text = ""
            self._dialogs.show_error(error)
            return None


def _setting(key: str) -> str:
    return str(qt.QSettings().value(key) or "")
