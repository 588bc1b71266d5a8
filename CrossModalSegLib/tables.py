"""Configurations: nested tables, as TOML and JSON give them, become frozen dataclasses that pydantic checks entry by
entry.

All that is wrong is in one ConfigError, each problem with its place: unknown names, wrong types, values out of range,
and entries that contradict each other. What follows from an entry that cannot be read is not reported beside it.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, TypeVar, dataclass_transform

import pydantic.dataclasses
from pydantic import AfterValidator, ConfigDict, Strict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from CrossModalSegLib.errors import ConfigError

Kind = TypeVar("Kind")
Problem = tuple[str, str]  # place, such as ``training.batch`` or ``patch[1]``, and what is wrong there
Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict()]  # whole numbers are numbers as well, text and truth values are none
Switch = Annotated[bool, Strict()]

_EXPECTED = {
    "int_type": "int", "int_from_float": "int", "float_type": "float", "string_type": "str", "bool_type": "bool",
    "tuple_type": "tuple", "dict_type": "a table", "mapping_type": "a table", "dataclass_type": "a table",
}  # fmt: skip


def wrong(words: str) -> PydanticCustomError:
    """What a validator raises about its entry."""
    return PydanticCustomError("wrong", "{words}", {"words": words})


def within(words: str, holds: Callable[[float], bool]) -> AfterValidator:
    """Numbers for which ``holds``; ``words`` say which these are."""

    def check(value: float) -> float:
        if not holds(value):
            is_short = isinstance(value, float) and float(f"{value:g}") == value
            raise wrong(f"must be {words}, not {f'{value:g}' if is_short else value}")
        return value

    return AfterValidator(check)


def one_of(known: Collection[str]) -> AfterValidator:
    """One of a few words."""

    def check(value: str) -> str:
        if value not in known:
            raise wrong(f'must be one of {", ".join(known)}, not "{value}"')
        return value

    return AfterValidator(check)


AT_LEAST_0 = within("at least 0", lambda number: 0 <= number < math.inf)
AT_LEAST_1 = within("at least 1", lambda number: 1 <= number < math.inf)
AT_LEAST_2 = within("at least 2", lambda number: 2 <= number < math.inf)
ABOVE_0 = within("above 0", lambda number: 0 < number < math.inf)
FRACTION = within("between 0 and 1", lambda number: 0 <= number <= 1)
UP_TO_64 = within("from 0 to 64", lambda number: 0 <= number <= 64)
FROM_1_TO_1000 = within("from 1 to 1000", lambda number: 1 <= number <= 1000)
FROM_0_TO_1000 = within("from 0 to 1000", lambda number: 0 <= number <= 1000)
FROM_2_TO_64 = within("from 2 to 64", lambda number: 2 <= number <= 64)
BELOW_1 = within("at least 0 and below 1", lambda number: 0 <= number < 1)
PART = within("above 0 and at most 1", lambda number: 0 < number <= 1)


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def table(code: str = "config", hint: str = "correct these entries") -> Callable[[type[Kind]], type[Kind]]:
    """A frozen dataclass that pydantic checks. Made of wrong values it raises ConfigError ``code``.

    Its ``CHECKS``, where it has some, find what is wrong with several entries together: each is given all `Entries`.
    """

    def decorated(kind: type[Kind]) -> type[Kind]:
        made: Any = pydantic.dataclasses.dataclass(frozen=True, config=ConfigDict(extra="forbid"))(kind)
        construct = made.__init__

        @functools.wraps(construct)
        def checked(self: Any, *args: Any, **entries: Any) -> None:
            try:
                construct(self, *args, **entries)
            except ValidationError as error:
                _refuse(_problems(error.errors()), code, hint)
            _refuse(_contradictions(made, Entries(dataclasses.asdict(self))), code, hint)

        made.__init__ = checked
        return made

    return decorated


def read_table(kind: type[Kind], tables: Any) -> Kind:
    """An instance of a `table`. Raises ConfigError ``config`` with all problems."""
    errors: list[ErrorDetails] = []
    try:
        config: Kind = _adapter(kind).validate_python(tables)  # type: ignore[arg-type]
    except ValidationError as error:
        errors = error.errors()
    problems = _problems(errors)
    if isinstance(tables, Mapping) and hasattr(kind, "CHECKS"):
        unread = [_place(one["loc"]) for one in errors if one["type"] != "wrong"]
        problems += _contradictions(kind, Entries(tables, kind(), unread))
    _refuse(problems)
    return config


class Unreadable(Exception):
    """An entry that is missing, or of a wrong type."""


class Entries:
    """The entries of a configuration by their place, such as ``network.channels`` or
    ``synthesis.contrast[0].modality``."""

    def __init__(self, tables: Mapping[str, Any], defaults: Any = None, unread: Collection[str] = ()):
        self._tables, self._defaults, self._unread = tables, defaults, unread

    def __getitem__(self, place: str) -> Any:
        """The entry as it is given, else its default. Raises Unreadable."""
        if any(_lies_in(place, one) or _lies_in(one, place) for one in self._unread):
            raise Unreadable(place)
        return self._given(place)

    def names(self, place: str) -> list[str]:
        """Names of the entries of a table; none where it is no table."""
        value = self._given(place)
        return [str(name) for name in value] if isinstance(value, Mapping) else []

    def count(self, place: str) -> int:
        """How many entries a list has; none where it is no list."""
        value = self._given(place)
        return len(value) if isinstance(value, list | tuple) else 0

    def _given(self, place: str) -> Any:
        value, default = self._tables, self._defaults
        for part in re.findall(r"[^.\[\]]+", place):
            default = getattr(default, part, None)
            if isinstance(value, Mapping):
                value = value.get(part, default)
            else:
                value = value[int(part)] if isinstance(value, list | tuple) else getattr(value, part, default)
        return value


def _contradictions(kind: Any, entries: Entries) -> Iterator[Problem]:
    for check in getattr(kind, "CHECKS", ()):
        with suppress(Unreadable):
            yield from check(entries)


def _refuse(problems: Iterable[Problem], code: str = "config", hint: str = "correct these entries") -> None:
    words = "; ".join(f"{place}: {text}" if place else text for place, text in problems)
    if words:
        raise ConfigError(code, words, hint)


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _problems(errors: Sequence[ErrorDetails]) -> list[Problem]:
    """All that pydantic has found, in our words. A list of which it could take nothing need not be empty."""
    wrong_entries = [_place(one["loc"]) for one in errors if one["type"] != "too_short"]

    def follows(error: ErrorDetails) -> bool:
        return error["type"] == "too_short" and any(_lies_in(one, _place(error["loc"])) for one in wrong_entries)

    return [_problem(one) for one in errors if not follows(one)]


def _problem(error: ErrorDetails) -> Problem:
    """A problem that pydantic has found, in our words."""
    loc, given = error["loc"], error["input"]
    if loc and loc[-1] == "[key]":
        return _place(loc[:-2]), f"expected a whole number as name, found {given!r}"
    if error["type"] in ("unexpected_keyword_argument", "missing"):
        return _place(loc), "missing" if error["type"] == "missing" else "unknown name"
    if error["type"] == "too_short":
        return _place(loc), "give one or more"
    expected = _EXPECTED.get(error["type"])
    return _place(loc) or "file", f"expected {expected}, found {given!r}" if expected else error["msg"]


def _place(loc: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).removeprefix(".")


def _lies_in(inner: str, outer: str) -> bool:
    return inner == outer or inner.startswith((f"{outer}.", f"{outer}["))
