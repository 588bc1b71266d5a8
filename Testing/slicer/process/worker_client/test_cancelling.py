"""Cancelling and closing kill the worker process with all that it has started."""

import os
import signal
import sys
import textwrap
import time

from CrossModalSegApp.process.worker_client import CANCELLED, WORKER_DIED
from CrossModalSegLib.protocol import Done, Request
from Testing.slicer.process.worker_client.talk import (
    PING,
    answer,
    ask,
    finish,
    is_alive,
    posix,
    wait_for_death,
    wait_until,
)

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
