"""How right the time left is that the worker tells while it segments a pair.

    python -m Testing.Benchmarks.speed.time_left [--pairs phantom 150 phantom] [--bundle brain-mr-pair] [--threads 2]

The pairs are segmented one after the other by one worker that has measured nothing yet. For each: its seconds, the time
told at quarters of them, and the worst error of what is told from the first quarter on, as a share of what was left;
the last two seconds do not count.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import torch

from CrossModalSegLib.protocol import Event, Progress, Request
from CrossModalSegLib.stage_seconds import StagePaces
from CrossModalSegLib.worker_requests import RequestHandler
from Testing.Benchmarks.speed.pairs import PAIRS, write_pair

TOO_LATE_S = 2.0


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", choices=[*PAIRS], nargs="+", default=["phantom", "150", "phantom"])
    parser.add_argument("--bundle", default="brain-mr-pair")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    told: list[tuple[float, Event]] = []
    kept = tempfile.TemporaryDirectory()
    paces = StagePaces(Path(kept.name) / "paces.json")  # nothing is known of this computer
    handler = RequestHandler(lambda event: told.append((time.monotonic(), event)), paces=paces)
    print("| pair | seconds | left: told / true at 25 % | at 50 % | at 75 % | worst error |")
    print("|---|---|---|---|---|---|")
    for number, pair in enumerate(args.pairs):
        with tempfile.TemporaryDirectory() as folder:
            files = {name: str(path) for name, path in write_pair(pair, Path(folder)).files.items()}
            arguments = {
                "bundle": args.bundle,
                "inputs": files,
                "output": str(Path(folder) / "result"),
                "device": "cpu",
            }
            told.clear()
            started = time.monotonic()
            handler.answer(Request(str(number), "segment", arguments))
            print(line(pair, [(at - started, event) for at, event in told]), flush=True)
    kept.cleanup()


def line(pair: str, told: list[tuple[float, Event]]) -> str:
    """A row of the table from events and when they came; the last one ends the run."""
    end = told[-1][0]
    left = [(at, one.seconds_left) for at, one in told if isinstance(one, Progress)]
    cells = []
    for part in (0.25, 0.5, 0.75):
        last = [seconds for at, seconds in left if at <= part * end][-1]
        cells.append(f"{'nothing' if last is None else f'{last:.0f}'} / {(1 - part) * end:.0f}")
    counted = [(at, seconds) for at, seconds in left if 0.25 * end <= at <= end - TOO_LATE_S]
    errors = [1.0 if seconds is None else abs(seconds / (end - at) - 1) for at, seconds in counted]
    return f"| {pair} | {end:.1f} | {' | '.join(cells)} | {max(errors, default=0):.0%} |"


if __name__ == "__main__":
    main()
