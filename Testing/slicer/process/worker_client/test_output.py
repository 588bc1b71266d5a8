"""What a worker process writes comes whole, in order and once."""

from CrossModalSegLib.protocol import Done, Request
from Testing.slicer.process.worker_client.talk import PING, answer, ask, finish, wait_for_death, wait_until


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
