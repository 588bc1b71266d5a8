"""The cross-modality network of CMC (Zhou et al., MICCAI 2024, arXiv 2408.07341) for two modalities.

Shapes in comments: B batch, C channels, (D, H, W) = (K, J, I) voxels, M = 2 modalities, N = D·H·W of the deepest level.

What goes beyond the paper, and why: instance norm (a prediction must not depend on the rest of the batch), a second
input channel that marks the voxels a modality covers, three that say where in the body a voxel lies (a patch alone does
not tell left from right), absent modalities, gated fusion of the deeper skips, and a strided stem that makes training
on a CPU bearable.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MODALITIES = 2
INPUT_CHANNELS = 5  # normalised intensity, coverage, position along k, j, i
FUSIONS = ("bottleneck", "gated", "gated-all")


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
        weight, bias = self.weight[modality], self.bias[modality]
        if x.device.type != "cpu":
            return F.group_norm(x, x.shape[1], weight, bias)  # of one channel each: instance norm
        # batch norm of one sample is instance norm, and its kernel keeps the channels-last layout of the convolutions
        normed = [F.batch_norm(sample, None, None, weight, bias, training=True) for sample in x.split(1)]
        return normed[0] if len(normed) == 1 else torch.cat(normed)


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


Offsets = tuple[int, ...]
FIRST: Offsets = (0, 0, 0)


class Head(nn.ConvTranspose3d):
    """Linear classifier of feature cells: logits of the cell³ voxels of each.

    ``smooth``: it sees the neighbouring cells as well (kernel 4, stride 2: the eight cells nearest to each voxel), so
    that outlines do not step from cell to cell. Otherwise every cell is classified by itself. Either way it is linear:
    windows may be averaged as features.
    """

    def __init__(self, channels: int, classes: int, cell: int, smooth: bool):
        super().__init__(channels, classes, 2 * cell if smooth else cell, stride=cell, padding=1 if smooth else 0)
        self.cell, self.smooth = cell, smooth

    def classify(
        self, features: Tensor, weight: Tensor, bias: Tensor, stride: int = 1, offsets: Offsets = FIRST
    ) -> Tensor:
        """Logits (B, K, D, H, W) by ``weight`` (C, K, ...) and ``bias`` (K,) at every ``stride``-th cell of
        ``features`` (B, C, d, h, w), from ``offsets`` on."""
        cell, classes = self.cell, weight.shape[1]
        flat = self.cell_logits(features, weight, bias, stride, offsets)
        depth, height, width = flat.shape[-3:]
        blocks = flat.reshape(len(features), cell, cell, cell, classes, depth, height, width)
        blocks = blocks.permute(0, 4, 5, 1, 6, 2, 7, 3)  # (B, K, d, s, h, s, w, s)
        return blocks.reshape(len(features), classes, depth * cell, height * cell, width * cell)

    def cell_logits(
        self, features: Tensor, weight: Tensor, bias: Tensor, stride: int = 1, offsets: Offsets = FIRST
    ) -> Tensor:
        """The same as (B, s³·K, d, h, w): the classes of each of a cell's voxels, one voxel after the other, w first.

        The transposed convolution as convolutions whose outputs need not be laid out: several times faster on a CPU.
        """
        if self.smooth:
            return self._smooth(features, weight, bias, stride, offsets)
        kernel = weight.permute(2, 3, 4, 1, 0).reshape(-1, weight.shape[0], 1, 1, 1)
        k, j, i = offsets
        return F.conv3d(features[:, :, k:, j:, i:], kernel, bias.repeat(self.cell**3), stride=stride)

    def _smooth(self, features: Tensor, weight: Tensor, bias: Tensor, stride: int, offsets: Offsets) -> Tensor:
        """`cell_logits` where each voxel is told by the cells around it as well; at the border its cells go on.

        Each voxel is told by eight cells of the 27 around. Of all cells, eight convolutions of kernel 2 compute just
        that; of a part of them, one of kernel 3 with zeros in it is faster, backwards above all.
        """
        k, j, i = offsets
        padded = F.pad(features, [1] * 6, mode="replicate")[:, :, k:, j:, i:]
        voxels = list(product((0, 1), repeat=3))
        kernels = [_kernel_of(weight, voxel) for voxel in voxels]  # (K, C, 2, 2, 2) each
        if stride == 1:
            d, h, w = (n + 1 for n in features.shape[2:])
            parts = [
                F.conv3d(padded[:, :, a : a + d, b : b + h, c : c + w], kernel, bias)
                for (a, b, c), kernel in zip(voxels, kernels, strict=True)
            ]
            return torch.cat(parts, dim=1)
        dense = weight.new_zeros(8, weight.shape[1], weight.shape[0], 3, 3, 3)
        for n, ((a, b, c), kernel) in enumerate(zip(voxels, kernels, strict=True)):
            dense[n, :, :, a : a + 2, b : b + 2, c : c + 2] = kernel
        return F.conv3d(padded, dense.flatten(0, 1), bias.repeat(8), stride=stride)


def _kernel_of(weight: Tensor, voxel: tuple[int, ...]) -> Tensor:
    """The part (K, C, 2, 2, 2) of a kernel of 4 at stride 2, (C, K, 4, 4, 4), that meets the two cells beside one of
    the eight voxels of a cell, per axis."""
    kernel = weight.transpose(0, 1)
    for axis, upper in enumerate(voxel):
        taps = torch.tensor((2, 0) if upper else (3, 1), device=weight.device)
        kernel = kernel.index_select(2 + axis, taps)
    return kernel


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
    classes Number of output channels, background included. channels Features per level, finest first; each further
        level halves the grid. stem_stride 1, or 2 for features at half the resolution and a head that predicts 2 × 2 ×
        2 voxels per feature. fusion "bottleneck" (the paper), "gated": also the skips between bottleneck and finest
        level, or "gated-all": that one too. share_convolutions One set of convolutions for both modalities, with norms
        of each modality's own. For modalities that are alike (two MR contrasts) this doubles what each convolution
        sees. smooth_head The head sees the cells around each voxel, not only its own; for a ``stem_stride`` of 2.
    """

    def __init__(
        self,
        classes: int,
        channels: tuple[int, ...] = (32, 64, 128, 160),
        stem_stride: int = 2,
        fusion: str = "gated",
        share_convolutions: bool = False,
        smooth_head: bool = False,
    ):
        super().__init__()
        if fusion not in FUSIONS:
            raise ValueError(f'fusion must be one of {", ".join(FUSIONS)}, not "{fusion}"')
        if smooth_head and stem_stride != 2:
            raise ValueError(f"a smooth head needs a stem_stride of 2, not {stem_stride}")
        channels = tuple(channels)
        self.cell = stem_stride  # voxels per feature cell and axis
        self.stride = stem_stride * 2 ** (len(channels) - 1)  # grid sizes must be multiples of this
        self.shared = share_convolutions
        copies, norms = (1, MODALITIES) if share_convolutions else (MODALITIES, 1)
        self.encoders = nn.ModuleList(Encoder(channels, stem_stride, norms) for _ in range(copies))
        self.awareness = nn.ModuleList(ModalityIndependentAwareness() for _ in range(MODALITIES))
        self.fuse = ConvBlock(MODALITIES * channels[-1], channels[-1], modalities=1, kernel=1)
        self.finest_gate = {"bottleneck": len(channels), "gated": 1, "gated-all": 0}[fusion]  # level of the first gate
        gated = channels[self.finest_gate : -1]
        self.gates = nn.ModuleList(nn.ModuleList(GatedSkip(c) for c in gated) for _ in range(copies))
        self.decoders = nn.ModuleList(Decoder(channels, norms) for _ in range(copies))
        self.heads = nn.ModuleList(Head(channels[0], classes, stem_stride, smooth_head) for _ in range(MODALITIES))
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

    def classify(self, features: Tensor, modality: int, stride: int = 1, offsets: Offsets = FIRST) -> Tensor:
        """Logits (B, classes, D, H, W) from ``features`` of one modality, at every ``stride``-th cell from ``offsets``
        on."""
        head = self.head(modality)
        assert head.bias is not None
        return head.classify(features, head.weight, head.bias, stride, offsets)

    def cell_logits(self, features: Tensor, modality: int, mirrored: Sequence[int] | None = None) -> Tensor:
        """Logits (B, s³·K, d, h, w) of the s³ voxels of each cell, w fastest, from ``features`` of one modality.

        With ``mirrored`` (the channel of each structure on the other side) by the mirror image of the head: of features
        that were seen mirrored and turned back along w.
        """
        head = self.head(modality)
        assert head.bias is not None
        if mirrored is None:
            return head.cell_logits(features, head.weight, head.bias)
        sides = torch.tensor(mirrored, device=head.weight.device)
        return head.cell_logits(features, head.weight[:, sides].flip(-1), head.bias[sides])

    def head(self, modality: int) -> Head:
        """The classifier of one modality's features."""
        head = self.heads[modality]
        assert isinstance(head, Head)
        return head

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
        first = self.finest_gate
        pairs = zip(own[first:], other[first:], strict=True)
        fused = [gate(*pair, other_present) for gate, pair in zip(gates, pairs, strict=True)]
        return [*own[:first], *fused]
