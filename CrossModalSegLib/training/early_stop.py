"""Stopping a training when its validation no longer improves.

What is decided follows from the validation curve alone, so that a training which was stopped and resumed decides alike.
The weights that count are those at the end, not those of the best validation: of ten validations the best one is a
little lucky, and a model that was chosen by it could not be judged on the same cases.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

Curve = Sequence[Mapping[str, Any]]


def mean_dice(entry: Mapping[str, Any]) -> float:
    """Mean Dice of one validation over the structures that occur; -inf where none does."""
    known = [value for value in entry["dice"] if not math.isnan(value)]
    return sum(known) / len(known) if known else -math.inf


def best_of(curve: Curve) -> int:
    """Position of the best validation in the curve, the earliest of equals; -1 where there is none."""
    return max(range(len(curve)), key=lambda n: mean_dice(curve[n])) if curve else -1


class EarlyStop:
    """Stops after ``patience`` validations without a better one."""

    def __init__(self, patience: int):
        self.patience = patience

    def ends(self, curve: Curve) -> bool:
        """Whether the training is over."""
        return bool(curve) and len(curve) - 1 - best_of(curve) >= self.patience
