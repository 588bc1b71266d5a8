"""The tables of the site experiments, as Markdown, from the rows that are done. Second modality of new-scanner
simulated.

    python -m Testing.Benchmarks.site.table [--output FOLDER]

FOLDER has the folders of the experiments: new-scanner (with few-cases), starter, new-structure. A gain is the mean over
patients of the difference from the base, in brackets its 95 % bootstrap interval over patients: how much other patients
would change it, not how much other seeds or corrected cases would.
"""

import argparse
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from Testing.Benchmarks.method.run import REPOSITORY
from Testing.Benchmarks.method.table import interval
from Testing.Benchmarks.site.files import mean_dice

OUTPUT = REPOSITORY / "runs" / "site"
FIRST = Path(__file__).parent / "measured" / "oasis-t1" / "base-0.1.0.json"  # Dice by adult and structure
KINDS = ("shifted", "unshifted")
METHODS = ("supervised", "semi-supervised")
Row = Mapping[str, Any]
PerPatient = dict[str, float]


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables of all experiments that have rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    print("\n".join(all_lines(parser.parse_args(argv).output)))


def all_lines(output: Path) -> list[str]:
    """All tables, one after another."""
    scanner, starter, structure = (output / name for name in ("new-scanner", "starter", "new-structure"))
    protocols = [line for folder in sorted((output / "oasis-t1").glob("*")) for line in protocol_lines(folder)]
    lines = [*few_cases_lines(scanner), *scanner_lines(scanner), *starter_lines(starter), *structure_lines(structure)]
    return [*lines, *protocols]


def few_cases_lines(folder: Path) -> list[str]:
    """Base, the command's candidate, and supervised fine-tuning."""
    lines: list[str] = []
    if not (folder / "rows" / "base.json").exists():
        return lines
    base = _read(folder / "rows" / "base.json")
    for path in sorted((folder / "few-cases").glob("[0-9]*.json")):
        corrected, unlabelled, budget = path.stem.split("-")
        product = _read(path)
        title = f"{corrected} corrected, {unlabelled} without labels, {budget} minutes"
        lines += [_heading(title, *_columns()), _row("base", *(f"{_mean(base, kind):.3f} | " for kind in KINDS))]
        rows = {"`crossmodalseg finetune`": product}
        supervised = path.with_name(f"supervised-{corrected}-0.json")
        if supervised.exists():
            rows["supervised fine-tuning, as many steps"] = _read(supervised)
        lines += [_row(name, *(_gain([row], base, kind) for kind in KINDS)) for name, row in rows.items()]
        if supervised.exists():
            lines += ["", _heading(f"{title}: semi-supervised minus supervised", *KINDS)]
            lines.append(_row("Dice", *(_difference([product], [_read(supervised)], kind) for kind in KINDS)))
        lines += ["", f"{product['decision']}: {'; '.join(product['reasons'])}"]
        lines += [f"{product['seconds']} s, {product['steps']} steps, share {product['share']:g}", ""]
    return lines


def scanner_lines(folder: Path) -> list[str]:
    """Base and both kinds of fine-tuning by the number of corrected cases, then one minus the other."""
    rows = [_read(path) for path in sorted((folder / "rows").glob("*.json"))]
    base = next((row for row in rows if row["method"] == "base"), None)
    if base is None or len(rows) == 1:
        return []
    groups: dict[int, dict[str, list[Row]]] = {}
    for row in rows:
        groups.setdefault(row["corrected"], {}).setdefault(row["method"], []).append(row)
    lines = [_heading("corrected", "method", *_columns(), "seeds")]
    lines.append(_row("0", "base", *(f"{_mean(base, kind):.3f} | " for kind in KINDS), ""))
    compared = []
    for corrected in sorted(groups.keys() - {0}):
        found = groups[corrected]
        for method in METHODS:
            if method in found:
                cells = (_gain(found[method], base, kind) for kind in KINDS)
                lines.append(_row(str(corrected), method, *cells, str(len(found[method]))))
        if found.keys() >= set(METHODS):
            cells = (_difference(found["semi-supervised"], found["supervised"], kind) for kind in KINDS)
            compared.append(_row(str(corrected), *cells))
    if compared:
        lines += ["", _heading("corrected: semi-supervised minus supervised", *KINDS), *compared]
    return [*lines, ""]


def starter_lines(folder: Path) -> list[str]:
    """A line per patient who was scored."""
    if not (folder / "row.json").exists():
        return []
    row = _read(folder / "row.json")
    one, other = (_by_patient(row[name]) for name in ("base", "candidate"))
    lines = [_heading("held-out patient", "starter bundle", "adapted", "gain")]
    for name, before, after in [
        *((name, one[name], other[name]) for name in one),
        ("mean", statistics.mean(one.values()), statistics.mean(other.values())),
    ]:
        lines.append(_row(name, f"{before:.3f}", f"{after:.3f}", f"{after - before:+.3f}"))
    metrics = row["metrics"]
    verdict = metrics["verdict"]
    lines += ["", f"{verdict['decision']}: {'; '.join(verdict['reasons'])}"]
    return [*lines, f"{metrics['seconds']} s, share {metrics['share']:g}", ""]


def protocol_lines(folder: Path) -> list[str]:
    """A line per method: the mean over the adults who were judged, and what it gains over the base."""
    rows: dict[str, dict[str, Row]] = {}
    for path in sorted((folder / "rows").glob("*.json")):
        row = _read(path)
        rows.setdefault(row["method"], {})[row["judged"]] = row
    base = rows.pop("base", {})
    if not rows:
        return []
    first = _read(FIRST) if FIRST.exists() else {}
    lines = [_heading("method", "adults judged", "base", "Dice", "gain", "gain from 0.1.0", "decisions")]
    for method, found in rows.items():
        before, after = ([statistics.fmean(of[name]["dice"].values()) for name in found] for of in (base, found))
        gain = statistics.fmean(after) - statistics.fmean(before)
        decisions = ", ".join(row["decision"] for row in found.values() if "decision" in row)
        numbers = (f"{statistics.fmean(before):.3f}", f"{statistics.fmean(after):.3f}", f"{gain:+.3f}")
        from_first = [statistics.fmean(first[name].values()) for name in found if name in first]
        since = (
            f"{statistics.fmean(after) - statistics.fmean(from_first):+.3f}" if len(from_first) == len(found) else "–"
        )
        lines.append(_row(method, ", ".join(found), *numbers, since, decisions))
    return [*lines, ""]


def structure_lines(folder: Path) -> list[str]:
    """A line per patient left out."""
    rows = {path.parent.name: _read(path) for path in sorted(folder.glob("*/row.json"))}
    if not rows:
        return []
    lines = [_heading("patient left out", "whole tumour, Dice", "brain structures, Dice with the parent's", "verdict")]
    for name, row in rows.items():
        numbers = (f"{row[key]:.3f}" for key in ("whole tumour", "brain structures"))
        lines.append(_row(name, *numbers, row["verdict"]))
    return [*lines, ""]


def _columns() -> list[str]:
    return [column for kind, change in zip(KINDS, ("gain", "change"), strict=True) for column in (kind, change)]


def _heading(*names: str) -> str:
    return f"{_row(*names)}\n{'|---' * len(names)}|"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _read(path: Path) -> Row:
    return json.loads(path.read_text(encoding="utf-8"))


def _by_patient(scores: Mapping[str, Any]) -> PerPatient:
    return {patient: mean_dice({patient: found}) for patient, found in scores.items()}


def _mean(row: Row, kind: str) -> float:
    return row[kind]["mean"]


def _gain(rows: Sequence[Row], base: Row, kind: str) -> str:
    """Two cells: the mean over seeds, with their range, and what it is more than the base's."""
    means = [_mean(row, kind) for row in rows]
    spread = f" ({min(means):.3f}–{max(means):.3f})" if len(means) > 1 else ""
    return f"{statistics.mean(means):.3f}{spread} | {_difference(rows, [base], kind)}"


def _difference(rows: Sequence[Row], others: Sequence[Row], kind: str) -> str:
    """By patient, of the means over seeds."""
    one, other = (_over_seeds(row[kind]["patients"] for row in chosen) for chosen in (rows, others))
    found = [one[patient] - other[patient] for patient in sorted(one.keys() & other.keys())]
    low, high = interval(found)
    return f"{statistics.mean(found):+.3f} [{low:+.3f}, {high:+.3f}]"


def _over_seeds(rows: Iterable[PerPatient]) -> PerPatient:
    values: dict[str, list[float]] = {}
    for row in rows:
        for patient, dice in row.items():
            values.setdefault(patient, []).append(dice)
    return {patient: statistics.mean(found) for patient, found in values.items()}


if __name__ == "__main__":
    main()
