"""Train and score one row of the hippocampus benchmark. Second modality simulated; see simulate.py.

    python -m Testing.Benchmarks.method.run --row 9 --labelled 14 --seed 0

Writes OUTPUT/<row>-<labelled>-<seed>/: checkpoint.pt, curves.png and, when it is done, scores.json. The same command
goes on where it was stopped, and does nothing where there are scores. Scored are the final weights, once. OUTPUT
belongs to one set of patients and one simulated contrast (OUTPUT/data.json says which).
"""

import argparse
import ast
import hashlib
import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from CrossModalSegLib.atomic import write_atomically
from CrossModalSegLib.training.checkpoint import read_curve
from CrossModalSegLib.training.config import TrainingConfig
from CrossModalSegLib.training.sources import Samples, SampleSource
from CrossModalSegLib.training.training import Course, Place, train
from CrossModalSegLib.training.training_log import StepReport
from Testing.Benchmarks.method.early_fusion import count
from Testing.Benchmarks.method.fitting import fit, labelled_source, make_network
from Testing.Benchmarks.method.patients import CHANNELS, Patient, Split, fingerprint, split_of
from Testing.Benchmarks.method.rows import ROWS, Row, Run
from Testing.Benchmarks.method.scoring import CONDITIONS, CPU, STRUCTURES, score

REPOSITORY = Path(__file__).resolve().parents[3]
DATA = REPOSITORY.parent / "shared" / "data" / "hippocampus"
OUTPUT = REPOSITORY / "runs" / "method"
VALIDATED = ("aligned", "displaced")


def main(argv: Sequence[str] | None = None) -> None:
    """One row, one number of labelled patients, one seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--row", required=True, choices=list(ROWS))
    parser.add_argument("--labelled", type=int, default=14)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fusion", choices=("bottleneck", "gated"), help="default: the better of rows 4 and 5")
    parser.add_argument("--variant", default="", help="name of what --set changes")
    add_common(parser)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    run = Run(args.row, args.labelled, args.seed, args.iterations, args.variant, changes_of(args.set))
    carry_out(run, args.data, args.output, args.recipe, args.fusion)


def add_common(parser: argparse.ArgumentParser) -> None:
    """Arguments that all commands of the benchmark have."""
    parser.add_argument("--data", type=Path, default=DATA, help="folder with images/ and labels/ of T1w crops")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--recipe", type=int, default=0, help="number of the simulated contrast")
    parser.add_argument("--iterations", type=int, default=1500)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--set", nargs="*", default=[], metavar="TABLE.KEY=VALUE", help="other than in base.toml")


def changes_of(items: Sequence[str]) -> dict[str, Any]:
    """Entries of the configuration by dotted name, from ``--set``."""
    return {name: ast.literal_eval(value) for name, _, value in (item.partition("=") for item in items)}


def carry_out(run: Run, data: Path, output: Path, recipe: int, fusion: str | None = None) -> None:
    """Train, score, write; nothing where scores are there."""
    folder = output / run.name
    claim(output, data, recipe)
    if (folder / "scores.json").exists():
        print(f"{run.name}: done before")
        return
    row, split = ROWS[run.row], split_of(data, output / f"scans-{recipe}")
    if run.labelled >= len(split.training):
        sys.exit(f"{run.labelled} labelled patients: only {len(split.training)} train, and some must be without labels")
    for patient in (*split.training, *split.validation, *split.test):
        patient.simulate(recipe)
    config = run.config(fusion or best_fusion(output, run.labelled))
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(run.seed)
    network: Any = make_network(row, config, len(CHANNELS))
    seconds = train_row(run, row, split, config, network, folder)
    scores = {
        "test": {c: score(network, split.test, c, row.scans, config.patch) for c in CONDITIONS},
        "validation": {c: score(network, split.validation, c, row.scans, config.patch) for c in VALIDATED},
    }
    facts = {
        "row": run.row,
        "title": row.title,
        "labelled": run.labelled,
        "seed": run.seed,
        "variant": run.variant,
        "second modality": f"simulated, recipe {recipe}",
        "parameters": count(network),
        "seconds of training since it was last started": round(seconds),
        "configuration": asdict(config),
        "curve": read_curve(folder),
    }
    write_atomically(folder / "scores.json", json.dumps({**facts, **scores}).encode())
    print(f"{run.name}: test, aligned, mean Dice {mean_dice(scores['test']['aligned']):.3f}")


def claim(output: Path, data: Path, recipe: int) -> None:
    """Note whose scans are trained on in ``output``; leaves the program where they are others than before."""
    now = {"patients": fingerprint(data), "second modality": f"simulated, recipe {recipe}"}
    note = output / "data.json"
    if not note.exists():
        output.mkdir(parents=True, exist_ok=True)
        write_atomically(note, json.dumps(now))
    before = json.loads(note.read_text(encoding="utf-8"))
    if before != now:
        sys.exit(f"{output} holds results of other data ({before}, not {now}): give another --output")


def train_row(run: Run, row: Row, split: Split, config: TrainingConfig, network: Any, folder: Path) -> float:
    """Train ``network`` and leave the averaged weights in it; returns the seconds that it took."""
    labelled = len(split.training) if row.everyone else run.labelled
    known = [patient.case(slots, True, config.spacing) for patient, slots in chosen(split.training[:labelled], row)]
    source = labelled_source(row, known, config)
    unlabelled = None
    if row.semi is not None:
        rest = chosen(split.training[labelled:], row)
        unlabelled = [patient.case(slots, False, config.spacing) for patient, slots in rest]
    seen = [patient.case(row.scans, True, config.spacing) for patient in split.validation]
    validation = labelled_source(row, seen, config)
    started = time.monotonic()
    if row.begins_alike and not (folder / "checkpoint.pt").exists():
        begin(run, config, source, validation, network, folder)
    fit(config, STRUCTURES, source, unlabelled, validation, network, folder, tell(run.name))
    return time.monotonic() - started


def begin(
    run: Run, config: TrainingConfig, training: SampleSource, validation: SampleSource, network: Any, folder: Path
) -> None:
    """Give the run the checkpoint with which its semi-supervised part starts. Runs that differ in nothing else have it
    in common, bit by bit, so it is trained once (and it is where a supervised run stands at that step)."""
    beginning = folder.parent / beginning_of(run, config)
    beginning.mkdir(exist_ok=True)
    steps = math.ceil(config.semi_supervised.start * config.training.iterations)
    if steps > 0:
        samples, course = Samples(training, validation=validation), Course(network, until=steps)
        train(config, len(CHANNELS), samples, Place(beginning, CPU), tell(run.name), course)
        write_atomically(folder / "checkpoint.pt", (beginning / "checkpoint.pt").read_bytes())


def beginning_of(run: Run, config: TrainingConfig) -> str:
    """Name of the folder of what this run has in common with those that differ in the unlabelled losses alone."""
    tables = asdict(config)
    tables["semi_supervised"] = {"start": config.semi_supervised.start}
    alike = hashlib.sha256(json.dumps(tables, sort_keys=True).encode()).hexdigest()[:8]
    return f"beginning-{config.network.fusion}-{run.labelled}-{run.seed}-{alike}"


def chosen(patients: Sequence[Patient], row: Row) -> list[tuple[Patient, tuple[int, ...]]]:
    """Patients and the scans that each has in training; in the unpaired setting the first or the second, in turn."""
    if not row.unpaired:
        return [(patient, row.scans) for patient in patients]
    own = [(patient, (number % 2,)) for number, patient in enumerate(patients)]
    return [(patient, slots) for patient, slots in own if slots[0] in row.scans]


def best_fusion(output: Path, labelled: int) -> str:
    """The fusion of the better of rows 4 and 5 on the validation patients, by the seeds that both were run with; with
    ``labelled`` patients, else with any number."""
    means = {fusion: validation_means(output, row) for row, fusion in (("4", "bottleneck"), ("5", "gated"))}
    common = means["bottleneck"].keys() & means["gated"].keys()
    chosen = {key for key in common if key[0] == labelled} or common
    if not chosen:
        return "gated"  # the rows that need it come after 4 and 5
    return max(means, key=lambda fusion: sum(means[fusion][key] for key in chosen))


def validation_means(output: Path, row: str) -> dict[tuple[int, int], float]:
    """Mean validation Dice of a row by number of labelled patients and seed."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(output.glob(f"{row}-*/scores.json"))]
    return {
        (one["labelled"], one["seed"]): mean_dice(one["validation"]["aligned"], one["validation"]["displaced"])
        for one in found
        if not one["variant"]
    }


def mean_dice(*scores: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]) -> float:
    """Mean Dice over conditions, scans, patients and structures."""
    values = [
        pair[0]
        for condition in scores
        for scan in condition.values()
        for patient in scan.values()
        for pair in patient.values()
    ]
    return sum(values) / len(values) if values else float("nan")


def tell(name: str) -> Any:
    """A line on stdout every hundred steps."""

    def report(progress: StepReport) -> None:
        if progress.step % 100 == 0 or progress.step == progress.iterations:
            left = time.strftime("%H:%M:%S", time.gmtime(progress.seconds_left))
            parts = ", ".join(f"{name} {value:.3f}" for name, value in progress.parts.items())
            print(f"{name}: {progress.step}/{progress.iterations}, {parts}, {left} left", flush=True)

    return report


if __name__ == "__main__":
    main()
