"""Commands in the background behind a launcher such as PythonSlicer: what is said to be stopped is dead, and all of
it."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from CrossModalSegApp.process.background_command import BackgroundCommand, CommandStatus
from CrossModalSegApp.process.run_state import Outcome
from CrossModalSegApp.process.worker_client import WorkerClient
from CrossModalSegLib.errors import InputError
from Testing.slicer.launcher import write_launcher
from Testing.slicer.process.test_fine_tuning import library_with
from Testing.slicer.process.worker_client.talk import is_alive, posix, wait_for_death

pytestmark = posix

# Notes in the file that it is given each process that computes, and says when it does; one more computes beside it.
COMPUTING = """
import json, os, subprocess, sys, time
from pathlib import Path

child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with open(sys.argv[1], "a") as stream:
    stream.write(f"{os.getpid()} {child.pid}\\n")
print(json.dumps({"event": "message", "id": "", "text": "computing"}), flush=True)
time.sleep(600)
"""


class Command:
    """A `BackgroundCommand` behind ``launcher``; ``statuses`` is all that it has said."""

    def __init__(self, factory, folder: Path, before: str = "", program: str = COMPUTING):
        self.log = folder / "processes.txt"
        launcher = write_launcher(folder / "bin", before)
        library = library_with(folder / "library", program)
        self.command = BackgroundCommand(
            WorkerClient(factory, python=str(launcher), library=library).launch, "reckoning", "died"
        )
        self.statuses: list[CommandStatus] = []
        self.alive_when_over: list[set[int]] = []
        self.command.listen(self._note)

    def _note(self, status: CommandStatus) -> None:
        self.statuses.append(status)
        if not status.is_running:
            self.alive_when_over.append({pid for pid in self.processes() if is_alive(pid)})

    def processes(self) -> list[int]:
        return [int(word) for word in self.log.read_text().split()] if self.log.exists() else []

    def start(self) -> None:
        self.command.run([str(self.log)])

    def start_and_wait(self) -> list[int]:
        """Until it computes; returns its processes of this time."""
        before = len(self.processes())
        self.start()
        self.wait(lambda: "computing" in self.command.status.plan)
        return self.processes()[before:]

    def wait(self, until, seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < deadline, self.statuses
            self.command.wait(0.05)

    def wait_for_end(self) -> CommandStatus:
        self.wait(lambda: not self.command.status.is_running)
        return self.command.status


@pytest.fixture
def make_command(process_factory, tmp_path):
    commands = []

    def make(*arguments, **keywords) -> Command:
        commands.append(Command(process_factory, tmp_path, *arguments, **keywords))
        return commands[-1]

    yield make
    for one in commands:
        one.command.close()
        for pid in filter(is_alive, one.processes()):
            os.kill(pid, signal.SIGKILL)


def test_what_is_said_to_be_stopped_is_dead_with_all_that_it_has_started(make_command):
    command = make_command()
    processes = command.start_and_wait()
    assert len(processes) == 2
    assert all(map(is_alive, processes))
    command.command.cancel()
    assert command.wait_for_end().outcome is Outcome.CANCELLED
    assert command.alive_when_over == [set()]


def test_closing_kills_it_too(make_command):
    command = make_command()
    processes = command.start_and_wait()
    said = len(command.statuses)
    command.command.close()
    wait_for_death(*processes)
    assert len(command.statuses) == said


def test_going_on_begins_only_when_the_process_before_is_gone(make_command):
    command = make_command()
    for _ in range(2):
        command.start_and_wait()
        command.command.cancel()
        command.wait_for_end()
    assert len(command.processes()) == 4
    assert command.alive_when_over == [set(), set()]


def test_stopped_before_the_process_has_said_a_word_it_is_stopping_until_it_is_gone(make_command):
    command = make_command("sleep 2")  # a launcher that takes its time
    command.start()
    command.command.cancel()
    assert command.command.status.is_stopping
    assert command.command.status.outcome is Outcome.NONE
    with pytest.raises(InputError, match="busy"):
        command.start()
    assert command.wait_for_end().outcome is Outcome.CANCELLED
    assert command.alive_when_over == [set()]
    time.sleep(0.5)
    assert not any(map(is_alive, command.processes()))


def test_where_somebody_kills_the_launcher_alone_what_it_had_started_does_not_go_on(make_command, tmp_path):
    command = make_command(f"echo $$ > {tmp_path}/launcher.txt")
    command.start_and_wait()
    os.kill(int((tmp_path / "launcher.txt").read_text()), signal.SIGKILL)
    status = command.wait_for_end()
    assert status.error.code == "died"
    assert "was killed (SIGKILL)" in status.error.message
    assert command.alive_when_over == [set()]


def test_a_process_that_was_killed_is_told_as_such_though_the_launcher_only_gives_137(make_command):
    command = make_command()
    os.kill(command.start_and_wait()[0], signal.SIGKILL)
    message = command.wait_for_end().error.message
    assert "was killed (SIGKILL)" in message
    assert "137" not in message


PROGRAM = """
import sys, time
from pathlib import Path
from CrossModalSegApp.process.subprocess_worker import SubprocessWorkerProcess
from CrossModalSegApp.process.worker_client import WorkerClient

lines = []
client = WorkerClient(SubprocessWorkerProcess, python=sys.argv[1], library=Path(sys.argv[2]))
process = client.launch("CrossModalSegLib.cli", [sys.argv[3]], lines.append, print, print)
while not any(b"computing" in line for line in lines):
    process.wait(0.05)
print("computing", flush=True)
time.sleep(600)
"""


def test_when_the_program_that_wanted_it_is_killed_it_does_not_go_on(tmp_path):
    launcher, library = write_launcher(tmp_path / "bin"), library_with(tmp_path / "library", COMPUTING)
    log = tmp_path / "processes.txt"
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(launcher), str(library), str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as program:
        assert program.stdout.readline() == b"computing\n"
        pids = [int(word) for word in log.read_text().split()]
        assert all(map(is_alive, pids))
        program.kill()
    wait_for_death(*pids)
