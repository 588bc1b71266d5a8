"""Rows of text in a QTableWidget."""

from collections.abc import Sequence
from typing import Any

import qt


def fill_table(
    table: Any, titles: Sequence[str], rows: Sequence[Sequence[str]], numbers_from: int | None = None
) -> None:
    """Show ``rows`` below ``titles``, instead of what was there; columns from ``numbers_from`` on are aligned right."""
    table.clear()
    table.setColumnCount(len(titles))
    table.setHorizontalHeaderLabels(list(titles))
    table.setRowCount(len(rows))
    for row, texts in enumerate(rows):
        for column, text in enumerate(texts):
            item = qt.QTableWidgetItem(text)
            if numbers_from is not None and column >= numbers_from:
                item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
            table.setItem(row, column, item)
    table.verticalHeader().setVisible(False)
    table.resizeColumnsToContents()
    table.resizeRowsToContents()
