"""The tables of the hippocampus benchmark from all scores in a folder, as Markdown. Second modality simulated.

    python -m Testing.Benchmarks.method.table [--output FOLDER]

A number is the mean over patients, after the mean over seeds, scans and structures of each patient; in brackets the
95 % bootstrap interval over patients. Differences are between the same patients.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from CrossModalSegLib.atomic import write_atomically
from Testing.Benchmarks.method.rows import ROWS
from Testing.Benchmarks.method.run import OUTPUT

COLUMNS = {
    "aligned": ("aligned",),
    "displaced": ("displaced",),
    "one scan missing": ("T1w alone", "SIM alone"),
}
METRICS = {"Dice": 0, "NSD": 1}
DRAWS = 10_000
COMPARED = "9"
Key = tuple[str, int, str]  # row, labelled, variant
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
    groups: dict[Key, list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault((run["row"], run["labelled"], run["variant"]), []).append(run)
    lines = ["# Hippocampus: T1w real, second modality (SIM) simulated", ""]
    for labelled in sorted({key[1] for key in groups}):
        chosen = {key: groups[key] for key in sorted(groups, key=_order) if key[1] == labelled}
        lines += [f"## {labelled} labelled patients", ""]
        for metric in METRICS:
            lines += [*_means(chosen, metric), ""]
        lines += [*_by_scan(chosen), "", *_differences(chosen), ""]
    write_atomically(output / "table.md", "\n".join(lines).encode())


def per_patient(
    runs: Sequence[dict[str, Any]], conditions: Sequence[str], metric: str, scan: str | None = None
) -> PerPatient:
    """Mean of each test patient over seeds, conditions, scans (or of one ``scan``) and structures."""
    values: dict[str, list[float]] = {}
    for run in runs:
        for condition in conditions:
            for name, patients in run["test"][condition].items():
                if scan in (None, name):
                    for patient, structures in patients.items():
                        values.setdefault(patient, []).extend(pair[METRICS[metric]] for pair in structures.values())
    return {patient: float(np.nanmean(numbers)) for patient, numbers in values.items()}


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
    fusion = f", {runs[0]['configuration']['network']['fusion']}" if ROWS[key[0]].network == "cross-modal" else ""
    return f"{key[0]}. {runs[0]['title']}{variant}{fusion}"


def _cell(values: PerPatient) -> str:
    if not values:
        return "–"
    numbers = list(values.values())
    low, high = interval(numbers)
    return f"{np.mean(numbers):.3f} [{low:.3f}, {high:.3f}]"


def _rows(
    heading: Sequence[str], chosen: dict[Key, list[dict[str, Any]]], cells: Callable[[Any], list[str]]
) -> list[str]:
    lines = ["| " + " | ".join(heading) + " |", "|---" * len(heading) + "|"]
    return lines + [f"| {' | '.join([_title(key, runs), *cells(runs)])} |" for key, runs in chosen.items()]


def _means(chosen: dict[Key, list[dict[str, Any]]], metric: str) -> list[str]:
    heading = [f"mean {metric}", *COLUMNS, "seeds", "parameters"]

    def cells(runs: list[dict[str, Any]]) -> list[str]:
        means = [_cell(per_patient(runs, conditions, metric)) for conditions in COLUMNS.values()]
        return [*means, str(len(runs)), f"{runs[0]['parameters'] / 1e6:.2f} M"]

    return _rows(heading, chosen, cells)


def _by_scan(chosen: dict[Key, list[dict[str, Any]]]) -> list[str]:
    """Dice of each scan's own label map."""
    parts = [(condition, scan) for condition in ("aligned", "displaced") for scan in ("T1w", "SIM")]
    parts += [("T1w alone", "T1w"), ("SIM alone", "SIM")]

    def cells(runs: list[dict[str, Any]]) -> list[str]:
        found = [per_patient(runs, (condition,), "Dice", scan) for condition, scan in parts]
        return [f"{np.mean(list(values.values())):.3f}" if values else "–" for values in found]

    return _rows(["Dice by scan", *(f"{scan}, {condition}" for condition, scan in parts)], chosen, cells)


def _differences(chosen: dict[Key, list[dict[str, Any]]]) -> list[str]:
    """Dice of the full method minus that of each other row, patient by patient."""
    full = next((runs for key, runs in chosen.items() if key[0] == COMPARED and not key[2]), None)
    if full is None:
        return []

    def cells(runs: list[dict[str, Any]]) -> list[str]:
        result = []
        for conditions in COLUMNS.values():
            mine, other = per_patient(full, conditions, "Dice"), per_patient(runs, conditions, "Dice")
            both = sorted(mine.keys() & other.keys())
            result.append(_signed([mine[patient] - other[patient] for patient in both]))
        return result

    others = {key: runs for key, runs in chosen.items() if runs is not full}
    return _rows([f"Dice of row {COMPARED} minus that of", *COLUMNS], others, cells)


def _signed(differences: Sequence[float]) -> str:
    if not differences:
        return "–"
    low, high = interval(differences)
    return f"{np.mean(differences):+.3f} [{low:+.3f}, {high:+.3f}]"


if __name__ == "__main__":
    main()
