"""What a user of nnU-Net would do: both scans as two channels of one plain U-Net (MONAI's DynUNet), one label map."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from monai.networks.nets import DynUNet
from torch import Tensor, nn

from CrossModalSegLib.network import FIRST, Offsets

STRIDES = (1, 2, 2, 2)  # nnU-Net's plan for these crops: four levels


@dataclass(frozen=True)
class Fused:
    """What ``EarlyFusion`` has instead of encoded modalities; there is nothing in it that could be compared."""

    logits: Tensor
    presence: Tensor
    aware: dict[int, Tensor]


class EarlyFusion(nn.Module):
    """Behaves to training and inference as ``CrossModalNetwork`` does.

    Parameters
    ----------
    classes
        Number of output channels, background included.
    parameters
        The width is chosen so that the network has about this many.
    heads
        1: one label map for both scans, as in nnU-Net. 2: one for each, so that a displaced scan can be labelled too.

    Convolutions in pairs with instance norm and leaky ReLU, as in nnU-Net; no deep supervision. An absent scan is a
    channel of zeros.
    """

    cell = 1
    stride = 8

    def __init__(self, classes: int, parameters: int, heads: int = 1):
        super().__init__()
        self.classes, self.outputs = classes, heads
        self.unet = _unet(classes * heads, _width(classes * heads, parameters))
        self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    def encode(self, volumes: Tensor, position: Tensor, presence: Tensor) -> Fused:  # noqa: ARG002 - nnU-Net has none
        """``volumes`` (B, M, 2, D, H, W); coverage and position are not used."""
        there = presence[:, :, None, None, None]
        images = volumes[:, :, 0].where(there, 0)  # (B, M, D, H, W)
        return Fused(self.unet(images), presence, {})

    def decode(self, fused: Fused) -> list[Tensor | None]:
        """Logits (B, K, D, H, W) per scan."""
        parts = fused.logits.chunk(self.outputs, dim=1)
        return [parts[m % self.outputs] if bool(fused.presence[:, m].any()) else None for m in range(2)]

    def classify(
        self,
        features: Tensor,
        modality: int,  # noqa: ARG002
        stride: int = 1,
        offsets: Offsets = FIRST,
    ) -> Tensor:
        """The features are the logits."""
        k, j, i = (slice(first, None, stride) for first in offsets)
        return features[:, :, k, j, i]

    def cell_logits(self, features: Tensor, modality: int, mirrored: Sequence[int] | None = None) -> Tensor:
        """The same of whole ``features`` (B, K, D, H, W); with ``mirrored``, sides exchanged."""
        logits = self.classify(features, modality)
        return logits if mirrored is None else logits[:, list(mirrored)]

    def features(self, volumes: Tensor, position: Tensor, presence: Tensor) -> list[Tensor | None]:
        """As ``CrossModalNetwork.features``; they are the logits."""
        return self.decode(self.encode(volumes, position, presence))

    def forward(self, volumes: Tensor, position: Tensor, presence: Tensor) -> list[Tensor | None]:
        """As ``CrossModalNetwork.forward``."""
        return self.features(volumes, position, presence)


def _unet(outputs: int, width: int) -> DynUNet:
    return DynUNet(
        spatial_dims=3,
        in_channels=2,
        out_channels=outputs,
        kernel_size=[3] * len(STRIDES),
        strides=STRIDES,
        upsample_kernel_size=STRIDES[1:],
        filters=[width * 2**level for level in range(len(STRIDES))],
        norm_name=("INSTANCE", {"affine": True}),
        act_name=("leakyrelu", {"inplace": True, "negative_slope": 0.01}),
    )


def _width(outputs: int, parameters: int) -> int:
    with torch.random.fork_rng():
        return min(range(4, 40), key=lambda width: abs(count(_unet(outputs, width)) - parameters))


def count(network: nn.Module) -> int:
    """Number of trained parameters."""
    return sum(parameter.numel() for parameter in network.parameters())
