"""The review list: a table of the places to check, with a tick for each."""

from typing import Any

import qt
from slicer.i18n import tr as _

from CrossModalSegApp.logic.review_presenter import ReviewPresenter, ReviewRow
from CrossModalSegApp.qt.tables import fill_table

_COLUMNS = (_("done"), _("no."), _("structure"), _("why"))


class ReviewPanel:
    """Draws the state of a `ReviewPresenter`."""

    def __init__(self, ui: Any, presenter: ReviewPresenter):
        self._ui, self._presenter = ui, presenter
        self._rows: tuple[ReviewRow, ...] = ()  # that are shown
        self._is_filling = False
        ui.nextButton.clicked.connect(lambda *_args: presenter.go_next())
        ui.previousButton.clicked.connect(lambda *_args: presenter.go_previous())
        ui.reviewTable.cellClicked.connect(self._clicked)
        ui.reviewTable.itemChanged.connect(self._ticked)
        presenter.listen(self._draw)

    def _draw(self) -> None:
        state, ui = self._presenter.state, self._ui
        ui.reviewSection.visible = state.is_shown
        self._is_filling = True
        self._fill(state.entries)
        numbers = [row.number for row in state.entries]
        if state.current in numbers:
            ui.reviewTable.selectRow(numbers.index(state.current))
        self._is_filling = False
        ui.reviewCountLabel.text, ui.reviewLabel.text = state.count, state.hint
        ui.nextButton.enabled = ui.previousButton.enabled = bool(state.entries)

    def _fill(self, rows: tuple[ReviewRow, ...]) -> None:
        """Other places are other rows; another tick is only that."""
        table, texts = self._ui.reviewTable, [_texts(row) for row in rows]
        if texts != [_texts(row) for row in self._rows]:
            fill_table(table, _COLUMNS, texts)
            for place in range(len(rows)):
                table.setItem(place, 0, _tick())
            table.horizontalHeader().setStretchLastSection(True)
        self._rows = rows
        for place, row in enumerate(rows):
            table.item(place, 0).setCheckState(qt.Qt.Checked if row.is_done else qt.Qt.Unchecked)

    def _clicked(self, row: int, column: int) -> None:
        if self._rows and column > 0:
            self._presenter.go_to(self._rows[row].number)

    def _ticked(self, item: Any) -> None:
        if not self._is_filling and self._rows and item.column() == 0:
            self._presenter.tick(self._rows[item.row()].number, item.checkState() == qt.Qt.Checked)


def _texts(row: ReviewRow) -> tuple[str, ...]:
    reason = _("{reason}, corrected").format(reason=row.reason) if row.is_corrected else row.reason
    return "", str(row.number), row.structure, reason


def _tick() -> Any:
    item = qt.QTableWidgetItem()
    item.setFlags(qt.Qt.ItemIsUserCheckable | qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
    return item
