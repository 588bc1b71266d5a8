"""The legend: a table of the structures, with a tick for each that is shown."""

from typing import Any

import qt
from slicer.i18n import tr as _

from CrossModalSegApp.logic.legend_presenter import LegendPresenter, LegendRow
from CrossModalSegApp.qt.tables import fill_table

_COLUMNS = (_("shown"), _("structure"))


class LegendPanel:
    """Draws the state of a `LegendPresenter`."""

    def __init__(self, ui: Any, presenter: LegendPresenter):
        self._ui, self._presenter = ui, presenter
        self._rows: tuple[LegendRow, ...] = ()  # that are shown
        self._is_filling = False
        ui.legendSearch.textChanged.connect(presenter.search)
        ui.legendAllButton.clicked.connect(lambda *_args: presenter.show_found(True))
        ui.legendNoneButton.clicked.connect(lambda *_args: presenter.show_found(False))
        ui.legendOnlyButton.clicked.connect(lambda *_args: presenter.show_only(presenter.state.current))
        ui.legendTable.cellClicked.connect(self._clicked)
        ui.legendTable.itemChanged.connect(self._ticked)
        ui.legendOpacitySlider.valueChanged.connect(self._fade)
        presenter.listen(self._draw)

    def _draw(self) -> None:
        state, ui = self._presenter.state, self._ui
        self._is_filling = True
        ui.legendSection.visible = state.is_there
        self._fill(state.rows)
        values = [row.value for row in state.rows]
        if state.current in values:
            ui.legendTable.selectRow(values.index(state.current))
        ui.legendOpacitySlider.value = state.opacity
        ui.legendOpacitySlider.enabled = ui.legendOnlyButton.enabled = bool(state.current)
        ui.legendOpacityLabel.text = _("Opacity of {name}").format(name=state.name) if state.name else _("Opacity")
        ui.legendCountLabel.text = state.count
        ui.legendMeasureLabel.text = "\n".join(state.measures)
        self._is_filling = False

    def _fill(self, rows: tuple[LegendRow, ...]) -> None:
        """Other structures are other rows; one that is shown or hidden is only that."""
        table = self._ui.legendTable
        if [(row.value, row.name, row.color) for row in rows] != [
            (row.value, row.name, row.color) for row in self._rows
        ]:
            fill_table(table, _COLUMNS, [("", row.name) for row in rows])
            for place, row in enumerate(rows):
                table.setItem(place, 0, _tick(row.color))
            table.horizontalHeader().setStretchLastSection(True)
        self._rows = rows
        for place, row in enumerate(rows):
            table.item(place, 0).setCheckState(qt.Qt.Checked if row.is_shown else qt.Qt.Unchecked)

    def _clicked(self, row: int, column: int) -> None:
        if self._rows and column > 0:
            self._presenter.choose(self._rows[row].value)

    def _ticked(self, item: Any) -> None:
        if not self._is_filling and self._rows and item.column() == 0:
            self._presenter.show(self._rows[item.row()].value, item.checkState() == qt.Qt.Checked)

    def _fade(self, percent: int) -> None:
        if not self._is_filling:
            self._presenter.set_opacity(percent)


def _tick(color: str) -> Any:
    """A tick on the colour of the structure."""
    item = qt.QTableWidgetItem()
    item.setFlags(qt.Qt.ItemIsUserCheckable | qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
    item.setBackground(qt.QBrush(qt.QColor(color)))
    return item
