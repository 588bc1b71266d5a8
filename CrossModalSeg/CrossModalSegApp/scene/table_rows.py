"""Table nodes as rows of text, and back."""

from collections.abc import Sequence
from typing import Any

from CrossModalSegApp.scene.subject_tree import remove


def rows_of(table: Any) -> list[list[str]]:
    """The titles of the columns of a vtkMRMLTableNode, then its rows; nothing for None."""
    if table is None:
        return []
    columns = range(table.GetNumberOfColumns())
    titles = [table.GetColumnName(column) for column in columns]
    return [titles, *([table.GetCellText(row, column) for column in columns] for row in range(table.GetNumberOfRows()))]


def add_rows(scene: Any, rows: Sequence[Sequence[str]], name: str) -> Any:
    """Add a vtkMRMLTableNode called ``name`` of titles and rows of text. On an error nothing is left in the scene."""
    import vtk

    titles, *cells = rows
    node = scene.AddNewNodeByClass("vtkMRMLTableNode", name)
    try:
        for column, title in enumerate(titles):
            array = vtk.vtkStringArray()
            array.SetName(title)
            for row in cells:
                array.InsertNextValue(row[column])
            node.AddColumn(array)
        node.SetUseColumnTitleAsColumnHeader(True)
    except BaseException:
        remove(node)
        raise
    return node
