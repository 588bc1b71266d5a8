"""Labels that contradict the model structure by structure, as they do where two structures were exchanged.

A candidate trained on exchanged labels looks better than its parent on held-out cases with the same mistake, so scores
alone cannot tell. But a correction begins with the parent's segmentation: where a corrected structure lies on another
structure of the parent rather than on its own, in half of the scans or more, somebody may have mixed up the two. Where
the other one lies on the first in turn, they were exchanged. One way alone is also what it looks like when the model
takes one structure for another, and the corrections put that right.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from CrossModalSegLib.dice import joint_counts, pairwise_dice
from CrossModalSegLib.label_translation import relabel

MARGIN = 0.1  # by which the Dice with the other structure must be above that with its own
ODD = 0.6  # of the others' agreement with the parent: below it, something is wrong with a case, or with how it is read
LEAST_DICE = 0.2  # with the other structure: below it, the two merely touch


@dataclass(frozen=True)
class Exchange:
    """``scans`` of the ``of`` in which the corrected structure ``value`` occurs show it where the parent sees
    ``other``."""

    value: int
    other: int
    scans: tuple[str, ...]
    of: int


def confusion(corrected: np.ndarray, predicted: np.ndarray, values: Sequence[int]) -> np.ndarray:
    """(n, n) Dice of each corrected structure (row) with each predicted one (column), NaN rows for those that are not
    there. Both arrays hold label values on one grid; any that is not in ``values`` counts as background."""
    counts = joint_counts(_positions(corrected, values), _positions(predicted, values), len(values) + 1)
    dice = pairwise_dice(counts)
    dice[counts.sum(dim=1) == 0] = torch.nan
    return dice[1:, 1:].numpy()


def exchanges(confusions: Mapping[str, np.ndarray], values: Sequence[int]) -> list[Exchange]:
    """The structures that lie on another one of the parent in at least half of the scans that show them.

    ``confusions`` holds the matrix of each scan by its name.
    """
    found = []
    for row, value in enumerate(values):
        there = {scan: matrix[row] for scan, matrix in confusions.items() if not np.isnan(matrix[row]).all()}
        elsewhere: dict[int, list[str]] = {}
        for scan, dice in there.items():
            best = int(np.nanargmax(dice))
            if best != row and dice[best] >= LEAST_DICE and dice[best] > np.nan_to_num(dice[row]) + MARGIN:
                elsewhere.setdefault(best, []).append(scan)
        for column, scans in elsewhere.items():
            if 2 * len(scans) >= len(there):
                found.append(Exchange(value, values[column], tuple(scans), len(there)))
    return found


def mutual(found: Sequence[Exchange]) -> list[Exchange]:
    """Those that lead back, at once or in a ring, to the structure that they begin with."""
    return [one for one in found if one.value in _reached(one.other, found)]


def _reached(value: int, found: Sequence[Exchange]) -> set[int]:
    """The structures that one comes to from ``value``, going from each to the one that it lies on."""
    reached, new = set[int](), {value}
    while new:
        reached |= new
        new = {one.other for one in found if one.value in reached} - reached
    return reached


def odd_cases(agreement: Mapping[str, float]) -> list[str]:
    """One sentence per case whose corrections fit what the parent sees far worse than those of the others do: they may
    be damaged, moved, or another patient's. ``agreement`` is the mean Dice of each case with the parent."""
    sentences = []
    for case, dice in agreement.items():
        others = [one for name, one in agreement.items() if name != case]
        usual = statistics.median(others) if others else 0.0
        if dice < ODD * usual:
            sentences.append(
                f"the corrections of case {case} agree with the model by {dice:.2f}, those of the others by "
                f"{usual:.2f}: "
                "do they belong to this scan?"
            )
    return sentences


def in_words(found: Sequence[Exchange], names: Mapping[int, str]) -> list[str]:
    """One sentence per exchange; two structures that take each other's place are one."""
    sentences = []
    for one in found:
        back = next((two for two in found if (two.value, two.other) == (one.other, one.value)), None)
        where = f"in {len(one.scans)} of {one.of} corrected scans"
        if back is None:
            sentences.append(f'what is labelled "{names[one.value]}" lies on the model\'s "{names[one.other]}" {where}')
        elif one.value < one.other:
            sentences.append(f'"{names[one.value]}" and "{names[one.other]}" look exchanged {where}')
    return sentences


def _positions(labels: np.ndarray, values: Sequence[int]) -> Tensor:
    """int64: 1 + position in ``values``, 0 for any other label."""
    return torch.from_numpy(relabel(labels, {value: n for n, value in enumerate(values, start=1)}, np.int64))
