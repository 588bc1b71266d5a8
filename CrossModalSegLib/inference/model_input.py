"""Both modalities on the grid that the network sees."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from CrossModalSegLib.imaging.background import with_dark_background
from CrossModalSegLib.imaging.geometry import Spacing, cut_grid, model_grid, resample_to
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.volume import Volume
from CrossModalSegLib.network import MODALITIES
from CrossModalSegLib.preprocess import IntensityRule, network_input


@dataclass(frozen=True)
class ModelInput:
    """Both modalities on the model grid: ``volumes`` (M, 2, D, H, W) float32, ``presence`` (M,) bool. Where ``within``
    (D, H, W) bool is False, nothing is to be labelled; None: anywhere may be."""

    volumes: Tensor
    presence: Tensor
    grid: Grid
    within: Tensor | None = None


def prepare(
    volumes: Mapping[int, Volume],
    spacing_mm: Spacing,
    rules: Sequence[IntensityRule],
    box: np.ndarray | None = None,
) -> ModelInput:
    """Both modalities, by slot, on one world-aligned grid; an absent one is zeros and marked as such.

    ``spacing_mm`` in (i, j, k) order. The grid covers the bodies (`model_grid`), and of these no more than ``box`` (2,
    3), in RAS mm. Intensities are normalised by the whole of what the bodies' grid covers, whatever the box.
    """
    volumes = {slot: with_dark_background(volume) for slot, volume in volumes.items()}
    whole = model_grid(list(volumes.values()), spacing_mm)
    grid, inside = (whole, (slice(None),) * 3) if box is None else cut_grid(whole, box)
    stacked = torch.zeros((MODALITIES, 2, *grid.shape_kji))
    for slot, volume in volumes.items():
        array, covered = resample_to(volume, whole)
        given = network_input(torch.from_numpy(array), torch.from_numpy(covered), rules[slot])
        stacked[slot] = given[(slice(None), *inside)]
    presence = torch.tensor([slot in volumes for slot in range(MODALITIES)])
    return ModelInput(stacked, presence, grid)
