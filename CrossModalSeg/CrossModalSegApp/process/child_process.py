"""A process of the library, whatever starts it, and how it is ended: one way for the worker and for all commands.

PythonSlicer is a launcher: the process that computes is its child, and outlives it where the launcher alone is killed.
So the process says its own id (`CrossModalSegLib.attended`, ``worker``), and is ended by that id, with its group.
"""

import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from CrossModalSegApp.process.process_tree import is_alive, is_group_alive, kill_process_tree

_SECONDS_TO_END = 1.0  # that are waited for; a process that hangs longer (in a driver, on a share) is not waited for
_SECONDS_BETWEEN_LOOKS = 0.01
_SHELL_SIGNAL = 128  # a launcher or a shell gives 128 and the signal that ended its child


class WorkerProcess(Protocol):
    """One run of a program. It is started once; the callbacks are called on the thread that owns it.

    ``on_output`` and ``on_error_output`` get bytes as they come, ``on_finished`` comes once, after all output: with the
    exit code, negative where a signal ended the process, or None where it could not be started (why, goes to
    ``on_error_output``). None of them is called from within ``start`` or ``write``.
    """

    on_output: Callable[[bytes], None]
    on_error_output: Callable[[bytes], None]
    on_finished: Callable[[int | None], None]

    @property
    def is_running(self) -> bool:
        """Whether the process is alive, as far as is known; its last output may still be on the way."""

    def start(self, program: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start ``program`` in this process's environment changed by ``environment``."""

    def write(self, data: bytes) -> None:
        """Write to its stdin. Where it has ended, nothing happens: ``on_finished`` tells."""

    def close_stdin(self) -> None:
        """Nothing more is written to it."""

    def kill_tree(self, worker_pid: int | None = None) -> None:
        """Kill it and all that it has started, among them ``worker_pid``. No callback is called from here on."""

    def wait(self, seconds: float) -> None:
        """Let output arrive: calls the callbacks on this thread; returns when some came, at latest after
        ``seconds``."""

    def join(self, seconds: float) -> None:
        """Wait for its end, at most ``seconds``: calls the callbacks for what came until then, on this thread."""


class ChildProcess:
    """One run of a program of the library through ``process``; the callbacks get whole lines, and the end.

    ``pid`` is the process that computes, once it has said so to whoever reads the lines and calls `note_pid`.
    ``on_end`` comes once, with the exit code as `WorkerProcess` has it, and only when the process that computes is
    over, too.
    """

    def __init__(
        self,
        process: WorkerProcess,
        on_line: Callable[[bytes], None],
        on_error_line: Callable[[str], None],
        on_end: Callable[[int | None], None],
    ):
        self.pid: int | None = None
        self._process = process
        self._on_line, self._on_error_line, self._on_end = on_line, on_error_line, on_end
        self._line = self._error_line = b""  # what has come of it
        self._is_ending = self._is_over = False
        process.on_output = self._take_output
        process.on_error_output = self._take_error_output
        process.on_finished = self._finish

    @property
    def is_running(self) -> bool:
        return self._process.is_running

    def start(self, program: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self._process.start(program, arguments, environment)

    def write(self, data: bytes) -> None:
        self._process.write(data)

    def wait(self, seconds: float) -> None:
        """Let events arrive and deliver them on this thread; for at most ``seconds``."""
        self._process.wait(seconds)

    def note_pid(self, pid: int) -> None:
        """The process has said that it is ``pid``."""
        self.pid = pid
        if self._is_ending:
            kill_process_tree(pid)

    def end(self) -> None:
        """End it with all that it has started. ``on_end`` comes when nothing of it is left: from here, or later.

        Later where it has not said yet which process it is, so that nobody could kill it: it ends by itself, because
        its stdin is closed. Or where it hangs in the operating system. To be called again then.
        """
        self._is_ending = True
        self._process.close_stdin()
        if self.pid is not None:
            kill_process_tree(self.pid)
        self._process.join(_SECONDS_TO_END)
        if not self._is_over and self.pid is not None and not is_alive(self.pid):  # the launcher alone is left
            self._process.kill_tree()
            self._finish(-signal.SIGTERM)

    def kill(self) -> None:
        """Kill it with all that it has started, and tell nobody."""
        self._is_over = True
        self._process.close_stdin()
        self._process.kill_tree(self.pid)

    def _take_output(self, data: bytes) -> None:
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            if self._is_over:  # whoever was told has ended it
                return
            self._on_line(line)

    def _take_error_output(self, data: bytes) -> None:
        *lines, self._error_line = (self._error_line + data).split(b"\n")
        for line in lines:
            self._note_error_line(line)

    def _note_error_line(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip()
        if text:
            self._on_error_line(text)

    def _finish(self, exit_code: int | None) -> None:
        if self._is_over:
            return
        # Where the launcher alone was killed, the process is alive; where that was killed, what it has started.
        if self.pid is not None and (exit_code != 0 or self._is_ending or is_alive(self.pid)):
            kill_process_tree(self.pid)
            _wait_for_end_of(self.pid)
        self._is_over = True
        self._note_error_line(self._error_line)
        self._on_end(exit_code)


def _wait_for_end_of(pid: int) -> None:
    """Nobody tells when processes end that are not children of this one."""
    deadline = time.monotonic() + _SECONDS_TO_END
    while is_group_alive(pid) and time.monotonic() < deadline:
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def ending_words(exit_code: int | None) -> str:
    """How a process ended that should have gone on: "was killed …" for signals, whoever tells of them."""
    if exit_code is None:
        return "could not be started"
    names = {one.value: one.name for one in signal.Signals}
    by_signal = -exit_code if exit_code < 0 else exit_code - _SHELL_SIGNAL
    if by_signal in names:
        return f"was killed ({names[by_signal]})"
    return f"ended unexpectedly (exit code {exit_code})"
