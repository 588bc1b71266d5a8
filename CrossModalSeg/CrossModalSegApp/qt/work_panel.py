"""The work list of a site: how many cases there are, and which to correct next."""

from collections.abc import Callable
from html import escape
from typing import Any

import qt
from slicer.i18n import tr as _

from CrossModalSegApp.logic.wording import short_id, site_summary
from CrossModalSegApp.scene.site_cases import SiteWork
from CrossModalSegLib.errors import CrossModalSegError

_COLUMNS = (_("case"), _("status"), _("why"))


class WorkPanel:
    """Shows a `SiteWork`; ``on_open(id)`` is called with the case that the user wants to correct."""

    def __init__(self, ui: Any, on_open: Callable[[str], None]):
        self._ui, self._on_open = ui, on_open
        self._ids: list[str] = []
        ui.openCaseButton.clicked.connect(self._open)
        self.show(None)

    def show(self, work: SiteWork | None) -> None:
        """None: there is no site in this folder yet."""
        self._ids = [item.case.id for item in work.items] if work else []
        rows = [(short_id(item.case.id), _(item.case.status), item.reason) for item in work.items] if work else []
        table = self._ui.workTable
        table.clear()
        table.setColumnCount(len(_COLUMNS))
        table.setHorizontalHeaderLabels(list(_COLUMNS))
        table.setRowCount(len(rows))
        for row, texts in enumerate(rows):
            for column, text in enumerate(texts):
                table.setItem(row, column, qt.QTableWidgetItem(text))
        table.verticalHeader().setVisible(False)
        table.resizeColumnsToContents()
        table.horizontalHeader().setStretchLastSection(True)
        table.visible = bool(rows)
        self._ui.openCaseButton.enabled = bool(rows)
        self._ui.workLabel.text = escape(site_summary(work)) if work else ""

    def show_problem(self, error: CrossModalSegError) -> None:
        """The folder cannot be read as a site."""
        self.show(None)
        self._ui.workLabel.text = escape(f"{error.message} ({error.hint})")

    def _open(self, *_args: object) -> None:
        row = self._ui.workTable.currentRow()
        if self._ids:
            self._on_open(self._ids[row if 0 <= row < len(self._ids) else 0])
