"""The teacher: a moving average of the student that says what it sees in patches without labels."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from CrossModalSegLib.losses import ema_decay
from CrossModalSegLib.network import CrossModalNetwork
from CrossModalSegLib.samples import UnlabelledSample
from CrossModalSegLib.thinning import Thinning


@dataclass(frozen=True)
class Seen:
    """What is to be seen in one modality: ``probabilities`` (B, K, ...), ``weights`` (B, ...) 1 where they count, and
    ``known`` (B, ...) True where they are an expert's labels and not the teacher's opinion."""

    probabilities: Tensor
    weights: Tensor
    known: Tensor

    @property
    def labels(self) -> Tensor:
        """(B, ...) the most likely class."""
        return self.probabilities.argmax(dim=1)


class Teacher:
    """A copy of the student whose weights follow the student's slowly; no gradient ever reaches it."""

    def __init__(self, student: CrossModalNetwork, highest_decay: float):
        self.network = copy.deepcopy(student).requires_grad_(False).eval()
        self.highest_decay = highest_decay

    def follow(self, student: torch.nn.Module, step: int) -> None:
        """Move towards the student, once after each step (equation 7 of ``losses``)."""
        update_average(self.network.state_dict(), student, ema_decay(step, self.highest_decay))

    @torch.no_grad()
    def look(self, batch: UnlabelledSample, thinning: Thinning, confidence: float) -> list[Seen | None]:
        """What it sees in the weak view, per modality; None for one that no sample has.

        Voxels that the modality does not cover, or where the highest probability is below ``confidence``, do not count.
        """
        with autocast(batch.weak.device):
            decoded = self.network.features(batch.weak, batch.position, batch.presence)
            cells = [None if features is None else thinning.cells(features) for features in decoded]
            logits = [None if c is None else self.network.classify(c, m) for m, c in enumerate(cells)]
        covered = thinning.voxels(batch.weak[:, :, 1], self.network.cell)  # (B, M, ...)
        return [None if of_m is None else _believed(of_m, covered[:, m], confidence) for m, of_m in enumerate(logits)]


def _believed(logits: Tensor, covered: Tensor, confidence: float) -> Seen:
    probabilities = logits.float().softmax(dim=1)  # (B, K, ...)
    highest = probabilities.amax(dim=1)  # (B, ...)
    weights = (highest >= confidence) * covered
    weights = weights.masked_fill(highest.isnan(), torch.nan)  # a doubt that hides NaN would let the training go on
    return Seen(probabilities, weights, torch.zeros_like(covered, dtype=torch.bool))


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 where the device computes in it: half the time on CPUs with AVX-512 and on GPUs."""
    return torch.autocast(device.type, dtype=torch.bfloat16)


@torch.no_grad()
def update_average(average: dict[str, Tensor], network: torch.nn.Module, decay: float) -> None:
    """average = decay · average + (1 − decay) · weights, in place."""
    weights = network.state_dict()
    torch._foreach_lerp_(list(average.values()), [weights[name].detach() for name in average], 1 - decay)
