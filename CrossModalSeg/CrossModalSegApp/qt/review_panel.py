"""The review list: numbered places to check, with a tick for each; N and P go through them."""

from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from CrossModalSegApp.logic.wording import reason_words
from CrossModalSegApp.scene.review import ReviewList

_COLUMNS = (_("done"), _("no."), _("structure"), _("why"))


class ReviewPanel:
    """Shows a `ReviewList`; ``on_jump(ras)`` is called with the place (mm, RAS) that the user goes to."""

    def __init__(self, ui: Any, on_jump: Callable[[tuple[float, float, float]], None]):
        self._ui, self._on_jump = ui, on_jump
        self._list: ReviewList | None = None
        self._is_filling = False
        ui.nextButton.clicked.connect(lambda *_args: self.go_next())
        ui.previousButton.clicked.connect(lambda *_args: self.go_previous())
        ui.reviewTable.cellClicked.connect(self._clicked)
        ui.reviewTable.itemChanged.connect(self._ticked)

    def show(self, review: ReviewList | None) -> None:
        self._list = review
        self._ui.reviewSection.visible = review is not None
        self._fill()

    def go_next(self) -> None:
        if self._list and len(self._list):
            self._go(self._list.next())

    def go_previous(self) -> None:
        if self._list and len(self._list):
            self._go(self._list.previous())

    def _fill(self) -> None:
        table = self._ui.reviewTable
        entries = self._list.entries if self._list else ()
        self._is_filling = True
        table.clear()
        table.setColumnCount(len(_COLUMNS))
        table.setHorizontalHeaderLabels(list(_COLUMNS))
        table.setRowCount(len(entries))
        for row, entry in enumerate(entries):
            table.setItem(row, 0, _tick(self._list.is_ticked(entry.number)))
            for column, text in enumerate((str(entry.number), entry.structure, reason_words(entry)), start=1):
                table.setItem(row, column, qt.QTableWidgetItem(text))
        table.verticalHeader().setVisible(False)
        table.resizeColumnsToContents()
        table.resizeRowsToContents()
        table.horizontalHeader().setStretchLastSection(True)
        if self._list and self._list.current:
            table.selectRow(entries.index(self._list.current))
        self._is_filling = False
        self._render_count()

    def _render_count(self) -> None:
        entries = self._list.entries if self._list else ()
        done = sum(self._list.is_ticked(entry.number) for entry in entries) if self._list else 0
        self._ui.reviewCountLabel.text = _("{done} of {all} done").format(done=done, all=len(entries))
        self._ui.nextButton.enabled = self._ui.previousButton.enabled = bool(entries)
        hint = _("The places most worth checking, gravest first. Click one to see it in all views.")
        self._ui.reviewLabel.text = hint if entries else _("No place stands out. Look the result over all the same.")

    def _clicked(self, row: int, column: int) -> None:
        if self._list and column > 0:
            self._go(self._list.go_to(self._list.entries[row].number))

    def _ticked(self, item: Any) -> None:
        if self._is_filling or self._list is None or item.column() != 0:
            return
        entry = self._list.entries[item.row()]
        self._list.tick(entry.number, item.checkState() == qt.Qt.Checked)
        self._render_count()

    def _go(self, entry: Any) -> None:
        self._ui.reviewTable.selectRow(self._list.entries.index(entry))
        self._on_jump(entry.ras_mm)


def _tick(is_ticked: bool) -> Any:
    item = qt.QTableWidgetItem()
    item.setFlags(qt.Qt.ItemIsUserCheckable | qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
    item.setCheckState(qt.Qt.Checked if is_ticked else qt.Qt.Unchecked)
    return item
