"""What a section shows is decided once, by its presenter: a frozen state, which a view draws, and what a user can do.

A view calls `Presenter.listen` with what draws the state, and the presenter's methods with what its user does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from CrossModalSegLib.errors import CrossModalSegError

T = TypeVar("T")


class Dialogs(Protocol):
    """How a view asks its user something, or tells of an error."""

    def show_error(self, error: CrossModalSegError) -> None: ...

    def ask(
        self, question: str, action: str, on_yes: Callable[[], None], on_no: Callable[[], None] = lambda: None
    ) -> None:
        """Call ``on_yes``, now or later, where the user chooses ``action`` (a verb), else ``on_no``."""


def _at_once(action: Callable[[], None]) -> None:
    action()


@dataclass(frozen=True)
class Host:
    """What a view gives to all of its sections.

    ``device`` says what to compute on ("auto", "cuda", "cpu"); ``ready`` is asked before something is computed and may
    install packages, False stops it, and so is ``ready_to_export`` before something is written in DICOM; ``soon`` does
    what takes a moment, after the view has been drawn where it can.
    """

    dialogs: Dialogs
    device: Callable[[], str]
    ready: Callable[[], bool] = lambda: True
    soon: Callable[[Callable[[], None]], None] = _at_once
    ready_to_export: Callable[[], bool] = lambda: True


class Presenter:
    """Tells views when their section looks different. Each has a ``state``, a frozen dataclass."""

    def __init__(self, host: Host):
        self._host = host
        self._listeners: list[Callable[[], None]] = []

    def listen(self, draw: Callable[[], None]) -> None:
        """Draw now, and after each change."""
        self._listeners.append(draw)
        draw()

    def changed(self) -> None:
        """Something that the state follows from is different."""
        for draw in self._listeners:
            draw()

    def _tried(self, action: Callable[[], T]) -> T | None:
        """What ``action`` gives; None where it fails, which is shown."""
        try:
            return action()
        except CrossModalSegError as error:
            self._host.dialogs.show_error(error)
            return None
