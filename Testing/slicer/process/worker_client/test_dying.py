"""Whatever happens to the worker process, who asked is answered exactly once, and the next request works."""

import logging
import os
import signal
import subprocess
import sys

import pytest

from CrossModalSegApp.process.subprocess_worker import SubprocessWorkerProcess
from CrossModalSegApp.process.worker_client import BAD_OUTPUT, NOT_STARTED, WORKER_DIED
from CrossModalSegLib.protocol import Done, Request
from Testing.slicer.process.worker_client.talk import PING, answer, ask, finish, posix, wait_for_death, wait_until


def test_a_crash_is_one_typed_answer_with_the_last_of_what_it_complained_about(client_of, caplog):
    client = client_of("""
        say(progress("network"))
        print("first line\\n" + "\\n".join(f"line {n}" for n in range(60)), file=sys.stderr)
        os._exit(3)
    """)
    with caplog.at_level(logging.ERROR, "CrossModalSegApp"):
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
