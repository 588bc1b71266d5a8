"""From class probabilities on the model grid back to a volume's own grid: probabilities are interpolated, not labels.

Memory is bounded by the volume and one slab, not by classes × volume: most voxels lie where all model voxels around
them have one label, and there the interpolated probabilities have it too (each corner prefers it, so every mean of the
corners does). Only the others, near boundaries, are interpolated class by class.
"""

from collections.abc import Callable, Iterator, Sequence
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
        (C, D, H, W) on ``model``; quickest where a voxel's classes lie beside each other in memory.
    channels
        Label value of each channel, background first.

    The label is the class with the highest trilinearly interpolated probability; confidence interpolates the highest
    probability of each model voxel (at most 1, also where rounding has made the sum of windows more). What lies outside
    the model grid is background with confidence 1.
    """
    highest, winner = probabilities.max(dim=0)  # (D, H, W)
    is_border = _spread(winner, torch.minimum) != _spread(winner, torch.maximum)
    borders = _Borders(probabilities, is_border)
    nearby = torch.stack([winner.float(), is_border.float(), torch.ones_like(winner, dtype=torch.float32)])[None]
    highest = highest.float()[None, None]
    values = torch.tensor(channels, dtype=torch.int32, device=probabilities.device)
    labels = np.zeros(native.shape_kji, dtype=np.uint16)
    confidence = np.ones(native.shape_kji, dtype=np.float32)
    for slab in _slabs(model, native):
        points = _points(model, native, slab).to(probabilities.device)  # (K, J, I, 3)
        near = F.grid_sample(nearby, points[None], mode="nearest", align_corners=False)[0]  # (3, K, J, I), 0 outside
        channel, inside = near[0].long(), near[2] > 0
        unsure = near[1].flatten().nonzero()[:, 0]
        for chunk in unsure.split(CHUNK_POINTS):
            channel.view(-1)[chunk] = borders.sample(points.view(-1, 3)[chunk]).max(dim=1).indices
        labels[slab] = values[channel].cpu().numpy()
        smooth = F.grid_sample(highest, points[None], padding_mode="border", align_corners=False)[0, 0]
        confidence[slab] = torch.where(inside, smooth, 1.0).clamp_max(1.0).cpu().numpy()
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
        """(n, C) trilinear samples at (n, 3) (i, j, k) points at borders, -1 to 1; beyond the grid its edge goes on."""
        size = torch.tensor(self._shape, device=points.device)
        points = ((points.flip(1) + 1) * size - 1) / 2  # (k, j, i) in voxels
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


def _slabs(model: Grid, native: Grid) -> Iterator[tuple[slice, slice, slice]]:
    """Parts (k, j, i) of ``native`` that together hold all of its voxels on ``model``, to the voxels' edges."""
    to_native = native.ras_to_ijk @ model.ijk_to_ras
    corners = np.array([[*corner, 1.0] for corner in product(*((-0.5, size - 0.5) for size in model.shape_ijk))])
    found = (corners @ to_native.T)[:, :3]  # (8, 3) native (i, j, k)
    starts = np.clip(np.floor(found.min(axis=0)), 0, native.shape_ijk).astype(int)
    stops = np.clip(np.ceil(found.max(axis=0)) + 1, 0, native.shape_ijk).astype(int)
    if (stops <= starts).any():
        return
    i, j, k = (slice(int(start), int(stop)) for start, stop in zip(starts, stops, strict=True))
    thickness = max(1, SLAB_VOXELS // ((j.stop - j.start) * (i.stop - i.start)))
    for start in range(k.start, k.stop, thickness):
        yield slice(start, min(start + thickness, k.stop)), j, i


def _points(model: Grid, native: Grid, slab: tuple[slice, slice, slice]) -> Tensor:
    """(K, J, I, 3) float32: where on ``model`` the voxels of a part of ``native`` lie, as (i, j, k) from -1 to 1, from
    edge to edge of the grid, which single voxels have too."""
    to_model = model.ras_to_ijk @ native.ijk_to_ras
    size = [part.stop - part.start for part in slab]
    half = np.array(size[::-1]) / 2
    middle = np.array([(part.start + part.stop - 1) / 2 for part in slab[::-1]])
    scale = 2 / np.array(model.shape_ijk)
    matrix = to_model[:3, :3] * half * scale[:, None]
    offset = (to_model[:3, :3] @ middle + to_model[:3, 3] + 0.5) * scale - 1
    theta = torch.from_numpy(np.column_stack([matrix, offset])).float()
    return F.affine_grid(theta[None], [1, 1, *size], align_corners=False)[0]
