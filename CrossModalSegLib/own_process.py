"""How our own processes compute: pictures without a display, threads that the machine has, and that wait without
spinning. And how they end.

Set in the environment before NumPy, torch, SimpleITK and matplotlib are loaded, which read it then. What the user has
set stands, except for matplotlib's backend: a notebook's, such as ``module://matplotlib_inline.backend_inline``, is
inherited by all that is started from it, and matplotlib refuses to load where it is not installed.
"""

import math
import os
import sys
from collections.abc import Iterator, MutableMapping
from pathlib import Path, PurePosixPath
from typing import NoReturn

THREADS = "OMP_NUM_THREADS"
OTHERS_THREADS = ("MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
# Threads that spin while they wait for each other keep those from computing that they wait for, where others want the
# processor, too.
WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0", "OPENBLAS_THREAD_TIMEOUT": "4"}


def prepare_process(environment: MutableMapping[str, str] | None = None) -> None:
    """Set the environment (default: this process's, and its standard streams) for a process that is all ours."""
    if environment is None:
        _hold_streams()
        environment = os.environ
    environment["MPLBACKEND"] = "agg"
    for name, value in WAITING.items():
        environment.setdefault(name, value)
    threads = environment.setdefault(THREADS, str(processor_count()))
    for name in OTHERS_THREADS:
        environment.setdefault(name, threads.partition(",")[0])  # OpenMP takes a number for each nested level


def end_process(code: int) -> NoReturn:
    """End this process with an exit code.

    One of several that torchrun started ends without Python's own clearing up: gloo, whose threads outlive its process
    group, may still let go of its last tensors, and a thread that needs Python then aborts the process.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def processor_count(root: Path = Path("/")) -> int:
    """How many processors this process may use, by its affinity and by what its control groups allow; at least 1."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([count, *map(math.ceil, _allowances(root))]))


def _hold_streams() -> None:
    """Give this process the standard streams that it was started without (``>&-``, some services): they lead nowhere.

    Else the next file that is opened takes the number of one, and what a library prints goes into it.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            descriptor = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
            os.set_inheritable(descriptor, True)
            setattr(sys, name, open(descriptor, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - as long as the process


def _allowances(root: Path) -> Iterator[float]:
    """Processors that each of this process's control groups allows (Linux: cgroups of version 1 and 2)."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    mounts = root / "sys/fs/cgroup"
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield from _of_version_2(mounts, path)
            yield from _of_version_2(mounts / "unified", path)
        elif "cpu" in controllers.split(","):
            for name in (controllers, "cpu"):
                yield from _of_version_1(mounts / name, path)


def _of_version_2(mount: Path, path: str) -> Iterator[float]:
    for folder in _with_parents(mount, path):
        quota, period = _numbers(folder / "cpu.max", 2)
        if quota > 0 and period > 0:
            yield quota / period


def _of_version_1(mount: Path, path: str) -> Iterator[float]:
    for folder in _with_parents(mount, path):
        (quota,), (period,) = _numbers(folder / "cpu.cfs_quota_us", 1), _numbers(folder / "cpu.cfs_period_us", 1)
        if quota > 0 and period > 0:
            yield quota / period


def _with_parents(mount: Path, path: str) -> Iterator[Path]:
    """The group's folder and those above it; in a container, the mount itself may be the group's."""
    parts = [part for part in PurePosixPath(path).parts if part not in ("/", "..")]
    for length in range(len(parts), -1, -1):
        yield mount.joinpath(*parts[:length])


def _numbers(file: Path, count: int) -> list[float]:
    """The numbers in a file; -1 for what is no number ("max"), or where there is no such file."""
    try:
        words = file.read_text(encoding="utf-8").split()
    except OSError:
        words = []
    numbers = [float(word) if word.isdecimal() else -1.0 for word in words]
    return (numbers + count * [-1.0])[:count]
