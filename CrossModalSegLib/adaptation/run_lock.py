"""One process at a time carries out a fine-tuning, or scores the cases of a site.

The lock is the operating system's, on a file in the run's folder: it ends with the process that holds it, however that
ends, so nothing that is left behind keeps anybody from going on.
"""

import json
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from CrossModalSegLib.atomic import output_errors, write_atomically
from CrossModalSegLib.errors import DataError, OutputError
from CrossModalSegLib.json_file import read_json
from CrossModalSegLib.site.runs import METRICS_FILE, RUNS

LOCK_FILE = "lock"
RANKING_LOCK = ".ranking.lock"  # in the site's folder
PROCESS_FILE = "process.json"  # who holds the lock, for the message alone; removed at the end


@contextmanager
def only_process(run: Path) -> Iterator[None]:
    """Let no other process carry out the fine-tuning in the folder ``run`` during the block.

    Raises DataError ``run-in-use`` where another one does, and ``run-is-done`` where another one has ended it
    meanwhile; OutputError ``cannot-write``.
    """
    with _held(run):
        if (run / METRICS_FILE).exists():
            raise DataError("run-is-done", f"{run} has just been ended by another process", "look at its report.html")
        write_atomically(run / PROCESS_FILE, json.dumps({"process": os.getpid(), "computer": platform.node()}))
        yield


@contextmanager
def only_ranking(site: Path) -> Iterator[None]:
    """Let no other process score the cases of ``site`` during the block: each keeps what it knows, so one would be
    lost.

    Raises DataError ``ranking-in-use`` where another one does; OutputError ``cannot-write``.
    """
    lock = FileLock(site / RANKING_LOCK, timeout=0)
    with output_errors(site):
        try:
            lock.acquire()
        except Timeout as error:
            what = f"the cases of {site} are being scored by another process"
            raise DataError("ranking-in-use", what, "wait until it has ended") from error
    try:
        yield
    finally:
        lock.release()


def remove_from_idle_runs(site: Path, name: str) -> None:
    """Remove the folder ``name`` from all runs of the site that no process carries out."""
    for folder in (site / RUNS).glob(f"*/{name}"):
        with suppress(DataError, OutputError), _held(folder.parent):  # at work, or somebody else's: it stays
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _held(run: Path) -> Iterator[None]:
    lock = FileLock(run / LOCK_FILE, timeout=0)
    with output_errors(run):
        _acquire(lock, run)
    try:
        yield
    finally:
        (run / PROCESS_FILE).unlink(missing_ok=True)
        lock.release()


def _acquire(lock: BaseFileLock, run: Path) -> None:
    try:
        lock.acquire()
    except Timeout as error:  # itself an OSError
        hint = "wait until it has ended, or end it and go on with --resume"
        raise DataError("run-in-use", f"{run} is being carried out by {_holder(run)}", hint) from error


def _holder(run: Path) -> str:
    """The process and its computer, in words."""
    with suppress(DataError, KeyError):
        facts = read_json(run / PROCESS_FILE, "damaged-file", "delete it")
        return f"process {facts['process']} on {facts['computer']}"
    return "another process"
