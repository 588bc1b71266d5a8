"""The module and its worker process: whatever happens to the process, who asked is answered exactly once.

All tests run with both ways to start a process: Python's own, and QProcess (on PySide6, not in Slicer). The workers are
real processes; where one has to misbehave, it is a few lines of Python in the place of the real one.
"""

import importlib
import json
import logging
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from CrossModalSegLib.errors import ProtocolError, WorkerError
from CrossModalSegLib.protocol import Done, Event, Failed, Progress, Request
from CrossModalSegUI import worker_client
from CrossModalSegUI.subprocess_worker import SubprocessWorkerProcess
from CrossModalSegUI.worker_client import (
    BAD_OUTPUT,
    CANCELLED,
    NOT_STARTED,
    WORKER_DIED,
    WorkerClient,
    default_python,
)
from Testing.worker_case import WorkerCase

posix = pytest.mark.skipif(os.name != "posix", reason="signals and process groups of POSIX")


@pytest.fixture(scope="session")
def qt() -> types.ModuleType:
    """What the module finds under the name ``qt`` in Slicer, as far as processes are concerned."""
    widgets = pytest.importorskip(
        "PySide6.QtWidgets", reason="PySide6 is not installed: pip install PySide6-Essentials"
    )
    from PySide6 import QtCore

    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    module = types.ModuleType("qt")
    for name in ("QCoreApplication", "QProcess", "QProcessEnvironment", "QTimer"):
        setattr(module, name, getattr(QtCore, name))
    # Other tests need a QApplication, and there can be only one application object.
    module.application = widgets.QApplication.instance() or widgets.QApplication(["tests"])
    return module


@pytest.fixture
def qt_worker_process(qt, monkeypatch):
    monkeypatch.setitem(sys.modules, "qt", qt)
    monkeypatch.delitem(sys.modules, "CrossModalSegUI.worker_process", raising=False)
    yield importlib.import_module("CrossModalSegUI.worker_process").QtWorkerProcess
    monkeypatch.delitem(sys.modules, "CrossModalSegUI.worker_process")
    qt.application.processEvents()


@pytest.fixture(params=["subprocess", "qt"])
def process_factory(request):
    is_qt = request.param == "qt"
    return request.getfixturevalue("qt_worker_process") if is_qt else SubprocessWorkerProcess


@pytest.fixture
def make_client(process_factory):
    """Makes clients that are closed after the test."""
    clients = []

    def make(**arguments) -> WorkerClient:
        clients.append(WorkerClient(process_factory, **arguments))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


PRELUDE = """
import json, os, signal, subprocess, sys, time
from pathlib import Path

def say(data):
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()

def event(name, **fields):
    return json.dumps({"event": name, **fields}, ensure_ascii=False).encode() + b"\\n"

def progress(stage):
    return event("progress", id=request["id"], stage=stage, fraction=0.0, overall=0.0, seconds_left=None)

def done(**result):
    return event("done", id=request["id"], result=result)

say(event("ready", version="0", pid=os.getpid()))
for line in sys.stdin:
    request = json.loads(line)
"""


@pytest.fixture
def client_of(make_client, tmp_path):
    """Makes a client whose worker does ``body`` for each ``request``."""

    def make(body: str, **arguments) -> WorkerClient:
        package = tmp_path / "library" / "CrossModalSegLib"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "worker.py").write_text(PRELUDE + textwrap.indent(textwrap.dedent(body), "    "), encoding="utf-8")
        return make_client(library=tmp_path / "library", **arguments)

    return make


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


PING = Request("a", "ping")


# --- output


def test_lines_that_come_in_pieces_are_put_together_even_within_a_character(client_of):
    client = client_of("""
        for byte in done(name="Größe 小脑"):
            say(bytes([byte]))
            time.sleep(0.001)
    """)
    assert answer(client, PING) == Done("a", {"name": "Größe 小脑"})


def test_several_lines_at_once_are_told_in_their_order(client_of):
    client = client_of('say(progress("one") + progress("two") + progress("three") + done())')
    listener = ask(client, PING)
    finish(client)
    assert [event.stage for event in listener.events[:-1]] == ["one", "two", "three"]
    assert listener.answer == Done("a", {})


def test_a_long_result_arrives_whole(client_of):
    client = client_of('say(done(text="x" * 3_000_000))')
    assert len(answer(client, PING).result["text"]) == 3_000_000


def test_a_request_is_understood_whatever_characters_it_has(client_of):
    client = client_of("say(done(**request))")
    arguments = {"inputs": {"T1w": "/data/Größe 小脑\n.nrrd"}, "output": "C:\\x"}
    assert answer(client, Request("a", "segment", arguments)).result["arguments"] == arguments


def test_the_last_words_of_a_process_that_ends_count(client_of):
    client = client_of("say(progress('last') + done()); os._exit(1)")
    listener = ask(client, PING)
    wait_until(client, lambda: client.worker_pid is not None)
    wait_for_death(client.worker_pid)
    finish(client)
    assert listener.answer == Done("a", {})


# --- processes that die


def test_a_crash_is_one_typed_answer_with_the_last_of_what_it_complained_about(client_of, caplog):
    client = client_of("""
        say(progress("network"))
        print("first line\\n" + "\\n".join(f"line {n}" for n in range(60)), file=sys.stderr)
        os._exit(3)
    """)
    with caplog.at_level(logging.ERROR, "CrossModalSegUI"):
        failed = answer(client, PING)
    assert (failed.id, failed.code) == ("a", WORKER_DIED)
    assert "ended unexpectedly (exit code 3)" in failed.message
    assert failed.message.endswith("\nline 58\nline 59")
    assert "click Segment again" in failed.hint
    assert [n for n in range(60) if f"line {n}\n" in f"{caplog.text}\n"] == list(range(20, 60))


def test_of_very_long_complaints_only_the_beginning_is_shown(client_of):
    client = client_of("print('libraries: ' + 'numpy, ' * 900, file=sys.stderr); os._exit(3)")
    message = answer(client, PING).message
    assert "\nlibraries: numpy, " in message
    assert len(message) < 300
    assert message.endswith("…")


@posix
def test_a_process_that_somebody_kills_is_told_as_such_and_the_next_request_works(client_of):
    client = client_of("""
        say(progress("network"))
        time.sleep(600 if request["action"] == "sleep" else 0)
        say(done())
    """)
    listener = ask(client, Request("a", "sleep"))
    wait_until(client, lambda: listener.was_told("network"))
    os.kill(client.worker_pid, signal.SIGKILL)
    finish(client)
    assert listener.answer.code == WORKER_DIED
    assert "was killed (SIGKILL)" in listener.answer.message
    assert answer(client, PING) == Done("a", {})


def test_half_an_answer_is_none(client_of):
    client = client_of("say(done()[:-9]); os._exit(0)")
    assert answer(client, PING).code == WORKER_DIED


def test_every_request_that_waits_is_answered_when_the_process_dies(client_of):
    client = client_of("say(progress('network')); os._exit(1)")
    listeners = [ask(client, Request(name, "ping")) for name in "abc"]
    finish(client)
    assert [(listener.answer.id, listener.answer.code) for listener in listeners] == [
        (name, WORKER_DIED) for name in "abc"
    ]


@pytest.mark.parametrize("garbage", ["b'good morning\\n'", "b'\\xff\\xfe\\n'", "event('dance')", "b'{\\n'"])
def test_a_process_that_writes_something_else_is_stopped_with_a_typed_answer(client_of, tmp_path, garbage):
    pid = tmp_path / "pid.txt"
    client = client_of(f"Path({str(pid)!r}).write_text(str(os.getpid())); say({garbage}); time.sleep(600)")
    assert answer(client, PING).code == BAD_OUTPUT
    wait_for_death(int(pid.read_text()))


def test_an_answer_that_nobody_asked_for_is_ignored(client_of):
    client = client_of("say(event('error', id='', code='x', message='y', hint='z') + done())")
    assert answer(client, PING) == Done("a", {})


def test_a_program_that_cannot_be_started_is_told_after_submit_has_returned(make_client):
    client = make_client(python="/no/such/program")
    for _ in range(2):
        failed = answer(client, PING)
        assert failed.code == NOT_STARTED
        assert "/no/such/program" in failed.message


@posix
def test_a_worker_that_died_while_nobody_looked_is_replaced(client_of):
    client = client_of("say(done())")
    for _ in range(3):
        assert answer(client, PING) == Done("a", {})
        os.kill(client.worker_pid, signal.SIGKILL)
        wait_for_death(client.worker_pid)


@posix
def test_a_worker_that_died_just_now_is_replaced_though_the_thread_that_waits_for_it_has_not_been_told(monkeypatch):
    process = SubprocessWorkerProcess()
    process.start(sys.executable, ["-c", "input()"], {})
    assert process.is_running
    monkeypatch.setattr(subprocess.Popen, "poll", lambda _process: None)  # as long as that thread holds the lock
    os.kill(process._process.pid, signal.SIGKILL)
    wait_for_death(process._process.pid)
    assert not process.is_running
    process._process.wait()


def test_what_a_worker_had_not_begun_when_it_left_is_given_to_the_next_one(client_of, tmp_path):
    client = client_of(f"""
        mark = Path({str(tmp_path / "mark")!r})
        if not mark.exists():
            mark.touch()
            os._exit(0)
        say(done())
    """)
    listeners = [ask(client, Request(name, "ping")) for name in "ab"]
    finish(client)
    assert [listener.answer for listener in listeners] == [Done("a", {}), Done("b", {})]


def test_it_is_not_tried_for_ever(client_of, tmp_path):
    log = tmp_path / "starts.txt"
    client = client_of(f"""
        with open({str(log)!r}, "a") as stream:
            stream.write("started\\n")
        os._exit(0)
    """)
    assert answer(client, PING).code == WORKER_DIED
    assert log.read_text().count("started") == 2


# --- cancel and close

SLEEPER = """
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    say(progress(str(child.pid)))
    child.wait()
"""
GROUP = "if os.getpgrp() != os.getpid(): os.setsid()\n"  # as the real worker does


@posix
def test_cancel_kills_the_process_with_all_that_it_has_started_and_answers_everybody(client_of):
    client = client_of(GROUP + textwrap.dedent(SLEEPER))
    listeners = [ask(client, Request(name, "ping")) for name in "ab"]
    wait_until(client, lambda: bool(listeners[0].events))
    pids = client.worker_pid, int(listeners[0].events[0].stage)
    assert all(is_alive(pid) for pid in pids)
    client.cancel()
    assert not client.is_busy
    assert [(listener.answer.id, listener.answer.code) for listener in listeners] == [
        ("a", CANCELLED),
        ("b", CANCELLED),
    ]
    wait_for_death(*pids)


def test_cancel_right_after_submit_is_answered_once_and_the_next_request_works(client_of):
    client = client_of("say(done())")
    for _ in range(3):
        listener = ask(client, PING)
        client.cancel()
        client.wait(0.05)
        assert listener.answer.code == CANCELLED
    assert answer(client, PING) == Done("a", {})


def test_cancel_without_anything_to_cancel_keeps_the_worker_warm(client_of):
    client = client_of("say(done(pid=os.getpid()))")
    client.cancel()
    first = answer(client, PING)
    client.cancel()
    assert answer(client, PING) == first


@posix
def test_close_kills_and_tells_nobody(client_of, qt):
    client = client_of(GROUP + textwrap.dedent(SLEEPER))
    listener = ask(client, PING)
    wait_until(client, lambda: bool(listener.events))
    pids = client.worker_pid, int(listener.events.pop().stage)
    client.close()
    client.close()
    wait_for_death(*pids)
    client.wait(0.1)
    qt.application.processEvents()
    assert not listener.events
    assert not client.is_busy


def test_a_killed_process_calls_nobody_whatever_it_had_written(process_factory, qt):
    process, calls = process_factory(), []
    process.on_output = process.on_error_output = process.on_finished = calls.append
    process.start(sys.executable, ["-c", "import sys; print('one'); print('two', file=sys.stderr)"], {})
    time.sleep(0.2)  # it has written by now, and ended
    process.kill_tree()
    process.wait(0.2)
    qt.application.processEvents()
    assert not calls
    assert not process.is_running


LAUNCHER = """#!{python}
import subprocess, sys
code = subprocess.run([{python!r}, *sys.argv[1:]]).returncode
sys.exit(code if code >= 0 else 1)
"""


@posix
def test_a_worker_behind_a_launcher_such_as_pythonslicer_is_killed_too(client_of, tmp_path):
    launcher = tmp_path / "PythonSlicer"
    launcher.write_text(LAUNCHER.format(python=sys.executable))
    launcher.chmod(0o755)
    client = client_of(GROUP + textwrap.dedent(SLEEPER), python=str(launcher))
    for stop in (client.cancel, client.close, lambda: os.kill(client.worker_pid, signal.SIGKILL)):
        listener = ask(client, PING)
        wait_until(client, lambda listener=listener: bool(listener.events))
        worker, child = client.worker_pid, int(listener.events[0].stage)
        stop()
        wait_for_death(worker)
        os.kill(child, signal.SIGKILL) if is_alive(child) else None  # nobody else does when only the worker is killed
        finish(client)
    assert listener.answer.code == WORKER_DIED


# --- those who listen


def test_a_listener_that_fails_does_not_keep_others_from_being_told(client_of, caplog):
    client = client_of("say(progress('network') + done())")
    with caplog.at_level(logging.ERROR, "CrossModalSegUI"):
        client.submit(Request("broken", "ping"), lambda _: 1 / 0)
        assert answer(client, PING) == Done("a", {})
    assert caplog.text.count("\nZeroDivisionError") == 2


def test_a_listener_may_ask_again_when_it_is_answered(client_of):
    client = client_of("say(done()) if request['id'] != 'c' else os._exit(1)")
    told = []

    def next_one(event: Event) -> None:
        told.append(event.id)
        if len(told) < 5:
            client.submit(Request("abcde"[len(told)], "ping"), next_one)

    client.submit(PING, next_one)
    finish(client)
    assert told == list("abcde")


@posix
def test_a_listener_may_ask_again_when_the_worker_has_died_with_its_answer(client_of):
    client = client_of("say(done()); os._exit(1)")
    told = []

    def next_one(event: Event) -> None:
        told.append(type(event))
        wait_for_death(client.worker_pid)
        if len(told) < 3:
            client.submit(PING, next_one)

    client.submit(PING, next_one)
    finish(client)
    assert told == [Done, Done, Done]


def test_a_listener_may_cancel_in_the_middle_of_several_lines(client_of):
    client = client_of("say(progress('one') + progress('two') + done())")
    listener = Listener()

    def cancel(event: Event) -> None:
        listener(event)
        if isinstance(event, Progress):
            client.cancel()

    client.submit(PING, cancel)
    finish(client)
    assert [type(event) for event in listener.events] == [Progress, Failed]
    assert listener.answer.code == CANCELLED


def test_a_request_under_way_is_not_asked_twice(client_of):
    client = client_of("say(done())")
    listener = ask(client, PING)
    with pytest.raises(WorkerError, match="same-id"):
        client.submit(PING, listener)
    finish(client)
    assert listener.answer == Done("a", {})


def test_a_request_that_cannot_be_sent_is_refused_at_once(client_of):
    client = client_of("say(done())")
    with pytest.raises(ProtocolError, match="not-encodable"):
        client.submit(Request("a", "segment", {"output": Path("out")}), Listener())
    assert not client.is_busy


# --- how it is started


def test_the_library_comes_first_and_the_rest_of_the_environment_stays(client_of, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/somewhere/else")
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "json.py").write_text("1 / 0")  # not taken for Python's own
    client = client_of("say(done(path=os.environ['PYTHONPATH'], seed=os.environ['PYTHONHASHSEED'], argv=sys.argv[1:]))")
    result = answer(client, PING).result
    assert result == {"path": f"{tmp_path / 'library'}{os.pathsep}/somewhere/else", "seed": "7", "argv": []}


def test_slicers_own_python_is_taken_where_there_is_one(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert default_python() == sys.executable
    program = tmp_path / ("PythonSlicer.exe" if os.name == "nt" else "PythonSlicer")
    program.touch(mode=0o755)
    assert Path(default_python()) == program


def test_the_client_loads_nothing_heavy_into_slicer():
    folders = [str(Path(worker_client.__file__).parents[level]) for level in (1, 2)]
    code = f"import sys; sys.path[:0] = {folders}; import CrossModalSegUI.worker_client as c; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in run.stdout.split()}
    assert not {"torch", "monai", "numpy", "SimpleITK", "qt", "PySide6"} & loaded


@pytest.mark.parametrize("process_factory", ["qt"], indirect=True)
def test_without_waiting_slicers_event_loop_brings_the_events(qt, client_of):
    client = client_of("say(progress('network') + done())")
    listener = ask(client, PING)
    run_event_loop(qt, client)
    assert [type(event) for event in listener.events] == [Progress, Done]


def test_the_event_loop_also_tells_that_a_program_could_not_be_started(qt, qt_worker_process):
    client = WorkerClient(qt_worker_process, python="/no/such/program")
    listener = ask(client, PING)
    run_event_loop(qt, client)
    assert listener.answer.code == NOT_STARTED


def run_event_loop(qt: types.ModuleType, client: WorkerClient) -> None:
    while client.is_busy:
        qt.application.processEvents()
        time.sleep(0.01)


# --- the real worker


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
        kill_at(moments.choice(STAGES), moments.uniform(0.0, 0.4), client, listener)
        finish(client)
        died = isinstance(listener.answer, Failed)
        codes += [listener.answer.code] if died else []
        assert names(folder) == ({"out"} if (folder / "out" / "report.json").is_file() else set())
        assert died or names(folder) == {"out"}
    assert set(codes) == {WORKER_DIED}
    assert len(codes) > 10
    assert isinstance(answer(client, case.request(tmp_path / "last")), Done)


def kill_at(stage: str, delay: float, client: WorkerClient, listener: Listener) -> None:
    """Kill the worker ``delay`` seconds after it has come to ``stage`` ("": has been asked), if it is not done by then."""
    while client.is_busy and stage and not listener.was_told(stage):
        client.wait(0.01)
    end = time.monotonic() + delay
    while client.is_busy and time.monotonic() < end:
        client.wait(0.01)
    if client.worker_pid and client.is_busy:
        os.kill(client.worker_pid, signal.SIGKILL)
