"""Some thousand damaged inputs: each is read or refused by a typed error. `Testing.fuzz` goes on for as long as one
likes."""

import os

import pytest

from Testing.fuzz import in_own_process
from Testing.fuzz_targets import protocol_line, targets
from Testing.mutation import mutated_bytes, mutated_json
from Testing.unprivileged import reachable_folder

EXAMPLES = {
    "protocol": 4000,
    "label map": 1000,
    "case table": 1500,
    "configuration": 1000,
    "datalist": 600,
    "bundle": 60,
    "bundle zip": 60,
    "checkpoint": 300,
    "scan": 60,
}
pytestmark = pytest.mark.skipif(os.name != "posix", reason="processes are forked")


@pytest.fixture(scope="module")
def by_name():
    with reachable_folder() as folder:  # in memory where there is such a disk: each example is some files
        yield targets(folder)


def test_every_target_has_its_number_of_examples(by_name):
    assert set(by_name) == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_whatever_is_damaged_is_read_or_refused_and_nothing_crashes(by_name, name):
    assert in_own_process(by_name[name], range(EXAMPLES[name])) == []


def test_examples_are_damaged_in_many_ways_and_the_same_each_time():
    content = bytes(range(200))
    assert len({mutated_bytes(content, seed) for seed in range(200)}) > 150
    assert mutated_bytes(content, 3) == mutated_bytes(content, 3)
    value = {"a": [1, 2, {"b": "c"}], "d": None}
    assert len({repr(mutated_json(value, seed)) for seed in range(200)}) > 50
    assert value == {"a": [1, 2, {"b": "c"}], "d": None}


def test_some_lines_are_read_and_some_refused():
    outcomes = [protocol_line(number) for number in range(300)]
    assert min(outcomes.count("read"), outcomes.count("refused")) > 20


def test_a_fault_and_a_crash_are_findings_with_their_number():
    def target(number: int) -> str:
        if number == 2:
            raise KeyError("two")
        if number == 4:
            os._exit(3)
        return "read"

    (first, what), (second, end) = in_own_process(target, range(6))
    assert (first, second) == (2, 4)
    assert what.startswith("KeyError in test_fuzzing.py:")
    assert end == "the process ended with 3"
