"""How far something is and how long it still takes, from "this stage, this part of it" and from earlier runs."""

import time
from collections.abc import Callable, Mapping
from datetime import timedelta

from CrossModalSegLib.protocol import Progress

_UNKNOWN_STAGE_SECONDS = 1.0


class RunProgress:
    """Follows something through its stages.

    ``expected``: seconds per stage, in their order. They are the weights of the stages in the overall fraction. Only
    when they are ``measured`` on this computer do they serve as seconds; else nothing is said until ``shown_by`` of the
    longest stage (a fraction; what is extrapolated from less is a guess) have shown how fast this computer is. Without
    any stage that is expected, nothing is known of the whole.
    """

    def __init__(
        self,
        expected: Mapping[str, float],
        measured: bool = False,
        shown_by: float = 0.1,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._expected = dict(expected)
        self._measured = measured
        self._shown_by = shown_by
        self._clock = clock
        self._stage = ""
        self._entered, self._before = 0.0, 0.0  # when the stage began, and which part of it was done then
        self._overall = 0.0
        self._seconds: dict[str, float] = {}

    def expect(self, expected: Mapping[str, float], measured: bool) -> None:
        """Better knowledge of what is still to come, and of this stage; the stages so far count with what they took."""
        so_far = self.seconds()
        known = so_far.keys() - {self._stage}
        self._expected = so_far | {stage: seconds for stage, seconds in expected.items() if stage not in known}
        self._measured = measured

    def update(self, stage: str, fraction: float, words: str = "") -> Progress:
        """Note how far it is, and say so; ``words`` say more."""
        now = self._clock()
        fraction = min(max(float(fraction), 0.0), 1.0)
        if stage != self._stage:
            self._seconds = self.seconds()
            self._stage, self._entered, self._before = stage, now, fraction
        if not self._expected:
            return Progress("", stage, fraction, 0.0, None, words)
        self._expected.setdefault(stage, _UNKNOWN_STAGE_SECONDS)
        self._overall = max(self._overall, self._part_done(fraction))
        left = self._seconds_left(fraction, now - self._entered)
        return Progress("", stage, fraction, self._overall, left, words)

    def seconds(self) -> dict[str, float]:
        """What each stage has taken so far; a stage that was begun twice (after a fallback) counts both times."""
        if not self._stage:
            return {}
        spent = self._seconds.get(self._stage, 0.0) + self._clock() - self._entered
        return self._seconds | {self._stage: spent}

    def _part_done(self, fraction: float) -> float:
        total = sum(self._expected.values())
        left = (1 - fraction) * self._expected[self._stage] + sum(self._later().values())
        return 1 - left / total if total > 0 else 0.0

    def _later(self) -> dict[str, float]:
        stages = list(self._expected)
        return {stage: self._expected[stage] for stage in stages[stages.index(self._stage) + 1 :]}

    def _seconds_left(self, fraction: float, elapsed: float) -> float | None:
        pace = 1.0 if self._measured else self._pace(fraction, elapsed)
        if pace is None:
            return None
        here = self._expected[self._stage] * pace * (1 - fraction)
        if fraction == self._before:  # a stage that says nothing of itself
            here = max(here - elapsed, 0.0)
        elif self._has_shown(fraction):
            here = elapsed / (fraction - self._before) * (1 - fraction)
        return round(here + pace * sum(self._later().values()), 1)

    def _pace(self, fraction: float, elapsed: float) -> float | None:
        """Seconds that go by here for an expected one, by the longest stage; None where that has not shown it yet."""
        longest = max(self._expected, key=self._expected.__getitem__)
        if self._stage != longest:
            return self._seconds[longest] / self._expected[longest] if longest in self._seconds else None
        done = fraction - self._before
        return elapsed / done / self._expected[longest] if self._has_shown(fraction) else None

    def _has_shown(self, fraction: float) -> bool:
        return fraction - self._before >= max(self._shown_by, 1e-9)


class Throttle:
    """Lets through one of those that come within ``seconds`` of each other, and each that is of another kind."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic):
        self._gap, self._clock = seconds, clock
        self._kind, self._last = "", 0.0

    def lets_through(self, kind: str) -> bool:
        """Whether one of this kind is to be told now."""
        now = self._clock()
        if kind == self._kind and now - self._last < self._gap:
            return False
        self._kind, self._last = kind, now
        return True


def in_words(progress: Progress) -> str:
    """``network: window 3 of 8, 0:00:09 left``."""
    left = None if progress.seconds_left is None else timedelta(seconds=round(progress.seconds_left))
    return f"{progress.stage}{': ' if progress.words else ''}{progress.words}{'' if left is None else f', {left} left'}"
