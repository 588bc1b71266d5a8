"""Intensities to network input: the one normalisation that training and inference share."""

import math
from typing import Annotated

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor

from CrossModalSegLib.tables import Number, one_of, table, wrong

LARGEST_SAMPLE = 40_000  # voxels that percentiles are taken from
_LEAST_RANGE = torch.finfo(torch.float32).tiny  # in any unit: a diffusion map in m²/s ends at 3e-9


@table("intensity-rule", 'use "percentile" or "window", and give lower < upper')
class IntensityRule:
    """How one modality's intensities become network input.

    rule "percentile": the ``lower`` percentile of the covered voxels becomes 0, the ``upper`` percentile of the
    foreground (voxels above a tenth of the range, so that air does not count) becomes 1; for MR.
    rule "window": the values ``lower`` and ``upper`` (such as HU) become 0 and 1; for CT.
    Either way the result is clipped to [0, 1.5] and [0, 1], and 0 where the modality does not cover.
    """

    rule: Annotated[str, one_of(("percentile", "window"))] = "percentile"
    lower: Number = 1.0
    upper: Annotated[Number, Field(validate_default=True)] = 99.0

    @field_validator("lower", "upper")
    @classmethod
    def _is_percentage(cls, value: float, info: ValidationInfo) -> float:
        if info.data.get("rule") == "percentile" and not 0 <= value <= 100:
            raise wrong(f'must be 0 to 100 percent, not {value:g}, or rule = "window"')
        return value

    @field_validator("upper")
    @classmethod
    def _is_above_lower(cls, value: float, info: ValidationInfo) -> float:
        if not info.data.get("lower", -math.inf) < value:
            raise wrong(f"lower {info.data['lower']:g} is not below upper {value:g}")
        return value


def normalise(image: Tensor, coverage: Tensor, rule: IntensityRule) -> Tensor:
    """``image`` (D, H, W) by ``rule``, float32; 0 outside ``coverage`` (D, H, W) bool."""
    image = image.float()
    if rule.rule == "window":
        scaled = ((image - rule.lower) / (rule.upper - rule.lower)).clamp(0, 1)
    else:
        low, high = _percentile_range(image[coverage], rule)
        scaled = ((image - low) / (high - low).clamp_min(_LEAST_RANGE)).clamp(0, 1.5)
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
