"""What a training reports, and what it leaves to look at: a TensorBoard log and ``curves.png`` in the run folder."""

import math
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from CrossModalSegLib.atomic import output_errors, staged_file
from CrossModalSegLib.training.checkpoint import TrainingState

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

PICTURE = "curves.png"
LOG_FOLDER = "tensorboard"
NAMES = {
    "loss": "total, weighted",
    "supervised": "L_sup",
    "pseudo_label": "L_pseudo",
    "copy_paste": "L_pseudo, copy-paste",
    "csc": "L_CSC",
    "cac": "L_CAC",
}


@dataclass
class StepReport:
    """What is reported after each step; ``dice`` is the latest validation Dice per class, background left out, and
    ``parts`` the parts of the loss by name, before weighting."""

    step: int
    iterations: int
    loss: float
    learning_rate: float
    seconds_left: float
    dice: list[float] = field(default_factory=list)
    parts: dict[str, float] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """``step 3 of 80, loss 0.412, Dice 0.803``."""
        dice = "" if math.isnan(self.mean_dice) else f", Dice {self.mean_dice:.3f}"
        return f"step {self.step} of {self.iterations}, loss {self.loss:.3f}{dice}"

    @property
    def mean_dice(self) -> float:
        """Mean over the classes that occur; NaN before the first validation."""
        known = [value for value in self.dice if not math.isnan(value)]
        return sum(known) / len(known) if known else math.nan


class TrainingLog:
    """Writes into ``folder`` what ``training.train`` tells it. ``structures`` are the classes' names, without
    background.

    ``missing`` says what is left out and what to do about it where TensorBoard is not installed; else it is None.
    """

    def __init__(self, folder: Path, structures: list[str]):
        self.folder, self.structures = folder, structures
        there = find_spec("tensorboard") is not None
        self.missing = None if there else "no TensorBoard log is written (to have one: pip install tensorboard)"
        self._writer: SummaryWriter | None = None
        self._validated = -1

    def step(self, progress: StepReport, validated: int) -> None:
        """After each step; ``validated`` is the number of validations so far."""
        if self.missing:
            return
        if self._writer is None:
            self._writer = self._open(progress.step)
            self._validated = validated if progress.step > 1 else 0  # what was validated before has been written
        self._writer.add_scalar("loss/total", progress.loss, progress.step)
        for name, value in progress.parts.items():
            self._writer.add_scalar(f"loss/{name}", value, progress.step)
        self._writer.add_scalar("learning rate", progress.learning_rate, progress.step)
        if validated > self._validated:
            self._validated = validated
            self._write_dice(self._writer, progress)

    def _open(self, step: int) -> "SummaryWriter":
        """A training that goes on at ``step`` replaces what was written from there on before it was stopped."""
        from torch.utils.tensorboard import SummaryWriter

        with output_errors(self.folder):
            return SummaryWriter(str(self.folder / LOG_FOLDER), purge_step=step)

    def _write_dice(self, writer: "SummaryWriter", progress: StepReport) -> None:
        writer.add_scalar("validation Dice/mean", progress.mean_dice, progress.step)
        for name, value in zip(self.structures, progress.dice, strict=False):
            if not math.isnan(value):  # the structure was not met
                writer.add_scalar(f"validation Dice/{name}", value, progress.step)

    def saved(self, state: TrainingState) -> None:
        """After each checkpoint: the picture shows all up to it."""
        if self._writer is not None:
            self._writer.flush()
        draw_curves(self.folder / PICTURE, state.history, state.curve, self.structures)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()


def draw_curves(path: Path, history: list[dict[str, Any]], curve: list[dict[str, Any]], structures: list[str]) -> None:
    """Write a PNG: mean losses along ``history`` (see ``checkpoint``), and the Dice of each validation in ``curve``."""
    figure = Figure(figsize=(12, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    losses, dice = figure.subplots(1, 2)
    _draw_losses(losses, history)
    _draw_dice(dice, curve, structures)
    with staged_file(path) as staged, output_errors(path):
        figure.savefig(staged, format="png", dpi=100)


def _draw_losses(axes: Axes, history: list[dict[str, Any]]) -> None:
    for name, label in NAMES.items():
        points = [
            (entry["step"], entry["sums"][name] / entry["counts"][name]) for entry in history if name in entry["sums"]
        ]
        if points:
            axes.plot(*zip(*points, strict=True), label=label, linewidth=2 if name == "loss" else 1)
    axes.set(title="Training: parts of the loss before weighting", xlabel="step", ylabel="mean over steps")
    if history:
        axes.legend()


def _draw_dice(axes: Axes, curve: list[dict[str, Any]], structures: list[str]) -> None:
    steps = [entry["step"] for entry in curve]
    for number, name in enumerate(structures if len(structures) <= 10 else []):
        axes.plot(steps, [entry["dice"][number] for entry in curve], label=name, linewidth=1)
    axes.plot(steps, [_mean(entry["dice"]) for entry in curve], "o-", label="mean", linewidth=2, color="black")
    axes.set(title="Validation", xlabel="step", ylabel="Dice", ylim=(0, 1))
    axes.legend()


def _mean(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
