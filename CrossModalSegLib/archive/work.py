"""A process's way through the cases that it shares with others: each is done once, by whoever claims it first."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from CrossModalSegLib.archive.claims import MOST_OWNERS, Claim, Claims, Failure
from CrossModalSegLib.archive.results_table import SHARED, Outcome, merge_outcomes
from CrossModalSegLib.errors import CrossModalSegError, OutputExistsError

LONGEST_PAUSE = 1.0  # seconds between two looks at cases that others work on
SECONDS_BETWEEN_MERGES = 30.0
PART_OF_TIME_FOR_MERGES = 0.01  # a table of many rows that many processes write is written more rarely


@dataclass(frozen=True)
class Job:
    """What is done with a case.

    ``result``: seconds that a result which is in place took, or None where there is none; raises a typed error where
    something else is in its place. ``make`` makes one and returns its seconds. ``error`` is any exception as a typed
    error.
    """

    result: Callable[[str], float | None]
    make: Callable[[str], float]
    error: Callable[[Exception], CrossModalSegError]


class Work:
    """The ``cases`` (names, in the order of their table) of which this process does ``part``, together with others.

    Ends when each case of the part is done or has failed, here or elsewhere: cases of processes that die are taken
    over.
    """

    def __init__(self, output: Path, cases: Sequence[str], part: Sequence[str], job: Job, claims: Claims):
        self._output, self._cases, self._part = output, cases, part
        self._job, self._claims = job, claims
        self.outcomes: dict[str, Outcome] = {}  # of the part, whoever did it
        self.made: set[str] = set()  # by this process
        self._next_merge = time.monotonic() + SECONDS_BETWEEN_MERGES

    def run(self) -> Mapping[str, Outcome]:
        """Do it; returns what came of each case of the part. Raises OutputError where nothing can be written."""
        waiting = list(self._part)
        try:
            while waiting:
                left = [case for case in waiting if not self._is_settled(case)]
                if len(left) == len(waiting):
                    time.sleep(LONGEST_PAUSE)
                waiting = left
        finally:
            merge_outcomes(self._output, self._cases, self.outcomes)
        return self.outcomes

    def _is_settled(self, case: str) -> bool:
        outcome = self._found(case) or self._claimed(case)
        if outcome is None:
            return False
        self.outcomes[case] = outcome
        if time.monotonic() > self._next_merge:
            self._merge()
        return True

    def _found(self, case: str) -> Outcome | None:
        """What is there already: a result, something else in its place, or another process's failure."""
        try:
            seconds = self._job.result(case)
        except Exception as error:  # noqa: BLE001 - whatever it is must not stop the other cases of a long night
            return _failed(case, self._job.error(error))
        if seconds is not None:
            return Outcome(case, "done", seconds)
        failure = self._claims.failure(case)
        return None if failure is None else Outcome(case, "failed", None, failure.code, failure.message)

    def _claimed(self, case: str) -> Outcome | None:
        """What comes of it here; None where another process has it."""
        with self._claims.claimed(case) as claim:
            if claim is None:
                return None
            outcome = self._found(case) or self._make(case, claim)  # done by another since
            if outcome.state == "failed":
                self._claims.note_failure(Failure(case, outcome.error, outcome.message))
            return outcome

    def _make(self, case: str, claim: Claim) -> Outcome:
        if claim.number > MOST_OWNERS:
            message = f"{MOST_OWNERS} processes died while they worked on it"
            return Outcome(case, "failed", None, "workers-died", message)
        try:
            seconds = self._job.make(case)
        except OutputExistsError as error:
            return self._found(case) or _failed(case, error)  # another process had it taken over
        except Exception as error:  # noqa: BLE001 - as above
            return _failed(case, self._job.error(error))
        self.made.add(case)
        return Outcome(case, "done", seconds)

    def _merge(self) -> None:
        started = time.monotonic()
        merge_outcomes(self._output, self._cases, self.outcomes)
        took = time.monotonic() - started
        self._next_merge = time.monotonic() + max(SECONDS_BETWEEN_MERGES, took / PART_OF_TIME_FOR_MERGES)


def claims_folder(output: Path) -> Path:
    """Where processes that write results to ``output`` keep their claims."""
    return output / SHARED


def _failed(case: str, error: CrossModalSegError) -> Outcome:
    return Outcome(case, "failed", None, error.code, f"{error.message} ({error.hint})")
