"""An archive of small cases under kills: nothing lost, nothing doubled, the same results, and what it costs.

    python -m Testing.Benchmarks.archive.run --folder /tmp/archive --count 2000 --arms plain local slurm full-disk

``plain`` is two processes of ``segment --cases``; the others are compared with it, file by file. ``--kills`` of workers
by SIGKILL, one every few seconds, and once of the command that submits, which is started again. ``full-disk`` needs
root, as it mounts a small disk; ``slurm`` starts a cluster of its own (see ``slurm.py``).
"""

import argparse
import csv
import hashlib
import json
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from Testing.Benchmarks.archive.cases import make_cases
from Testing.Benchmarks.archive.slurm import NoSlurmError, one_node

WORKERS = 2
COMMAND = [sys.executable, "-m", "CrossModalSegLib.cli"]
STARTED = re.compile(r"^\d+/\d+ (\S+)$", re.MULTILINE)


def main() -> None:
    """The command line; see the top of this module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--bad", type=int, default=2, help="cases whose scans are cut off")
    parser.add_argument("--chunk", type=int, default=500)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--seconds-between-kills", type=float, default=20.0)
    parser.add_argument("--arms", nargs="+", default=["plain", "local"])
    args = parser.parse_args()
    table, bundle = args.folder / "cases.csv", args.folder / "tiny"
    if not table.exists():
        make_cases(args.folder, args.count, args.bad)
    options = ["--cases", str(table), "--bundle", str(bundle), "--device", "cpu"]
    for arm in args.arms:
        try:
            measured = ARMS[arm](args, options, args.folder / arm)
        except NoSlurmError as error:
            measured = {"not run": str(error)}
        print(json.dumps({"arm": arm, "cases": args.count} | measured), flush=True)


def plain(args: argparse.Namespace, options: list[str], output: Path) -> dict[str, Any]:
    """Two processes of ``segment --cases``."""
    return _timed(args, output, [[*COMMAND, "segment", *options, "--output", str(output)]] * WORKERS, None)


def local(args: argparse.Namespace, options: list[str], output: Path) -> dict[str, Any]:
    """``archive --engine local``."""
    return _timed(args, output, [_archive(args, options, output, "local")], None)


def slurm(args: argparse.Namespace, options: list[str], output: Path) -> dict[str, Any]:
    """``archive --engine slurm`` on a cluster of one node."""
    with one_node(args.folder / "cluster", WORKERS, 4000) as environment:
        return _timed(args, output, [_archive(args, options, output, "slurm")], environment)


def full_disk(args: argparse.Namespace, options: list[str], output: Path) -> dict[str, Any]:
    """``segment --cases`` on a disk that is full after some cases, and again when there is space."""
    with _small_disk(output, "1m"):
        command = [*COMMAND, "segment", *options, "--output", str(output)]
        first = subprocess.run(command, capture_output=True, text=True, check=False)
        done = len(list(output.glob("*/report.json")))
        subprocess.run(["mount", "-o", "remount,size=2g", str(output)], check=True)
        subprocess.run(command, capture_output=True, check=False)
        said = [line for line in first.stderr.splitlines() if line.startswith("error[cannot-write]")]
        return {"code when full": first.returncode, "done when full": done, "said": said[-1:]} | _compare(args, output)


ARMS = {"plain": plain, "local": local, "slurm": slurm, "full-disk": full_disk}


def _archive(args: argparse.Namespace, options: list[str], output: Path, engine: str) -> list[str]:
    size = ["--chunk", str(args.chunk), "--parallel", str(WORKERS), "--cpus", "1", "--memory", "1.5"]
    return [*COMMAND, "archive", *options, "--output", str(output), "--engine", engine, *size]


def _timed(
    args: argparse.Namespace, output: Path, commands: list[list[str]], environment: dict[str, str] | None
) -> dict[str, Any]:
    """Run the commands at once, killing workers and, where there is one command, once that; start it again then."""
    shutil.rmtree(output, ignore_errors=True)
    log = args.folder / f"{output.name}.log"
    started, kills, next_kill = time.monotonic(), 0, time.monotonic() + args.seconds_between_kills
    cpu_before = _cpu_seconds()
    with log.open("w") as stream:

        def start(command: list[str]) -> "subprocess.Popen[bytes]":
            return subprocess.Popen(command, stdout=stream, stderr=stream, env=environment)

        running = {start(command): command for command in commands}
        while running:
            time.sleep(0.5)
            if kills < args.kills and time.monotonic() > next_kill:
                kills += _kill_one(output, list(running), kills == args.kills // 2)
                next_kill = time.monotonic() + args.seconds_between_kills
            for process in [process for process in running if process.poll() is not None]:
                command = running.pop(process)
                if process.returncode == -signal.SIGKILL:
                    running[start(command)] = command
    seconds = time.monotonic() - started
    cpu = round(_cpu_seconds() - cpu_before, 1)
    measured = {
        "seconds": round(seconds, 1),
        "CPU seconds": cpu,
        "cases per hour": round(3600 * args.count / seconds),
        "kills": kills,
    }
    return measured | _compare(args, output) | _starts(args, output, log)


def _cpu_seconds() -> float:
    """Of all processes that have ended and were waited for, with their children: all of an arm without kills, but for
    jobs of Slurm, which are not ours."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _kill_one(output: Path, commands: "list[subprocess.Popen[bytes]]", is_commands_turn: bool) -> int:
    """Kill a worker, or the command that submits; the number of processes that were killed."""
    jobs = str(output / ".cases" / "jobs")
    workers = [process for process in psutil.process_iter(["cmdline"]) if jobs in (process.info["cmdline"] or [])]
    submits = len(commands) == 1
    if submits and is_commands_turn:
        victims: list[Any] = commands
    elif submits:
        victims = [process for process in workers if "submitit.core._submit" in process.info["cmdline"]]
    else:
        victims = commands
    if not victims:
        return 0
    random.choice(victims).kill()
    return 1


def _compare(args: argparse.Namespace, output: Path) -> dict[str, Any]:
    """What came of each case, and whether its files are those of the arm ``plain``."""
    rows = list(csv.DictReader((output / "results.csv").read_text(encoding="utf-8").splitlines()))
    states = Counter(row["state"] for row in rows)
    reference, others = args.folder / "plain", []
    for row in rows:
        if row["state"] == "done" and _hashes(output / row["case"]) != _hashes(reference / row["case"]):
            others.append(row["case"])
    left = [path.name for path in output.rglob(".*") if ".cases" not in path.parts]
    claims = [path.name for path in (output / ".cases").iterdir() if re.search(r"\.\d+$", path.name)]
    rows_once = len({row["case"] for row in rows}) == len(rows) == args.count
    return {
        **states,
        "one row per case": rows_once,
        "differ from plain": len(others),
        "left behind": len(left + claims),
    }


def _hashes(folder: Path) -> dict[str, str]:
    files = [*folder.glob("*_segmentation.seg.nrrd"), *folder.glob("uncertainty_*")]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _starts(args: argparse.Namespace, output: Path, log: Path) -> dict[str, Any]:
    """How many cases were begun more than once: at most as many as there were kills."""
    logs = [log, *(output / ".cases" / "jobs").glob("*.err")]
    begun = Counter(case for file in logs for case in STARTED.findall(file.read_text(encoding="utf-8")))
    return {"begun again": sum(begun.values()) - len(begun), "never begun": args.count - len(begun)}


@contextmanager
def _small_disk(folder: Path, size: str) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


if __name__ == "__main__":
    main()
