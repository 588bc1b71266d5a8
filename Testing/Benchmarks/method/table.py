"""The tables of the hippocampus benchmark from all scores in a folder, as Markdown. Second modality simulated.

    python -m Testing.Benchmarks.method.table [--output FOLDER]

A number is the mean over patients, after the mean over seeds, scans and structures of each patient; in brackets the 95
% bootstrap interval over patients: how much other patients would change it, not how much other seeds would. Differences
are between the same patients, seeds and scans, and each seed's is given beside them.
"""

import argparse
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from CrossModalSegLib.atomic import write_atomically
from Testing.Benchmarks.method.rows import ROWS
from Testing.Benchmarks.method.run import OUTPUT

Part = tuple[str, str]  # condition, scan
COLUMNS: Mapping[str, tuple[Part, ...]] = {
    "aligned": (("aligned", "T1w"), ("aligned", "SIM")),
    "displaced": (("displaced", "T1w"), ("displaced", "SIM")),
    "one scan missing": (("T1w alone", "T1w"), ("SIM alone", "SIM")),
}
BY_SCAN: Mapping[str, tuple[Part, ...]] = {
    f"{scan}, {'alone' if condition.endswith('alone') else condition}": ((condition, scan),)
    for condition, scan in (part for parts in COLUMNS.values() for part in parts)
}
METRICS = {"Dice": 0, "NSD": 1}
DRAWS = 10_000
COMPARED = ("9", "u9")  # each with the rows of its own setting
STEPS: Mapping[str, tuple[str, str]] = {  # what a row has and the other has not
    "this network instead of early fusion": ("4", "3"),
    "gates in the skips": ("5", "4"),
    "EMA teacher, bottleneck fusion": ("6", "4"),
    "EMA teacher, gated fusion": ("6", "5"),
    "CSC": ("7", "6"),
    "CAC": ("8", "6"),
    "CAC where CSC is": ("9", "7"),
    "CSC where CAC is": ("9", "8"),
    "copy-paste": ("10", "9"),
    "the labels of all patients": ("11", "9"),
}
Key = tuple[str, int, str]  # row, labelled, variant
Runs = list[dict[str, Any]]
PerPatient = dict[str, float]


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables, and leave them in the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    args = parser.parse_args(argv)
    write_table(args.output)
    print((args.output / "table.md").read_text(encoding="utf-8"))


def write_table(output: Path) -> None:
    """Write OUTPUT/table.md."""
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(output.glob("*/scores.json"))]
    groups: dict[Key, Runs] = {}
    for run in runs:
        groups.setdefault((run["row"], run["labelled"], run["variant"]), []).append(run)
    lines = ["# Hippocampus: T1w real, second modality (SIM) simulated", ""]
    for labelled in sorted({key[1] for key in groups}):
        chosen = {
            key: groups[key]
            for key in sorted(groups, key=_order)
            if key[1] == labelled or ROWS[key[0]].everyone  # with all patients labelled, the number says nothing
        }
        lines += [f"## {labelled} labelled patients", ""]
        for metric in METRICS:
            lines += [*_means(chosen, metric), ""]
        lines += [*_by_scan(chosen), ""]
        lines += [*_steps(chosen), ""]
        for row in COMPARED:
            lines += [*_differences(chosen, row, COLUMNS), "", *_differences(chosen, row, BY_SCAN), ""]
    write_atomically(output / "table.md", "\n".join(lines).encode())


def per_patient(runs: Sequence[dict[str, Any]], parts: Iterable[Part], metric: str) -> PerPatient:
    """Mean of each test patient over seeds, the ``parts`` that the runs have, and structures."""
    values: dict[str, list[float]] = {}
    for run in runs:
        for condition, scan in parts:
            for patient, structures in run["test"][condition].get(scan, {}).items():
                values.setdefault(patient, []).extend(pair[METRICS[metric]] for pair in structures.values())
    return {patient: float(np.nanmean(numbers)) for patient, numbers in values.items()}


def differences(mine: Runs, others: Runs, parts: Iterable[Part]) -> list[float]:
    """Dice of each patient by ``mine`` minus that by ``others``, from the seeds and the ``parts`` that both have."""
    seeds = {run["seed"] for run in mine} & {run["seed"] for run in others}
    both = [[run for run in runs if run["seed"] in seeds] for runs in (mine, others)]
    common = [part for part in parts if all(_has(run, part) for runs in both for run in runs)]
    one, other = (per_patient(runs, common, "Dice") for runs in both)
    return [one[patient] - other[patient] for patient in sorted(one.keys() & other.keys())]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % bootstrap interval of the mean, always with the same draws."""
    array = np.asarray(values)
    draws = np.random.default_rng(0).integers(len(array), size=(DRAWS, len(array)))
    low, high = np.percentile(array[draws].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def _order(key: Key) -> tuple[int, str]:
    return (list(ROWS).index(key[0]), key[2])


def _title(key: Key, runs: Sequence[dict[str, Any]]) -> str:
    variant = f" ({key[2]})" if key[2] else ""
    fusion = _fusion(runs)
    told = ROWS[key[0]].network != "cross-modal" or fusion in runs[0]["title"]
    return f"{key[0]}. {runs[0]['title']}{variant}{'' if told else f', {fusion}'}"


def _cell(values: PerPatient) -> str:
    if not values:
        return "–"
    numbers = list(values.values())
    low, high = interval(numbers)
    return f"{np.mean(numbers):.3f} [{low:.3f}, {high:.3f}]"


def _rows(heading: Sequence[str], chosen: dict[Key, Runs], cells: Callable[[Any], list[str]]) -> list[str]:
    lines = ["| " + " | ".join(heading) + " |", "|---" * len(heading) + "|"]
    return lines + [f"| {' | '.join([_title(key, runs), *cells(runs)])} |" for key, runs in chosen.items()]


def _means(chosen: dict[Key, Runs], metric: str) -> list[str]:
    """Means over both scans; none for rows that know one scan alone."""
    heading = [f"mean {metric}", *COLUMNS, "seeds", "parameters"]

    def cells(runs: Runs) -> list[str]:
        complete = [all(_has(run, part) for run in runs for part in parts) for parts in COLUMNS.values()]
        means = [
            _cell(per_patient(runs, parts, metric) if whole else {})
            for parts, whole in zip(COLUMNS.values(), complete, strict=True)
        ]
        return [*means, str(len(runs)), f"{runs[0]['parameters'] / 1e6:.2f} M"]

    return _rows(heading, chosen, cells)


def _by_scan(chosen: dict[Key, Runs]) -> list[str]:
    """Dice of each scan's own label map."""

    def cells(runs: Runs) -> list[str]:
        found = [per_patient(runs, parts, "Dice") for parts in BY_SCAN.values()]
        return [f"{np.mean(list(values.values())):.3f}" if values else "–" for values in found]

    return _rows(["Dice by scan", *BY_SCAN], chosen, cells)


def _differences(chosen: dict[Key, Runs], row: str, columns: Mapping[str, Sequence[Part]]) -> list[str]:
    """Dice of ``row`` minus that of each other row of its setting, over the scans that both know."""
    own = next((runs for key, runs in chosen.items() if key[0] == row and not key[2]), None)
    others = {
        key: runs for key, runs in chosen.items() if runs is not own and ROWS[key[0]].unpaired == ROWS[row].unpaired
    }
    if own is None or not others:
        return []

    def cells(runs: Runs) -> list[str]:
        return [_signed(own, runs, parts) for parts in columns.values()]

    return _rows([f"Dice of row {row} minus that of", *columns], others, cells)


def _steps(chosen: dict[Key, Runs]) -> list[str]:
    """Dice that each part of the method adds, between rows of the same fusion unless that is what they differ in."""
    by_row = {key[0]: runs for key, runs in chosen.items() if not key[2]}
    lines = []
    for part, (row, before) in STEPS.items():
        if not {row, before} <= by_row.keys():
            continue
        if (row, before) == ("5", "4") or before == "3" or _fusion(by_row[row]) == _fusion(by_row[before]):
            cells = [_signed(by_row[row], by_row[before], parts) for parts in COLUMNS.values()]
            lines.append(f"| {' | '.join([f'{part} ({row} − {before})', *cells])} |")
    if not lines:
        return []
    heading = ["Dice that a part adds", *COLUMNS]
    return ["| " + " | ".join(heading) + " |", "|---" * len(heading) + "|", *lines]


def _fusion(runs: Runs) -> str:
    return runs[0]["configuration"]["network"]["fusion"]


def _signed(mine: Runs, others: Runs, parts: Sequence[Part]) -> str:
    """The mean difference, its interval, and that of each seed where there are several."""
    found = differences(mine, others, parts)
    if not found:
        return "–"
    low, high = interval(found)
    seeds = sorted({run["seed"] for run in mine} & {run["seed"] for run in others})
    alone = [differences([run for run in mine if run["seed"] == seed], others, parts) for seed in seeds]
    each = f" ({', '.join(f'{np.mean(one):+.3f}' for one in alone)})" if len(seeds) > 1 else ""
    return f"{np.mean(found):+.3f} [{low:+.3f}, {high:+.3f}]{each}"


def _has(run: dict[str, Any], part: Part) -> bool:
    condition, scan = part
    return bool(run["test"][condition].get(scan))


if __name__ == "__main__":
    main()
