"""What other pipelines run in each of their windows: the network of 0.1.0, seen from both sides.

The network is the code of the starter 0.1.0 (``network_0_1_0.py``), so that the yardstick stays where it is.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.inference.inference import windows_of
from Testing.Benchmarks.speed.network_0_1_0 import CrossModalNetwork

OVERLAP = 0.5  # of neighbouring windows


class Windows(nn.Module):
    """(B, 2 * C, D, H, W) of both modalities, mean of the window's and of its mirror image's: probabilities, or logits.

    From channels (B, 7, D, H, W): intensity and coverage of each modality, position along k, j, i in decimetres.
    """

    def __init__(self, network: CrossModalNetwork, mirrored: Sequence[int] | None, logits: bool):
        super().__init__()
        self.network, self.mirrored, self.logits = network, mirrored, logits

    def forward(self, channels: Tensor) -> Tensor:
        found = self._classify(channels[:, :4], channels[:, 4:])
        if self.mirrored is None:
            return torch.cat(found, dim=1)
        place = channels[:, 4:].flip(-1)
        place[:, 2] *= -1
        turned = [one.flip(-1)[:, list(self.mirrored)] for one in self._classify(channels[:, :4].flip(-1), place)]
        return torch.cat([(a + b) / 2 for a, b in zip(found, turned, strict=True)], dim=1)

    def _classify(self, scans: Tensor, position: Tensor) -> list[Tensor]:
        presence = torch.ones(len(scans), 2, dtype=torch.bool)
        found = self.network(scans.unflatten(1, (2, 2)), position, presence)
        return [one.float() if self.logits else torch.softmax(one.float(), dim=1) for one in found]


def load_windows(bundle: Bundle, logits: bool = False) -> Windows:
    """With the weights of ``bundle``, which has to be the starter 0.1.0."""
    arguments = {name: value for name, value in bundle.network.items() if name != "smooth_head"}
    network = CrossModalNetwork(**arguments)
    network.load_state_dict({name: torch.from_numpy(array) for name, array in bundle.read_weights().items()})
    return Windows(network.eval(), windows_of(bundle).mirrored, logits)


def position(shape: Sequence[int], bundle: Bundle) -> Tensor:
    """(3, D, H, W): where each voxel of a grid with the bundle's spacing lies from its centre, along k, j, i, in dm."""
    spacing_mm = bundle.spacing_mm[::-1]
    axes = [(torch.arange(n) - (n - 1) / 2) * mm / 100 for n, mm in zip(shape, spacing_mm, strict=True)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))
