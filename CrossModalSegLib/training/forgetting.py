"""Protection against forgetting: the weights of a fine-tuning are drawn towards those that it started from, and what is
published lies between the two."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Anchor:
    """L2-SP (Li, Grandvalet and Davoine, ICML 2018), decoupled from the gradient as AdamW's weight decay is.

    w ← w − η λ (w − w₀) after each step, with the learning rate η, the ``strength`` λ and the starting weights w₀ of
    ``network`` as it is now.
    """

    def __init__(self, network: nn.Module, strength: float):
        self.strength = strength
        self.start: dict[str, Tensor] = {name: one.detach().clone() for name, one in network.named_parameters()}

    @torch.no_grad()
    def pull(self, network: nn.Module, learning_rate: float) -> None:
        """One step of ``network`` towards the start, in place; 0 strength or learning rate leaves it as it is."""
        share = min(1.0, learning_rate * self.strength)
        weights = dict(network.named_parameters())
        for name, start in self.start.items():
            weights[name].lerp_(start.to(weights[name].device), share)


def between(start: Mapping[str, Tensor], end: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """w₀ + α (w − w₀) for each of the weights ``end``: α is the ``share`` of the way, w₀ the weights ``start``.

    Half way, a fine-tuned network keeps most of what it has learnt, and forgets little (WiSE-FT; Wortsman et al.,
    Robust fine-tuning of zero-shot models, CVPR 2022, equation 1).
    """
    return {name: torch.lerp(start[name].to(weight), weight, share) for name, weight in end.items()}
