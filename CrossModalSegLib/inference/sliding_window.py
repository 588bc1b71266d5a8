"""The network in windows over the model grid. Features are averaged where windows overlap, and classified once.

The network's head is linear, so averaged features give the averaged logits; they are a tenth of the memory and of the
work of averaged probabilities.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from monai.data.utils import compute_importance_map, dense_patch_slices
from torch import Tensor
from torch.nn import functional as F

from CrossModalSegLib.inference.model_input import ModelInput
from CrossModalSegLib.network import MODALITIES, CrossModalNetwork
from CrossModalSegLib.preprocess import position_channels

OVERLAP = 0.5  # of neighbouring windows
SLAB_CELLS = 8  # slices of feature cells that are classified at a time

Place = tuple[Any, ...]  # three slices
Report = Callable[[str, float], None]  # stage, fraction done


@dataclass(frozen=True)
class Attempt:
    """One step of the out-of-memory ladder: where the network runs, and where its results are kept."""

    device: torch.device
    accumulate: torch.device
    words: str


@dataclass(frozen=True)
class Windows:
    """How a bundle's network looks: ``size`` (d, h, w) of a window, ``classes``, and with ``mirrored`` (the channel of
    each structure on the other side) the mean of the prediction and of that for the window mirrored left to right."""

    size: tuple[int, ...]
    classes: int
    mirrored: Sequence[int] | None = None


@torch.inference_mode()
def predict(
    network: CrossModalNetwork, model_input: ModelInput, windows: Windows, attempt: Attempt, report: Report
) -> dict[int, Tensor]:
    """Class probabilities (C, D, H, W) float16 per present modality, by slot.

    Windows are weighted by a Gaussian. Those that no modality covers, or in which nothing is to be labelled, are
    skipped; what lies in no other window is background.
    """
    volumes, crop = _pad(model_input.volumes, windows.size, network.cell)
    shape = tuple(volumes.shape[-3:])
    position = _position(model_input, crop, shape)
    places = [
        place for place in _places(shape, windows.size, network.cell) if _is_worth_it(volumes, model_input, crop, place)
    ]
    cells = tuple(size // network.cell for size in windows.size)
    importance = compute_importance_map(cells, mode="gaussian", sigma_scale=0.25).clamp_min(1e-3).to(attempt.accumulate)
    slots = [slot for slot in range(MODALITIES) if model_input.presence[slot]]
    views = 1 if windows.mirrored is None else 2
    blends = {slot: _Blend(views, shape, network.cell, attempt.accumulate) for slot in slots}
    presence = model_input.presence[None].expand(views, -1).to(attempt.device)
    for number, place in enumerate(places):
        report("network", number / (len(places) + 1))
        window = _views(volumes[(..., *place)], views, -1).to(attempt.device)
        here = _views(position[(..., *place)], views, -1).to(attempt.device)
        here[1:, 2] *= -1  # mirrored, what lay to the right lies to the left
        with torch.autocast(window.device.type, dtype=torch.bfloat16):
            features = network.features(window, here, presence)
        for slot in slots:
            found = features[slot]
            assert found is not None
            blends[slot].add(found.to(attempt.accumulate), importance, place)
    report("network", len(places) / (len(places) + 1))
    return {slot: _classified(network, slot, blend, windows, attempt)[(..., *crop)] for slot, blend in blends.items()}


class _Blend:
    """Weighted sums of one modality's features over all windows: for each view (V, C, d, h, w), mirrored ones as
    seen."""

    def __init__(self, views: int, shape: Sequence[int], cell: int, device: torch.device):
        self.views, self.cell, self.device = views, cell, device
        self.shape = tuple(size // cell for size in shape)
        self.weights = torch.zeros(self.shape, device=device)
        self.sums: Tensor | None = None

    def add(self, features: Tensor, importance: Tensor, place: Place) -> None:
        """Add the features (V, C, d, h, w) of the window at ``place`` (slices of voxels)."""
        if self.sums is None:
            self.sums = torch.zeros((self.views, features.shape[1], *self.shape), device=self.device)
        k, j, i = (slice(one.start // self.cell, one.stop // self.cell) for one in place)
        self.weights[k, j, i] += importance
        self.sums[0, :, k, j, i] += features[0] * importance
        if self.views > 1:
            turned = slice(self.shape[2] - i.stop, self.shape[2] - i.start)
            self.sums[1, :, k, j, turned] += features[1] * importance.flip(-1)

    def mean(self) -> Tensor | None:
        """The weighted mean (V, C, d, h, w), 0 where no window was; None where no window was at all."""
        if self.sums is None:
            return None
        weights = self.weights.clamp_min(1e-6)
        return self.sums / torch.stack([weights, weights.flip(-1)][: self.views]).unsqueeze(1)


def _classified(network: CrossModalNetwork, slot: int, blend: _Blend, windows: Windows, attempt: Attempt) -> Tensor:
    """(C, D, H, W) float16 probabilities on ``attempt.accumulate``; a voxel's classes lie beside each other."""
    cell, depth = network.cell, blend.shape[0]
    shape = tuple(size * cell for size in blend.shape)
    result = torch.zeros((*shape, windows.classes), dtype=torch.float16, device=attempt.accumulate)
    features = blend.mean()
    if features is None:
        result[..., 0] = 1
        return result.movedim(-1, 0)
    views = (None, windows.mirrored)[: blend.views]
    for start in range(0, depth, SLAB_CELLS):
        stop = min(start + SLAB_CELLS, depth)
        before, after = max(0, start - 1), min(depth, stop + 1)  # a smooth head sees one cell further
        slab = features[:, :, before:after].to(attempt.device)
        seen = [slab[number : number + 1].flip(-1) if number else slab[:1] for number in range(blend.views)]
        logits = [
            _cell_logits(network, one, slot, mirrored)[start - before : stop - before]
            for one, mirrored in zip(seen, views, strict=True)
        ]
        places = result[start * cell : stop * cell].unflatten(2, (-1, cell)).unflatten(1, (-1, cell))
        for place, *parts in zip(places.unflatten(0, (-1, cell)), *logits, strict=True):  # a slice of cells at a time,
            shares = [torch.softmax(part, dim=-1, dtype=torch.float32) for part in parts]  # which fits the cache
            mean = shares[0] if len(shares) == 1 else torch.add(*shares).mul_(0.5)
            place.copy_(mean.permute(2, 0, 3, 1, 4, 5))  # (h, w, s, s, s, C) to (s, h, s, w, s, C)
    nowhere = (blend.weights == 0).repeat_interleave(cell, 0).repeat_interleave(cell, 1).repeat_interleave(cell, 2)
    make_background(result.movedim(-1, 0), nowhere)
    return result.movedim(-1, 0)


def _cell_logits(network: CrossModalNetwork, features: Tensor, slot: int, mirrored: Sequence[int] | None) -> Tensor:
    """(d, h, w, s, s, s, C) from ``features`` (1, C, d, h, w)."""
    features = features.contiguous(memory_format=torch.channels_last_3d)
    with torch.autocast(features.device.type, dtype=torch.bfloat16):
        logits = network.cell_logits(features, slot, mirrored)[0].movedim(0, -1)  # (d, h, w, s³·C)
    return logits.unflatten(-1, (network.cell, network.cell, network.cell, -1))


@torch.inference_mode()
def make_background(probabilities: Tensor, places: Tensor) -> None:
    """In place: ``probabilities`` (C, D, H, W) become background at ``places`` (D, H, W) bool."""
    probabilities[:, places] = 0
    probabilities[0, places] = 1


def _views(window: Tensor, views: int, axis: int) -> Tensor:
    """(V, ...): the window and, of two views, its mirror image."""
    return torch.stack([window, window.flip(axis)][:views])


def _is_worth_it(volumes: Tensor, model_input: ModelInput, crop: Place, place: Place) -> bool:
    """Whether anything is covered in the window, and anything may be labelled."""
    if not bool(volumes[(slice(None), 1, *place)].any()):
        return False
    if model_input.within is None:
        return True
    unpadded = tuple(
        slice(max(0, one.start - part.start), max(0, one.stop - part.start))
        for one, part in zip(place, crop, strict=True)
    )
    return bool(model_input.within[unpadded].any())


def _pad(volumes: Tensor, window: Sequence[int], cell: int) -> tuple[Tensor, Place]:
    """``volumes`` padded with "not covered" to at least one window and to whole cells, and the slices that undo it."""
    padding: list[int] = []
    crop = []
    for size, least in zip(volumes.shape[-3:], window, strict=True):
        missing = max(least, -(-size // cell) * cell) - size
        before = missing // 2
        padding = [before, missing - before, *padding]
        crop.append(slice(before, before + size))
    return F.pad(volumes, padding), tuple(crop)


def _position(model_input: ModelInput, crop: Place, shape: tuple[int, ...]) -> Tensor:
    """(3, D, H, W) position channels of the padded volumes; the model grid's centre is the centre of the body."""
    size = torch.tensor(model_input.volumes.shape[-3:])
    padding = torch.tensor([part.start for part in crop])
    spacing = torch.tensor(model_input.grid.spacing_ijk[::-1], dtype=torch.float32)
    return position_channels(-(padding + (size - 1) / 2) * spacing, shape, spacing)


def _places(shape: tuple[int, ...], window: Sequence[int], cell: int) -> Iterator[Place]:
    interval = [max(1, int(size * (1 - OVERLAP)) // cell) * cell for size in window]
    yield from dense_patch_slices(shape, window, interval)
