"""Fuzzing for as long as one likes: ``python -m Testing.fuzz --seconds 3600``.

Each batch of examples runs in a process of its own, so that a crash of a C library is a finding too, not the end. What
was found is printed with the number that makes it again: ``python -m Testing.fuzz --target bundle --from 313 --batch
1``. Exit code 1 where anything was found.
"""

import argparse
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from Testing.fuzz_targets import Target, targets


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m Testing.fuzz", description="Damaged input for whatever reads any.")
    parser.add_argument("--seconds", type=float, default=60.0, help="for all targets together (default 60)")
    parser.add_argument("--target", action="append", help="one of them; default: all")
    parser.add_argument("--from", type=int, default=0, dest="start", metavar="NUMBER", help="of the first example")
    parser.add_argument("--batch", type=int, default=200, help="examples per process (default 200)")
    args = parser.parse_args(argv)
    warnings.simplefilter("ignore")
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        chosen = {name: target for name, target in targets(Path(folder)).items() if name in (args.target or [name])}
        counts, found = run(chosen, time.monotonic() + args.seconds, args.start, args.batch)
    for name, count in counts.items():
        print(f"{name}: {count} examples")
    print("\n".join(f"{what}: {times} times, such as {name} {number}" for what, (times, name, number) in found.items()))
    print(f"{len(found)} different findings in {sum(counts.values())} examples")
    return int(bool(found))


def run(
    chosen: dict[str, Target], end: float, start: int, batch: int
) -> tuple[Counter[str], dict[str, tuple[int, str, int]]]:
    """Batch after batch of each target until ``end``, at least one; how many examples, and what was found how often."""
    counts: Counter[str] = Counter()
    found: dict[str, tuple[int, str, int]] = {}
    while True:
        for name, target in chosen.items():
            numbers = range(start + counts[name], start + counts[name] + batch)
            for number, what in in_own_process(target, numbers):
                times, first_name, first = found.get(what, (0, name, number))
                found[what] = (times + 1, first_name, first)
            counts[name] += batch
        if batch == 1 or time.monotonic() > end:
            return counts, found


def in_own_process(target: Target, numbers: Sequence[int]) -> list[tuple[int, str]]:
    """(number, what happened) of the examples that are findings."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        nothing = os.open(os.devnull, os.O_WRONLY)  # C libraries complain about each damaged file
        os.dup2(nothing, 2)
        with os.fdopen(writing, "w") as report:
            for number in numbers:
                report.write(f"{number}\t{one(target, number)}\n")
                report.flush()
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as report:
        lines = [line.rstrip("\n").partition("\t") for line in report]
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    findings = [(int(number), what) for number, _, what in lines if what]
    if code != 0:
        crashed = numbers[len(lines)]
        findings.append((crashed, f"the process ended with {code}"))
        findings += in_own_process(target, numbers[len(lines) + 1 :]) if len(lines) + 1 < len(numbers) else []
    return findings


def one(target: Target, number: int) -> str:
    """What is wrong with one example, in a line; "" where nothing is."""
    try:
        target(number)
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if "CrossModalSegLib" in frame.filename] or frames
        return (
            f"{type(error).__name__} in {Path(ours[-1].filename).name}:{ours[-1].lineno} "
            f"({' '.join(str(error).split())[:80]})"
        )
    return ""


if __name__ == "__main__":
    sys.exit(main())
