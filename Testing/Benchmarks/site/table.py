"""The table of a site experiment, from the rows that are done."""

import json
import statistics
from pathlib import Path

from CrossModalSegLib.atomic import write_atomically


def write_table(output: Path) -> None:
    """Write ``OUTPUT/table.md``: a line per method and number of corrected cases, means over seeds."""
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((output / "rows").glob("*.json"))]
    base = next((row for row in rows if row["method"] == "base"), None)
    lines = [
        "Second modality simulated; mean Dice over patients, both modalities and structures; means over seeds (range).",
        "",
        "| corrected | method | shifted | gain | unshifted | change | seeds |",
        "|---|---|---|---|---|---|---|",
    ]
    for corrected in sorted({row["corrected"] for row in rows}):
        for method in ("base", "supervised", "semi-supervised"):
            chosen = [row for row in rows if (row["corrected"], row["method"]) == (corrected, method)]
            if chosen:
                cells = [
                    _cells([row[kind]["mean"] for row in chosen], base and base[kind]["mean"])
                    for kind in ("shifted", "unshifted")
                ]
                lines.append(f"| {corrected} | {method} | {' | '.join(cells)} | {len(chosen)} |")
    write_atomically(output / "table.md", "\n".join(lines) + "\n")


def _cells(values: list[float], base: float | None) -> str:
    mean = statistics.mean(values)
    spread = f" ({min(values):.3f}–{max(values):.3f})" if len(values) > 1 else ""
    gain = "" if base is None else f"{mean - base:+.3f}"
    return f"{mean:.3f}{spread} | {gain}"
