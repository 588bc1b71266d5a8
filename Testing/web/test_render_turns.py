"""The order in which views draw, without a browser."""

import asyncio

import pytest

from CrossModalSegApp.web import render_turns
from CrossModalSegApp.web.render_turns import RenderTurns


def test_each_is_drawn_once_and_what_has_arrived_is_answered_in_between():
    done = []

    async def go():
        turns = RenderTurns()
        first, second = (lambda: done.append("first")), (lambda: done.append("second"))
        for draw in (first, second, first):
            turns.ask(draw)
        asyncio.get_running_loop().call_later(0, done.append, "answer")
        await asyncio.sleep(0.2)

    asyncio.run(go())
    assert done == ["first", "answer", "second"]


def test_before_the_page_is_served_it_is_drawn_at_once():
    done = []
    RenderTurns().ask(lambda: done.append("now"))
    assert done == ["now"]


@pytest.fixture
def clock(monkeypatch):
    """(now,): goes on by the time that is slept, beginning at 100 s."""
    now = [100.0]
    monkeypatch.setattr(render_turns, "_STILL_SECONDS", 0.4)
    monkeypatch.setattr(render_turns, "_LONGEST_WAIT_SECONDS", 2.0)
    monkeypatch.setattr(render_turns.time, "monotonic", lambda: now[0])
    return now


def wait(turns, clock, moves, monkeypatch):
    """Until the slices are still; they move at the times ``moves``."""
    moves = list(moves)

    async def sleep(seconds):
        end = clock[0] + seconds
        while moves and moves[0] <= end:
            clock[0] = moves.pop(0)
            turns.note_move()
        clock[0] = end

    monkeypatch.setattr(render_turns.asyncio, "sleep", sleep)
    with pytest.raises(StopIteration):
        turns.stillness().send(None)


def test_3d_is_drawn_at_once_where_nothing_moves(clock, monkeypatch):
    wait(RenderTurns(), clock, [], monkeypatch)
    assert clock == [100.0]


def test_3d_waits_until_the_slices_are_still(clock, monkeypatch):
    turns = RenderTurns()
    turns.note_move()
    wait(turns, clock, [100.3, 100.6], monkeypatch)
    assert clock == [pytest.approx(101.0)]


def test_3d_does_not_wait_for_ever(clock, monkeypatch):
    turns = RenderTurns()
    turns.note_move()
    wait(turns, clock, [100.0 + 0.3 * number for number in range(1, 100)], monkeypatch)
    assert clock == [pytest.approx(102.0)]
