"""The teacher: a moving average of the student that says what it sees in patches without labels."""

import copy
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from CrossModalSegLib.losses import ema_decay
from CrossModalSegLib.network import CrossModalNetwork
from CrossModalSegLib.synthesis.samples import UnlabelledSample
from CrossModalSegLib.training.cell_subset import CellSubset


@dataclass(frozen=True)
class Target:
    """What is to be seen in one modality: ``probabilities`` (B, K, ...), ``weights`` (B, ...) 1 where they count, and
    ``known`` (B, ...) True where they are an expert's labels and not the teacher's opinion."""

    probabilities: Tensor
    weights: Tensor
    known: Tensor

    @cached_property
    def labels(self) -> Tensor:
        """(B, ...) the most likely class."""
        return self.probabilities.max(dim=1).indices  # many times faster than argmax on a CPU

    @property
    def certainty(self) -> Tensor:
        """(B, ...) the highest probability."""
        return self.probabilities.amax(dim=1)

    @property
    def inside(self) -> Tensor:
        """(B, ...) bool: the most likely class is that of all neighbours, of the 26 that were looked at."""
        labels = self.labels.unsqueeze(1).float()
        return (F.max_pool3d(labels, 3, 1, 1) == -F.max_pool3d(-labels, 3, 1, 1)).squeeze(1)

    def of(self, rows: Tensor) -> "Target":
        """The samples with these numbers (n,)."""
        return Target(self.probabilities[rows], self.weights[rows], self.known[rows])


Targets = list[list[Target | None]]
"""Entry [m][o]: what is to be seen in modality o, on the grid of modality m; None for one that no sample has."""


class Teacher:
    """A copy of the student whose weights follow the student's slowly; no gradient ever reaches it."""

    def __init__(self, student: CrossModalNetwork, highest_decay: float):
        self.network = copy.deepcopy(student).requires_grad_(False).eval()
        self.highest_decay = highest_decay

    def follow(self, student: torch.nn.Module, step: int) -> None:
        """Move towards the student, once after each step (equation 7 of ``losses``)."""
        update_average(self.network.state_dict(), student, ema_decay(step, self.highest_decay))

    @torch.no_grad()
    def look(self, batch: UnlabelledSample, subset: CellSubset, confidence: float) -> Targets:
        """What it sees in the weak view, on the grid of each modality.

        Displaced pairs are looked at once on each grid, undisplaced as they were acquired: what the student is taught
        about them is as good as about the others. Voxels that the modality does not cover, or where the highest
        probability is below ``confidence``, do not count.
        """
        moved = (~batch.aligned & batch.presence.all(dim=1)).nonzero().flatten()  # (r,) samples with two grids
        weak = torch.cat([batch.weak[:, 0], batch.weak[moved, 1]])  # (B + r, M, 2, D, H, W)
        position = torch.cat([batch.position, batch.position[moved]])
        presence = torch.cat([batch.presence, batch.presence[moved]])
        with autocast(weak.device):
            decoded = self.network.features(weak, position, presence)
            logits = [
                None if features is None else self.network.classify(features, m, subset.stride, subset.offsets)
                for m, features in enumerate(decoded)
            ]
        covered = subset.voxels(weak[:, :, 1], self.network.cell)  # (B + r, M, ...)
        seen = [None if of_m is None else _believed(of_m, covered[:, m], confidence) for m, of_m in enumerate(logits)]
        first = torch.arange(len(batch.presence), device=moved.device)  # (B,) rows on the grid of the first modality
        second = first.index_copy(0, moved, len(first) + torch.arange(len(moved), device=moved.device))
        return [[of_m and of_m.of(rows) for of_m in seen] for rows in (first, second)]


def _believed(logits: Tensor, covered: Tensor, confidence: float) -> Target:
    probabilities = logits.float().softmax(dim=1)  # (B, K, ...)
    highest = probabilities.amax(dim=1)  # (B, ...)
    weights = (highest >= confidence) * covered
    weights = weights.masked_fill(highest.isnan(), torch.nan)  # a doubt that hides NaN would let the training go on
    return Target(probabilities, weights, torch.zeros_like(covered, dtype=torch.bool))


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 where the device computes in it: half the time on CPUs with AVX-512 and on GPUs."""
    return torch.autocast(device.type, dtype=torch.bfloat16)


@torch.no_grad()
def update_average(average: dict[str, Tensor], network: torch.nn.Module, decay: float) -> None:
    """average = decay · average + (1 − decay) · weights, in place."""
    weights = network.state_dict()
    torch._foreach_lerp_(list(average.values()), [weights[name].detach() for name in average], 1 - decay)
