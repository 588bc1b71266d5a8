"""Where the anatomy is: a coarse network looks at the whole scan first, so that the fine one looks only there.

It makes a run faster, and keeps what lies elsewhere, such as fat of the scalp that looks like cortex, from being
labelled.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.imaging.geometry import resample_to
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.volume import Volume
from CrossModalSegLib.inference.model_input import prepare
from CrossModalSegLib.inference.sliding_window import Attempt, Windows, predict
from CrossModalSegLib.network import CrossModalNetwork
from CrossModalSegLib.preprocess import IntensityRule

SMALLEST_ML = 30.0  # less than this is not taken for the anatomy
_HERE = Attempt(torch.device("cpu"), torch.device("cpu"), "on the CPU")  # a second's work


@dataclass(frozen=True)
class Located:
    """Where the anatomy is: ``distance_mm`` (D, H, W) float32 to it from each voxel of ``grid``, 0 inside; ``box`` (2,
    3) its lower and upper corner in RAS mm with a margin; nothing is labelled further than ``reach_mm`` from it."""

    distance_mm: np.ndarray
    grid: Grid
    box: np.ndarray
    reach_mm: float

    def within(self, grid: Grid) -> torch.Tensor:
        """Bool of ``grid.shape_kji``: where something may be labelled."""
        distance, covered = resample_to(Volume(self.distance_mm, self.grid, "distance"), grid)
        return torch.from_numpy((distance <= self.reach_mm) & covered)


class Locator:
    """A bundle's coarse network, and how it is used."""

    def __init__(self, bundle: Bundle, network: CrossModalNetwork, rules: Sequence[IntensityRule]):
        assert bundle.locator is not None
        self.settings, self.network, self.rules = bundle.locator, network.eval(), tuple(rules)

    def find(self, volumes: Mapping[int, Volume]) -> Located | None:
        """Where the anatomy is in any of the volumes (by slot); None where none is found."""
        given = prepare(volumes, (self.settings.spacing_mm,) * 3, self.rules)
        found = predict(self.network, given, Windows(self.settings.patch_size, 2), _HERE, lambda *_: None)
        covered = {slot: given.volumes[slot, 1] > 0 for slot in found}
        inside = torch.stack([(found[slot][1] > self.settings.threshold) & covered[slot] for slot in found]).any(dim=0)
        anatomy = _largest(inside.numpy())
        if anatomy.sum() * given.grid.voxel_volume_ml < SMALLEST_ML:
            return None
        distance = ndimage.distance_transform_edt(~anatomy, sampling=self.settings.spacing_mm).astype(np.float32)
        return Located(distance, given.grid, _box(anatomy, given.grid, self.settings.margin_mm), self.settings.reach_mm)


def _largest(mask: np.ndarray) -> np.ndarray:
    """The largest piece of ``mask`` (connected by faces), its holes filled."""
    pieces, count = ndimage.label(mask)
    if count > 1:
        mask = pieces == 1 + int(np.bincount(pieces.ravel())[1:].argmax())
    return ndimage.binary_fill_holes(mask)


def _box(mask: np.ndarray, grid: Grid, margin_mm: float) -> np.ndarray:
    """(2, 3) corners in RAS mm of the voxels of ``mask`` on a world-aligned ``grid``, and ``margin_mm`` around them."""
    places = [np.flatnonzero(mask.any(axis=axes)) for axes in ((0, 1), (0, 2), (1, 2))]  # along i, j, k
    edges = np.array([[place[0] - 0.5 for place in places], [place[-1] + 0.5 for place in places]])
    return edges @ grid.ijk_to_ras[:3, :3].T + grid.ijk_to_ras[:3, 3] + [[-margin_mm], [margin_mm]]
