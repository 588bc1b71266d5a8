"""Whole cases segmented and scored by a model, the product's own way; each case's results are written as it is done.

``FOLDER/<case>/<modality>.seg.nrrd`` in values of the new model, and ``scores.json``: per modality and structure Dice,
NSD and HD95. A case that is there already is not segmented again.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from CrossModalSegLib.adaptation.gate import PairedCase
from CrossModalSegLib.adaptation.site_data import DataCase, Labels, read_labels
from CrossModalSegLib.atomic import output_errors, staged_folder
from CrossModalSegLib.imaging.segmentation_io import SLICER_SUFFIX, write_segmentation
from CrossModalSegLib.inference.evaluation import StructureScore, evaluate
from CrossModalSegLib.inference.inference import Segmenter
from CrossModalSegLib.label_translation import relabel
from CrossModalSegLib.labels import LabelMap

SCORES_FILE = "scores.json"
SPECK_ML = 0.1  # of a structure that the reference does not have: less is no finding
Scores = dict[str, dict[str, dict[str, float]]]  # modality, structure: dice, nsd, hd95_mm


class CaseScorer:
    """Segments cases with one model and scores them; ``translation`` are the new model's values for the segmenter's."""

    def __init__(self, segmenter: Segmenter, translation: Mapping[int, int], label_map: LabelMap, folder: Path):
        self.segmenter, self.label_map, self.folder = segmenter, label_map, folder
        self._new_values = {value: translation.get(value, value) for value in segmenter.bundle.label_map.values}

    def score(self, case: DataCase) -> Scores:
        """The scores of a case, as they are read from its folder. Raises what segmenting it raises."""
        target = self.folder / case.id
        if not (target / SCORES_FILE).is_file():
            self._segment(case, target)
        return read_scores(target)

    def _segment(self, case: DataCase, target: Path) -> None:
        result = self.segmenter.segment(case.volumes())
        predicted = {name: relabel(one.labels, self._new_values) for name, one in result.modalities.items()}
        scores = {name: self._scores(case, predicted[name], labels) for name, labels in case.reference().items()}
        with staged_folder(target, overwrite=True, marker=SCORES_FILE) as staging:
            for name, one in result.modalities.items():
                write_segmentation(staging / f"{name}{SLICER_SUFFIX}", predicted[name], one.volume.grid, self.label_map)
            with output_errors(target):
                (staging / SCORES_FILE).write_text(json.dumps(scores, indent=1), encoding="utf-8")

    def _scores(self, case: DataCase, predicted: np.ndarray, reference: Labels) -> dict[str, dict[str, float | None]]:
        known = LabelMap(tuple(one for one in self.label_map.structures if one.value in case.values))
        rated = evaluate(predicted, reference[0], reference[1], known)
        return {
            one.name: {"dice": dice_of(one), "nsd": _or_none(one.nsd), "hd95_mm": _or_none(one.hd95_mm)}
            for one in rated
        }


def dice_of(score: StructureScore) -> float:
    """Dice for the gate: where the reference does not have the structure, 1 if the model finds no more than a speck of
    ``SPECK_ML``, else 0."""
    if score.reference_ml > 0:
        return score.dice
    return 1.0 if score.prediction_ml <= SPECK_ML else 0.0


def read_scores(folder: Path) -> Scores:
    """The scores in a case's folder; what is not a number comes back as NaN."""
    content: dict[str, Any] = json.loads((folder / SCORES_FILE).read_text(encoding="utf-8"))
    return {
        modality: {
            name: {key: math.nan if value is None else value for key, value in numbers.items()}
            for name, numbers in structures.items()
        }
        for modality, structures in content.items()
    }


def read_prediction(folder: Path, case: DataCase) -> dict[str, Labels]:
    """The labels that a model gave a case, by modality."""
    return {name: read_labels(folder / case.id / f"{name}{SLICER_SUFFIX}") for name in case.scans}


def paired(
    cases: Sequence[DataCase], parent: Mapping[str, Scores], candidate: Mapping[str, Scores]
) -> list[PairedCase]:
    """Both models' Dice on the cases that both have scored, for the gate."""
    return [
        PairedCase(case.id, case.patient, _dice(parent[case.id]), _dice(candidate[case.id]))
        for case in cases
        if case.id in parent and case.id in candidate
    ]


def _dice(scores: Scores) -> dict[str, dict[str, float]]:
    return {m: {name: numbers["dice"] for name, numbers in of_m.items()} for m, of_m in scores.items()}


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
