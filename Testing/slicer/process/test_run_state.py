"""The states of a run follow each other as they should, and in no other way."""

from itertools import product

import pytest

from CrossModalSegApp.process.run_state import Outcome, RunState, RunTracker
from CrossModalSegLib.errors import InputError

ALLOWED = {
    ("idle", "starting"),
    ("starting", "running"),
    ("starting", "cancelling"),
    ("running", "importing"),
    ("running", "cancelling"),
}
WAY_TO = {
    "idle": [],
    "starting": ["starting"],
    "running": ["starting", "running"],
    "importing": ["starting", "running", "importing"],
    "cancelling": ["starting", "cancelling"],
}


def tracker_in(state: str) -> RunTracker:
    tracker = RunTracker()
    for step in WAY_TO[state]:
        tracker.enter(RunState(step))
    return tracker


@pytest.mark.parametrize(("before", "after"), list(product(WAY_TO, WAY_TO)))
def test_a_state_is_entered_only_from_those_before_it(before, after):
    tracker = tracker_in(before)
    if (before, after) in ALLOWED or (after == "idle" and before != "idle"):
        tracker.enter(RunState(after))
        assert tracker.status.state.value == after
    else:
        with pytest.raises(ValueError, match=f"{before} cannot become {after}"):
            tracker.enter(RunState(after))
        assert tracker.status.state.value == before


def test_only_a_run_that_starts_or_computes_can_be_cancelled():
    assert {state for state in WAY_TO if tracker_in(state).status.is_cancellable} == {"starting", "running"}


def test_every_listener_hears_every_change_until_it_is_forgotten():
    tracker, heard, other = RunTracker(), [], []
    tracker.listen(heard.append)
    tracker.listen(other.append)
    tracker.enter(RunState.STARTING, "writing")
    tracker.forget(other.append)
    tracker.enter(RunState.RUNNING, "network")
    tracker.progress("network", 0.5, 12.0)
    tracker.finish(Outcome.DONE)
    assert [status.state.value for status in heard] == ["starting", "running", "running", "idle"]
    assert [status.fraction for status in heard] == [0.0, 0.0, 0.5, 0.0]
    assert heard[2].seconds_left == 12.0
    assert len(other) == 1


def test_progress_that_arrives_late_changes_nothing():
    tracker = tracker_in("cancelling")
    tracker.progress("network", 0.9, 1.0)
    assert tracker.status.state is RunState.CANCELLING
    assert tracker.status.fraction == 0.0


def test_the_error_of_a_failed_run_stays_until_the_next_one_starts():
    tracker = tracker_in("running")
    error = InputError("constant", "the same value everywhere", "choose another")
    tracker.finish(Outcome.FAILED, error)
    assert (tracker.status.outcome, tracker.status.error) == (Outcome.FAILED, error)
    tracker.enter(RunState.STARTING)
    assert (tracker.status.outcome, tracker.status.error) == (Outcome.NONE, None)
