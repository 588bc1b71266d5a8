"""Where a run is: an explicit state machine, so that every button knows what it may do."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from CrossModalSegLib.errors import CrossModalSegError


class RunState(Enum):
    """What is going on. Only IDLE takes a new run; only STARTING and RUNNING can be cancelled."""

    IDLE = "idle"
    STARTING = "starting"  # writes the scans for the worker
    RUNNING = "running"  # the worker computes
    IMPORTING = "importing"  # brings the result into the scene; too short to be cancelled
    CANCELLING = "cancelling"


_FOLLOWERS = {
    RunState.IDLE: {RunState.STARTING},
    RunState.STARTING: {RunState.RUNNING, RunState.CANCELLING, RunState.IDLE},
    RunState.RUNNING: {RunState.IMPORTING, RunState.CANCELLING, RunState.IDLE},
    RunState.IMPORTING: {RunState.IDLE},
    RunState.CANCELLING: {RunState.IDLE},
}


class Outcome(Enum):
    """How the last run ended."""

    NONE = "none"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class RunStatus:
    """All that a view shows of a run: ``fraction`` (0 to 1) of the whole, ``seconds_left`` None where not known yet."""

    state: RunState = RunState.IDLE
    stage: str = ""
    fraction: float = 0.0
    seconds_left: float | None = None
    outcome: Outcome = Outcome.NONE
    reason: str = ""  # of a run that was cancelled by something else than the button
    error: CrossModalSegError | None = None

    @property
    def is_cancellable(self) -> bool:
        return self.state in (RunState.STARTING, RunState.RUNNING)


class RunTracker:
    """Holds the status, refuses transitions that make no sense, and tells every listener of each change."""

    def __init__(self) -> None:
        self.status = RunStatus()
        self._listeners: list[Callable[[RunStatus], None]] = []

    def listen(self, listener: Callable[[RunStatus], None]) -> None:
        self._listeners.append(listener)

    def forget(self, listener: Callable[[RunStatus], None]) -> None:
        self._listeners.remove(listener)

    def enter(self, state: RunState, stage: str = "") -> None:
        """Go on to ``state``; a fraction already reached is kept. Raises ValueError where it cannot follow."""
        self._require_follower(state)
        fraction = 0.0 if state is RunState.STARTING else self.status.fraction
        self._set(RunStatus(state, stage, fraction))

    def progress(self, stage: str, fraction: float, seconds_left: float | None) -> None:
        """Note how far the worker is; ignored unless it is RUNNING, because events may arrive late."""
        if self.status.state is RunState.RUNNING:
            self._set(RunStatus(RunState.RUNNING, stage, fraction, seconds_left))

    def finish(self, outcome: Outcome, error: CrossModalSegError | None = None, reason: str = "") -> None:
        """Back to IDLE. Raises ValueError where nothing was going on."""
        self._require_follower(RunState.IDLE)
        self._set(RunStatus(RunState.IDLE, outcome=outcome, error=error, reason=reason))

    def forget_outcome(self) -> None:
        """How the last run ended no longer matters; nothing where one is going on."""
        if self.status.state is RunState.IDLE:
            self._set(RunStatus())

    def _require_follower(self, state: RunState) -> None:
        if state not in _FOLLOWERS[self.status.state]:
            raise ValueError(f"a run that is {self.status.state.value} cannot become {state.value}")

    def _set(self, status: RunStatus) -> None:
        self.status = status
        for listener in tuple(self._listeners):
            listener(status)
