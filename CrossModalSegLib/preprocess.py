"""Intensities to network input: the one normalisation that training and inference share."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from CrossModalSegLib.contradictions import Contradiction
from CrossModalSegLib.errors import ConfigError

LARGEST_SAMPLE = 40_000  # voxels that percentiles are taken from


@dataclass(frozen=True)
class IntensityRule:
    """How one modality's intensities become network input.

    rule "percentile": the ``lower`` percentile of the covered voxels becomes 0, the ``upper`` percentile of the
    foreground (voxels above a tenth of the range, so that air does not count) becomes 1; for MR.
    rule "window": the values ``lower`` and ``upper`` (such as HU) become 0 and 1; for CT.
    Either way the result is clipped to [0, 1.5] and [0, 1], and 0 where the modality does not cover.
    """

    rule: str = "percentile"
    lower: float = 1.0
    upper: float = 99.0

    def __post_init__(self) -> None:
        words = "; ".join(map(str, self.contradictions()))
        if words:
            raise ConfigError("intensity-rule", words, 'use "percentile" or "window", and give lower < upper')

    def contradictions(self) -> Iterator[Contradiction]:
        """What cannot be applied although every value has the right type."""
        if self.rule not in ("percentile", "window"):
            yield Contradiction("", f'unknown intensity rule "{self.rule}"', ("rule",))
        if not self.lower < self.upper:
            yield Contradiction("", f"lower {self.lower} is not below upper {self.upper}", ("lower", "upper"))
        for name in ("lower", "upper") if self.rule == "percentile" else ():
            if not 0 <= getattr(self, name) <= 100:
                text = f'must be 0 to 100 percent, not {getattr(self, name):g}, or rule = "window"'
                yield Contradiction(name, text, (name, "rule"))


def normalise(image: Tensor, coverage: Tensor, rule: IntensityRule) -> Tensor:
    """``image`` (D, H, W) by ``rule``, float32; 0 outside ``coverage`` (D, H, W) bool."""
    image = image.float()
    if rule.rule == "window":
        scaled = ((image - rule.lower) / (rule.upper - rule.lower)).clamp(0, 1)
    else:
        low, high = _percentile_range(image[coverage], rule)
        scaled = ((image - low) / (high - low).clamp_min(1e-6)).clamp(0, 1.5)
    return scaled * coverage


def _percentile_range(values: Tensor, rule: IntensityRule) -> tuple[Tensor, Tensor]:
    if values.numel() == 0:
        return torch.zeros(()), torch.ones(())
    sample = values[:: max(1, values.numel() // LARGEST_SAMPLE)]
    low, high = torch.quantile(sample, torch.tensor([rule.lower, rule.upper], device=values.device) / 100)
    foreground = sample[sample > low + 0.1 * (high - low)]
    if foreground.numel() > 0:
        high = torch.quantile(foreground, rule.upper / 100)
    return low, high


def network_input(image: Tensor, coverage: Tensor, rule: IntensityRule) -> Tensor:
    """(2, D, H, W): normalised intensity and coverage, the input channels that each modality has of its own."""
    return torch.stack([normalise(image, coverage, rule), coverage.float()])


def position_channels(first_mm: Tensor, shape: tuple[int, ...], spacing_mm: Tensor) -> Tensor:
    """(3, D, H, W): position of each voxel along k, j, i in decimetres from the centre of the body.

    ``first_mm`` (3,) is the position of voxel (0, 0, 0) relative to that centre, ``spacing_mm`` (3,) the voxel size,
    both in (k, j, i) order. A patch alone does not tell left from right; with its place in the body it does.
    """
    axes = [
        first + torch.arange(n, device=first.device) * step
        for first, n, step in zip(first_mm, shape, spacing_mm, strict=True)
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")) / 100
