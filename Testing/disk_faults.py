"""Makes the n-th step of a write fail, or ends the process there: every call that changes the disk is one step."""

import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

CHANGING = ("mkdir", "rename", "replace", "unlink", "rmdir", "fsync", "link", "utime")


@contextmanager
def disturbed(what: Callable[[int], None]) -> Iterator[list[str]]:
    """Call ``what`` with the number of each step before it is done; gives the names of the steps so far."""
    steps: list[str] = []

    def counting(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            steps.append(name)
            what(len(steps) - 1)
            return real(*arguments, **options)

        return call

    def opening(file: Any, mode: str = "r", *arguments: Any, real: Callable[..., Any] = io.open, **options: Any) -> Any:
        if set(mode) & set("wxa+"):
            steps.append(f"open {mode}")
            what(len(steps) - 1)
        return real(file, mode, *arguments, **options)

    calls = {name: counting(name, getattr(os, name)) for name in CHANGING}
    with mock.patch.multiple(os, **calls), mock.patch.object(io, "open", opening):
        yield steps


def failing_at(step: int, code: int = errno.ENOSPC, for_good: bool = False) -> Callable[[int], None]:
    """The disk is full, or (``for_good``) cannot be written any more, from ``step`` on."""

    def fail(number: int) -> None:
        if number == step or (for_good and number > step):
            raise OSError(code, os.strerror(code))

    return fail


def run_killed_at(step: int, write: Callable[[], None]) -> bool:
    """Carry out ``write`` in a process of its own that is ended before its step ``step``; whether it came so far."""

    def end(number: int) -> None:
        if number == step:
            os._exit(9)

    child = os.fork()
    if child == 0:
        try:
            with disturbed(end):
                write()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below ``folder``, by its path, hidden ones as well."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
