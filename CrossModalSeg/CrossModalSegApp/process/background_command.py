"""A command of the library as a process of its own that tells in lines of JSON how far it is. Knows no widgets.

It may be ended at any moment: what it has done is kept, and starting it again goes on from there.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from CrossModalSegApp.process.child_process import ChildProcess, ending_words
from CrossModalSegApp.process.run_state import Outcome
from CrossModalSegLib.errors import CrossModalSegError, InputError, ProtocolError, WorkerError
from CrossModalSegLib.protocol import Done, Event, Failed, Message, Progress, Ready, decode_event

_MODULE = "CrossModalSegLib.cli"
_KEPT_ERROR_LINES = 5

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CommandStatus:
    """All that a view shows: ``fraction`` (0 to 1) of the whole, ``seconds_left`` None where not known yet; ``plan``
    says in sentences what was found and will be done, ``result`` what came of it, where the command has one to show.

    It is running as long as its process lives, also while ``is_stopping``: it was told to end, and has not yet."""

    is_running: bool = False
    is_stopping: bool = False
    plan: tuple[str, ...] = ()
    stage: str = ""
    words: str = ""
    fraction: float = 0.0
    seconds_left: float | None = None
    outcome: Outcome = Outcome.NONE
    error: CrossModalSegError | None = None
    result: Any = None


# Starts ``python -m module`` with the library, as `WorkerClient.launch` does: module, arguments, and who is told of
# lines, of lines of errors, and of the end.
Launcher = Callable[
    [str, Sequence[str], Callable[[bytes], None], Callable[[str], None], Callable[[int | None], None]], ChildProcess
]


class BackgroundCommand:
    """At most one process at a time. ``launch`` starts processes; listeners are told of every change of `status`.

    ``name`` is the command in messages, ``died`` the code of the error where its process ends without a word.
    """

    def __init__(self, launch: Launcher, name: str, died: str):
        self.status = CommandStatus()
        self._launch, self._name, self._died = launch, name, died
        self._listeners: list[Callable[[CommandStatus], None]] = []
        self._process: ChildProcess | None = None
        self._error_lines: deque[str] = deque(maxlen=_KEPT_ERROR_LINES)
        self._answer: CommandStatus | None = None  # how it ended, once the process has said it

    def listen(self, listener: Callable[[CommandStatus], None]) -> None:
        """Call ``listener`` with the new status after every change."""
        self._listeners.append(listener)

    def forget(self, listener: Callable[[CommandStatus], None]) -> None:
        self._listeners.remove(listener)

    def cancel(self) -> None:
        """Stop it, if it is going on; what it has done is kept. It is stopped when `status` says so, here or later."""
        if self._process is not None:
            self._set(CommandStatus(is_running=True, is_stopping=True, stage="stopping", plan=self.status.plan))
            self._process.end()

    def close(self) -> None:
        """Kill it, and tell nobody."""
        self._listeners.clear()
        if self._process is not None:
            self._process.kill()
            self._process = None
            self.status = CommandStatus(outcome=Outcome.CANCELLED, plan=self.status.plan)

    def wait(self, seconds: float) -> None:
        """Let events arrive and deliver them on this thread, for at most ``seconds``; where no event loop does."""
        if self._process is not None:
            self._process.wait(seconds)

    def run(self, arguments: Sequence[str]) -> None:
        """Begin ``crossmodalseg ARGUMENTS --events``; returns at once. Raises InputError ``busy``."""
        if self._process is not None:
            raise InputError("busy", f"a {self._name} is going on already", "wait for it, or cancel it")
        self._answer = None
        self._error_lines.clear()
        command = [*arguments, "--events"]
        self._process = self._launch(_MODULE, command, self._take_line, self._take_error_line, self._note_end)
        self._set(CommandStatus(is_running=True, stage="starting"))

    def result_of(self, _result: dict[str, Any]) -> Any:
        """What the command says that came of it. Raises KeyError or TypeError where it is not of this command."""
        return None

    # --- what the process says

    def _take_line(self, line: bytes) -> None:
        try:
            self._take_event(decode_event(line))
        except (ProtocolError, KeyError, TypeError) as error:
            _log.warning("the %s says something else than events: %r (%s)", self._name, line[:200], error)

    def _take_event(self, event: Event) -> None:
        status = self.status
        if isinstance(event, Ready) and self._process is not None:
            self._process.note_pid(event.pid)
        elif isinstance(event, Message):
            self._set(replace(status, plan=(*status.plan, event.text)))
        elif isinstance(event, Progress) and not status.is_stopping:
            told = {"stage": event.stage, "words": event.words, "seconds_left": event.seconds_left}
            self._set(replace(status, fraction=event.overall, **told))
        elif isinstance(event, Failed):
            error = WorkerError(event.code, event.message, event.hint)
            self._answer = CommandStatus(outcome=Outcome.FAILED, error=error, plan=status.plan)
        elif isinstance(event, Done):
            result = self.result_of(event.result)
            self._answer = CommandStatus(outcome=Outcome.DONE, result=result, plan=status.plan)

    def _take_error_line(self, line: str) -> None:
        self._error_lines.append(line)
        _log.info("%s: %s", self._name, line)

    def _note_end(self, exit_code: int | None) -> None:
        """The process is gone. Where it has not said how it ended, it was stopped, killed, or could not be started."""
        self._process = None
        if self._answer is None and self.status.is_stopping:
            self._answer = CommandStatus(outcome=Outcome.CANCELLED, plan=self.status.plan)
        elif self._answer is None:
            message = "\n".join([f"The process of the {self._name} {ending_words(exit_code)}.", *self._error_lines])
            hint = "what it had done is kept: go on with it; if it happens again, memory may be short"
            error = WorkerError(self._died, message, hint)
            self._answer = CommandStatus(outcome=Outcome.FAILED, error=error, plan=self.status.plan)
        self._set(self._answer)

    def _set(self, status: CommandStatus) -> None:
        self.status = status
        for listener in tuple(self._listeners):
            try:
                listener(status)
            except Exception:  # noqa: BLE001 - others listen as well, and an event loop has no use for it
                _log.exception("a listener failed at %s", status)
