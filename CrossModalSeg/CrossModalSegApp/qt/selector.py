"""A combo box of things that have an id and a title."""

from collections.abc import Callable
from typing import Any


class Selector:
    """Shows ``entries`` in a QComboBox; ``on_chosen(id)`` is called when the user chooses one."""

    def __init__(self, box: Any, on_chosen: Callable[[str], None]):
        self._box, self._on_chosen = box, on_chosen
        self._entries: tuple[tuple[str, str], ...] = ()
        self._is_filling = False
        box.currentIndexChanged.connect(self._choose)

    @property
    def current(self) -> str:
        """The id of the entry that is chosen, "" without any."""
        index = self._box.currentIndex
        return self._entries[index][0] if 0 <= index < len(self._entries) else ""

    def show(self, entries: tuple[tuple[str, str], ...], current: str) -> None:
        """List (id, title) and choose ``current``, or none where it is not there; nobody is told."""
        self._is_filling = True
        if entries != self._entries:
            self._entries = entries
            self._box.clear()
            for _id, title in entries:
                self._box.addItem(title)
        ids = [one for one, _title in entries]
        self._box.setCurrentIndex(ids.index(current) if current in ids else -1)
        self._is_filling = False

    def _choose(self, _index: int) -> None:
        if not self._is_filling and self.current:
            self._on_chosen(self.current)
