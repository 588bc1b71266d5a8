"""From class probabilities on the model grid back to a volume's own grid: probabilities are interpolated, not labels.

Memory is bounded by the volume and one slab, not by classes × volume: most voxels lie where all model voxels around
them have one label, and there the interpolated probabilities have it too (each corner prefers it, so every mean of the
corners does). Only the others, near boundaries, are interpolated class by class.
"""

from collections.abc import Sequence
from itertools import product

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
        (C, D, H, W) on ``model``.
    channels
        Label value of each channel, background first.

    The label is the class with the highest trilinearly interpolated probability; confidence interpolates the highest
    probability of each model voxel (at most 1, also where rounding has made the sum of windows more). What lies outside
    the model grid is background with confidence 1.
    """
    highest, winner = probabilities.max(dim=0)  # (D, H, W)
    uniform = _uniform(winner)
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
        unsure = (inside & ~uniform.flatten()[nearest]).nonzero()[:, 0]
        for chunk in unsure.split(CHUNK_POINTS):
            channel[chunk] = _sample(probabilities, points[chunk]).argmax(dim=0)
        slab = (stop - start, *native.shape_kji[1:])
        labels[start:stop] = values[channel].view(slab).cpu().numpy()
        known = torch.cat([_sample(highest[None], chunk)[0] for chunk in points.split(CHUNK_POINTS)])
        confidence[start:stop] = torch.where(inside, known, 1.0).clamp_max(1.0).view(slab).cpu().numpy()
    return labels, confidence


def _uniform(winner: Tensor) -> Tensor:
    """Bool (D, H, W): all 27 model voxels around have the same label."""
    as_float = F.pad(winner.float()[None, None], [1] * 6, mode="replicate")
    return (F.max_pool3d(as_float, 3, 1) == -F.max_pool3d(-as_float, 3, 1))[0, 0]


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


def _sample(volumes: Tensor, points: Tensor) -> Tensor:
    """(C, n) float32 trilinear samples of (C, D, H, W) at (n, 3) (k, j, i) points, borders replicated."""
    flat = volumes.flatten(1)  # (C, D·H·W)
    size = torch.tensor(volumes.shape[1:], device=points.device)
    points = torch.minimum(points.clamp_min(0), size - 1)
    lower = points.floor()
    fraction = points - lower  # (n, 3)
    result = torch.zeros((len(volumes), len(points)), device=points.device)
    for corner in product((0, 1), repeat=3):
        step = torch.tensor(corner, device=points.device)
        index = torch.minimum(lower.long() + step, size - 1)
        weight = torch.where(step == 1, fraction, 1 - fraction).prod(dim=1)  # (n,)
        place = (index[:, 0] * size[1] + index[:, 1]) * size[2] + index[:, 2]
        result += flat.index_select(1, place).float() * weight
    return result
