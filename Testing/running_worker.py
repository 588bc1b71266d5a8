"""The worker process for tests, spoken to over its pipes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from CrossModalSegLib.protocol import Done, Event, Failed, Progress, Ready, Request, decode_event, encode

REPOSITORY = Path(__file__).resolve().parents[1]
WORKER = [sys.executable, "-u", "-m", "CrossModalSegLib.worker"]


class RunningWorker:
    """A worker process, spoken to over its pipes; ``stderr`` is the file of what it complains about."""

    def __init__(self, stderr: Path, command: list[str], **variables: str):
        self.stderr = stderr
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY)} | variables
        with stderr.open("wb") as stream:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": stream}
            self.process = subprocess.Popen(command, env=environment, **pipes)
        ready = self.event()
        assert isinstance(ready, Ready)
        self.pid = ready.pid

    def event(self) -> Event:
        return decode_event(self.process.stdout.readline())

    def ask(self, *requests: Request) -> None:
        for request in requests:
            self.process.stdin.write(encode(request))
            self.process.stdin.flush()

    def events(self) -> Iterator[Event]:
        """Up to the next answer, with it."""
        while True:
            event = self.event()
            yield event
            if isinstance(event, Done | Failed):
                return

    def answer(self, request: Request) -> Done | Failed:
        self.ask(request)
        answer = list(self.events())[-1]
        assert answer.id == request.id
        return answer

    def wait_for(self, stage: str) -> None:
        for event in self.events():
            if isinstance(event, Progress) and event.stage == stage:
                return
        pytest.fail(f"no stage {stage}: {event}")

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
