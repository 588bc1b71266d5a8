"""Protection against forgetting: the weights of a fine-tuning are drawn towards those that it started from."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Anchor:
    """L2-SP (Li, Grandvalet and Davoine, ICML 2018), decoupled from the gradient as AdamW's weight decay is.

    w ← w − η λ (w − w₀) after each step, with the learning rate η, the ``strength`` λ and the starting weights w₀ of
    ``network`` as it is now. Parameters whose names begin with one of ``free`` are left alone, such as heads that are new.
    """

    def __init__(self, network: nn.Module, strength: float, free: Iterable[str] = ()):
        self.strength, prefixes = strength, tuple(free)
        self.start: dict[str, Tensor] = {
            name: weight.detach().clone()
            for name, weight in network.named_parameters()
            if not name.startswith(prefixes or ("\0",))
        }

    @torch.no_grad()
    def pull(self, network: nn.Module, learning_rate: float) -> None:
        """One step of ``network`` towards the start, in place; 0 strength or learning rate leaves it as it is."""
        share = min(1.0, learning_rate * self.strength)
        weights = dict(network.named_parameters())
        for name, start in self.start.items():
            weights[name].lerp_(start.to(weights[name].device), share)
