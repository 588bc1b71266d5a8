"""Those who are told may fail, ask again and cancel."""

import logging
from pathlib import Path

import pytest

from CrossModalSegApp.process.worker_client import CANCELLED
from CrossModalSegLib.errors import ProtocolError, WorkerError
from CrossModalSegLib.protocol import Done, Event, Failed, Progress, Request
from Testing.slicer.process.worker_client.talk import PING, Listener, answer, ask, finish, posix, wait_for_death


def test_a_listener_that_fails_does_not_keep_others_from_being_told(client_of, caplog):
    client = client_of("say(progress('network') + done())")
    with caplog.at_level(logging.ERROR, "CrossModalSegApp"):
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
