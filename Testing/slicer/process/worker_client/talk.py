"""Who asks a worker process, and is answered."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from CrossModalSegApp.process.worker_client import WorkerClient
from CrossModalSegLib.protocol import Done, Event, Failed, Progress, Request

posix = pytest.mark.skipif(os.name != "posix", reason="signals and process groups of POSIX")
PING = Request("a", "ping")


class Listener:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    @property
    def answers(self) -> list[Event]:
        return [event for event in self.events if isinstance(event, Done | Failed)]

    @property
    def answer(self) -> Done | Failed:
        (answer,) = self.answers
        assert answer is self.events[-1]
        return answer

    def was_told(self, stage: str) -> bool:
        return any(isinstance(event, Progress) and event.stage == stage for event in self.events)


def ask(client: WorkerClient, request: Request) -> Listener:
    listener = Listener()
    client.submit(request, listener)
    assert not listener.events
    return listener


def finish(client: WorkerClient) -> None:
    while client.is_busy:
        client.wait(0.1)


def wait_until(client: WorkerClient, condition: Callable[[], bool]) -> None:
    while not condition():
        assert client.is_busy, "it ended before it came so far"
        client.wait(0.1)


def answer(client: WorkerClient, request: Request) -> Done | Failed:
    listener = ask(client, request)
    finish(client)
    return listener.answer


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_for_death(*pids: int) -> None:
    while any(is_alive(pid) for pid in pids):
        time.sleep(0.01)
