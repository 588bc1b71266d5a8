"""What crosses between module and worker comes out as it went in, or is refused with the line in the message."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from CrossModalSegLib.errors import ProtocolError
from CrossModalSegLib.protocol import (
    Done,
    Failed,
    Message,
    Progress,
    Ready,
    Request,
    decode_event,
    decode_request,
    encode,
)

EVENTS = [
    Ready("0.1.0", 4711),
    Progress("a", "network", 0.5, 0.25, 12.5),
    Progress("a", "loading model", 0, 0, None),
    Message("", "3 corrected cases"),
    Done("a", {"structures": [{"name": "left hippocampus", "volume_ml": {"T1w": 3.5, "T2w": None}}]}),
    Failed("a", "not-found", "no such file: /data/Größe\n小脑.nrrd", "check the path"),
]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_comes_out_as_it_went_in(event):
    assert decode_event(encode(event)) == event


@given(st.text(), st.text(), st.dictionaries(st.text(), JSON))
def test_any_request_is_one_line_of_ascii_and_comes_out_as_it_went_in(request_id, action, arguments):
    request = Request(request_id, action, arguments)
    line = encode(request)
    assert line.isascii()
    assert line.index(b"\n") == len(line) - 1
    assert decode_request(line) == request


def test_events_are_named_on_the_wire_as_documented():
    names = [json.loads(encode(event))["event"] for event in EVENTS]
    assert names == ["ready", "progress", "progress", "message", "done", "error"]


def test_a_request_may_be_spread_over_lines_in_a_file_to_replay():
    assert decode_request('{\n "id": "a",\n "action": "ping",\n "arguments": {}\n}\n') == Request("a", "ping")


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b"", "is no request"),
        (b"hello\n", "'hello' is no request"),
        (b'["id"]', "not an object"),
        (b'{"id": "a", "action": "ping"}', "missing or unknown: arguments"),
        (b'{"id": "a", "action": "ping", "arguments": {}, "more": 1}', "missing or unknown: more"),
        (b'{"id": 7, "action": "ping", "arguments": {}}', "id is 7"),
        (b'{"id": "a", "action": "ping", "arguments": [1]}', r"arguments is \[1\]"),
        (b'{"id": "a", "action": "ping", "arguments": {"x": NaN}}', "NaN is no JSON"),
        (b'{"id": "a", "act', "is no request"),
        (b"\xff\xfe\x00", "is no request"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_request_is_refused(line, what):
    with pytest.raises(ProtocolError, match=what) as caught:
        decode_request(line)
    assert caught.value.code == "bad-request"
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b'{"event": "dance", "id": "a"}', "'dance' is not known"),
        (b'{"event": ["done"], "id": "a"}', "is not known"),
        (b'{"id": "a"}', "None is not known"),
        (b'{"event": "done", "id": "a", "result": null}', "result is None"),
        (b'{"event": "ready", "version": "1", "pid": true}', "pid is True"),
        (
            (
                b'{"event": "progress", "id": "a", "stage": "x", "fraction": "1", "overall": 0, '
                b'"seconds_left": null, "words": ""}'
            ),
            "fr",
        ),
    ],
)
def test_what_is_no_event_is_refused(line, what):
    with pytest.raises(ProtocolError, match=what) as caught:
        decode_event(line)
    assert caught.value.code == "bad-event"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"bytes"])
def test_what_json_has_no_word_for_is_not_sent(value):
    with pytest.raises(ProtocolError, match="not-encodable"):
        encode(Done("a", {"value": value}))
