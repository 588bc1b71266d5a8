"""The worker process without Qt: for scripts, tests and the browser view."""

import contextlib
import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

from CrossModalSegApp.process.process_tree import kill_process_tree

_SECONDS_FOR_THE_LAST_OUTPUT = 1.0  # a process that it has started may keep its stdout open
_SECONDS_TO_DIE = 3.0


class SubprocessWorkerProcess:
    """A `child_process.WorkerProcess` of Python's own: threads read, and ``wait`` calls the callbacks."""

    def __init__(self) -> None:
        self.on_output: Callable[[bytes], None] | None = None
        self.on_error_output: Callable[[bytes], None] | None = None
        self.on_finished: Callable[[int | None], None] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._arrived: queue.Queue[tuple[str, Any]] = queue.Queue()  # callback, what it gets
        self._is_over = False

    @property
    def is_running(self) -> bool:
        return self._process is not None and not _has_ended(self._process)

    def start(self, program: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        no_window = getattr(subprocess, "CREATE_NO_WINDOW", 0)
        variables = {**os.environ, **environment}
        try:
            process = subprocess.Popen([program, *arguments], env=variables, creationflags=no_window, **pipes)
        except OSError as error:
            self._arrived.put(("on_error_output", f"{error}\n".encode()))
            self._arrived.put(("on_finished", None))
            return
        self._process = process
        threading.Thread(target=self._follow, args=(process,), daemon=True).start()

    def write(self, data: bytes) -> None:
        if self._process and self._process.stdin:
            with contextlib.suppress(OSError, ValueError):  # it has ended, as on_finished will tell
                self._process.stdin.write(data)
                self._process.stdin.flush()

    def close_stdin(self) -> None:
        if self._process is not None:
            self._close_stdin(self._process)

    def kill_tree(self, worker_pid: int | None = None) -> None:
        is_over, self._is_over = self._is_over, True
        if self._process is None or is_over:
            return
        kill_process_tree(*filter(None, [worker_pid]))
        if self.is_running:
            kill_process_tree(self._process.pid)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_SECONDS_TO_DIE)
        self._close_stdin(self._process)

    def wait(self, seconds: float) -> None:
        with contextlib.suppress(queue.Empty):
            self._call(*self._arrived.get(block=seconds > 0, timeout=seconds))
            while True:
                self._call(*self._arrived.get_nowait())

    def join(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self._process is not None and not self._is_over and (left := deadline - time.monotonic()) > 0:
            self.wait(left)

    def _call(self, callback: str, argument: Any) -> None:
        if not self._is_over:
            self._is_over = callback == "on_finished"
            getattr(self, callback)(argument)

    def _follow(self, process: "subprocess.Popen[bytes]") -> None:
        """Queue the output of the process, then its end."""
        streams = {"on_output": process.stdout, "on_error_output": process.stderr}
        readers = [threading.Thread(target=self._read, args=one, daemon=True) for one in streams.items()]
        for reader in readers:
            reader.start()
        exit_code = process.wait()
        for reader in readers:
            reader.join(_SECONDS_FOR_THE_LAST_OUTPUT)
        self._close_stdin(process)
        self._arrived.put(("on_finished", exit_code))

    def _read(self, callback: str, stream: IO[bytes]) -> None:
        with stream:
            while data := os.read(stream.fileno(), 1 << 16):
                self._arrived.put((callback, data))

    @staticmethod
    def _close_stdin(process: "subprocess.Popen[bytes]") -> None:
        if process.stdin:
            with contextlib.suppress(OSError):  # what was not written yet has nobody to read it
                process.stdin.close()


def _has_ended(process: "subprocess.Popen[bytes]") -> bool:
    """Whether the process is dead, also where the thread that waits for it has not been told yet.

    Until then ``poll`` calls it running: it does not look while another thread is waiting.
    """
    if process.poll() is not None or not hasattr(os, "waitid"):
        return process.poll() is not None
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # that thread has just taken note of its end
        return True
