"""Stopping a training when its validation no longer improves, and keeping the weights of the best one.

What is decided follows from the validation curve alone, so that a training which was stopped and resumed decides alike.
"""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from CrossModalSegLib.atomic import write_atomically

BEST_FILE = "best.pt"
Curve = Sequence[Mapping[str, Any]]


def mean_dice(entry: Mapping[str, Any]) -> float:
    """Mean Dice of one validation over the structures that occur; -inf where none does."""
    known = [value for value in entry["dice"] if not math.isnan(value)]
    return sum(known) / len(known) if known else -math.inf


def best_of(curve: Curve) -> int:
    """Position of the best validation in the curve, the earliest of equals; -1 where there is none."""
    return max(range(len(curve)), key=lambda n: mean_dice(curve[n])) if curve else -1


class EarlyStop:
    """Stops after ``patience`` validations without a better one; the best weights are kept in ``folder``."""

    def __init__(self, folder: Path, patience: int):
        self.folder, self.patience = folder, patience

    def validated(self, curve: Curve, average: Mapping[str, Tensor]) -> None:
        """After a validation, the last of ``curve``: keep ``average`` where it is the best so far."""
        if best_of(curve) == len(curve) - 1:
            buffer = io.BytesIO()
            torch.save(dict(average), buffer)
            write_atomically(self.folder / BEST_FILE, buffer.getvalue())

    def ends(self, curve: Curve) -> bool:
        """Whether the training is over."""
        return bool(curve) and len(curve) - 1 - best_of(curve) >= self.patience

    def best_weights(self) -> dict[str, Tensor] | None:
        """The averaged weights of the best validation; None before the first."""
        path = self.folder / BEST_FILE
        return torch.load(path, weights_only=True, map_location="cpu") if path.exists() else None
