"""An archive in chunks: lost ones are submitted again, a killed submitter is followed by another."""

import argparse
from pathlib import Path

import pytest

from CrossModalSegLib.archive.chunks import MOST_LOSSES, Archive, summary
from CrossModalSegLib.archive.results_table import Outcome, merge_outcomes
from CrossModalSegLib.commands.archive import _command
from CrossModalSegLib.commands.segment import add_case_options
from CrossModalSegLib.errors import OutputError
from CrossModalSegLib.protocol import Progress

CASES = ["a", "b", "c", "d", "e"]
MADE_OF = {"table": "1", "model": "2"}


class Cluster:
    """Jobs end when they are asked for a second time: as ``fate`` says of the chunk and how often it was tried."""

    def __init__(self, output: Path, fate=lambda _chunk, _attempt: 0):
        self._output, self._fate = output, fate
        self.submitted: list[int] = []
        self.waves: list[int] = []
        self.cancelled: set[str] = set()
        self._chunk: dict[str, int] = {}
        self._codes: dict[str, int | None] = {}
        self._running: set[str] = set()

    def submit(self, commands):
        names = [f"job{len(self.submitted) + number}" for number in range(len(commands))]
        for name, command in zip(names, commands, strict=True):
            self._chunk[name] = int(command[0])
            self._codes[name] = self._fate(int(command[0]), self.submitted.count(int(command[0])))
            self.submitted.append(int(command[0]))
        self._running |= set(names)
        self.waves.append(len(commands))
        return names

    def alive(self, jobs):
        still, self._running = self._running & set(jobs), set()
        return still

    def exit_code(self, job):
        if job in self._running or self._codes[job] is None:
            return None
        if self._codes[job] in (0, 1):
            part = CASES[self._chunk[job] - 1 :: 3]
            for case in part:
                (self._output / case).mkdir(exist_ok=True)
                (self._output / case / "report.json").write_text("{}")
            merge_outcomes(self._output, CASES, {case: Outcome(case, "done", 1.0) for case in part})
        return self._codes[job]

    def cancel(self, jobs):
        self.cancelled |= set(jobs)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr("CrossModalSegLib.archive.chunks.time.sleep", lambda _seconds: None)


def archive(output):
    return Archive(output, CASES, 3, lambda number: [str(number)])


def run(output, cluster, made_of=MADE_OF, most_jobs=10, tell=lambda _progress: None):
    return archive(output).run(made_of, cluster, most_jobs, tell)


def test_all_chunks_are_submitted_once_and_progress_is_over_all_of_them(tmp_path):
    cluster, told = Cluster(tmp_path), []
    outcomes = run(tmp_path, cluster, tell=told.append)
    assert cluster.waves == [3]
    assert {outcome.state for outcome in outcomes.values()} == {"done"}
    assert isinstance(told[0], Progress)
    assert told[0].words == "0 of 5 cases, 0 of 3 chunks finished"
    assert (told[-1].words, told[-1].overall) == ("5 of 5 cases, 3 of 3 chunks finished", 1.0)
    run(tmp_path, cluster)
    assert cluster.submitted == [1, 2, 3]  # the same command again does nothing


def test_the_scheduler_is_not_flooded(tmp_path):
    cluster = Cluster(tmp_path)
    run(tmp_path, cluster, most_jobs=2)
    assert cluster.waves == [2, 1]


def test_a_lost_chunk_is_submitted_again_and_one_that_is_always_lost_is_given_up(tmp_path):
    cluster = Cluster(tmp_path, lambda chunk, attempt: None if chunk == 2 or (chunk == 3 and attempt == 0) else 0)
    outcomes = run(tmp_path, cluster)
    assert [cluster.submitted.count(chunk) for chunk in (1, 2, 3)] == [1, 1 + MOST_LOSSES, 2]
    assert [case for case, outcome in outcomes.items() if outcome.state == "open"] == ["b", "e"]
    assert summary(outcomes) == "3 done, 0 failed, 2 open"
    assert archive(tmp_path).given_up() == [2]
    cluster = Cluster(tmp_path)
    run(tmp_path, cluster)
    assert cluster.submitted == [2]  # a new start tries it again


def test_who_goes_on_waits_for_jobs_of_a_killed_submitter(tmp_path):
    class Killed(BaseException):
        pass

    def killed(_progress):
        raise Killed

    cluster = Cluster(tmp_path)
    cluster.cancel = lambda _jobs: None  # a killed process cancels nothing
    with pytest.raises(Killed):
        run(tmp_path, cluster, most_jobs=2, tell=killed)
    assert cluster.submitted == [1, 2]
    run(tmp_path, cluster)
    assert cluster.submitted == [1, 2, 3]


def test_an_interrupted_archive_ends_its_jobs(tmp_path):
    def interrupted(_progress):
        raise KeyboardInterrupt

    cluster = Cluster(tmp_path)
    cluster.alive = set
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, cluster, tell=interrupted)
    assert cluster.cancelled == {"job0", "job1", "job2"}


def test_chunks_with_failures_are_tried_again_by_the_next_start_only(tmp_path):
    cluster = Cluster(tmp_path, lambda chunk, attempt: int(chunk == 2 and attempt == 0))
    run(tmp_path, cluster)
    assert cluster.submitted == [1, 2, 3]
    run(tmp_path, cluster)
    assert cluster.submitted == [1, 2, 3, 2]


def test_bad_input_ends_it_and_is_not_tried_again_and_again(tmp_path):
    cluster = Cluster(tmp_path, lambda chunk, _attempt: 2 if chunk == 1 else 0)
    with pytest.raises(OutputError, match=r"chunk-refused.*chunk 1 .*job0"):
        run(tmp_path, cluster)
    assert cluster.submitted == [1, 2, 3]


def test_an_archive_of_another_model_is_not_gone_on_with(tmp_path):
    run(tmp_path, Cluster(tmp_path))
    with pytest.raises(OutputError, match=r"other-archive.*another model"):
        run(tmp_path, Cluster(tmp_path), MADE_OF | {"model": "3"})


def test_two_submitters_do_not_work_on_one_archive(tmp_path):
    def second(_progress):
        with pytest.raises(OutputError, match="archive-running"):
            run(tmp_path, Cluster(tmp_path))

    run(tmp_path, Cluster(tmp_path), tell=second)


def test_every_option_of_cases_reaches_the_jobs():
    parser = argparse.ArgumentParser()
    add_case_options(parser)
    for action in parser._actions:
        if action.dest == "help":
            continue
        value = action.choices[-1] if action.choices else "LAS" if action.dest == "assume_orientation" else "7"
        args = parser.parse_args([action.option_strings[0], *([] if action.nargs == 0 else [value])])
        args.cases, args.output = Path("cases.csv"), Path("out")
        command = " ".join(_command(args, Path("7"), 1, 3))
        assert action.option_strings[0] in command
        assert action.nargs == 0 or value in command
