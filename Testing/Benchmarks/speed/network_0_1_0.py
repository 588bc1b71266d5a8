"""The network of the starter 0.1.0 as it was then: the yardstick of `bench`, not to be changed."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MODALITIES = 2
INPUT_CHANNELS = 5  # normalised intensity, coverage, position along k, j, i
FUSIONS = ("bottleneck", "gated")


class Convolution(nn.Conv3d):
    """Convolution of kernel 3, padded; in float32 where a side of its input has one or two voxels.

    There the gradients of its weights can hold memory that was never written, if computed in bfloat16 on a CPU (torch
    2.13 with oneDNN).
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__(inputs, outputs, 3, stride=stride, padding=1, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        if min(input.shape[2:]) > 2:
            return super().forward(input)
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input.to(self.weight.dtype)).to(input.dtype)


class ModalityNorm(nn.Module):
    """Instance norm with one scale and shift per modality, so that convolutions may be shared between modalities."""

    def __init__(self, channels: int, modalities: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(modalities, channels))
        self.bias = nn.Parameter(torch.zeros(modalities, channels))

    def forward(self, x: Tensor, modality: int) -> Tensor:
        # group norm with one channel per group is instance norm, and several times faster on a CPU
        return F.group_norm(x.contiguous(), x.shape[1], self.weight[modality], self.bias[modality])


class ConvBlock(nn.Module):
    """Convolution, instance norm, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, modalities: int, kernel: int = 3):
        super().__init__()
        self.conv = Convolution(inputs, outputs) if kernel == 3 else nn.Conv3d(inputs, outputs, kernel, bias=False)
        self.norm = ModalityNorm(outputs, modalities)

    def forward(self, x: Tensor, modality: int) -> Tensor:
        return F.leaky_relu(self.norm(self.conv(x), modality), 0.01)


class ResidualBlock(nn.Module):
    """Two convolutions with a shortcut; a stride of 2 halves the grid."""

    def __init__(self, inputs: int, outputs: int, stride: int, modalities: int):
        super().__init__()
        self.conv1 = Convolution(inputs, outputs, stride)
        self.norm1 = ModalityNorm(outputs, modalities)
        self.conv2 = Convolution(outputs, outputs)
        self.norm2 = ModalityNorm(outputs, modalities)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv3d(inputs, outputs, stride, stride=stride, bias=False)

    def forward(self, x: Tensor, modality: int) -> Tensor:
        y = F.leaky_relu(self.norm1(self.conv1(x), modality), 0.01)
        y = self.norm2(self.conv2(y), modality)
        return F.leaky_relu(y + self.shortcut(x), 0.01)


class Encoder(nn.Module):
    """Residual encoder: a stem, then one residual block per level. Returns the features of every level."""

    def __init__(self, channels: tuple[int, ...], stem_stride: int, modalities: int):
        super().__init__()
        self.stem = nn.Conv3d(INPUT_CHANNELS, channels[0], stem_stride + 2, stride=stem_stride, padding=1, bias=False)
        previous = (channels[0], *channels[:-1])
        self.levels = nn.ModuleList(
            ResidualBlock(before, after, 1 if level == 0 else 2, modalities)
            for level, (before, after) in enumerate(zip(previous, channels, strict=True))
        )

    def forward(self, x: Tensor, modality: int) -> list[Tensor]:
        features = []
        x = self.stem(x)  # (B, 5, D, H, W) -> (B, C0, D/s, H/s, W/s)
        for level in self.levels:
            x = level(x, modality)  # (B, Cl, D/s/2^l, ...)
            features.append(x)
        return features


class Decoder(nn.Module):
    """Upsamples from the bottleneck, joining at each level the skip of the modality's own encoder."""

    def __init__(self, channels: tuple[int, ...], modalities: int):
        super().__init__()
        pairs = list(pairwise(channels))
        self.reduce = nn.ModuleList(nn.Conv3d(below, here, 1, bias=False) for here, below in pairs)
        self.levels = nn.ModuleList(ConvBlock(2 * here, here, modalities) for here, _ in pairs)

    def forward(self, bottleneck: Tensor, skips: list[Tensor], modality: int) -> Tensor:
        x = bottleneck
        for level in reversed(range(len(self.levels))):
            x = self.reduce[level](x)  # (B, C(l+1), d, h, w) -> (B, Cl, d, h, w)
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")  # (B, Cl, 2d, 2h, 2w)
            x = self.levels[level](torch.cat([skips[level], x], dim=1), modality)  # (B, Cl, ...)
        return x


class ModalityIndependentAwareness(nn.Module):
    """MIA: re-weights channels by their affinity (CMC, section 2.2): F_mia = γ · (A F) + F.

    E = F Fᵀ over L2-normalised channel rows divided by a learned temperature, A = softmax(rowmax(E) − E), computed in
    float32 so that the softmax neither saturates nor overflows. γ starts at 0: MIA starts as the identity.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))
        self.log_temperature = nn.Parameter(torch.zeros(1))

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            flat = features.float().flatten(2)  # (B, C, N)
            rows = F.normalize(flat, dim=2)  # (B, C, N)
            energy = rows @ rows.transpose(1, 2) / self.log_temperature.exp()  # (B, C, C)
            affinity = torch.softmax(energy.amax(dim=2, keepdim=True) - energy, dim=2)  # (B, C, C)
            aware = self.gamma * (affinity @ flat) + flat  # (B, C, N)
        return aware.view_as(features).to(features.dtype)


class GatedSkip(nn.Module):
    """Adds to one modality's skip what a gate lets through of the other's: s_m + σ(G[s_m; s_o]) ⊙ W s_o."""

    def __init__(self, channels: int):
        super().__init__()
        self.gate = nn.Conv3d(2 * channels, channels, 1)
        self.value = nn.Conv3d(channels, channels, 1, bias=False)
        nn.init.constant_(self.gate.bias, -1.0)  # type: ignore[arg-type]

    def forward(self, own: Tensor, other: Tensor, other_present: Tensor) -> Tensor:
        gate = torch.sigmoid(self.gate(torch.cat([own, other], dim=1)))  # (B, C, D, H, W)
        return own + gate * self.value(other) * other_present


@dataclass(frozen=True)
class Encoded:
    """What the encoders make of a batch, by modality; a modality that no sample has is left out.

    ``aware`` is F_mia (B, C, d, h, w), the deepest features after MIA, 0 for samples without the modality; ``skips``
    holds the features of the other levels, finest first; ``masks`` (B, M, 1, 1, 1, 1) is 1 where a sample has it.
    """

    aware: dict[int, Tensor]
    skips: dict[int, list[Tensor]]
    masks: Tensor


class CrossModalNetwork(nn.Module):
    """Two encoders, MIA, a unified fusion layer and two decoders: one label map per modality.

    Parameters
    ----------
    classes
        Number of output channels, background included.
    channels
        Features per level, finest first; each further level halves the grid.
    stem_stride
        1, or 2 for features at half the resolution and a head that predicts 2 × 2 × 2 voxels per feature.
    fusion
        "bottleneck" (the paper) or "gated": also the skips between bottleneck and finest level.
    share_convolutions
        One set of convolutions for both modalities, with norms of each modality's own. For modalities that are alike
        (two MR contrasts) this doubles what each convolution sees.
    """

    def __init__(
        self,
        classes: int,
        channels: tuple[int, ...] = (32, 64, 128, 160),
        stem_stride: int = 2,
        fusion: str = "gated",
        share_convolutions: bool = False,
    ):
        super().__init__()
        if fusion not in FUSIONS:
            raise ValueError(f'fusion must be "bottleneck" or "gated", not "{fusion}"')
        channels = tuple(channels)
        self.cell = stem_stride  # voxels per feature cell and axis
        self.stride = stem_stride * 2 ** (len(channels) - 1)  # grid sizes must be multiples of this
        self.shared = share_convolutions
        copies, norms = (1, MODALITIES) if share_convolutions else (MODALITIES, 1)
        self.encoders = nn.ModuleList(Encoder(channels, stem_stride, norms) for _ in range(copies))
        self.awareness = nn.ModuleList(ModalityIndependentAwareness() for _ in range(MODALITIES))
        self.fuse = ConvBlock(MODALITIES * channels[-1], channels[-1], modalities=1, kernel=1)
        gated = channels[1:-1] if fusion == "gated" else ()
        self.gates = nn.ModuleList(nn.ModuleList(GatedSkip(c) for c in gated) for _ in range(copies))
        self.decoders = nn.ModuleList(Decoder(channels, norms) for _ in range(copies))
        self.heads = nn.ModuleList(
            nn.ConvTranspose3d(channels[0], classes, stem_stride, stride=stem_stride) for _ in range(MODALITIES)
        )
        self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # convolutions are faster so

    def forward(self, volumes: Tensor, position: Tensor, presence: Tensor) -> list[Tensor | None]:
        """Logits (B, classes, D, H, W) per modality; None for a modality that no sample of the batch has.

        Parameters
        ----------
        volumes
            (B, M, 2, D, H, W): normalised intensity and coverage of each modality, on one grid; sizes are multiples
            of ``stride``.
        position
            (B, 3, D, H, W): where each voxel lies, see ``preprocess.position_channels``.
        presence
            (B, M) bool; what ``volumes`` holds for an absent modality is not looked at.
        """
        return [
            None if features is None else self.classify(features, modality)
            for modality, features in enumerate(self.features(volumes, position, presence))
        ]

    def classify(self, features: Tensor, modality: int) -> Tensor:
        """Logits from ``features`` of one modality; every feature cell is classified by itself.

        The head's transposed convolution, whose windows do not overlap, as a convolution of kernel 1 whose outputs are
        laid out afterwards: several times faster on a CPU.
        """
        head, cell = self.heads[modality], self.cell
        assert isinstance(head, nn.ConvTranspose3d)
        assert head.bias is not None
        inputs, classes = head.weight.shape[:2]
        weight = head.weight.movedim(0, -1).reshape(classes * cell**3, inputs, 1, 1, 1)
        flat = F.conv3d(features, weight, head.bias.repeat_interleave(cell**3))  # (B, K·s³, d, h, w)
        batch, _, depth, height, width = flat.shape
        blocks = flat.view(batch, classes, cell, cell, cell, depth, height, width)
        blocks = blocks.permute(0, 1, 5, 2, 6, 3, 7, 4)  # (B, K, d, s, h, s, w, s)
        return blocks.reshape(batch, classes, depth * cell, height * cell, width * cell)

    def features(self, volumes: Tensor, position: Tensor, presence: Tensor) -> list[Tensor | None]:
        """Decoder features (B, C0, D/s, H/s, W/s) per modality, None where no sample has it."""
        return self.decode(self.encode(volumes, position, presence))

    def encode(self, volumes: Tensor, position: Tensor, presence: Tensor) -> Encoded:
        """The first half of ``features``, for losses that compare the deepest features as well."""
        present = [m for m in range(MODALITIES) if bool(presence[:, m].any())]
        masks = presence.to(volumes.dtype)[:, :, None, None, None, None]  # (B, M, 1, 1, 1, 1)
        given = {m: volumes[:, m].where(masks[:, m] > 0, 0) for m in present}  # NaN · 0 would be NaN
        levels = {m: self._encode(torch.cat([given[m], position], dim=1), m) for m in present}
        aware = {m: self.awareness[m](levels[m][-1]) * masks[:, m] for m in present}  # (B, C, d, h, w)
        return Encoded(aware, {m: levels[m][:-1] for m in present}, masks)

    def decode(self, encoded: Encoded) -> list[Tensor | None]:
        """The second half of ``features``: fusion, then the decoder of each modality that is there."""
        fused = self._fuse(encoded.aware)  # (B, C, d, h, w)
        decoded: list[Tensor | None] = [None] * MODALITIES
        for m, aware in encoded.aware.items():
            other = 1 - m
            skips = encoded.skips[m]  # (B, Cl, D/s/2^l, ...) each
            if other in encoded.skips:
                skips = self._gate(skips, encoded.skips[other], encoded.masks[:, other], m)
            decoded[m] = self._decode(fused + aware, skips, m)  # (B, C0, D/s, H/s, W/s)
        return decoded

    def _encode(self, volume: Tensor, modality: int) -> list[Tensor]:
        return self.encoders[0](volume, modality) if self.shared else self.encoders[modality](volume, 0)

    def _decode(self, bottleneck: Tensor, skips: list[Tensor], modality: int) -> Tensor:
        if self.shared:
            return self.decoders[0](bottleneck, skips, modality)
        return self.decoders[modality](bottleneck, skips, 0)

    def _fuse(self, aware: dict[int, Tensor]) -> Tensor:
        """Unified fusion layer F_f = fuse([F_mia_a ; F_mia_b]); zeros stand for an absent modality."""
        like = next(iter(aware.values()))
        both = [aware.get(m, torch.zeros_like(like)) for m in range(MODALITIES)]
        return self.fuse(torch.cat(both, dim=1), 0)  # (B, 2C, d, h, w) -> (B, C, d, h, w)

    def _gate(self, own: list[Tensor], other: list[Tensor], other_present: Tensor, modality: int) -> list[Tensor]:
        gates = self.gates[0 if self.shared else modality]
        assert isinstance(gates, nn.ModuleList)
        fused = [gate(own[level + 1], other[level + 1], other_present) for level, gate in enumerate(gates)]
        return [*own[:1], *fused, *own[len(fused) + 1 :]]
