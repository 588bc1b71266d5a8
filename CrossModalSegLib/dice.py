"""Dice of label maps that are already decided: 2 |A ∩ B| / (|A| + |B|) per class, from one table of counts."""

import torch
from torch import Tensor


def joint_counts(first: Tensor, second: Tensor, classes: int) -> Tensor:
    """(C, C) float64: how many voxels are of class r in ``first`` and of class c in ``second``, both of one shape.

    Counts of several scans may be added up.
    """
    pairs = first.flatten().long() * classes + second.flatten().long()
    return torch.bincount(pairs, minlength=classes * classes).view(classes, classes).double()


def pairwise_dice(counts: Tensor) -> Tensor:
    """(C, C) Dice of each class of the first label map with each of the second; NaN where neither occurs."""
    return 2 * counts / (counts.sum(dim=1, keepdim=True) + counts.sum(dim=0, keepdim=True))


def dice(counts: Tensor) -> Tensor:
    """(C,) Dice of each class; NaN where it is on neither side."""
    return pairwise_dice(counts).diagonal()
