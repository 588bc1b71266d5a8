"""The network in windows over the model grid. Features are averaged where windows overlap, and classified once.

The network's head is linear, so averaged features give the averaged logits; they are a tenth of the memory and of the
work of averaged probabilities.

Where windows overlap along every axis, they are seen as they are and mirrored in turn, as on a chessboard: each place
is seen both ways by the windows around it, at half of the work. Elsewhere each window is seen both ways.
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
STRAIGHT, MIRRORED = 0, 1  # views of a window

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
    each structure on the other side) the mean of predictions for windows as they are and mirrored left to right."""

    size: tuple[int, ...]
    classes: int
    mirrored: Sequence[int] | None = None

    @property
    def views(self) -> int:
        """In how many ways: as it is, and mirrored."""
        return 1 if self.mirrored is None else 2


@dataclass(frozen=True)
class _Window:
    """A window at ``place`` and how it is seen: ``views`` of `STRAIGHT` and `MIRRORED`."""

    place: Place
    views: tuple[int, ...]


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
    worth_it = [
        one for one in _all_windows(shape, windows, network.cell) if _is_worth_it(volumes, model_input, crop, one.place)
    ]
    cells = tuple(size // network.cell for size in windows.size)
    importance = compute_importance_map(cells, mode="gaussian", sigma_scale=0.25).clamp_min(1e-3).to(attempt.accumulate)
    slots = [slot for slot in range(MODALITIES) if model_input.presence[slot]]
    blends = {slot: _Blend(windows.views, shape, network.cell, attempt.accumulate) for slot in slots}
    for number, window in enumerate(worth_it):
        report("network", number / (len(worth_it) + 1))
        scans = _seen(volumes, window).to(attempt.device)
        here = _seen(position, window).to(attempt.device)
        here[[view == MIRRORED for view in window.views], 2] *= -1  # mirrored, what lay to the right lies to the left
        presence = model_input.presence[None].expand(len(window.views), -1).to(attempt.device)
        with torch.autocast(scans.device.type, dtype=torch.bfloat16):
            features = network.features(scans, here, presence)
        for slot in slots:
            found = features[slot]
            assert found is not None
            blends[slot].add(found.to(attempt.accumulate), importance, window)
    report("network", len(worth_it) / (len(worth_it) + 1))
    return {slot: _classified(network, slot, blend, windows, attempt)[(..., *crop)] for slot, blend in blends.items()}


class _Blend:
    """Weighted sums of one modality's features over all windows: for each view (V, C, d, h, w), mirrored ones as
    seen, and the sums of the weights (V, d, h, w)."""

    def __init__(self, views: int, shape: Sequence[int], cell: int, device: torch.device):
        self.cell, self.device = cell, device
        self.shape = tuple(size // cell for size in shape)
        self.weights = torch.zeros((views, *self.shape), device=device)
        self.sums: Tensor | None = None

    def add(self, features: Tensor, importance: Tensor, window: _Window) -> None:
        """Add the features (V, C, d, h, w) that the network found in ``window``."""
        if self.sums is None:
            self.sums = torch.zeros((len(self.weights), features.shape[1], *self.shape), device=self.device)
        k, j, i = (slice(one.start // self.cell, one.stop // self.cell) for one in window.place)
        for view, found in zip(window.views, features, strict=True):
            columns, share = i, importance
            if view == MIRRORED:
                columns, share = slice(self.shape[2] - i.stop, self.shape[2] - i.start), importance.flip(-1)
            self.weights[view, k, j, columns] += share
            self.sums[view, :, k, j, columns] += found * share

    def mean(self) -> Tensor | None:
        """The weighted mean (V, C, d, h, w), 0 where no window was; None where no window was at all."""
        return None if self.sums is None else self.sums / self.weights.clamp_min(1e-6).unsqueeze(1)

    def shares(self) -> Tensor:
        """(V, d, h, w), none mirrored: how much each view has to say at each cell; 0 where no window was."""
        weights = torch.stack([row.flip(-1) if view == MIRRORED else row for view, row in enumerate(self.weights)])
        return weights / weights.sum(dim=0).clamp_min(1e-6)


def _classified(network: CrossModalNetwork, slot: int, blend: _Blend, windows: Windows, attempt: Attempt) -> Tensor:
    """(C, D, H, W) float16 probabilities on ``attempt.accumulate``; a voxel's classes lie beside each other."""
    cell, depth = network.cell, blend.shape[0]
    shape = tuple(size * cell for size in blend.shape)
    result = torch.empty((*shape, windows.classes), dtype=torch.float16, device=attempt.accumulate)
    features = blend.mean()
    if features is None:
        make_background(result.movedim(-1, 0), torch.ones(shape, dtype=torch.bool, device=attempt.accumulate))
        return result.movedim(-1, 0)
    weights = blend.shares()
    channels = (None, windows.mirrored)[: windows.views]
    for start in range(0, depth, SLAB_CELLS):
        stop = min(start + SLAB_CELLS, depth)
        before, after = max(0, start - 1), min(depth, stop + 1)  # a smooth head sees one cell further
        slab = features[:, :, before:after].to(attempt.device)
        seen = [slab[view : view + 1].flip(-1) if view == MIRRORED else slab[:1] for view in range(windows.views)]
        logits = [
            _cell_logits(network, one, slot, mirrored)[start - before : stop - before]
            for one, mirrored in zip(seen, channels, strict=True)
        ]
        shares = weights[:, start:stop, ..., None, None, None, None].to(attempt.device)  # (V, d, h, w, 1, 1, 1, 1)
        places = result[start * cell : stop * cell].unflatten(2, (-1, cell)).unflatten(1, (-1, cell))
        for number, place in enumerate(places.unflatten(0, (-1, cell))):  # a slice of cells at a time fits the cache
            parts = [torch.softmax(one[number], dim=-1, dtype=torch.float32) for one in logits]
            mean = parts[0].mul_(shares[0, number])
            for part, share in zip(parts[1:], shares[1:, number], strict=True):
                mean.addcmul_(part, share)
            place.copy_(mean.permute(2, 0, 3, 1, 4, 5))  # (h, w, s, s, s, C) to (s, h, s, w, s, C)
    nowhere = weights.sum(dim=0) == 0
    if nowhere.any():
        nowhere = nowhere.repeat_interleave(cell, 0).repeat_interleave(cell, 1).repeat_interleave(cell, 2)
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


def _seen(volumes: Tensor, window: _Window) -> Tensor:
    """(V, ...): the window in each of the views of ``window``."""
    part = volumes[(..., *window.place)]
    return torch.stack([part.flip(-1) if view == MIRRORED else part for view in window.views])


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


def _all_windows(shape: tuple[int, ...], windows: Windows, cell: int) -> Iterator[_Window]:
    """All windows of a volume: alternately straight and mirrored where there are neighbours along every axis."""
    interval = [max(1, int(size * (1 - OVERLAP)) // cell) * cell for size in windows.size]
    places = dense_patch_slices(shape, windows.size, interval)
    starts = [sorted({place[axis].start for place in places}) for axis in range(3)]
    alternately = windows.views > 1 and min(len(row) for row in starts) > 1
    for place in places:
        steps = sum(row.index(one.start) for row, one in zip(starts, place, strict=True))
        yield _Window(place, (steps % 2,) if alternately else (STRAIGHT, MIRRORED)[: windows.views])
