"""The section of the site: its folder, its work list, saving and approving."""

from html import escape
from typing import Any

import qt
from slicer.i18n import tr as _

from CrossModalSegApp.logic.site_presenter import SitePresenter, WorkRow
from CrossModalSegApp.qt.dialogs import Dialogs
from CrossModalSegApp.qt.tables import fill_table

_FOLDER_KEY, _ANNOTATOR_KEY = "CrossModalSeg/SiteFolder", "CrossModalSeg/Annotator"
_COLUMNS = (_("case"), _("status"), _("why"))


class SitePanel:
    """Draws the state of a `SitePresenter`.

    Folder and initials are application settings, not part of the scene: scenes are passed on to others.
    """

    def __init__(self, ui: Any, dialogs: Dialogs, presenter: SitePresenter):
        self._ui, self._dialogs, self._presenter = ui, dialogs, presenter
        self._rows: tuple[WorkRow, ...] | None = None  # that are shown
        ui.annotatorEdit.text = _setting(_ANNOTATOR_KEY)
        presenter.choose_author(ui.annotatorEdit.text)
        presenter.choose_folder(_setting(_FOLDER_KEY))
        presenter.listen(self._draw)
        ui.siteFolderEdit.textChanged.connect(presenter.type_folder)
        ui.siteFolderEdit.editingFinished.connect(self._choose_folder)
        ui.annotatorEdit.textChanged.connect(self._choose_author)
        ui.browseSiteButton.clicked.connect(self._browse)
        ui.saveCorrectionButton.clicked.connect(lambda *_args: presenter.save_correction())
        ui.addUnlabelledButton.clicked.connect(lambda *_args: presenter.add_unlabelled())
        ui.approveButton.clicked.connect(lambda *_args: presenter.approve())
        ui.refreshSiteButton.clicked.connect(lambda *_args: presenter.look())
        ui.openCaseButton.clicked.connect(self._open)

    def _draw(self) -> None:
        state, ui = self._presenter.state, self._ui
        if ui.siteFolderEdit.text != state.folder:
            ui.siteFolderEdit.text = state.folder
        ui.saveCorrectionButton.enabled = ui.approveButton.enabled = state.can_save
        ui.addUnlabelledButton.enabled = state.can_add
        ui.refreshSiteButton.enabled = state.can_look
        ui.siteLabel.text, ui.workLabel.text = escape(state.message), escape(state.summary)
        ui.openCaseButton.enabled = ui.workTable.visible = bool(state.cases)
        if state.cases != self._rows:
            self._rows = state.cases
            fill_table(ui.workTable, _COLUMNS, [(row.name, row.status, row.reason) for row in state.cases])
            ui.workTable.horizontalHeader().setStretchLastSection(True)

    def _choose_folder(self) -> None:
        self._presenter.choose_folder(self._ui.siteFolderEdit.text)
        qt.QSettings().setValue(_FOLDER_KEY, self._presenter.state.folder)

    def _choose_author(self, text: str) -> None:
        qt.QSettings().setValue(_ANNOTATOR_KEY, text)
        self._presenter.choose_author(text)

    def _browse(self, *_args: object) -> None:
        folder = self._dialogs.choose_folder(_("Choose the site folder"), self._ui.siteFolderEdit.text)
        if folder is not None:
            self._ui.siteFolderEdit.text = str(folder)
            self._choose_folder()

    def _open(self, *_args: object) -> None:
        row = self._ui.workTable.currentRow()
        if self._rows:
            self._presenter.open_case(self._rows[row if 0 <= row < len(self._rows) else 0].id)


def _setting(key: str) -> str:
    return str(qt.QSettings().value(key) or "")
