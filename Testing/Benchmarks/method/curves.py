"""Validation Dice over the iterations, one line per row of the table that is asked for. Second modality simulated.

    python -m Testing.Benchmarks.method.curves --picture docs/method-curves.png

Of runs that are done. The validation samples are patches with random displacements and missing scans, so the level is
not that of the tables, and early fusion, whose one label map is compared with the first scan's labels, is another
matter. Nothing was chosen by them.
"""

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np

from Testing.Benchmarks.method.rows import ROWS
from Testing.Benchmarks.method.run import OUTPUT

Curve = tuple[np.ndarray, np.ndarray]  # steps, mean Dice
SHOWN = ("4", "5", "6", "9", "11")


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder of the runs")
    parser.add_argument("--labelled", type=int, default=14)
    parser.add_argument("--rows", nargs="*", choices=list(ROWS), default=SHOWN)
    parser.add_argument("--picture", type=Path, required=True)
    args = parser.parse_args(argv)
    runs = {row: args.output.glob(f"{row}-{args.labelled}-[0-9]/scores.json") for row in args.rows}
    found = {row: mean_curve(paths) for row, paths in runs.items()}
    draw({row: curve for row, curve in found.items() if curve is not None}, args.picture)


def mean_curve(scores: Iterable[Path]) -> Curve | None:
    """Mean over the seeds, at the steps that all have reached; None where there is no run."""
    curves = [json.loads(path.read_text(encoding="utf-8"))["curve"] for path in sorted(scores)]
    length = min((len(curve) for curve in curves), default=0)
    if length == 0:
        return None
    steps = np.array([point["step"] for point in curves[0][:length]])
    return steps, np.mean([[np.nanmean(point["dice"]) for point in curve[:length]] for curve in curves], axis=0)


def draw(curves: Mapping[str, Curve], picture: Path) -> None:
    """One line per row."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5), dpi=120, layout="constrained")
    for row, (steps, dice) in curves.items():
        axes.plot(steps, dice, marker=".", label=f"{row}. {ROWS[row].title}")
    axes.set(xlabel="iteration", ylabel="mean Dice, validation patches", title="T1w real, second modality simulated")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, loc="lower right")
    figure.savefig(picture)
    plt.close(figure)


if __name__ == "__main__":
    main()
