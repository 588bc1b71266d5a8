"""Folders for what lies on disk for a while, such as a patient's scans on their way to the worker.

Each is named after the process that made it, so that what a killed one has left is found, and removed, by the next.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = "crossmodalseg-"


def new_temporary_folder() -> Path:
    """A folder that only this user can read; whoever asks for it removes it. Leftovers of ended processes go first."""
    _remove_leftovers()
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """The same for the length of a block."""
    folder = new_temporary_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_leftovers() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        owner = folder.name.removeprefix(_PREFIX).split("-")[0]
        if owner.isdecimal() and not is_alive(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def is_alive(process_id: int) -> bool:
    """Whether a process with this number runs."""
    if os.name != "posix":  # there, asking would end it
        return True
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's
    return True
