"""The module's side of the worker process: starts it when there is something to do, and tells what becomes of it.

`WorkerClient` knows nothing of Qt. How a process is started and read is left to a `child_process.WorkerProcess`, of
which there are two: ``worker_process.QtWorkerProcess`` for the desktop, ``subprocess_worker.SubprocessWorkerProcess``
for all else.
"""

import logging
import os
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import CrossModalSegLib
from CrossModalSegApp.process.child_process import ChildProcess, WorkerProcess, ending_words
from CrossModalSegLib.atomic import remove_staging
from CrossModalSegLib.errors import ProtocolError, WorkerError
from CrossModalSegLib.protocol import Done, Event, Failed, Ready, Request, decode_event, encode

CANCELLED = "cancelled"
WORKER_DIED = "worker-died"
NOT_STARTED = "worker-not-started"
BAD_OUTPUT = "worker-output"

_KEPT_ERROR_LINES = 40
_SHOWN_ERROR_LINES = 5
_SHOWN_WIDTH = 160  # of each; after a crash, Python ends with a line that names each of a hundred libraries
_SECONDS_TO_NOTICE_AN_END = 2.0

_log = logging.getLogger(__name__)


OnEvent = Callable[[Event], None]


@dataclass
class _Waiting:
    """A request that has not been answered yet."""

    request: Request
    on_event: OnEvent
    submitted: float
    has_begun: bool = False
    was_sent_again: bool = False


class WorkerClient:
    """Gives requests to a worker process, which it starts when needed, and events to those who asked.

    Each request gets any number of `Progress` and then exactly one `Done` or `Failed`, never from within `submit`. An
    exception in a listener is logged and goes no further.
    """

    def __init__(
        self,
        process_factory: Callable[[], WorkerProcess],
        clock: Callable[[], float] = time.monotonic,
        python: str | None = None,
        library: Path | None = None,
        worker_arguments: Sequence[str] = (),
    ):
        """``python``: the interpreter, by default Slicer's own or this one; ``library``: the folder that contains
        CrossModalSegLib, by default this one's; ``worker_arguments``: see ``python -m CrossModalSegLib.worker --help``.
        """
        self._process_factory = process_factory
        self._clock = clock
        self._python = python
        self._library = library
        self._worker_arguments = tuple(worker_arguments)
        self._session: _Session | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a request has not been answered yet."""
        return self._session is not None and bool(self._session.waiting)

    @property
    def worker_pid(self) -> int | None:
        """The id of the process that computes, once it has said it; None where there is none."""
        return self._session.process.pid if self._session else None

    def submit(self, request: Request, on_event: OnEvent) -> None:
        """Ask for ``request``; ``on_event`` is told of it later. Raises WorkerError ``same-id``, ProtocolError."""
        self._notice_an_end()
        if self._session and request.id in self._session.waiting:
            raise WorkerError("same-id", f"request {request.id} is under way already", "give each request its own id")
        self._send(_Waiting(request, on_event, self._clock()))

    def cancel(self) -> None:
        """Kill the worker where it is busy; every request that waits is answered by `Failed` "cancelled"."""
        if self.is_busy:
            self._end(CANCELLED, "The run was cancelled.", "click Segment to start again")

    def close(self) -> None:
        """Kill the worker; nobody is called any more. A later `submit` starts another one."""
        if self._session is not None:
            self._session.kill()
            self._session = None

    def wait(self, seconds: float) -> None:
        """Let the worker's output arrive and deliver what comes on this thread; for at most ``seconds``."""
        if self._session is not None:
            self._session.process.wait(seconds)

    def launch(
        self,
        module: str,
        arguments: Sequence[str],
        on_line: Callable[[bytes], None],
        on_error_line: Callable[[str], None],
        on_end: Callable[[int | None], None],
    ) -> ChildProcess:
        """Start ``python -m module`` beside the worker, with its interpreter and its library, for something else.

        The first line that comes of it says which process it is (`CrossModalSegLib.attended`).
        """
        child = ChildProcess(self._process_factory(), on_line, on_error_line, on_end)
        self._start_python(child, "CrossModalSegLib.attended", [module, *arguments])
        return child

    def _send(self, waiting: _Waiting) -> None:
        data = encode(waiting.request)
        if self._session is None:
            self._session = self._start()
        self._session.waiting[waiting.request.id] = waiting
        self._session.process.write(data)

    def _start(self) -> "_Session":
        session = _Session(self._process_factory(), self._on_event, self._on_garbage, self._on_finished)
        self._start_python(session.process, "CrossModalSegLib.worker", self._worker_arguments)
        return session

    def _start_python(self, process: ChildProcess, module: str, arguments: Sequence[str]) -> None:
        library = self._library or Path(CrossModalSegLib.__file__).resolve().parents[1]
        search_path = [str(library), *filter(None, [os.environ.get("PYTHONPATH")])]
        # -P: the folder that the program was started from does not come before the library
        command = ["-u", "-P", "-m", module, *arguments]
        environment = {"PYTHONPATH": os.pathsep.join(search_path)}
        process.start(self._python or default_python(), command, environment)

    def _notice_an_end(self) -> None:
        """A worker that has died while nobody looked is not asked for anything any more."""
        deadline = self._clock() + _SECONDS_TO_NOTICE_AN_END
        self.wait(0.0)
        while self.is_busy and not self._is_running and self._clock() < deadline:
            self.wait(0.1)  # for its last words to those who wait
        if not self.is_busy and not self._is_running:
            self.close()

    @property
    def _is_running(self) -> bool:
        return self._session is not None and self._session.process.is_running

    def _on_event(self, session: "_Session", event: Event) -> None:
        if isinstance(event, Ready):
            session.process.note_pid(event.pid)
            return
        waiting = session.waiting.get(event.id)
        if waiting is None:
            _log.warning("the worker answers a request that nobody made: %s", event)
            return
        waiting.has_begun = True
        if isinstance(event, Done | Failed):
            del session.waiting[event.id]
        _deliver(waiting, event)

    def _on_garbage(self, error: ProtocolError) -> None:
        self._end(BAD_OUTPUT, f"The worker process wrote something else than events: {error.message}", error.hint)

    def _end(self, code: str, message: str, hint: str) -> None:
        """Kill the worker and fail everything that waits for it."""
        session, self._session = self._session, None
        assert session is not None
        session.kill()
        _fail(session.waiting, code, message, hint)

    def _on_finished(self, session: "_Session", exit_code: int | None) -> None:
        """The worker has ended by itself, or somebody else has ended it."""
        self._session = None
        session.clean_up()
        lost = self._send_again(session.waiting) if exit_code == 0 else session.waiting
        if lost:
            _log.error(
                "the worker process %s; its last words:\n%s", ending_words(exit_code), "\n".join(session.error_lines)
            )
            code, message, hint = self._error_of_death(exit_code, next(iter(lost.values())).submitted)
            _fail(lost, code, message + session.last_words(), hint)

    def _send_again(self, waiting: "dict[str, _Waiting]") -> "dict[str, _Waiting]":
        """To a new worker, once, what the old one had not begun; returns the rest.

        For a worker that left because it was idle, just when it was asked for something.
        """
        again = {key: one for key, one in waiting.items() if not one.has_begun and not one.was_sent_again}
        for one in again.values():
            one.was_sent_again = True
            self._send(one)
        return {key: one for key, one in waiting.items() if key not in again}

    def _error_of_death(self, exit_code: int | None, submitted: float) -> tuple[str, str, str]:
        """Code, message and hint for a request that a worker has taken with it."""
        if exit_code is None:
            program = self._python or default_python()
            return NOT_STARTED, f"The worker process {program} could not be started.", "check that it can be run"
        message = f"The worker process {ending_words(exit_code)} after {self._clock() - submitted:.0f} s."
        hint = "click Segment again; if it happens again, close other programs: memory may be short"
        return WORKER_DIED, message, hint


class _Session:
    """The life of one worker process: turns its output into events, keeps what it complains about."""

    def __init__(
        self,
        process: WorkerProcess,
        on_event: "Callable[[_Session, Event], None]",
        on_garbage: Callable[[ProtocolError], None],
        on_finished: "Callable[[_Session, int | None], None]",
    ):
        self.process = ChildProcess(process, self._take_line, self._note_error_line, self._finish)
        self.waiting: dict[str, _Waiting] = {}  # by request id, in the order in which they are worked on
        self.error_lines: deque[str] = deque(maxlen=_KEPT_ERROR_LINES)
        self._on_event = on_event
        self._on_garbage = on_garbage
        self._on_finished = on_finished

    def kill(self) -> None:
        """Kill the process with all that it has started; no event comes any more."""
        self.process.kill()
        self.clean_up()

    def clean_up(self) -> None:
        """Remove what the process, now dead, had begun to write."""
        for one in self.waiting.values():
            output = one.request.arguments.get("output")
            if not isinstance(output, str):
                continue
            try:
                remove_staging(Path(output))
            except OSError:  # it must not keep those who wait from being told
                _log.exception("what the worker process left beside %s could not be removed", output)

    def last_words(self) -> str:
        """The last lines that the process wrote to stderr, shortened, each after a line end."""
        lines = list(self.error_lines)[-_SHOWN_ERROR_LINES:]
        return "".join(f"\n{line[:_SHOWN_WIDTH]}" + "…" * (len(line) > _SHOWN_WIDTH) for line in lines)

    def _take_line(self, line: bytes) -> None:
        try:
            event = decode_event(line)
        except ProtocolError as error:
            self._on_garbage(error)
        else:
            self._on_event(self, event)

    def _note_error_line(self, text: str) -> None:
        self.error_lines.append(text)
        _log.info("worker: %s", text)

    def _finish(self, exit_code: int | None) -> None:
        self._on_finished(self, exit_code)


def default_python() -> str:
    """Slicer's Python interpreter where there is one, else the one that runs this."""
    slicer_python = shutil.which("PythonSlicer")
    if slicer_python is None:
        return sys.executable
    # PythonSlicer is a launcher. On Windows it is not certain to hand its stdin on to what it launches; and inside
    # Slicer the environment that it prepares is there already.
    launched = Path(slicer_python).with_name("python-real.exe")
    return str(launched) if os.name == "nt" and launched.is_file() else slicer_python


def _deliver(waiting: _Waiting, event: Event) -> None:
    try:
        waiting.on_event(event)
    except Exception:  # noqa: BLE001 - others wait as well, and Qt has no use for it
        _log.exception("a listener failed at %s", event)


def _fail(lost: Mapping[str, _Waiting], code: str, message: str, hint: str) -> None:
    for request_id, waiting in lost.items():
        _deliver(waiting, Failed(request_id, code, message, hint))
