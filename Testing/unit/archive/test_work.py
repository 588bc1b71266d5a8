"""Processes that share a table of cases, some of them killed: each case has one result, and the table says all."""

import csv
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from CrossModalSegLib.archive.claims import Claims
from CrossModalSegLib.archive.results_table import Outcome, merge_outcomes, read_outcomes
from CrossModalSegLib.archive.work import Job, Work, claims_folder
from CrossModalSegLib.errors import CrossModalSegError, InputError, OutputError, OutputExistsError

REPOSITORY = Path(__file__).resolve().parents[3]

# Works on 40 cases of some milliseconds each. Case c7 is bad, c9 kills whoever touches it. Each result is a line of
# made.txt.
WORKER = """
import os, sys, time
from pathlib import Path
from CrossModalSegLib import staging
from CrossModalSegLib.archive.claims import Claims
from CrossModalSegLib.archive.work import Job, Work, claims_folder
from CrossModalSegLib.atomic import staged_folder
from CrossModalSegLib.errors import InputError

staging.SECONDS_TO_LOCK = 0.2
output = Path(sys.argv[1])
names = [f"c{number}" for number in range(40)]

def result(case):
    return 1.0 if (output / case / "report.json").is_file() else None

def make(case):
    if case == "c7":
        raise InputError("not-found", "c7", "look for it")
    with staged_folder(output / case) as folder:
        (folder / "report.json").write_text(str(os.getpid()))
        time.sleep(0.02)
        if case == "c9":
            os.kill(os.getpid(), 9)
    with open(output.parent / "made.txt", "a") as log:
        log.write(f"{case}\\n")
    return 1.0

with Claims(claims_folder(output), 600.0) as claims:
    Work(output, names, names, Job(result, make, lambda error: error), claims).run()
"""


@pytest.mark.skipif(os.name != "posix", reason="the locks are POSIX's")
def test_under_kills_each_case_is_done_once_a_deadly_one_is_given_up_and_one_table_says_so(tmp_path):
    output, chance = tmp_path / "out", random.Random(3)

    def start() -> subprocess.Popen[bytes]:
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
        return subprocess.Popen([sys.executable, "-c", WORKER, str(output)], env=environment)

    running, killed = [start() for _ in range(3)], 0
    deadline = time.monotonic() + 100
    while running and time.monotonic() < deadline:
        time.sleep(0.1)
        if killed < 4 and len(list(output.glob("c*"))) > 5 * killed:
            chance.choice(running).kill()
            killed += 1
        ended = [process for process in running if process.poll() is not None]
        running = [process for process in running if process.poll() is None]
        running += [start() for process in ended if process.returncode == -signal.SIGKILL]
    assert running == []
    made = (tmp_path / "made.txt").read_text().split()
    assert len(made) == len(set(made))  # none twice
    assert sorted({*made, *(folder.name for folder in output.glob("c*"))}) == sorted(
        f"c{number}" for number in range(40) if number not in (7, 9)
    )
    rows = list(csv.DictReader((output / "results.csv").read_text().splitlines()))
    assert [row["case"] for row in rows] == [f"c{number}" for number in range(40)]
    failed = {row["case"]: row["error"] for row in rows if row["state"] != "done"}
    assert failed == {"c7": "not-found", "c9": "workers-died"}


def job(made, result=lambda _case: None, error=None):
    def make(case):
        made.append(case)
        if error is not None:
            raise error
        return 2.0

    return Job(result, make, lambda raised: raised)


def run(output, names, part, work):
    with Claims(claims_folder(output)) as claims:
        return Work(output, names, part, work, claims).run()


def test_parts_in_any_order_end_in_one_table(tmp_path):
    names, made = ["a", "b", "c", "d", "e"], []
    run(tmp_path, names, names[1::2], job(made))
    assert [row.state for row in read_outcomes(tmp_path).values()] == ["open", "done", "open", "done", "open"]
    run(tmp_path, names, names[0::2], job(made, error=InputError("not-found", "it, is gone", 'look "there"')))
    assert made == ["b", "d", "a", "c", "e"]
    table = read_outcomes(tmp_path)
    assert list(table) == names
    assert table["a"] == Outcome("a", "failed", None, "not-found", 'it, is gone (look "there")')
    assert table["b"] == Outcome("b", "done", 2.0)


def test_what_another_process_finished_first_is_done_and_no_failure(tmp_path):
    there = iter([None, None, 5.0])  # before the claim, after it, and when the folder had appeared
    work = job([], lambda _case: next(there), OutputExistsError("a appeared meanwhile", "choose another folder"))
    assert run(tmp_path, ["a"], ["a"], work) == {"a": Outcome("a", "done", 5.0)}


def test_what_is_in_the_place_of_a_result_is_a_failure_and_nothing_is_made(tmp_path):
    def other(_case: str) -> float | None:
        raise CrossModalSegError("other-result", "of another model", "use --overwrite")

    made: list[str] = []
    assert run(tmp_path, ["a"], ["a"], job(made, other))["a"].error == "other-result"
    assert made == []


def test_an_interrupted_run_says_in_the_table_what_it_has_done(tmp_path):
    made: list[str] = []

    def make(case: str) -> float:
        if case == "b":
            raise KeyboardInterrupt
        made.append(case)
        return 1.0

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, ["a", "b"], ["a", "b"], Job(lambda _case: None, make, lambda raised: raised))
    assert [row.state for row in read_outcomes(tmp_path).values()] == ["done", "open"]
    assert [path.name for path in (tmp_path / ".cases").iterdir()] == ["results.lock"]  # nothing is claimed any more


def test_a_table_that_is_something_else_is_not_replaced(tmp_path):
    (tmp_path / "results.csv").write_text("patient,dose\nx,1\n")
    with pytest.raises(OutputError, match="not-a-result"):
        merge_outcomes(tmp_path, ["a"], {})
    assert (tmp_path / "results.csv").read_text() == "patient,dose\nx,1\n"
