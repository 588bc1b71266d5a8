"""Stopping a training when its validation no longer improves.

What is decided follows from the validation curve alone, so that a training which was stopped and resumed decides alike.
The weights that count are those at the end, not those of the best validation: of ten validations the best one is a
little lucky, and a model that was chosen by it could not be judged on the same cases.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

Curve = Sequence[Mapping[str, Any]]
LEAST_LOST = 0.005  # mean Dice at the end of trainings that overfit


def mean_dice(entry: Mapping[str, Any]) -> float:
    """Mean Dice of one validation over the structures that occur; -inf where none does."""
    known = [value for value in entry["dice"] if not math.isnan(value)]
    return sum(known) / len(known) if known else -math.inf


def best_of(curve: Curve) -> int:
    """Position of the best validation in the curve, the earliest of equals; -1 where there is none."""
    return max(range(len(curve)), key=lambda n: mean_dice(curve[n])) if curve else -1


def best_step(curves: Sequence[Curve]) -> int | None:
    """The step after which several trainings of one length only overfit; None where they do not.

    They do where their mean Dice was better before the end than at it, and the 90 % interval of that difference over
    the trainings (Student's t) lies above 0: one alone, or one that was lucky, tells nothing.
    """
    if len(curves) < 2 or len({tuple(entry["step"] for entry in curve) for curve in curves}) > 1:
        return None
    dice = np.array([[mean_dice(entry) for entry in curve] for curve in curves])  # (trainings, validations)
    if not np.isfinite(dice).all():
        return None
    best = int(dice.mean(axis=0).argmax())
    lost = dice[:, best] - dice[:, -1]
    half = float(stats.t.ppf(0.95, len(lost) - 1) * lost.std(ddof=1)) / math.sqrt(len(lost))
    return int(curves[0][best]["step"]) if lost.mean() > max(half, LEAST_LOST) else None


class EarlyStop:
    """Stops after ``patience`` validations without a better one."""

    def __init__(self, patience: int):
        self.patience = patience

    def ends(self, curve: Curve) -> bool:
        """Whether the training is over."""
        return bool(curve) and len(curve) - 1 - best_of(curve) >= self.patience
