"""The state of the page, section by section: each section shows its own, all tabs of the browser see the same."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from trame_server import Server

from CrossModalSegApp.logic.presenter import Presenter


class PageState:
    """One section's part: ``initial`` are its fields, which the templates read as ``<name>.<field>``."""

    def __init__(self, server: Server, name: str, **initial: Any):
        self._server, self._name = server, name
        self._fields = initial
        if initial:
            self.show()

    def __getitem__(self, field: str) -> Any:
        return self._fields[field]

    def show(self, **changes: Any) -> None:
        """Change these fields. Raises KeyError for one that the section does not have."""
        unknown = set(changes) - set(self._fields)
        if unknown:
            raise KeyError(f"the section {self._name} has no {', '.join(sorted(unknown))}")
        self._fields = self._fields | changes
        self._server.state[self._name] = self._fields
        _flush_soon(self._server)

    @contextmanager
    def flushed(self) -> Iterator[None]:
        """The browser is told at its end: before something that takes a while."""
        with self._server.state:
            yield

    def on(self, trigger: str, action: Callable[..., Any]) -> None:
        """Do ``action`` when the page calls ``trigger('<name>_<trigger>', [arguments])``."""
        self._server.controller.trigger(f"{self._name}_{trigger}")(action)

    def draw(self, presenter: Presenter, *intents: str) -> None:
        """Show the fields of a presenter's state, now and after each change; triggers with the names of ``intents``
        call the methods of that name."""
        for intent in intents:
            self.on(intent, getattr(presenter, intent))
        self._fields = asdict(presenter.state)
        presenter.listen(lambda: self.show(**asdict(presenter.state)))


def _flush_soon(server: Server) -> None:
    """Tell the browser of changes that no click has led to: trame does so after triggers only."""
    try:
        asyncio.get_running_loop().call_soon(server.state.flush)
    except RuntimeError:  # the page is still being made
        return
