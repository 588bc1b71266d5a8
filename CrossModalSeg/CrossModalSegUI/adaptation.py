"""Fine-tuning for a view: a process of its own, how far it is, and what came of it. Knows no widgets.

The process is ``crossmodalseg finetune SITE --events``, which writes a line of JSON for each event. It may be killed at
any moment: the run goes on from there when it is resumed.
"""

import json
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from CrossModalSegLib.bundle import Bundle
from CrossModalSegLib.errors import CrossModalSegError, DataError, InputError, WorkerError
from CrossModalSegLib.site_runs import finished_runs, unfinished_run
from CrossModalSegUI.run_state import Outcome
from CrossModalSegUI.worker_client import WorkerProcess

_MODULE = "CrossModalSegLib.cli"
_KEPT_ERROR_LINES = 5

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AdaptationResult:
    """What the gate decided (promote, keep, insufficient-evidence) and why, the report, and the new model's folder."""

    decision: str
    reasons: tuple[str, ...]
    report: Path
    bundle: Path

    @property
    def is_offered(self) -> bool:
        """Whether a person may choose the new model: nothing was found against it."""
        return self.decision != "keep"


@dataclass(frozen=True)
class AdaptationStatus:
    """All that a view shows: ``fraction`` (0 to 1) of the whole, ``seconds_left`` None where not known yet; ``plan``
    says in sentences what was found and will be done."""

    is_running: bool = False
    plan: tuple[str, ...] = ()
    stage: str = ""
    words: str = ""
    fraction: float = 0.0
    seconds_left: float | None = None
    outcome: Outcome = Outcome.NONE
    error: CrossModalSegError | None = None
    result: AdaptationResult | None = None


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


class Adaptation:
    """At most one fine-tuning at a time. ``launch`` starts processes; listeners are told of every change of `status`."""

    def __init__(self, launch: Launcher):
        self.status = AdaptationStatus()
        self._launch = launch
        self._listeners: list[Callable[[AdaptationStatus], None]] = []
        self._process: WorkerProcess | None = None
        self._line = b""
        self._error_lines: deque[str] = deque(maxlen=_KEPT_ERROR_LINES)
        self._answer: AdaptationStatus | None = None  # how it ended, once the process has said it

    def listen(self, listener: Callable[[AdaptationStatus], None]) -> None:
        """Call ``listener`` with the new status after every change."""
        self._listeners.append(listener)

    def forget(self, listener: Callable[[AdaptationStatus], None]) -> None:
        self._listeners.remove(listener)

    def start(self, site: Path, base: Bundle, minutes: float, device: str = "auto") -> None:
        """Begin a fine-tuning of ``base``; returns at once. Raises InputError ``busy``."""
        self._start([str(site), "--base", str(base.path), "--budget", f"{minutes:g}", "--device", device])

    def resume(self, site: Path, device: str = "auto") -> None:
        """Go on with the newest run that was stopped. Raises InputError ``busy``."""
        self._start([str(site), "--resume", "--device", device])

    def cancel(self) -> None:
        """Stop it, if it is going on; it can be resumed later."""
        if self._process is not None:
            self._process.kill_tree()
            self._process = None
            self._set(AdaptationStatus(outcome=Outcome.CANCELLED, plan=self.status.plan))

    def close(self) -> None:
        """Stop it, and tell nobody."""
        self._listeners.clear()
        self.cancel()

    def wait(self, seconds: float) -> None:
        """Let events arrive and deliver them on this thread, for at most ``seconds``; where no event loop does."""
        if self._process is not None:
            self._process.wait(seconds)

    def _start(self, arguments: Sequence[str]) -> None:
        if self._process is not None:
            raise InputError("busy", "a fine-tuning is going on already", "wait for it, or cancel it")
        self._line, self._answer = b"", None
        self._error_lines.clear()
        command = ["finetune", *arguments, "--events"]
        self._process = self._launch(_MODULE, command, self._take_output, self._take_error_output, self._note_end)
        self._set(AdaptationStatus(is_running=True, stage="starting"))

    # --- what the process says

    def _take_output(self, data: bytes) -> None:
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            try:
                event = json.loads(line)
                self._take_event(str(event["event"]), event)
            except (ValueError, KeyError, TypeError) as error:
                _log.warning("fine-tuning says something else than events: %r (%s)", line[:200], error)

    def _take_event(self, kind: str, event: dict[str, Any]) -> None:
        status = self.status
        if kind == "message":
            self._set(replace(status, plan=(*status.plan, event["text"])))
        elif kind == "progress":
            stage, words, left = event["stage"], event["words"], event["seconds_left"]
            self._set(replace(status, stage=stage, words=words, fraction=event["fraction"], seconds_left=left))
        elif kind == "failed":
            error = WorkerError(event["code"], event["message"], event["hint"])
            self._answer = AdaptationStatus(outcome=Outcome.FAILED, error=error, plan=status.plan)
        elif kind == "done":
            result = AdaptationResult(
                event["decision"], tuple(event["reasons"]), Path(event["report"]), Path(event["bundle"])
            )
            self._answer = AdaptationStatus(outcome=Outcome.DONE, result=result, plan=status.plan)

    def _take_error_output(self, data: bytes) -> None:
        for line in data.decode("utf-8", "replace").splitlines():
            if line.strip():
                self._error_lines.append(line.strip())
                _log.info("fine-tuning: %s", line)

    def _note_end(self, exit_code: int | None) -> None:
        """The process is gone. Where it has not said how it ended, it was killed, or could not be started."""
        self._process = None
        if self._answer is None:
            what = "could not be started" if exit_code is None else f"ended unexpectedly (exit code {exit_code})"
            message = "\n".join([f"The process of the fine-tuning {what}.", *self._error_lines])
            hint = "what it had done is kept: go on with it; if it happens again, memory may be short"
            error = WorkerError("adaptation-died", message, hint)
            self._answer = AdaptationStatus(outcome=Outcome.FAILED, error=error, plan=self.status.plan)
        self._set(self._answer)

    def _set(self, status: AdaptationStatus) -> None:
        self.status = status
        for listener in tuple(self._listeners):
            listener(status)


def can_resume(site: Path) -> bool:
    """Whether a fine-tuning of this site was stopped before its end."""
    try:
        unfinished_run(site)
    except DataError:
        return False
    return True


def latest_result(site: Path) -> AdaptationResult | None:
    """What the newest finished fine-tuning of this site came to. Raises DataError ``bad-run``."""
    runs = finished_runs(site)
    return AdaptationResult(runs[-1].decision, runs[-1].reasons, runs[-1].report, runs[-1].candidate) if runs else None
