"""Adapting a segmentation around what was drawn by hand: `adapt_locally` on the nodes of a result."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from CrossModalSegApp.scene.case_nodes import CaseNodes
from CrossModalSegApp.scene.drawn_by_hand import Box, DrawnByHand
from CrossModalSegApp.scene.node_geometry import local_grid, voxel_at
from CrossModalSegApp.scene.scan_intensities import intensities_in
from CrossModalSegApp.scene.scene_io import voxels_of
from CrossModalSegApp.scene.segmentation_labels import marked_labels
from CrossModalSegLib.imaging.local_adaptation import Strokes, adapt_locally, box_around


@dataclass(frozen=True)
class Adapted:
    """``labels`` (K, J, I) of the whole scan; ``drawn`` voxels of strokes were used, ``changed`` others changed."""

    labels: np.ndarray
    drawn: int
    changed: int
    seconds: float


def rerun(case: CaseNodes, modality: str, drawn: DrawnByHand, place: Sequence[float] | None) -> Adapted | None:
    """What the strokes on the segmentation of ``modality``, which has the model's own beside it, mean around them:
    those nearest to ``place`` (RAS, mm) where they lie too far apart for one box. None without a stroke.

    Raises LabelError as `marked_labels` does.
    """
    started = time.monotonic()
    volume, node = case.volumes[modality], case.segmentations[modality]
    now, before = marked_labels(node, volume), marked_labels(case.models[modality], volume)
    by_hand = drawn.mask(node, now, before)
    spacing = np.array(local_grid(volume).spacing_ijk[::-1])
    box = box_around(by_hand, spacing, voxel_at(volume, place) if place is not None else None)
    if box is None:
        return None
    scans = [intensities_in(box, one, volume) for one in case.volumes.values()]
    confidence = _confidence(case.uncertainties.get(modality), now.shape, box)
    labels = now.copy()
    labels[box] = adapt_locally(Strokes(before[box], now[box], by_hand[box], scans, spacing, confidence))
    drawn.note_computed(node, now, labels)
    changed = int((labels[box] != now[box]).sum())
    return Adapted(labels, int(by_hand[box].sum()), changed, time.monotonic() - started)


def _confidence(uncertainty: Any, shape: tuple[int, ...], box: Box) -> np.ndarray | None:
    """Of the model in its own labels, from 0 to 1, by its uncertainty in percent; None where that is gone."""
    if uncertainty is None or voxels_of(uncertainty).shape != shape:
        return None
    return 1 - np.asarray(voxels_of(uncertainty)[box]) / np.float32(100)
