"""The real worker is cancelled and killed at any moment, and the next run works."""

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from CrossModalSegApp.process.worker_client import CANCELLED, WORKER_DIED, WorkerClient
from CrossModalSegLib.protocol import Done, Failed
from Testing.slicer.process.worker_client.talk import Listener, answer, ask, finish, posix, wait_for_death, wait_until
from Testing.worker_case import WorkerCase


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> WorkerCase:
    return WorkerCase.written_to(tmp_path_factory.mktemp("case"))


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


one_quick = pytest.mark.parametrize(
    "process_factory", ["qt", pytest.param("subprocess", marks=pytest.mark.slow)], indirect=True
)


@one_quick
def test_the_real_worker_stays_warm_until_it_is_cancelled_in_mid_run_and_the_next_run_works(
    make_client, case, tmp_path
):
    client = make_client()
    first = ask(client, case.request(tmp_path / "one"))
    second = ask(client, case.request(tmp_path / "two", inputs={"T1w": "/no/such/file.nrrd"}))
    finish(client)
    pid = client.worker_pid
    assert (type(first.answer), second.answer.code) == (Done, "not-found")
    assert names(tmp_path) == {"one"}
    cancel_at("network", client, case, tmp_path)
    wait_for_death(pid)
    result = answer(client, case.request(tmp_path / "three")).result
    assert json.loads((tmp_path / "three" / "report.json").read_text()) | {"output": result["output"]} == result
    assert names(tmp_path) == {"one", "three"}


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["", "loading model", "writing"])
def test_a_run_of_the_real_worker_is_cancelled_at_any_moment_and_the_next_one_works(make_client, case, tmp_path, stage):
    client = make_client()
    cancel_at(stage, client, case, tmp_path)
    assert isinstance(answer(client, case.request(tmp_path / "out")), Done)
    assert names(tmp_path) == {"out"}


def cancel_at(stage: str, client: WorkerClient, case: WorkerCase, folder: Path) -> None:
    """Cancel a run when it comes to ``stage`` ("": before anything has come from it); nothing is left of it."""
    listener = ask(client, case.request(folder / "out", "slow" if stage == "network" else "quick"))
    wait_until(client, lambda: not stage or listener.was_told(stage))
    before = {name for name in names(folder) if not name.startswith(".")}
    client.cancel()
    assert listener.answer.code == CANCELLED
    assert names(folder) == before - {"out"}


STAGES = ["", "loading model", "reading", "resampling", "network", "restoring", "writing"]


@posix
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_real_worker_is_killed_at_20_random_moments_and_every_next_run_works(make_client, case, tmp_path):
    client = make_client()
    moments = random.Random(3)
    codes = []
    for number in range(20):
        folder = tmp_path / str(number)
        folder.mkdir()
        listener = ask(client, case.request(folder / "out"))
        kill_at(moments.choice(STAGES), moments.uniform(0.0, 0.1), client, listener)
        finish(client)
        died = isinstance(listener.answer, Failed)
        codes += [listener.answer.code] if died else []
        assert names(folder) == ({"out"} if (folder / "out" / "report.json").is_file() else set())
        assert died or names(folder) == {"out"}
    assert set(codes) == {WORKER_DIED}
    assert len(codes) > 10
    assert isinstance(answer(client, case.request(tmp_path / "last")), Done)


def kill_at(stage: str, delay: float, client: WorkerClient, listener: Listener) -> None:
    """Kill the worker ``delay`` seconds after it has come to ``stage`` ("": has been asked), if it is not done by
    then."""
    while client.is_busy and stage and not listener.was_told(stage):
        client.wait(0.01)
    end = time.monotonic() + delay
    while client.is_busy and time.monotonic() < end:
        client.wait(0.01)
    if client.worker_pid and client.is_busy:
        os.kill(client.worker_pid, signal.SIGKILL)
