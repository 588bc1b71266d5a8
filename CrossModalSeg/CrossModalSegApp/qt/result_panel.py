"""The result section: which result, its table, and the layout that shows both scans."""

from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from CrossModalSegApp.qt.dialogs import Dialogs
from CrossModalSegApp.scene.case_nodes import CaseNodes
from CrossModalSegApp.scene.result_table import write_csv
from CrossModalSegLib.errors import CrossModalSegError


class ResultPanel:
    """Lists the results of the scene; ``on_chosen(case)`` is called when another one is shown."""

    def __init__(self, ui: Any, dialogs: Dialogs, on_chosen: Callable[[CaseNodes | None], None]):
        self._ui, self._dialogs, self._on_chosen = ui, dialogs, on_chosen
        self._cases: list[CaseNodes] = []
        self._identities: list[Any] | None = None  # of the cases, as they were listed
        self._is_filling = False
        ui.caseSelector.currentIndexChanged.connect(self._choose)
        ui.exportTableButton.clicked.connect(self._export)

    @property
    def case(self) -> CaseNodes | None:
        """The result that is shown."""
        index = self._ui.caseSelector.currentIndex
        return self._cases[index] if 0 <= index < len(self._cases) else None

    def fill(self, cases: list[CaseNodes]) -> None:
        """List ``cases``; the one that was shown stays, a new one is shown. Where nothing is new, nothing is done."""
        identities = [case.identity for case in cases]
        if identities == self._identities:
            return
        former = self._identities[self._ui.caseSelector.currentIndex] if self._identities and self.case else None
        shown = self.case.run_id if self.case else None
        known = {case.run_id for case in self._cases}
        self._cases, self._identities = cases, identities
        ids = [case.run_id for case in cases]
        new = [run_id for run_id in ids if run_id not in known]
        self._is_filling = True
        self._ui.caseSelector.clear()
        for case in cases:
            self._ui.caseSelector.addItem(case.title)
        wanted = new[-1] if new else shown
        self._ui.caseSelector.setCurrentIndex(ids.index(wanted) if wanted in ids else len(ids) - 1)
        self._is_filling = False
        if self.case is None or self.case.identity != former:
            self._show()

    def _choose(self, _index: int) -> None:
        if not self._is_filling:
            self._show()

    def _show(self) -> None:
        case = self.case
        self._ui.resultSection.visible = case is not None
        self._ui.caseSelector.enabled = len(self._cases) > 1
        self._ui.exportTableButton.enabled = case is not None and case.table is not None
        fill_table(self._ui.resultTable, case.table if case else None)
        self._on_chosen(case)

    def _export(self, *_args: object) -> None:
        case = self.case
        if case is None or case.table is None:
            return
        path = self._dialogs.choose_new_file(_("Save the table"), f"{case.table.GetName()}.csv", "*.csv")
        if path is None:
            return
        try:
            write_csv(case.table, path)
        except CrossModalSegError as error:
            self._dialogs.show_error(error)


def fill_table(widget: Any, node: Any) -> None:
    """Show a vtkMRMLTableNode in a QTableWidget, as it stands; None empties it."""
    widget.clear()
    columns = node.GetNumberOfColumns() if node else 0
    widget.setColumnCount(columns)
    widget.setRowCount(node.GetNumberOfRows() if node else 0)
    widget.setHorizontalHeaderLabels([node.GetColumnName(column) for column in range(columns)])
    for row in range(widget.rowCount):
        for column in range(columns):
            item = qt.QTableWidgetItem(node.GetCellText(row, column))
            if column > 0:
                item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
            widget.setItem(row, column, item)
    widget.verticalHeader().setVisible(False)
    widget.resizeColumnsToContents()
    widget.resizeRowsToContents()
