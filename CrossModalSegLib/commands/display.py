"""What a command tells while it works: a person on stderr, a program by events on stdout (see ``protocol``)."""

import sys
from typing import TYPE_CHECKING, Any, Self

from CrossModalSegLib.errors import CrossModalSegError
from CrossModalSegLib.progress import Throttle, in_words
from CrossModalSegLib.protocol import Done, Event, Failed, Message, Progress, encode

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

SECONDS_BETWEEN_PICTURES = 0.2  # of the bar
SECONDS_BETWEEN_LINES = 60.0  # where stderr is a file


class Display:
    """Progress, sentences and the end of one command, which it is entered for.

    On a terminal progress is a bar, which appears with the first of it, and is wiped at the end; in a file it is a line
    now and then and at the end, unless ``lines`` is False. ``events``: events on stdout instead, errors included. It
    shows nothing where ``is_shown`` is made False: of several processes, one tells.
    """

    def __init__(self, events: bool = False, lines: bool = True):
        self.events, self.is_shown = events, True
        self._lines = lines
        self._bar: Bar | None = None
        self._pictures, self._written = Throttle(SECONDS_BETWEEN_PICTURES), Throttle(SECONDS_BETWEEN_LINES)
        self._last: Progress | None = None  # what has not been written as a line yet

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: object, _traceback: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif self._last is not None:
            self._write(self._last)
        if self.events and isinstance(error, CrossModalSegError):
            self._send(Failed("", error.code, error.message, error.hint))

    def message(self, text: str) -> None:
        """One sentence: what was found, or what will be done."""
        if self.events and self.is_shown:
            self._send(Message("", text))
        elif self.is_shown and self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        elif self.is_shown:
            print(text, file=sys.stderr)

    def progress(self, progress: Progress) -> None:
        """How far it is."""
        if not self.is_shown:
            return
        if self.events:
            self._send(progress)
        elif sys.stderr.isatty():
            self._draw(progress)
        elif self._lines:
            self._last = progress
            if self._written.lets_through(progress.stage):
                self._write(progress)

    def done(self, **result: Any) -> None:
        """What came of it, for programs; persons read it as the command prints it."""
        if self.events:
            self._send(Done("", result))

    def _send(self, event: Event) -> None:
        print(encode(event).decode("ascii"), end="", flush=True)

    def _write(self, progress: Progress) -> None:
        self._last = None
        print(f"{progress.overall:4.0%} {in_words(progress)}", file=sys.stderr)

    def _draw(self, progress: Progress) -> None:
        if self._bar is None:
            self._bar = _new_bar()
        if self._pictures.lets_through(progress.stage):
            self._bar.update(self._bar.task_ids[0], completed=progress.overall, description=in_words(progress))
            self._bar.refresh()


def _new_bar() -> "Bar":
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (TaskProgressColumn(), BarColumn(), TextColumn("{task.description}", markup=False))
    bar = Bar(*columns, console=Console(stderr=True), auto_refresh=False, transient=True)
    bar.add_task("", total=1.0)
    bar.start()
    return bar
