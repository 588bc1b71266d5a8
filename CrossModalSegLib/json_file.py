"""Reading a JSON object from a file, with one clear error where there is none."""

import json
from pathlib import Path
from typing import Any

from CrossModalSegLib.errors import DataError, read_error


def read_json(file: str | Path, code: str, hint: str) -> dict[str, Any]:
    """The JSON object in ``file``. Raises DataError with ``code`` where there is none, ``cannot-read`` without the
    right."""
    try:
        with open(file, "rb") as stream:  # noqa: PTH123 - thousands of small files are read: a Path costs as much again
            content = json.loads(stream.read(), object_pairs_hook=each_name_once)
    except PermissionError as error:
        raise read_error(str(file), error, DataError) from error
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(code, f"{file} cannot be read: {reason}", hint) from error
    if not isinstance(content, dict):
        raise DataError(code, f"{file} holds no JSON object", hint)
    return content


def each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, of which readers would keep the last of two values under one name without a word.

    Raises ValueError.
    """
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} stands twice in one object")
    return content
