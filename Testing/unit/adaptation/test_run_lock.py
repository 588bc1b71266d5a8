"""Two processes do not carry out one fine-tuning at once, and one that died keeps nobody from going on."""

import subprocess
import sys
from pathlib import Path

import pytest

from CrossModalSegLib.adaptation import finetune
from CrossModalSegLib.adaptation.run_lock import LOCK_FILE, only_process, only_ranking, remove_from_idle_runs
from CrossModalSegLib.cli import main
from CrossModalSegLib.errors import DataError
from CrossModalSegLib.site.runs import unfinished_run
from Testing.tiny_bundle import intensity_bundle
from Testing.tiny_site import make_site

HOLD = """
import sys
from pathlib import Path
from CrossModalSegLib.adaptation.run_lock import only_process, only_ranking
with {"run": only_process, "ranking": only_ranking}[sys.argv[2]](Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def hold():
    """Starts another process that holds a run until it is killed."""
    started = []

    def start(run: Path, what: str = "run") -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLD, str(run), what]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout.readline() == "held\n"
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def killed(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


def test_a_second_process_is_refused_and_told_which_one_is_at_work(tmp_path, hold):
    other = hold(tmp_path)
    with pytest.raises(DataError, match=rf"run-in-use.*process {other.pid} on .*--resume"), only_process(tmp_path):
        pytest.fail("two processes at once")


def test_two_processes_do_not_score_the_cases_of_one_site(tmp_path, hold, capsys):
    make_site(tmp_path / "site", 0, 1)
    bundle = intensity_bundle(tmp_path / "tiny")
    other = hold(tmp_path / "site", "ranking")
    assert main(["site", "rank", str(tmp_path / "site"), "--bundle", str(bundle.path), "--device", "cpu"]) == 2
    assert "error[ranking-in-use]" in capsys.readouterr().err
    killed(other)
    with only_ranking(tmp_path / "site"):
        pass


def test_a_process_that_was_killed_keeps_nobody_from_going_on(tmp_path, hold):
    killed(hold(tmp_path))
    with only_process(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir() if path.name != LOCK_FILE] == []


def test_whoever_ends_lets_the_next_one_in_also_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), only_process(tmp_path):
        raise ZeroDivisionError
    with only_process(tmp_path):
        pass


def test_a_run_that_another_process_has_ended_meanwhile_is_not_carried_out_again(tmp_path):
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(DataError, match="run-is-done"), only_process(tmp_path):
        pytest.fail("carried out twice")
    (tmp_path / "metrics.json").unlink()
    with only_process(tmp_path):
        pass


def test_a_holder_that_has_not_said_who_it_is_is_another_process(tmp_path, hold):
    hold(tmp_path)
    (tmp_path / "process.json").write_text("{")
    with pytest.raises(DataError, match="carried out by another process"), only_process(tmp_path):
        pytest.fail("two processes at once")


def test_what_only_spares_time_is_removed_from_all_runs_but_those_at_work(tmp_path, hold):
    kept = [tmp_path / "runs" / name / "prepared" / "case.pt" for name in ("1", "2")]
    for file in kept:
        file.parent.mkdir(parents=True)
        file.write_bytes(b"voxels")
    hold(tmp_path / "runs" / "2")
    remove_from_idle_runs(tmp_path, "prepared")
    assert [file.exists() for file in kept] == [False, True]
    assert (tmp_path / "runs" / "1").is_dir()


@pytest.mark.slow
def test_the_command_does_not_resume_what_another_process_carries_out(tmp_path, hold, monkeypatch, capsys):
    intensity_bundle(tmp_path / "tiny", (16, 16, 16), 4.0)
    make_site(tmp_path / "site", 1, 0)
    (tmp_path / "quick.toml").write_text("finetune = { most_iterations = 4, validations = 1 }")
    command = ["finetune", str(tmp_path / "site"), "--base", str(tmp_path / "tiny"), "--device", "cpu"]
    with monkeypatch.context() as patch:
        patch.setattr(finetune, "make_schedule", _interrupt)
        assert main([*command, "--config", str(tmp_path / "quick.toml")]) == 130
    run = unfinished_run(tmp_path / "site")
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file() and path.name != LOCK_FILE}
    other = hold(run)
    capsys.readouterr()
    assert main([*command, "--resume"]) == 2
    assert f"error[run-in-use]: {run} is being carried out by process {other.pid}" in capsys.readouterr().err
    killed(other)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert main([*command, "--resume"]) == 0


def _interrupt(*_arguments):
    raise KeyboardInterrupt
