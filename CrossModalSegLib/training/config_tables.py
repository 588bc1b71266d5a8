"""Nested tables, as TOML and JSON give them, to typed dataclasses; all that is wrong in them is reported at once."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from CrossModalSegLib.contradictions import Contradiction, Problems

Kind = TypeVar("Kind")
REFUSED = object()  # in place of a value that cannot be read


def tables_to(kind: type[Kind], tables: Mapping[str, Any]) -> Kind:
    """An instance of the dataclass ``kind``. Raises one ConfigError that lists all unknown names, wrong types and
    contradictions."""
    problems = Problems()
    config = table_to(kind, tables, "", problems)
    problems.refuse()
    return config


def table_to(kind: type[Kind], table: Any, where: str, problems: Problems) -> Kind:
    """An instance of the dataclass ``kind``; what is wrong is added to ``problems``, with names after ``where``.

    Where something is wrong, it is a draft that has defaults in place of what cannot be read. ``kind`` may have a method
    ``contradictions``: it is asked about the draft as well, but not heard on entries that were reported before.
    """
    before = len(problems.found)
    if not isinstance(table, Mapping):
        problems.add(where.rstrip(".") or "file", f"expected a table, found {table!r}")
        table = {}
    values = _values(kind, table, where, problems)
    draft = _unchecked(kind, values)
    for problem in [one for one in _contradictions(draft) if not _is_known(one, where, problems)]:
        problems.add(f"{where}{problem.place}" if problem.place else where.rstrip("."), problem.text)
    return draft if len(problems.found) > before else kind(**values)


def _values(kind: Any, table: Mapping[str, Any], where: str, problems: Problems) -> dict[str, Any]:
    """A value for every field; None for one without a default that is not given."""
    hints = typing.get_type_hints(kind)
    for name in table:
        if name not in hints:
            problems.add(f"{where}{name}", "unknown name")
    read = {n: _convert(hints[n], value, f"{where}{n}", problems) for n, value in table.items() if n in hints}
    values = {name: value for name, value in read.items() if value is not REFUSED}
    for entry in dataclasses.fields(kind):
        if entry.name in values:
            continue
        if entry.default_factory is not dataclasses.MISSING:
            values[entry.name] = entry.default_factory()
        elif entry.default is not dataclasses.MISSING:
            values[entry.name] = entry.default
        else:
            values[entry.name] = None
            if not problems.touch(f"{where}{entry.name}"):
                problems.add(f"{where}{entry.name}", "missing")
    return values


def _unchecked(kind: type[Kind], values: Mapping[str, Any]) -> Kind:
    """An instance that was not asked whether it contradicts itself, as ``kind(**values)`` would be."""
    draft = object.__new__(kind)
    for name, value in values.items():
        object.__setattr__(draft, name, value)
    return draft


def _contradictions(draft: Any) -> list[Contradiction]:
    return list(draft.contradictions()) if hasattr(draft, "contradictions") else []


def _is_known(problem: Contradiction, where: str, problems: Problems) -> bool:
    return any(problems.touch(f"{where}{entry}") for entry in problem.entries)


def _convert(kind: Any, value: Any, where: str, problems: Problems) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return table_to(typing.cast(type, kind), value, f"{where}.", problems)
    if origin in (tuple, types.GenericAlias) and isinstance(value, list | tuple):
        items = tuple(_convert(arguments[0], item, f"{where}[{n}]", problems) for n, item in enumerate(value))
        return REFUSED if any(item is REFUSED for item in items) else items
    if origin is not None and issubclass(origin, Mapping) and isinstance(value, Mapping):
        keys = {key: _key(arguments[0], key, where, problems) for key in value}
        read = {keys[key]: _convert(arguments[1], item, f"{where}.{key}", problems) for key, item in value.items()}
        return {key: item for key, item in read.items() if key is not REFUSED and item is not REFUSED}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(kind, type) and isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    problems.add(where, f"expected {getattr(kind, '__name__', kind)}, found {value!r}")
    return REFUSED


def _key(kind: type, key: Any, where: str, problems: Problems) -> Any:
    if kind is not int:
        return key
    try:
        return int(key)
    except ValueError:
        problems.add(where, f"expected a whole number as name, found {key!r}")
        return REFUSED
