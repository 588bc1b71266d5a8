"""The result section: which result, and its table."""

from typing import Any

from slicer.i18n import tr as _

from CrossModalSegApp.logic.result_presenter import ResultPresenter
from CrossModalSegApp.qt.dialogs import Dialogs
from CrossModalSegApp.qt.selector import Selector
from CrossModalSegApp.qt.tables import fill_table
from CrossModalSegApp.scene.result_table import write_csv
from CrossModalSegLib.errors import CrossModalSegError


class ResultPanel:
    """Draws the state of a `ResultPresenter`, and exports the table."""

    def __init__(self, ui: Any, dialogs: Dialogs, presenter: ResultPresenter):
        self._ui, self._dialogs, self._presenter = ui, dialogs, presenter
        self._selector = Selector(ui.caseSelector, presenter.choose)
        self._table: Any = None  # that is shown
        ui.exportTableButton.clicked.connect(self._export)
        presenter.listen(self._draw)

    def _draw(self) -> None:
        state, ui = self._presenter.state, self._ui
        self._selector.show(state.cases, state.current)
        ui.resultSection.visible = bool(state.current)
        ui.caseSelector.enabled = len(state.cases) > 1
        ui.exportTableButton.enabled = bool(state.columns)
        if (state.columns, state.rows) != self._table:
            self._table = (state.columns, state.rows)
            fill_table(ui.resultTable, state.columns, state.rows, numbers_from=1)

    def _export(self, *_args: object) -> None:
        case = self._presenter.case
        if case is None or case.table is None:
            return
        path = self._dialogs.choose_new_file(_("Save the table"), f"{case.table.GetName()}.csv", "*.csv")
        if path is None:
            return
        try:
            write_csv(case.table, path)
        except CrossModalSegError as error:
            self._dialogs.show_error(error)
