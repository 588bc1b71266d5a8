"""The review list: the places most worth checking, which of them have been, and which is being looked at.

It lives in a table node, so that a saved scene keeps it, ticks included.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from CrossModalSegApp.scene.table_rows import add_rows

_SEPARATOR = ", "  # between modalities
_DONE = "done"
DIFFERENCE = "difference:"
_CURRENT_ATTRIBUTE = "CrossModalSeg.current"  # number of the place that was gone to last


@dataclass(frozen=True)
class ReviewEntry:
    """One place to check: ``ras_mm`` (x, y, z) in the world, ``reason`` "uncertain", "disagreement", or `DIFFERENCE`
    with the structure that another result has there, "" for none.

    ``severity`` runs from 0 to 1, ``volume_ml`` is the size of the doubtful region.
    """

    number: int
    structure: str
    modalities: tuple[str, ...]
    reason: str
    severity: float
    volume_ml: float
    ras_mm: tuple[float, float, float]


class ReviewList:
    """The entries in the vtkMRMLTableNode ``table``, in their order; all changes go into the table at once."""

    def __init__(self, table: Any):
        self.table = table

    @property
    def entries(self) -> tuple[ReviewEntry, ...]:
        return tuple(_entry(self.table, row) for row in range(len(self)))

    def __len__(self) -> int:
        return self.table.GetNumberOfRows()

    @property
    def current(self) -> ReviewEntry | None:
        """The entry that was gone to last; None at first."""
        number = self.table.GetAttribute(_CURRENT_ATTRIBUTE)
        return next((entry for entry in self.entries if str(entry.number) == number), None)

    def next(self) -> ReviewEntry | None:
        """Go to the entry after the current one, at first to the first one, and stay at the last; None without any."""
        return self._step(1)

    def previous(self) -> ReviewEntry | None:
        """Go to the entry before the current one, and stay at the first one; None without any."""
        return self._step(-1)

    def go_to(self, number: int) -> ReviewEntry:
        """Make the entry with this number the current one. Raises KeyError where there is none."""
        entry = self.entries[self._row(number)]
        self.table.SetAttribute(_CURRENT_ATTRIBUTE, str(number))
        return entry

    def tick(self, number: int, is_done: bool = True) -> None:
        """Note that the entry with this number has been checked, or has not. Raises KeyError where there is none."""
        self.table.SetCellText(self._row(number), self.table.GetColumnIndex(_DONE), "yes" if is_done else "")

    def is_ticked(self, number: int) -> bool:
        """Whether the entry with this number has been checked. Raises KeyError where there is none."""
        return self.table.GetCellText(self._row(number), self.table.GetColumnIndex(_DONE)) == "yes"

    def _step(self, by: int) -> ReviewEntry | None:
        entries, current = self.entries, self.current
        if not entries:
            return None
        position = entries.index(current) + by if current else 0
        return self.go_to(entries[min(max(position, 0), len(entries) - 1)].number)

    def _row(self, number: int) -> int:
        numbers = [self.table.GetCellText(row, 0) for row in range(len(self))]
        if str(number) not in numbers:
            raise KeyError(f"the review list has no number {number}")
        return numbers.index(str(number))


def add_review(scene: Any, places: Iterable[Mapping[str, Any]], name: str) -> ReviewList:
    """Add the ``review`` of a report as a table node called ``name``. On an error nothing is left in the scene."""
    node = add_rows(scene, [_COLUMNS, *map(_cells, places)], name)
    return ReviewList(node)


_COLUMNS = ("number", "structure", "modalities", "reason", "severity", "volume (mL)", "R", "A", "S", _DONE)


def _cells(place: Mapping[str, Any]) -> list[str]:
    numbers = [place["severity"], place["volume_ml"], *place["ras_mm"]]
    texts = [place["structure"], _SEPARATOR.join(place["modalities"]), place["reason"]]
    return [str(place["number"]), *texts, *(f"{number:.3f}" for number in numbers), ""]


def _entry(table: Any, row: int) -> ReviewEntry:
    number, structure, modalities, reason, severity, volume, r, a, s, _ = (
        table.GetCellText(row, column) for column in range(len(_COLUMNS))
    )
    return ReviewEntry(
        number=int(number),
        structure=structure,
        modalities=tuple(modalities.split(_SEPARATOR)) if modalities else (),
        reason=reason,
        severity=float(severity),
        volume_ml=float(volume),
        ras_mm=(float(r), float(a), float(s)),
    )
