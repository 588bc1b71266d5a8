"""A real case in main memory, ready to cut patches from: both scans and their labels on one model grid."""

import dataclasses
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from CrossModalSegLib.atomic import write_atomically
from CrossModalSegLib.errors import TrainingError
from CrossModalSegLib.imaging.background import with_dark_background
from CrossModalSegLib.imaging.geometry import cut_grid, model_grid, resample_to
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.resampling import even_labels
from CrossModalSegLib.imaging.volume import Volume
from CrossModalSegLib.label_translation import relabel
from CrossModalSegLib.preprocess import IntensityRule, normalise


@dataclass(frozen=True)
class TrainingCase:
    """``images`` (M, D, H, W), ``covered`` and ``labels`` alike (labels all 0 where the case has none), ``presence``
    (M,). ``aligned`` says that both scans show the same place at the same voxel."""

    images: Tensor
    covered: Tensor
    labels: Tensor
    presence: tuple[bool, ...]
    aligned: bool = True
    ready: bool = False  # intensities are normalised already

    def normalised(self, rules: Sequence[IntensityRule]) -> "TrainingCase":
        """The case with intensities as the network takes them, from the whole scan as in inference."""
        if self.ready:
            return self
        images = torch.stack([normalise(*scan) for scan in zip(self.images, self.covered, rules, strict=True)])
        return replace(self, images=images, ready=True)

    def cut(self, place: tuple[slice, ...]) -> "TrainingCase":
        """The part of the case at ``place``, slices along (k, j, i)."""
        parts = {name: getattr(self, name)[(slice(None), *place)].clone() for name in ("images", "covered", "labels")}
        return replace(self, **parts)


@dataclass(frozen=True)
class Focus:
    """How a model with a locator sees a case: intensities normalised by the whole scan, then cut to ``box`` (2, 3),
    corners in RAS mm, where there is one."""

    rules: Sequence[IntensityRule]
    box: np.ndarray | None = None


def training_case(
    volumes: Mapping[int, Volume],
    labels: Mapping[int, tuple[np.ndarray, Grid]],
    channels: Sequence[int],
    spacing: float,
    aligned: bool = True,
    focus: Focus | None = None,
) -> TrainingCase:
    """Bring volumes and label maps (by modality, values as in ``channels``) onto one world-aligned grid.

    Label values that are not in ``channels`` become background. A case without labels is given an empty mapping.
    """
    volumes = {slot: with_dark_background(volume) for slot, volume in volumes.items()}
    grid = model_grid(list(volumes.values()), (spacing, spacing, spacing))
    images = torch.zeros((2, *grid.shape_kji))
    covered = torch.zeros((2, *grid.shape_kji), dtype=torch.bool)
    channel_map = torch.zeros((2, *grid.shape_kji), dtype=torch.uint8)
    for slot, volume in volumes.items():
        array, inside = resample_to(volume, grid)
        images[slot], covered[slot] = torch.from_numpy(array), torch.from_numpy(inside)
    for slot, (array, place) in labels.items():
        channel_map[slot] = torch.from_numpy(_to_channels(even_labels(array, place, grid), channels))
    case = TrainingCase(images, covered, channel_map, tuple(slot in volumes for slot in range(2)), aligned)
    if focus is None:
        return case
    case = case.normalised(focus.rules)
    return case if focus.box is None else case.cut(cut_grid(grid, focus.box)[1])


def _to_channels(labels: np.ndarray, channels: Sequence[int]) -> np.ndarray:
    """Position in ``channels`` of every label value, uint8; 0 for values that are not there."""
    positions = {value: position for position, value in enumerate(channels)}
    return relabel(np.rint(labels).astype(np.int64), positions, np.uint8)  # label maps may be stored as floats


def save_case(path: Path, case: TrainingCase) -> None:
    """Write a case for `load_case`; the file appears whole or not at all."""
    buffer = io.BytesIO()
    torch.save(dataclasses.asdict(case), buffer)
    write_atomically(path, buffer.getvalue())


def load_case(path: Path) -> TrainingCase:
    """The case in a file, whose voxels stay there until they are looked at: hundreds of cases fit.

    Raises TrainingError ``checkpoint-unreadable``.
    """
    try:
        return TrainingCase(**torch.load(path, weights_only=True, mmap=True))
    except (MemoryError, PermissionError):
        raise
    except Exception as error:  # torch raises anything where a file is damaged
        hint = "remove the folder that it lies in: it only spares time"
        raise TrainingError("checkpoint-unreadable", f"the prepared case {path} is damaged", hint) from error
