"""What contrast a brain scan has, by how bright its tissues are where the model finds them: one window in its middle.

The scan is looked at as the modality that the model has seen in most contrasts, whatever it is called: as that one,
white matter is found by its place, and not by being bright.
"""

import re
import statistics
from collections.abc import Mapping

import torch
from torch import Tensor

from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.imaging.content_findings import TissueIntensities
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.volume import Volume
from CrossModalSegLib.inference.inference import Segmenter
from CrossModalSegLib.inference.model_input import ModelInput, prepare
from CrossModalSegLib.inference.sliding_window import Attempt, Windows, predict
from CrossModalSegLib.labels import LabelMap

# How the structures of a tissue are called.
_TISSUES = {
    "white": re.compile("cerebral white matter"),
    "grey": re.compile("cerebral cortex"),
    "fluid": re.compile("(lateral|third) ventricle"),
    "deep": re.compile("thalamus|putamen|caudate"),
}
_CERTAIN = 0.7  # probability of a voxel that counts
_NO_ANATOMY = TissueIntensities(0.0, 0.0, 0.0, 0.0, 0.0)
_LEAST_VOXELS = 20  # of a structure that counts
_LEAST_COVERED = 0.9  # of the window; less, and the scan shows a part of the brain only


def tissue_intensities(segmenter: Segmenter, volume: Volume) -> TissueIntensities | None:
    """How bright the tissues of a brain are in ``volume``.

    None where the model is none of the brain, or was not trained on synthetic scans of several contrasts, or where the
    scan covers less than the middle of the brain. Raises torch.OutOfMemoryError.
    """
    channels, slot = _tissue_channels(segmenter.bundle.label_map), _slot_of_most_contrasts(segmenter.bundle)
    if channels is None or slot is None:
        return None
    middle = _middle(segmenter, volume, slot)
    if middle is None:
        return _NO_ANATOMY
    intensity, covered = middle.volumes[slot]
    if float((covered > 0).float().mean()) < _LEAST_COVERED:
        return None
    windows = Windows(segmenter.bundle.patch_size, len(segmenter.bundle.label_map.channels))
    here = Attempt(segmenter.device, torch.device("cpu"), "in the middle")
    probabilities = predict(segmenter.network, middle, windows, here, lambda *_: None)[slot]
    certainty, label = probabilities.max(dim=0)
    found = {
        tissue: [intensity[(label == channel) & (certainty > _CERTAIN)] for channel in ours]
        for tissue, ours in channels.items()
    }
    white, grey, fluid = (_median(torch.cat(found[tissue])) for tissue in ("white", "grey", "fluid"))
    deep = sum(len(one) for one in found["deep"])
    ventricles = [_median(one) for one in found["fluid"] if len(one) >= _LEAST_VOXELS] or [fluid]
    return TissueIntensities(white, grey, fluid, statistics.median(ventricles), deep * middle.grid.voxel_volume_ml)


def _middle(segmenter: Segmenter, volume: Volume, slot: int) -> ModelInput | None:
    """One window in the middle of the anatomy, with ``volume`` alone; None where the model's locator finds none.

    The middle of the whole is that of the window as well, so that positions are told from the same point.
    """
    box = None
    if segmenter.locator:
        located = segmenter.locator.find({slot: volume})
        if located is None:
            return None
        box = located.box
    whole = prepare({slot: volume}, segmenter.bundle.spacing_mm, segmenter.rules, box)
    sizes = [min(size, n) for size, n in zip(segmenter.bundle.patch_size, whole.grid.shape_kji, strict=True)]
    starts = [(n - size) // 2 for size, n in zip(sizes, whole.grid.shape_kji, strict=True)]
    k, j, i = (slice(start, start + size) for start, size in zip(starts, sizes, strict=True))
    affine = whole.grid.ijk_to_ras.copy()
    affine[:3, 3] += affine[:3, :3] @ starts[::-1]
    cut = whole.volumes[:, :, k, j, i]
    return ModelInput(cut, whole.presence, Grid((cut.shape[2], cut.shape[3], cut.shape[4]), affine))


def _median(values: Tensor) -> float:
    return float(values.median()) if values.numel() else 0.0


def _tissue_channels(label_map: LabelMap) -> Mapping[str, list[int]] | None:
    """Network channels of the structures of each tissue; None where one has none."""
    found = {
        tissue: [channel for channel, one in enumerate(label_map.structures, start=1) if pattern.search(one.name)]
        for tissue, pattern in _TISSUES.items()
    }
    return found if all(found.values()) else None


def _slot_of_most_contrasts(bundle: Bundle) -> int | None:
    """Position of the modality with most typical contrasts in the model's synthetic training; None without any."""
    configuration = bundle.training.get("configuration", {})
    contrasts = configuration.get("synthesis", {}).get("contrast", [])
    counts = [
        sum(one["modality"] == name or one.get("elsewhere", 0) > 0 for one in contrasts) for name in bundle.modalities
    ]
    return max(range(len(counts)), key=lambda slot: (counts[slot], slot)) if any(counts) else None
