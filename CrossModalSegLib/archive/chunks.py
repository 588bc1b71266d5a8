"""An archive as chunks of cases, each a job: submits them, notices which are lost, and goes on where it was stopped."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from CrossModalSegLib.archive.engines import Engine
from CrossModalSegLib.archive.results_table import SHARED, Outcome, read_outcomes
from CrossModalSegLib.atomic import output_errors, write_atomically
from CrossModalSegLib.errors import OutputError
from CrossModalSegLib.json_file import read_json
from CrossModalSegLib.progress import RunProgress
from CrossModalSegLib.protocol import Progress

STATE = "archive.json"
MOST_LOSSES = 3  # of one chunk, before it is given up
SECONDS_BETWEEN_LOOKS = 1.0
PART_OF_TIME_FOR_LOOKS = 0.05  # counting the results of a large archive on a slow disk is done more rarely
FINISHED = (0, 1)  # exit codes: all cases are done, some have failed
BAD_INPUT = 2


@dataclass
class State:
    """Of an archive, kept in a file. ``made_of``: what results depend on. By number of the chunk, beginning with 1:
    ``codes`` of finished ones, names of ``jobs`` that were submitted last, and how often each was lost."""

    made_of: dict[str, Any]
    chunks: int
    codes: dict[str, int] = field(default_factory=dict)
    jobs: dict[str, str] = field(default_factory=dict)
    losses: dict[str, int] = field(default_factory=dict)


class Archive:
    """The ``cases`` of a table in so many ``chunks``; results are in ``output``.

    ``command`` gives the arguments of ``crossmodalseg`` for a chunk by its number, beginning with 1.
    """

    def __init__(self, output: Path, cases: Sequence[str], chunks: int, command: Callable[[int], list[str]]):
        self._output, self._cases, self._command = output, list(cases), command
        self._file = output / SHARED / STATE
        self._chunks = chunks
        self._open = set(cases)  # without a result, as far as was looked
        self._progress = RunProgress({"segmenting": 1.0}, shown_by=0.01)

    def run(
        self, made_of: Mapping[str, Any], engine: Engine, most_jobs: int, tell: Callable[[Progress], None]
    ) -> dict[str, Outcome]:
        """Submit at most ``most_jobs`` at a time until each chunk is finished or given up; the outcomes by case.

        What an earlier run has finished is not submitted again, but for chunks with failures; its jobs that still
        run are waited for. Interrupted, it ends its jobs. Raises OutputError ``other-archive``, ``archive-running``
        and, where the jobs cannot work, ``chunk-refused``.
        """
        with self._alone():
            state = self._state(made_of)
            try:
                while self._step(state, engine, most_jobs):
                    tell(self._look(state))
            except BaseException:
                engine.cancel(engine.alive(state.jobs.values()))
                raise
            tell(self._look(state))
        table = read_outcomes(self._output)
        return {case: table.get(case, Outcome(case, "open")) for case in self._cases}

    def given_up(self) -> list[int]:
        """Chunks that were lost too often."""
        state = State(**read_json(self._file, "other-archive", "remove it"))
        return [number for number in range(1, state.chunks + 1) if state.losses.get(str(number), 0) > MOST_LOSSES]

    def _step(self, state: State, engine: Engine, most_jobs: int) -> bool:
        """Take note of jobs that ended, submit others; whether there is something left to wait for."""
        alive = engine.alive(state.jobs.values())
        for chunk, job in list(state.jobs.items()):
            code = engine.exit_code(job)
            if code is None and job in alive:
                continue
            del state.jobs[chunk]
            if code in FINISHED:
                state.codes[chunk] = code
            elif code == BAD_INPUT:
                what = f"chunk {chunk} cannot be worked on: see the log of job {job} in {self._file.parent / 'jobs'}"
                raise OutputError("chunk-refused", what, "put right what it says, then start again")
            else:
                state.losses[chunk] = state.losses.get(chunk, 0) + 1
        waiting = [chunk for chunk in map(str, range(1, state.chunks + 1)) if self._is_to_submit(state, chunk)]
        batch = waiting[: max(0, most_jobs - len(state.jobs))]
        if batch:
            jobs = engine.submit([self._command(int(chunk)) for chunk in batch])
            state.jobs |= dict(zip(batch, jobs, strict=True))
        write_atomically(self._file, json.dumps(asdict(state)))
        return bool(state.jobs)

    @staticmethod
    def _is_to_submit(state: State, chunk: str) -> bool:
        return chunk not in state.codes and chunk not in state.jobs and state.losses.get(chunk, 0) <= MOST_LOSSES

    def _look(self, state: State) -> Progress:
        """How many cases have results, after a pause."""
        started = time.monotonic()
        self._open -= {case for case in self._open if (self._output / case / "report.json").is_file()}
        took = time.monotonic() - started
        if state.jobs:
            time.sleep(max(SECONDS_BETWEEN_LOOKS, took / PART_OF_TIME_FOR_LOOKS))
        total, done = len(self._cases), len(self._cases) - len(self._open)
        lost = sum(state.losses.values())
        words = f"{done} of {total} cases, {len(state.codes)} of {state.chunks} chunks finished"
        return self._progress.update("segmenting", done / total, words + (f", {lost} lost" if lost else ""))

    def _state(self, made_of: Mapping[str, Any]) -> State:
        if not self._file.exists():
            return State(dict(made_of), self._chunks)
        state = State(**read_json(self._file, "other-archive", "choose another output folder"))
        others = [name for name, value in made_of.items() if state.made_of.get(name) != value]
        if others:
            what = f"{self._output} holds an archive with another {' and another '.join(others)}"
            raise OutputError("other-archive", what, "choose another output folder")
        state.codes = {chunk: code for chunk, code in state.codes.items() if code == 0}
        state.losses = {}
        return state

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with output_errors(self._output):
            self._file.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._file.parent / "archive.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            what = f"another process submits the archive in {self._output}"
            raise OutputError("archive-running", what, "wait for it, or end it") from error
        try:
            yield
        finally:
            lock.release()


def summary(outcomes: Mapping[str, Outcome]) -> str:
    """``1998 done, 2 failed``, and how many are open, if any."""
    count = Counter(outcome.state for outcome in outcomes.values())
    left = f", {count['open']} open" if count["open"] else ""
    return f"{count['done']} done, {count['failed']} failed{left}"
