"""How far a run is and how long it still takes, on a clock that the tests turn; values worked by hand."""

from itertools import pairwise

import pytest

from CrossModalSegLib.progress import RunProgress, Throttle, in_words
from CrossModalSegLib.protocol import Progress

PLAN = {"reading": 1.0, "network": 8.0, "writing": 1.0}  # a tenth, eight tenths, a tenth


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_stages_count_in_proportion_to_what_they_are_expected_to_take(clock):
    progress = RunProgress(PLAN, clock=clock)
    overall = []
    for stage, fraction in [("reading", 0.0), ("network", 0.0), ("network", 0.5), ("writing", 0.0), ("writing", 1.0)]:
        overall.append(progress.update(stage, fraction).overall)
        clock.now += 1
    assert overall == pytest.approx([0.0, 0.1, 0.5, 0.9, 1.0])


def test_nothing_is_said_of_the_time_before_the_longest_stage_has_shown_its_pace(clock):
    progress = RunProgress(PLAN, clock=clock)
    assert progress.update("reading", 0.0).seconds_left is None
    clock.now += 5
    assert progress.update("network", 0.0).seconds_left is None
    clock.now += 1
    assert progress.update("network", 0.05).seconds_left is None
    clock.now += 3
    # 4 s for a quarter: 16 s in all, twice the 8 expected, so writing will take 2 s
    assert progress.update("network", 0.25).seconds_left == pytest.approx(12 + 2)
    clock.now += 12
    assert progress.update("writing", 0.0).seconds_left == pytest.approx(2)


def test_measured_seconds_are_told_from_the_start_and_corrected_by_what_is_seen(clock):
    progress = RunProgress(PLAN, measured=True, clock=clock)
    assert progress.update("reading", 0.0).seconds_left == pytest.approx(10)
    clock.now += 1
    assert progress.update("network", 0.0).seconds_left == pytest.approx(9)
    clock.now += 12
    assert progress.update("network", 0.75).seconds_left == pytest.approx(4 + 1)  # 16 s instead of 8


def test_the_overall_fraction_never_falls_when_a_stage_starts_again(clock):
    progress = RunProgress(PLAN, clock=clock)
    told = []
    for stage, fraction in [("network", 0.0), ("network", 0.9), ("network", 0.1), ("reading", 0.0), ("writing", 0.5)]:
        told.append(progress.update(stage, fraction).overall)
        clock.now += 1
    assert all(a <= b for a, b in pairwise(told))
    assert told[1] == told[2] == told[3]


def test_better_knowledge_in_mid_run_counts_finished_stages_with_what_they_took(clock):
    progress = RunProgress({"loading": 10.0, "network": 10.0}, clock=clock)
    progress.update("loading", 0.0)
    clock.now += 5
    progress.expect({"network": 12.0, "writing": 3.0}, measured=True)
    event = progress.update("network", 0.0)
    assert event.overall == pytest.approx(5 / 20)
    assert event.seconds_left == pytest.approx(15)


def test_a_stage_that_says_nothing_of_itself_gets_shorter_all_the_same(clock):
    progress = RunProgress({"network": 8.0, "writing": 4.0}, measured=True, clock=clock)
    progress.update("writing", 0.0)
    clock.now += 3
    assert progress.update("writing", 0.0).seconds_left == pytest.approx(1)
    clock.now += 3
    assert progress.update("writing", 0.0).seconds_left == 0


def test_better_knowledge_of_the_stage_that_is_going_on_counts(clock):
    progress = RunProgress({"checking": 1.0, "network": 10.0}, measured=True, clock=clock)
    progress.update("checking", 0.0)
    progress.expect({"checking": 5.0, "network": 10.0}, measured=True)
    assert progress.update("checking", 0.0).seconds_left == pytest.approx(15)


def test_of_one_stage_something_is_told_at_most_ten_times_a_second_but_each_stage_is_told(clock):
    throttle = Throttle(0.1, clock)
    assert throttle.lets_through("reading")
    assert throttle.lets_through("network")
    told = 0
    for _step in range(1000):
        clock.now += 0.001
        told += throttle.lets_through("network")
    assert 9 <= told <= 10


def test_of_what_begins_in_its_middle_the_pace_is_that_of_the_rest(clock):
    progress = RunProgress({"training": 1.0}, shown_by=0.0, clock=clock)
    assert progress.update("training", 0.5).seconds_left is None
    clock.now += 3
    assert progress.update("training", 0.6).seconds_left == pytest.approx(3 / 0.1 * 0.4)


def test_where_no_stage_is_expected_nothing_is_known_of_the_whole(clock):
    progress = RunProgress({}, measured=True, clock=clock)
    assert progress.update("preparing", 0.5, "case 1 of 2") == Progress("", "preparing", 0.5, 0.0, None, "case 1 of 2")
    clock.now += 4
    progress.expect({"training": 12.0}, measured=True)
    assert progress.update("training", 0.0).overall == pytest.approx(4 / 16)


def test_in_words_it_says_the_stage_and_what_is_left():
    assert in_words(Progress("", "training", 0.5, 0.5, 3725.2, "step 4 of 8")) == "training: step 4 of 8, 1:02:05 left"
    assert in_words(Progress("", "reading", 0.5, 0.5)) == "reading"


def test_what_each_stage_took_is_known_afterwards(clock):
    progress = RunProgress(PLAN, clock=clock)
    for stage, seconds in [("reading", 2.0), ("network", 3.0), ("restoring", 1.0), ("network", 4.0)]:
        progress.update(stage, 0.0)
        clock.now += seconds
    assert progress.seconds() == pytest.approx({"reading": 2.0, "network": 7.0, "restoring": 1.0})


def test_a_stage_that_nobody_expected_is_told_like_any_other(clock):
    progress = RunProgress(PLAN, clock=clock)
    event = progress.update("surprise", 0.5)
    assert event.stage == "surprise"
    assert 0 <= event.overall <= 1


def test_fractions_out_of_range_are_brought_back_into_it(clock):
    progress = RunProgress(PLAN, clock=clock)
    assert progress.update("network", 7.0).fraction == 1.0
    clock.now += 1
    assert progress.update("network", -1.0).fraction == 0.0
