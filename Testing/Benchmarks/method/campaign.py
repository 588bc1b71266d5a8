"""Run all rows of the hippocampus benchmark that have no scores yet, one after another, and print the table.

    taskset -c 1 python -m Testing.Benchmarks.method.campaign

Each run is a process of its own and saves its progress every few minutes: the same command goes on where it was
stopped. Scores that were measured before are kept in Testing/Benchmarks/method/measured; copied to OUTPUT, they are not
repeated. Rows 4 and 5 come first, because the others use the better of their fusions. Second modality simulated; see
simulate.py.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from CrossModalSegLib.tables import read_table
from CrossModalSegLib.training.config import SemiSupervisedConfig, TrainingConfig
from Testing.Benchmarks.method.rows import ROWS, Run
from Testing.Benchmarks.method.run import REPOSITORY, add_common, changes_of, claim
from Testing.Benchmarks.method.table import write_table

ORDER = ("4", "5", "9", "3", "6", "11", "7", "8", "1", "2", "10", "3b")
FEW_LABELS = ("5", "3", "9", "7")
MORE_LABELS = ("3", "5", "9")  # row 11 is the same with any number
UNPAIRED = ("u9", "u1", "u2")


def main(argv: Sequence[str] | None = None) -> None:
    """Everything that is missing, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labelled", type=int, default=14, help="labelled patients of the main table")
    parser.add_argument("--few-labelled", type=int, default=4, help="labelled patients of the second table")
    parser.add_argument("--more-labelled", type=int, default=28, help="labelled patients of the third table")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--rows", nargs="*", choices=list(ROWS), help="only these rows")
    add_common(parser)
    args = parser.parse_args(argv)
    wanted = [run for run in plan(args) if not args.rows or run.row in args.rows]
    claim(args.output, args.data, args.recipe)
    refuse_other_settings(wanted, args.output)
    for number, run in enumerate(wanted, start=1):
        print(f"== {number} of {len(wanted)}: {run.name}, {ROWS[run.row].title}", flush=True)
        subprocess.run(command(run, args), cwd=REPOSITORY, check=True)
        write_table(args.output)
    print((args.output / "table.md").read_text(encoding="utf-8"))


def plan(args: argparse.Namespace) -> Iterator[Run]:
    """All runs: the main table with each seed, then few labels with each, more with one, the unpaired setting with
    one."""
    wanted = [(row, args.labelled, seed) for row in ORDER for seed in range(args.seeds)]
    wanted += [(row, args.few_labelled, seed) for row in FEW_LABELS for seed in range(args.seeds)]
    wanted += [(row, args.more_labelled, 0) for row in MORE_LABELS] + [(row, args.labelled, 0) for row in UNPAIRED]
    for row, labelled, seed in wanted:
        yield Run(row, labelled, seed, args.iterations, changes=changes_of(args.set))


def command(run: Run, args: argparse.Namespace) -> list[str]:
    """The command line of one run."""
    options = {
        "row": run.row,
        "labelled": run.labelled,
        "seed": run.seed,
        "iterations": run.iterations,
        "data": args.data,
        "output": args.output,
        "recipe": args.recipe,
        "threads": args.threads,
    }
    pairs = [str(part) for name, value in options.items() for part in (f"--{name}", value)]
    return [sys.executable, "-m", "Testing.Benchmarks.method.run", *pairs, "--set", *args.set]


def refuse_other_settings(runs: Sequence[Run], output: Path) -> None:
    """Stop where scores in ``output`` belong to another configuration: they would end in one table."""
    for run in runs:
        path = output / run.name / "scores.json"
        if path.exists():
            before = read_table(TrainingConfig, json.loads(path.read_text(encoding="utf-8"))["configuration"])
            if acting(run, before) != acting(run, run.config(before.network.fusion)):
                iterations = before.training.iterations
                sys.exit(f"{path} has another configuration ({iterations} iterations): give another --output")


def acting(run: Run, config: TrainingConfig) -> TrainingConfig:
    """``config`` without what has no effect on this run: how unlabelled patients are learnt from, where there are
    none."""
    return config if ROWS[run.row].semi is not None else replace(config, semi_supervised=SemiSupervisedConfig())


if __name__ == "__main__":
    main()
