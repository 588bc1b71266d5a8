"""Claims of cases: one holder at a time, taken over from the dead and from who gives no sign of life, never from the
living."""

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from CrossModalSegLib import staging
from CrossModalSegLib.archive import claims as module
from CrossModalSegLib.archive.claims import Claims, Failure
from CrossModalSegLib.errors import OutputError

REPOSITORY = Path(__file__).resolve().parents[3]

HOLDER = """
import sys, time
from pathlib import Path
from CrossModalSegLib.archive.claims import Claims
with Claims(Path(sys.argv[1]), float(sys.argv[2])) as claims, claims.claimed("one") as claim:
    print("held" if claim else "refused", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Starts a process that holds case "one" with a lease of so many seconds."""
    started = []

    def start(lease: float) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLDER, str(tmp_path), str(lease)]
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def is_held(folder: Path, lease: float = 600.0) -> bool:
    with Claims(folder, lease) as claims, claims.claimed("one") as claim:
        return claim is None


def test_of_two_one_holds_a_case_and_when_it_is_released_nothing_is_left(tmp_path):
    with Claims(tmp_path) as first, Claims(tmp_path) as second:
        with first.claimed("one") as claim, second.claimed("one") as refused, second.claimed("two") as other:
            assert (claim.number, refused, other.number) == (1, None, 1)
        with second.claimed("one") as claim:
            assert claim.number == 1
    assert list(tmp_path.iterdir()) == []


def test_a_case_of_a_killed_process_of_this_machine_is_taken_over_at_once(tmp_path, holder, monkeypatch):
    monkeypatch.setattr(staging, "SECONDS_TO_LOCK", -1.0)
    process = holder(600.0)
    assert is_held(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with Claims(tmp_path) as claims, claims.claimed("one") as claim:
        assert claim.number == 2
    assert list(tmp_path.iterdir()) == []


def test_of_another_machine_the_lease_alone_counts_and_its_heartbeat_renews_it(tmp_path, holder, monkeypatch):
    monkeypatch.setattr(module, "this_machine", lambda: "another one")
    process = holder(0.6)
    time.sleep(1.2)
    assert is_held(tmp_path, 0.6)  # twice as long as the lease, and renewed all the time
    process.kill()
    process.wait()
    assert is_held(tmp_path)  # its lock is free, but that says nothing on another machine
    time.sleep(1.0)
    assert not is_held(tmp_path, 0.6)


def test_who_was_thought_dead_and_comes_back_does_not_release_what_another_one_holds(tmp_path):
    with Claims(tmp_path) as slow, Claims(tmp_path, 0.001) as hasty, Claims(tmp_path) as third:
        paused = ExitStack()
        old = paused.enter_context(slow.claimed("one"))
        time.sleep(0.05)
        with hasty.claimed("one") as taken:  # the lock of a living process is held: only its lease has run out
            assert (old.number, taken.number) == (1, 2)
        with third.claimed("one") as new:
            assert new.number == 1  # what was taken over is done
            paused.close()
            assert is_held(tmp_path)


def test_after_three_dead_processes_the_fourth_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_lock", lambda _descriptor: None)  # a disk without locks
    numbers = []
    with Claims(tmp_path, 0.001) as claims:
        for _ in range(4):
            claim = claims._take("one")  # and is never released
            os.close(claim.descriptor)
            numbers.append(claim.number)
            time.sleep(0.02)
    assert numbers == [1, 2, 3, 4]


def test_a_failure_is_known_to_processes_that_ran_then_and_not_to_later_ones(tmp_path):
    with Claims(tmp_path) as first, Claims(tmp_path) as second:
        time.sleep(0.02)  # of a disk's clock
        first.note_failure(Failure("one", "not-found", "a.nii.gz"))
        assert second.failure("one") == Failure("one", "not-found", "a.nii.gz")
        assert second.failure("two") is None
        time.sleep(0.02)
        with Claims(tmp_path) as later:
            assert later.failure("one") is None


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot-write"), Claims(tmp_path / "file" / "claims"):
        pytest.fail("the block must not run")
