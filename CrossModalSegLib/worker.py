"""The process that computes: reads requests on stdin, writes events on stdout (see ``protocol``), stays warm between
them.

``python -m CrossModalSegLib.worker`` serves until stdin closes, which ends it at once, or until it has been idle for a
while. ``python -m CrossModalSegLib.worker --request FILE`` carries out one request from a file, for replaying a run:
progress on stderr, the result on stdout, exit code 0, or 2 with one line ``error[code]: ...`` on stderr.

torch is loaded with the first request that needs it.
"""

import argparse
import contextlib
import faulthandler
import json
import os
import queue
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from CrossModalSegLib import __version__
from CrossModalSegLib.atomic import remove_staging
from CrossModalSegLib.attended import lead_own_group
from CrossModalSegLib.errors import CrossModalSegError, ProtocolError, read_error
from CrossModalSegLib.own_process import prepare_process
from CrossModalSegLib.progress import in_words
from CrossModalSegLib.protocol import Done, Event, Failed, Progress, Ready, Request, decode_request, encode
from CrossModalSegLib.worker_requests import RequestHandler

BAD_INPUT = 2  # exit code, as of the command line


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; see the top of this module."""
    if argv is None:
        prepare_process()
    parser = argparse.ArgumentParser(prog="python -m CrossModalSegLib.worker", description="The process that computes.")
    parser.add_argument(
        "--idle-minutes", type=float, default=30.0, metavar="N", help="leave after so long (default 30)"
    )
    parser.add_argument("--request", type=Path, metavar="FILE", help="carry out the request in FILE and leave")
    args = parser.parse_args(argv)
    if args.request is not None:
        return replay(args.request)
    serve(60 * args.idle_minutes)
    return 0


def serve(idle_seconds: float) -> None:
    """Answer requests from stdin until it closes or nothing has come for ``idle_seconds``; then end the process."""
    requests_in, events_out = _take_over_stdio()
    lead_own_group()
    faulthandler.enable()
    events = _EventStream(events_out)
    handler = RequestHandler(events.send)
    waiting: queue.Queue[Request] = queue.Queue()
    events.send(Ready(__version__, os.getpid()))
    threading.Thread(target=_listen, args=(requests_in, waiting, events, handler), daemon=True).start()
    with contextlib.suppress(queue.Empty, SystemExit):
        while handler.answer(waiting.get(timeout=idle_seconds)):
            pass
    _leave(handler)


def replay(file: Path) -> int:
    """Carry out the request in ``file`` and return the exit code; see the top of this module."""
    _, result_out = _take_over_stdio()
    answers: list[Event] = []

    def note(event: Event) -> None:
        if isinstance(event, Progress):
            _show(event)
        else:
            answers.append(event)

    try:
        RequestHandler(note).answer(_read_request(file))
    except CrossModalSegError as error:
        answers.append(Failed("", error.code, error.message, error.hint))
    (answer,) = answers
    if not isinstance(answer, Done):
        assert isinstance(answer, Failed)
        _say(str(CrossModalSegError(answer.code, answer.message, answer.hint)))
        return BAD_INPUT
    with os.fdopen(result_out, "w", encoding="utf-8") as stream:
        stream.write(json.dumps(answer.result, indent=1) + "\n")
    return 0


def _listen(requests_in: int, waiting: "queue.Queue[Request]", events: "_EventStream", handler: RequestHandler) -> None:
    """Queue what comes on stdin; when it closes, nobody waits for a result any more: leave, even in mid-run."""
    try:
        for line in _lines(requests_in):
            try:
                waiting.put(decode_request(line))
            except ProtocolError as error:
                events.send(Failed("", error.code, error.message, error.hint))
    finally:
        _leave(handler)


def _leave(handler: RequestHandler) -> None:
    """End the process, whatever its other threads are doing."""
    try:
        if handler.output is not None:
            remove_staging(handler.output)
    finally:
        os._exit(0)


class _EventStream:
    """Writes events to a file descriptor, from any thread."""

    def __init__(self, descriptor: int):
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def send(self, event: Event) -> None:
        """Write one line. Where nobody reads it any more, SystemExit, which passes through a run and cleans up."""
        data = encode(event)
        with self._lock:
            while data:
                try:
                    data = data[os.write(self._descriptor, data) :]
                except OSError as error:
                    raise SystemExit(0) from error


def _take_over_stdio() -> tuple[int, int]:
    """File descriptors for requests and events that nobody else knows.

    From here on, what any library prints, in Python or C, goes to stderr, and stdin is empty for it.
    """
    requests_in, events_out = os.dup(0), os.dup(1)
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return requests_in, events_out


def _lines(descriptor: int) -> Iterator[bytes]:
    """Whole lines that are not empty, as soon as they are there."""
    rest = b""
    while data := os.read(descriptor, 1 << 16):
        *lines, rest = (rest + data).split(b"\n")
        yield from (line for line in lines if line.strip())


def _read_request(file: Path) -> Request:
    try:
        return decode_request(file.read_bytes())
    except OSError as error:
        raise read_error(f"request file {file}", error) from error


def _show(progress: Progress) -> None:
    _say(f"{progress.overall:4.0%} {in_words(progress)}")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
