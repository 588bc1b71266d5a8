"""A command of the library as a process of its own that tells in lines of JSON how far it is. Knows no widgets.

It may be killed at any moment: what it has done is kept, and starting it again goes on from there.
"""

import json
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from CrossModalSegLib.errors import CrossModalSegError, InputError, WorkerError
from CrossModalSegUI.run_state import Outcome
from CrossModalSegUI.worker_client import WorkerProcess

_MODULE = "CrossModalSegLib.cli"
_KEPT_ERROR_LINES = 5

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CommandStatus:
    """All that a view shows: ``fraction`` (0 to 1) of the whole, ``seconds_left`` None where not known yet; ``plan``
    says in sentences what was found and will be done, ``result`` what came of it, where the command has one to show."""

    is_running: bool = False
    plan: tuple[str, ...] = ()
    stage: str = ""
    words: str = ""
    fraction: float = 0.0
    seconds_left: float | None = None
    outcome: Outcome = Outcome.NONE
    error: CrossModalSegError | None = None
    result: Any = None


class Launcher(Protocol):
    """Starts ``python -m module`` with the library; `WorkerClient.launch` is one."""

    def __call__(
        self,
        module: str,
        arguments: Sequence[str],
        on_output: Callable[[bytes], None],
        on_error_output: Callable[[bytes], None],
        on_finished: Callable[[int | None], None],
    ) -> WorkerProcess: ...


class BackgroundCommand:
    """At most one process at a time. ``launch`` starts processes; listeners are told of every change of `status`.

    ``name`` is the command in messages, ``died`` the code of the error where its process ends without a word.
    """

    def __init__(self, launch: Launcher, name: str, died: str):
        self.status = CommandStatus()
        self._launch, self._name, self._died = launch, name, died
        self._listeners: list[Callable[[CommandStatus], None]] = []
        self._process: WorkerProcess | None = None
        self._line = b""
        self._error_lines: deque[str] = deque(maxlen=_KEPT_ERROR_LINES)
        self._answer: CommandStatus | None = None  # how it ended, once the process has said it

    def listen(self, listener: Callable[[CommandStatus], None]) -> None:
        """Call ``listener`` with the new status after every change."""
        self._listeners.append(listener)

    def forget(self, listener: Callable[[CommandStatus], None]) -> None:
        self._listeners.remove(listener)

    def cancel(self) -> None:
        """Stop it, if it is going on; what it has done is kept."""
        if self._process is not None:
            self._process.kill_tree()
            self._process = None
            self._set(CommandStatus(outcome=Outcome.CANCELLED, plan=self.status.plan))

    def close(self) -> None:
        """Stop it, and tell nobody."""
        self._listeners.clear()
        self.cancel()

    def wait(self, seconds: float) -> None:
        """Let events arrive and deliver them on this thread, for at most ``seconds``; where no event loop does."""
        if self._process is not None:
            self._process.wait(seconds)

    def run(self, arguments: Sequence[str]) -> None:
        """Begin ``crossmodalseg ARGUMENTS --events``; returns at once. Raises InputError ``busy``."""
        if self._process is not None:
            raise InputError("busy", f"a {self._name} is going on already", "wait for it, or cancel it")
        self._line, self._answer = b"", None
        self._error_lines.clear()
        command = [*arguments, "--events"]
        self._process = self._launch(_MODULE, command, self._take_output, self._take_error_output, self._note_end)
        self._set(CommandStatus(is_running=True, stage="starting"))

    def result_of(self, _event: dict[str, Any]) -> Any:
        """What the last event says that came of it. Raises KeyError or TypeError where it is not of this command."""
        return None

    # --- what the process says

    def _take_output(self, data: bytes) -> None:
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            try:
                event = json.loads(line)
                self._take_event(str(event["event"]), event)
            except (ValueError, KeyError, TypeError) as error:
                _log.warning("the %s says something else than events: %r (%s)", self._name, line[:200], error)

    def _take_event(self, kind: str, event: dict[str, Any]) -> None:
        status = self.status
        if kind == "message":
            self._set(replace(status, plan=(*status.plan, event["text"])))
        elif kind == "progress":
            stage, words, left = event["stage"], event["words"], event["seconds_left"]
            self._set(replace(status, stage=stage, words=words, fraction=event["fraction"], seconds_left=left))
        elif kind == "failed":
            error = WorkerError(event["code"], event["message"], event["hint"])
            self._answer = CommandStatus(outcome=Outcome.FAILED, error=error, plan=status.plan)
        elif kind == "done":
            result = self.result_of(event)
            self._answer = CommandStatus(outcome=Outcome.DONE, result=result, plan=status.plan)

    def _take_error_output(self, data: bytes) -> None:
        for line in data.decode("utf-8", "replace").splitlines():
            if line.strip():
                self._error_lines.append(line.strip())
                _log.info("%s: %s", self._name, line)

    def _note_end(self, exit_code: int | None) -> None:
        """The process is gone. Where it has not said how it ended, it was killed, or could not be started."""
        self._process = None
        if self._answer is None:
            what = "could not be started" if exit_code is None else f"ended unexpectedly (exit code {exit_code})"
            message = "\n".join([f"The process of the {self._name} {what}.", *self._error_lines])
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
