"""The result section: which result, its table, and what can be exported of it."""

from typing import Any

from slicer.i18n import tr as _

from CrossModalSegApp.logic.export_presenter import ExportPresenter
from CrossModalSegApp.logic.result_presenter import ResultPresenter
from CrossModalSegApp.qt.dialogs import Dialogs
from CrossModalSegApp.qt.selector import Selector
from CrossModalSegApp.qt.tables import fill_table
from CrossModalSegApp.scene.result_table import write_csv
from CrossModalSegLib.errors import CrossModalSegError


class ResultPanel:
    """Draws the states of a `ResultPresenter` and an `ExportPresenter`, and exports the table."""

    def __init__(self, ui: Any, dialogs: Dialogs, presenter: ResultPresenter, export: ExportPresenter):
        self._ui, self._dialogs, self._presenter, self._export = ui, dialogs, presenter, export
        self._selector = Selector(ui.caseSelector, presenter.choose)
        self._table: Any = None  # that is shown
        ui.exportTableButton.clicked.connect(self._export_table)
        ui.exportDicomButton.clicked.connect(self._export_dicom)
        ui.exportStructureSetCheck.toggled.connect(export.set_structure_set)
        presenter.listen(self._draw)
        export.listen(self._draw_export)

    def _draw(self) -> None:
        state, ui = self._presenter.state, self._ui
        self._selector.show(state.cases, state.current)
        ui.resultSection.visible = bool(state.current)
        ui.caseSelector.enabled = len(state.cases) > 1
        ui.exportTableButton.enabled = bool(state.columns)
        if (state.columns, state.rows) != self._table:
            self._table = (state.columns, state.rows)
            fill_table(ui.resultTable, state.columns, state.rows, numbers_from=1)

    def _draw_export(self) -> None:
        state, ui = self._export.state, self._ui
        ui.exportDicomButton.enabled = ui.exportStructureSetCheck.enabled = state.can_start
        ui.exportStructureSetCheck.checked = state.with_structure_set
        ui.exportDicomLabel.text = state.words
        ui.exportDicomLabel.visible = bool(state.words)

    def _export_dicom(self, *_args: object) -> None:
        folder = self._dialogs.choose_folder(_("Choose an empty folder for the DICOM files"))
        if folder is not None:
            self._export.export(folder)

    def _export_table(self, *_args: object) -> None:
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
