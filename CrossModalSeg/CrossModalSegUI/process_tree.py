"""Ends processes together with all that they have started."""

import contextlib
import os
import signal
import subprocess


def kill_process_tree(*pids: int) -> None:
    """Kill the processes ``pids``, their process groups where they lead one, and on Windows all their descendants.

    Ids that are no longer in use are skipped, and so are this process and its group.
    """
    for pid in pids:
        if pid > 1 and pid != os.getpid():
            (_kill_on_windows if os.name == "nt" else _kill_group)(pid)


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
