"""From class probabilities on the model grid back to a volume's own grid: probabilities are interpolated, not labels.

Memory is bounded by the volume and one slab, not by classes × volume: most voxels lie where all model voxels around
them have one label, and there the interpolated probabilities have it too (each corner prefers it, so every mean of the
corners does). Only the others, near boundaries, are interpolated class by class.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from CrossModalSegLib.imaging.grid import Grid

SLAB_VOXELS = 2_000_000
CHUNK_POINTS = 60_000  # more is slower: intermediate results no longer fit the cache


@torch.inference_mode()
def restore(probabilities: Tensor, model: Grid, native: Grid, channels: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Labels (K, J, I) uint16 and confidence (K, J, I) float32 on ``native``.

    Parameters
    ----------
    probabilities
        (C, D, H, W) on ``model``; quickest where a voxel's classes lie beside each other in memory.
    channels
        Label value of each channel, background first.

    The label is the class with the highest trilinearly interpolated probability; confidence interpolates the highest
    probability of each model voxel (at most 1, also where rounding has made the sum of windows more). What lies outside
    the model grid is background with confidence 1.
    """
    highest, winner = probabilities.max(dim=0)  # (D, H, W)
    highest = highest.float()
    is_border = _spread(winner, torch.minimum) != _spread(winner, torch.maximum)
    borders = _Borders(probabilities, is_border)
    values = torch.tensor(channels, dtype=torch.int32, device=probabilities.device)
    labels = np.zeros(native.shape_kji, dtype=np.uint16)
    confidence = np.ones(native.shape_kji, dtype=np.float32)
    thickness = max(1, SLAB_VOXELS // (native.shape_kji[1] * native.shape_kji[2]))
    to_model = torch.tensor(model.ras_to_ijk @ native.ijk_to_ras)
    for start in range(0, native.shape_kji[0], thickness):
        stop = min(start + thickness, native.shape_kji[0])
        points = _slab_points(to_model, start, stop, native).to(probabilities.device)  # (n, 3) model (k, j, i)
        inside, nearest = _nearest(points, winner.shape)
        channel = torch.where(inside, winner.flatten()[nearest], 0)
        unsure = (inside & is_border.flatten()[nearest]).nonzero()[:, 0]
        for chunk in unsure.split(CHUNK_POINTS):
            channel[chunk] = borders.sample(points[chunk]).max(dim=1).indices
        slab = (stop - start, *native.shape_kji[1:])
        labels[start:stop] = values[channel].view(slab).cpu().numpy()
        known = torch.where(inside, _interpolate(highest, points), 1.0).clamp_max(1.0)
        confidence[start:stop] = known.view(slab).cpu().numpy()
    return labels, confidence


def _spread(values: Tensor, best: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Of ``values`` (D, H, W), the ``best`` (minimum or maximum) of each voxel and the 26 around it, as int16."""
    values = values.to(torch.int16)
    for axis, size in enumerate(values.shape):
        spread = values.clone()
        for here, there in ((1, 0), (0, 1)):
            part = spread.narrow(axis, here, size - 1)
            part.copy_(best(part, values.narrow(axis, there, size - 1)))
        values = spread
    return values


class _Borders:
    """The probabilities (C, D, H, W) of the voxels at borders and beside them, which alone are interpolated."""

    def __init__(self, probabilities: Tensor, is_border: Tensor):
        self._shape = is_border.shape
        is_near = _spread(is_border, torch.maximum).bool()
        self._rows = probabilities.movedim(0, -1)[is_near].float()  # (n, C)
        self._row = torch.zeros(is_border.numel(), dtype=torch.int64, device=probabilities.device)
        self._row[is_near.flatten()] = torch.arange(len(self._rows), device=probabilities.device)

    def sample(self, points: Tensor) -> Tensor:
        """(n, C) trilinear samples at (n, 3) (k, j, i) points at borders; beyond the grid its edge goes on."""
        size = torch.tensor(self._shape, device=points.device)
        points = torch.minimum(points.clamp_min(0), size - 1)
        lower = points.floor()
        fraction = points - lower  # (n, 3)
        both = torch.stack([lower.long(), torch.minimum(lower.long() + 1, size - 1)], dim=2)  # (n, 3, 2)
        weights = torch.stack([1 - fraction, fraction], dim=2)
        place = (both[:, 0, :, None] * size[1] + both[:, 1, None, :]).flatten(1)  # (n, 4)
        place = (place[:, :, None] * size[2] + both[:, 2, None, :]).flatten(1)  # (n, 8)
        share = (weights[:, 0, :, None] * weights[:, 1, None, :]).flatten(1)
        share = (share[:, :, None] * weights[:, 2, None, :]).flatten(1)
        return F.embedding_bag(self._row[place], self._rows, per_sample_weights=share, mode="sum")


def _slab_points(to_model: Tensor, start: int, stop: int, native: Grid) -> Tensor:
    """(n, 3) float32 model-grid (k, j, i) of the voxels of native slices ``start`` to ``stop``, in storage order."""
    k = torch.arange(start, stop, dtype=torch.float64)[:, None, None, None]
    j = torch.arange(native.shape_kji[1], dtype=torch.float64)[None, :, None, None]
    i = torch.arange(native.shape_kji[2], dtype=torch.float64)[None, None, :, None]
    ijk = i * to_model[:3, 0] + j * to_model[:3, 1] + k * to_model[:3, 2] + to_model[:3, 3]
    return ijk.flip(-1).reshape(-1, 3).float()


def _nearest(points: Tensor, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """Whether each point lies on the model grid (to the voxels' edges), and the flat index of its nearest voxel."""
    size = torch.tensor(shape, device=points.device)
    index = points.round().long()
    inside = ((index >= 0) & (index < size)).all(dim=1)
    index = torch.minimum(index.clamp_min(0), size - 1)
    return inside, (index[:, 0] * shape[1] + index[:, 1]) * shape[2] + index[:, 2]


def _interpolate(volume: Tensor, points: Tensor) -> Tensor:
    """(n,) trilinear samples of ``volume`` (D, H, W) float32 at (n, 3) (k, j, i) points; beyond it its edge goes on."""
    last = torch.tensor(volume.shape, device=points.device) - 1
    scaled = (2 * points / last.clamp_min(1) - 1).flip(-1)[None, None, None]  # (1, 1, 1, n, 3) as (i, j, k), -1 to 1
    return F.grid_sample(volume[None, None], scaled, padding_mode="border", align_corners=True).flatten()
