"""Dice between label maps, and means of them over cases and structures."""

from collections.abc import Mapping

import numpy as np

from CrossModalSegLib.imaging.volume import Volume
from CrossModalSegLib.inference.inference import Segmenter
from CrossModalSegLib.labels import LabelMap

Scores = dict[str, object]


def dice_of(
    segmenter: Segmenter, volumes: Mapping[str, Volume], truths: Mapping[str, np.ndarray]
) -> dict[str, dict[str, float]]:
    """Per modality, Dice per structure of its result with the truth."""
    results = segmenter.segment(volumes).modalities
    return {
        name: dice_between(segmenter.bundle.label_map, result.labels, truths[name]) for name, result in results.items()
    }


def dice_between(label_map: LabelMap, a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """Dice per structure that at least one of two label maps has."""
    scores = {}
    for structure in label_map.structures:
        in_a, in_b = a == structure.value, b == structure.value
        total = int(in_a.sum() + in_b.sum())
        if total:
            scores[structure.name] = 2 * int((in_a & in_b).sum()) / total
    return scores


def summary(cases: list[dict[str, float]]) -> Scores:
    """Mean over cases and structures, and over cases per structure."""
    names = sorted({name for case in cases for name in case})
    per = {name: float(np.nanmean([case[name] for case in cases if name in case])) for name in names}
    return {
        "mean": round(float(np.mean(list(per.values()))), 4),
        "per structure": {k: round(v, 4) for k, v in per.items()},
    }
