"""How far a run is and how long it still takes, from "this stage, this fraction of it" and from earlier runs."""

import time
from collections.abc import Callable, Mapping

from CrossModalSegLib.protocol import Progress

SECONDS_BETWEEN_EVENTS = 0.1
_FRACTION_TO_GO_BY = 0.1  # of a stage; what is extrapolated from less is a guess
_UNKNOWN_STAGE_SECONDS = 1.0


class RunProgress:
    """Follows one request through its stages.

    ``expected``: seconds per stage, in their order. They are the weights of the stages in the overall fraction. Only
    when they are ``measured`` on this computer do they serve as seconds; else nothing is said until a tenth of the
    longest stage has shown how fast this computer is.
    """

    def __init__(
        self,
        request_id: str,
        expected: Mapping[str, float],
        measured: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._id = request_id
        self._expected = dict(expected)
        self._measured = measured
        self._clock = clock
        self._stage = ""
        self._entered = 0.0  # when the stage began
        self._sent = 0.0
        self._overall = 0.0
        self._seconds: dict[str, float] = {}

    def expect(self, expected: Mapping[str, float], measured: bool) -> None:
        """Better knowledge of what is still to come; the stages so far count with what they took."""
        so_far = self.seconds()
        self._expected = so_far | {stage: seconds for stage, seconds in expected.items() if stage not in so_far}
        self._measured = measured

    def update(self, stage: str, fraction: float) -> Progress | None:
        """Note how far the run is; returns the event to send, or None when the last one is too fresh."""
        now = self._clock()
        fraction = min(max(float(fraction), 0.0), 1.0)
        is_new = stage != self._stage
        if is_new:
            self._seconds = self.seconds()
            self._stage, self._entered = stage, now
            self._expected.setdefault(stage, _UNKNOWN_STAGE_SECONDS)
        elif now - self._sent < SECONDS_BETWEEN_EVENTS:
            return None
        self._sent = now
        self._overall = max(self._overall, self._share_done(fraction))
        return Progress(self._id, stage, fraction, self._overall, self._seconds_left(fraction, now - self._entered))

    def seconds(self) -> dict[str, float]:
        """What each stage has taken so far; a stage that was begun twice (after a fallback) counts both times."""
        if not self._stage:
            return {}
        spent = self._seconds.get(self._stage, 0.0) + self._clock() - self._entered
        return self._seconds | {self._stage: spent}

    def _share_done(self, fraction: float) -> float:
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
        if fraction >= _FRACTION_TO_GO_BY:
            here = elapsed / fraction * (1 - fraction)
        return round(here + pace * sum(self._later().values()), 1)

    def _pace(self, fraction: float, elapsed: float) -> float | None:
        """Seconds that go by here for an expected one, by the longest stage; None where that has not shown it yet."""
        longest = max(self._expected, key=self._expected.__getitem__)
        if self._stage == longest:
            return elapsed / fraction / self._expected[longest] if fraction >= _FRACTION_TO_GO_BY else None
        return self._seconds[longest] / self._expected[longest] if longest in self._seconds else None
