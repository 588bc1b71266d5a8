"""What the module and its worker process say to each other: one JSON object per line, in ASCII.

The module writes requests to the worker's stdin::

    {"id": "7f3a", "action": "segment", "arguments": {...}}

The worker writes events to its stdout. ``ready`` comes once, at the start. Then the requests are worked on in the order
in which they came; each gets any number of ``progress`` and exactly one ``done`` or ``error``, under its ``id``::

    {"event": "ready", "version": "0.1.0", "pid": 4711}
    {"event": "progress", "id": "7f3a", "stage": "network", "fraction": 0.4, "overall": 0.5, "seconds_left": 9.0,
     "words": ""}                                                            (in one line, as all of them)
    {"event": "done", "id": "7f3a", "result": {...}}
    {"event": "error", "id": "7f3a", "code": "not-found", "message": "no such file ...", "hint": "check the path"}

Actions and their arguments (paths that are not absolute start where the worker was started):

========  ====================================================================  =======================================
action    arguments                                                             result
========  ====================================================================  =======================================
segment   ``bundle`` (folder or name), ``inputs`` ({modality: path}),           what ``report.json`` holds, and
          ``output`` (a folder that does not exist or is empty),                ``output``
          ``device`` ("auto", "cpu" or "cuda"; may be left out: "auto"),
          ``format``, ``seg_type`` and ``structure_set`` (true or
          false), which may be left out: Slicer's
export    ``bundle``, ``scans`` ({modality: ``ShownScan.to_json()``}),          ``output``
          ``output`` (a folder that does not exist or is empty): DICOM objects;
          ``structure_set`` (true or false), which may be left out
look      ``bundle``, ``inputs`` ({modality: path})                             ``Contents.to_json()``: what they show
register  ``fixed``, ``moving`` (paths of volumes)                              ``RigidRefinement.to_json()``
ping      none                                                                  {}
========  ====================================================================  =======================================

``fraction`` is of the stage, ``overall`` of the whole request (it never falls); ``seconds_left`` is null while there is
nothing to go by. The codes of errors are those of the library (see ``errors``), and the worker's own: ``bad-request``,
``out-of-memory``, ``packages-missing``, ``gpu-fault``, ``internal``. A line that is no request is answered by an error
whose id is empty. Closing stdin ends the worker at once, whatever it is doing.

Commands that others start (``crossmodalseg finetune --events``) write the same events to their stdout, with an empty
id: besides ``progress`` (with ``words``, such as ``"step 3 of 80"``) and the end, sentences as ``{"event": "message",
"id": "", "text": "..."}``. What their ``done`` holds, the command says.
"""

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from CrossModalSegLib.errors import ProtocolError


@dataclass(frozen=True)
class Request:
    """Something to do: ``arguments`` as the table above says; the answers carry the same ``id``."""

    id: str
    action: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Ready:
    """The worker has started: the library's version, and the id of the process that computes."""

    version: str
    pid: int


@dataclass(frozen=True)
class Progress:
    """How far a request is: fractions from 0 to 1, seconds None while they cannot be told; ``words`` say more."""

    id: str
    stage: str
    fraction: float
    overall: float
    seconds_left: float | None = None
    words: str = ""


@dataclass(frozen=True)
class Message:
    """A sentence about what was found, or will be done."""

    id: str
    text: str


@dataclass(frozen=True)
class Done:
    """A request has been carried out."""

    id: str
    result: dict[str, Any]


@dataclass(frozen=True)
class Failed:
    """A request has failed; the fields are those of ``errors.CrossModalSegError``."""

    id: str
    code: str
    message: str
    hint: str


Event = Ready | Progress | Message | Done | Failed

_EVENTS: dict[str, type[Event]] = {
    "ready": Ready,
    "progress": Progress,
    "message": Message,
    "done": Done,
    "error": Failed,
}
_NAMES = {kind: name for name, kind in _EVENTS.items()}
_NUMBER = (int, float)
_TYPES: dict[str, tuple[type, ...]] = {
    "pid": (int,),
    "fraction": _NUMBER,
    "overall": _NUMBER,
    "seconds_left": (*_NUMBER, type(None)),
    "result": (dict,),
    "arguments": (dict,),
}  # all other fields are text


def encode(message: Request | Event) -> bytes:
    """``message`` as one line, with its line end. Raises ProtocolError ``not-encodable`` for what JSON has no word
    for."""
    content = asdict(message)
    if not isinstance(message, Request):
        content = {"event": _NAMES[type(message)], **content}
    try:
        return json.dumps(content, allow_nan=False).encode("ascii") + b"\n"
    except (TypeError, ValueError) as error:
        what = f"{type(message).__name__} {content.get('id', '')} cannot be written as JSON: {error}"
        raise ProtocolError("not-encodable", what, "report it, with the log") from error


def decode_request(line: bytes | str) -> Request:
    """The request in ``line``. Raises ProtocolError ``bad-request``."""
    try:
        return Request(**_checked(_parse(line), Request))
    except ValueError as error:
        raise ProtocolError("bad-request", f"{_shortened(line)} is no request: {error}", _REMEDY) from error


def decode_event(line: bytes | str) -> Event:
    """The event in ``line``. Raises ProtocolError ``bad-event``."""
    try:
        content = _parse(line)
        name = content.pop("event", None)
        if not isinstance(name, str) or name not in _EVENTS:
            raise _Malformed(f"event {name!r} is not known")
        kind = _EVENTS[name]
        return kind(**_checked(content, kind))
    except ValueError as error:
        raise ProtocolError("bad-event", f"{_shortened(line)} is no event: {error}", _REMEDY) from error


class _Malformed(ValueError):
    """What is wrong with a line that is JSON."""


_REMEDY = "check that module and library are of the same version"


def _parse(line: bytes | str) -> dict[str, Any]:
    try:
        content = json.loads(line, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise _Malformed("nested too deeply") from error
    if not isinstance(content, dict):
        raise _Malformed("not an object")
    return content


def _checked(content: dict[str, Any], kind: type[Request | Event]) -> dict[str, Any]:
    """``content``, when it has exactly the fields of ``kind``, each of the right type. Raises _Malformed."""
    names = {one.name for one in fields(kind)}
    if wrong := names ^ set(content):
        raise _Malformed(f"missing or unknown: {', '.join(sorted(wrong))}")
    for name, value in content.items():
        if isinstance(value, bool) or not isinstance(value, _TYPES.get(name, (str,))):
            raise _Malformed(f"{name} is {value!r}")
    return content


def _refuse_constant(name: str) -> None:
    raise _Malformed(f"{name} is no JSON")


def _shortened(line: bytes | str, length: int = 80) -> str:
    text = line.decode("utf-8", "replace") if isinstance(line, bytes) else line
    text = text.strip()
    return repr(text if len(text) <= length else f"{text[:length]}...")
