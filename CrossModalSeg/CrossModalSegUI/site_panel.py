"""The section that saves cases for the site's own training."""

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import qt
from slicer.i18n import tr as _

from CrossModalSegLib.bundle import Bundle
from CrossModalSegLib.case_store import SavedCase
from CrossModalSegLib.errors import CrossModalSegError
from CrossModalSegUI.case_nodes import CaseNodes
from CrossModalSegUI.dialogs import Dialogs
from CrossModalSegUI.logic import SegmentationLogic

_FOLDER_KEY, _ANNOTATOR_KEY = "CrossModalSeg/SiteFolder", "CrossModalSeg/Annotator"


class SitePanel:
    """Saves the case that is shown, or the scans that are chosen.

    Folder and initials are application settings, not part of the scene: scenes are passed on to others.
    """

    def __init__(self, ui: Any, logic: SegmentationLogic, dialogs: Dialogs):
        self._ui, self._logic, self._dialogs = ui, logic, dialogs
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
        self._ui.addUnlabelledButton.enabled = has_folder and bool(self._volumes) and self._bundle is not None

    def _folder_changed(self, text: str) -> None:
        qt.QSettings().setValue(_FOLDER_KEY, text)
        self._render()

    def _browse(self, *_args: object) -> None:
        folder = self._dialogs.choose_folder(_("Choose the site folder"), self._ui.siteFolderEdit.text)
        if folder is not None:
            self._ui.siteFolderEdit.text = str(folder)

    def _save_correction(self, *_args: object) -> None:
        case, folder, author = self._case, self._ui.siteFolderEdit.text.strip(), self._ui.annotatorEdit.text.strip()
        if case is not None:
            self._save(lambda: self._logic.save_correction(case, folder, author), _("Correction saved"))

    def _add_unlabelled(self, *_args: object) -> None:
        bundle, folder = self._bundle, self._ui.siteFolderEdit.text.strip()
        if bundle is not None:
            save = lambda: self._logic.add_unlabelled(self._volumes, bundle, folder)
            self._save(save, _("Added without labels"))

    def _save(self, save: Callable[[], SavedCase], words: str) -> None:
        try:
            saved = save()
        except CrossModalSegError as error:
            self._ui.siteLabel.text = ""
            self._dialogs.show_error(error)
            return
        self._ui.siteLabel.text = escape(f"{words}: {saved.folder}")


def _setting(key: str) -> str:
    return str(qt.QSettings().value(key) or "")
