"""The section Review: numbered places to check, with a tick for each; N and P go through them."""

from collections.abc import Callable

from trame_server import Server

from CrossModalSegApp.logic.wording import reason_words
from CrossModalSegApp.scene.review import ReviewEntry, ReviewList
from CrossModalSegApp.web.page_state import PageState


class ReviewSection:
    """Shows a `ReviewList`; ``on_jump(ras)`` is called with the place (mm, RAS) that the user goes to."""

    def __init__(self, server: Server, on_jump: Callable[[tuple[float, float, float]], None]):
        self._on_jump = on_jump
        self._list: ReviewList | None = None
        self._state = PageState(server, "review", is_shown=False, entries=[], current=0, done=0)
        self._state.on("next", self.go_next)
        self._state.on("previous", self.go_previous)
        self._state.on("go_to", lambda number: self._go(self._list and self._list.go_to(int(number))))
        self._state.on("tick", self._tick)

    def show(self, review: ReviewList | None) -> None:
        self._list = review
        self._render()

    def go_next(self) -> None:
        self._go(self._list and self._list.next())

    def go_previous(self) -> None:
        self._go(self._list and self._list.previous())

    def _go(self, entry: ReviewEntry | None) -> None:
        self._render()
        if entry is not None:
            self._on_jump(entry.ras_mm)

    def _tick(self, number: int, is_done: bool) -> None:
        if self._list is not None:
            self._list.tick(int(number), is_done)
            self._render()

    def _render(self) -> None:
        entries = self._list.entries if self._list is not None else ()
        current = self._list.current if self._list is not None else None
        rows = [
            {
                "number": entry.number,
                "structure": entry.structure,
                "reason": reason_words(entry),
                "is_done": self._list is not None and self._list.is_ticked(entry.number),
            }
            for entry in entries
        ]
        self._state.show(
            is_shown=self._list is not None,
            entries=rows,
            current=current.number if current else 0,
            done=sum(row["is_done"] for row in rows),
        )
