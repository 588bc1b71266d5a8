"""Ends processes together with all that they have started."""

import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

_PROCESSES = Path("/proc")  # where the system has it
_WINDOWS_MAY_SYNCHRONIZE = 0x00100000
_WINDOWS_STILL_WAITING = 0x00000102


def kill_process_tree(*pids: int) -> None:
    """Kill the processes ``pids``, their process groups where they lead one, and on Windows all their descendants.

    Ids that are no longer in use are skipped, and so are this process and its group.
    """
    for pid in pids:
        if pid > 1 and pid != os.getpid():
            (_kill_on_windows if os.name == "nt" else _kill_group)(pid)


def is_alive(pid: int) -> bool:
    """Whether the process ``pid`` is there and has not ended; it need not be a child of this one."""
    if os.name == "nt":
        return _is_alive_on_windows(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    # one that has ended stays in the table until its parent looks
    return not _PROCESSES.is_dir() or any(one == pid for one, _group in _living())


def is_group_alive(pid: int) -> bool:
    """Whether any process of the group that ``pid`` leads, or led, has not ended; on Windows, whether ``pid`` has
    not."""
    if os.name == "nt":
        return is_alive(pid)
    try:
        os.killpg(pid, 0)
    except (ProcessLookupError, PermissionError):  # none, or nobody's that this one has started
        return False
    return not _PROCESSES.is_dir() or any(group == pid for _one, group in _living())


def _living() -> Iterator[tuple[int, int]]:
    """(id, process group) of the processes that have not ended."""
    for folder in _PROCESSES.glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just gone
            state, _parent, group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            if state not in "ZX":
                yield int(folder.name), int(group)


def _is_alive_on_windows(pid: int) -> bool:
    system = getattr(ctypes, "windll").kernel32  # noqa: B009 - typed for Windows alone
    handle = system.OpenProcess(_WINDOWS_MAY_SYNCHRONIZE, False, pid)
    if not handle:
        return False
    try:
        return bool(system.WaitForSingleObject(handle, 0) == _WINDOWS_STILL_WAITING)
    finally:
        system.CloseHandle(handle)


def _kill_group(pid: int) -> None:
    if pid != os.getpgrp():
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it leads no group
            os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _kill_on_windows(pid: int) -> None:
    no_window = getattr(subprocess, "CREATE_NO_WINDOW", 0)
    command = ["taskkill", "/T", "/F", "/PID", str(pid)]
    subprocess.run(command, capture_output=True, check=False, creationflags=no_window)
