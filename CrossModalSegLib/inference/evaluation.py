"""Scores of a segmentation against a reference, per structure, in native space: Dice, NSD and HD95.

All three are MONAI's implementations, on the structure's own box and with the grid's real, possibly anisotropic
spacing:

- **Dice**: 2 |P ∩ R| / (|P| + |R|) over voxels.
- **NSD**, normalised surface Dice: the part of both surfaces' area that lies within ``tolerance_mm`` of the other
  surface; areas as in Nikolov et al., "Clinically applicable segmentation of head and neck anatomy", J Med Internet
  Res 2021 (DeepMind's surface-distance).
- **HD95**: the larger of the two directed 95th percentiles of the distance from one side's outermost voxels to the
  other's, in mm.

What an absent structure counts, written into every score as ``rule``:

=======================  ===========  ============  ============================
rule                     Dice, NSD    HD95          counts in
=======================  ===========  ============  ============================
``in-both``              as measured  as measured   every mean
``only-in-reference``    0            not a number  the means of Dice and NSD
``only-in-prediction``   0            not a number  the means of Dice and NSD
``in-neither``           not a number not a number  no mean
=======================  ===========  ============  ============================
"""

import json
import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_surface_dice
from rich.table import Table
from scipy import ndimage

from CrossModalSegLib.errors import GeometryError, InputError
from CrossModalSegLib.imaging.dicom_segments import is_segmentation_object
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.lattice import joint_grid, placed_on
from CrossModalSegLib.imaging.segmentation_io import read_segmentation
from CrossModalSegLib.inference.label_matching import LabelledSide, Matched, matched, named
from CrossModalSegLib.label_translation import LabelTranslation
from CrossModalSegLib.labels import LARGEST_VALUE, LabelMap, Structure

Rule = Literal["in-both", "only-in-reference", "only-in-prediction", "in-neither"]
Box = tuple[slice, ...]

# A header's spacing of 1.00000012 mm means 1 mm: surfaces one such voxel apart are within a tolerance of 1 mm.
HEADER_ROUNDING_MM = 1e-4
_NOTHING_SCORED = "nothing was scored: where the two are compared, neither has any of the structures"


@dataclass(frozen=True)
class StructureScore:
    """One structure's scores: distances in mm, volumes in mL, nan for "not a number" (see ``rule``, above)."""

    value: int
    name: str
    dice: float
    nsd: float
    hd95_mm: float
    reference_ml: float
    prediction_ml: float
    rule: Rule


@dataclass(frozen=True)
class MeanScores:
    """Means over the structures that count by the rule above, and how many those are; nan where none counts."""

    dice: float
    nsd: float
    hd95_mm: float
    structures: int
    structures_with_hd95: int


@dataclass(frozen=True)
class Evaluation:
    """The scores of one file against another, and what they were measured with. ``notes`` say which structures of one
    side have no counterpart on the other, and whether there was nothing to score."""

    prediction: Path
    reference: Path
    tolerance_mm: float
    ignored_voxels: int
    scores: tuple[StructureScore, ...]
    notes: tuple[str, ...] = ()


def evaluate(
    prediction: np.ndarray,
    reference: np.ndarray,
    grid: Grid,
    label_map: LabelMap,
    tolerance_mm: float = 1.0,
    ignored: np.ndarray | None = None,
) -> list[StructureScore]:
    """One score per structure of ``label_map``, in its order; any other label counts as background.

    ``prediction`` and ``reference`` hold label values (integers), ``ignored`` (bool) marks voxels to leave out: they
    are background in both. All have shape (K, J, I) and lie on ``grid``.

    Raises:
        GeometryError ``grids-differ``: the arrays' shapes are not the grid's.
    """
    for side, labels in (("prediction", prediction), ("reference", reference)):
        if labels.shape != tuple(grid.shape_kji):
            message = f"the {side} has shape {labels.shape}, its grid {tuple(grid.shape_kji)}"
            raise GeometryError("grids-differ", message, "give both on one grid")
    if ignored is not None:
        prediction, reference = np.where(ignored, 0, prediction), np.where(ignored, 0, reference)
    boxes = _boxes_around(prediction, reference, label_map.values)
    return [
        _score(structure, prediction[box] == structure.value, reference[box] == structure.value, grid, tolerance_mm)
        for structure, box in zip(label_map.structures, boxes, strict=True)
    ]


def mean_scores(scores: Sequence[StructureScore]) -> MeanScores:
    """Means over structures: Dice and NSD where either side has the structure, HD95 where both have it."""
    counted = [score for score in scores if score.rule != "in-neither"]
    measured = [score for score in scores if score.rule == "in-both"]
    return MeanScores(
        dice=_mean(score.dice for score in counted),
        nsd=_mean(score.nsd for score in counted),
        hd95_mm=_mean(score.hd95_mm for score in measured),
        structures=len(counted),
        structures_with_hd95=len(measured),
    )


def score_files(
    prediction_path: str | Path,
    reference_path: str | Path,
    labels: LabelMap | LabelTranslation | None = None,
    tolerance_mm: float = 1.0,
    ignored_values: Sequence[int] = (),
    assumed_orientation: str | None = None,
) -> Evaluation:
    """Score one segmentation file against another on the same grid (.seg.nrrd, .nrrd, .nii.gz, .mha, DICOM).

    A DICOM Segmentation may leave slices out in which it has nothing: its frames have to lie on the other's voxels.

    Where both files have names (.seg.nrrd), structures are matched by name, whatever their values; elsewhere by value.
    Scored are the structures of the label map given or, with a translation, those it translates to; with neither, those
    that the prediction's file describes and what the reference holds beside them, else every value found. Left out of
    the comparison are voxels whose reference value is one of ``ignored_values`` or has no translation.
    ``assumed_orientation`` (such as "RAS") is that of files that do not say theirs.

    Raises:
        GeometryError ``grids-differ``, InputError ``not-labels`` or ``no-structure``, LabelError ``names-differ`` where
        both files have names and share none, and what reading a file raises.
    """
    prediction, grid, prediction_map = _read_labels(Path(prediction_path), assumed_orientation)
    reference, reference_grid, reference_map = _read_labels(Path(reference_path), assumed_orientation)
    if not grid.is_close(reference_grid):
        sides = ((Path(prediction_path), prediction, grid), (Path(reference_path), reference, reference_grid))
        prediction, reference, grid = _on_one_grid(*sides)
    ignored = np.isin(reference, ignored_values)
    if isinstance(labels, LabelTranslation):
        reference, untranslated = labels.apply(reference)
        ignored |= untranslated
        pair = Matched(prediction, reference, named(labels.values, prediction_map))
    else:
        pair = matched(LabelledSide(prediction, prediction_map), LabelledSide(reference, reference_map), labels)
    scores = evaluate(pair.prediction, pair.reference, grid, pair.label_map, tolerance_mm, ignored)
    ignored_voxels = int(ignored.sum())
    notes = (*pair.notes, *([_NOTHING_SCORED] if all(score.rule == "in-neither" for score in scores) else []))
    return Evaluation(Path(prediction_path), Path(reference_path), tolerance_mm, ignored_voxels, tuple(scores), notes)


def to_json(evaluation: Evaluation) -> str:
    """The evaluation as JSON text; "not a number" is null."""
    report = {
        "prediction": str(evaluation.prediction),
        "reference": str(evaluation.reference),
        "tolerance_mm": evaluation.tolerance_mm,
        "ignored_voxels": evaluation.ignored_voxels,
        "notes": list(evaluation.notes),
        "mean": _without_nan(asdict(mean_scores(evaluation.scores))),
        "structures": [_without_nan(asdict(score)) for score in evaluation.scores],
    }
    return json.dumps(report, indent=2, allow_nan=False) + "\n"


def to_table(evaluation: Evaluation) -> Table:
    """The evaluation as a table for the terminal, the means in its last row."""
    mean = mean_scores(evaluation.scores)
    table = Table(
        title=f"{evaluation.prediction.name} against {evaluation.reference.name}", caption=_caption(evaluation)
    )
    table.add_column("structure")
    for heading in ("Dice", f"NSD {evaluation.tolerance_mm:g} mm", "HD95 mm", "reference mL", "prediction mL"):
        table.add_column(heading, justify="right")
    table.add_column("rule")
    for score in evaluation.scores:
        volumes = (f"{score.reference_ml:.2f}", f"{score.prediction_ml:.2f}")
        table.add_row(f"{score.value} {score.name}", *_cells(score), *volumes, score.rule)
    table.add_section()
    table.add_row(f"mean of {mean.structures}", *_cells(mean), "", "", f"HD95 of {mean.structures_with_hd95}")
    return table


def _score(
    structure: Structure, prediction: np.ndarray, reference: np.ndarray, grid: Grid, tolerance_mm: float
) -> StructureScore:
    """The score of one structure from its two masks (bool, cropped to its box)."""
    rule = _rule(bool(prediction.any()), bool(reference.any()))
    if rule == "in-both":
        dice, nsd, hd95_mm = _measure(prediction, reference, grid.spacing_ijk[::-1], tolerance_mm)
    else:
        dice = nsd = math.nan if rule == "in-neither" else 0.0
        hd95_mm = math.nan
    return StructureScore(
        value=structure.value,
        name=structure.name,
        dice=dice,
        nsd=nsd,
        hd95_mm=hd95_mm,
        reference_ml=int(reference.sum()) * float(grid.voxel_volume_ml),
        prediction_ml=int(prediction.sum()) * float(grid.voxel_volume_ml),
        rule=rule,
    )


def _rule(in_prediction: bool, in_reference: bool) -> Rule:
    if in_prediction and in_reference:
        return "in-both"
    if in_reference:
        return "only-in-reference"
    return "only-in-prediction" if in_prediction else "in-neither"


def _measure(
    prediction: np.ndarray, reference: np.ndarray, spacing_kji: Sequence[float], tolerance_mm: float
) -> tuple[float, float, float]:
    """Dice, NSD and HD95 (mm) of two masks (bool), neither of them empty."""
    pair = [torch.from_numpy(mask)[None, None].float() for mask in (prediction, reference)]  # (1, 1, K, J, I)
    spacing = [float(length) for length in spacing_kji]
    tolerance = [tolerance_mm + HEADER_ROUNDING_MM]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "monai.metrics.utils get_mask_edges", FutureWarning)  # MONAI's call of itself
        dice = compute_dice(*pair, include_background=True)
        nsd = compute_surface_dice(*pair, tolerance, include_background=True, spacing=spacing, use_subvoxels=True)
        hd95 = compute_hausdorff_distance(*pair, include_background=True, percentile=95, spacing=spacing)
    return dice.item(), nsd.item(), hd95.item()


def _boxes_around(prediction: np.ndarray, reference: np.ndarray, values: Sequence[int]) -> list[Box]:
    """Per label value the box around its voxels on either side; an empty box where there are none."""
    found = [ndimage.find_objects(labels, max_label=max(values)) for labels in (prediction, reference)]
    return [_union([boxes[value - 1] for boxes in found if boxes[value - 1] is not None]) for value in values]


def _union(boxes: Sequence[Box]) -> Box:
    if not boxes:
        return (slice(0, 0),) * 3
    return tuple(slice(min(s.start for s in axis), max(s.stop for s in axis)) for axis in zip(*boxes, strict=True))


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return math.fsum(numbers) / len(numbers) if numbers else math.nan


def _read_labels(path: Path, assumed_orientation: str | None) -> tuple[np.ndarray, Grid, LabelMap | None]:
    """Labels as int32 (K, J, I), their grid, and the label map where the file holds one."""
    array, grid, label_map = read_segmentation(path, assumed_orientation)
    low, high = array.min(), array.max()
    if not 0 <= low <= high <= LARGEST_VALUE or not np.array_equal(labels := array.astype(np.int32), array):
        message = f"{path} holds values from {low} to {high} that are not all labels"
        raise InputError("not-labels", message, f"give integers from 0 to {LARGEST_VALUE}")
    return labels, grid, label_map


_Side = tuple[Path, np.ndarray, Grid]


def _on_one_grid(prediction: _Side, reference: _Side) -> tuple[np.ndarray, np.ndarray, Grid]:
    """The labels of both where DICOM Segmentations leave empty slices out: on the grid of the file that does not, or on
    one that has the slices of both. Raises GeometryError ``grids-differ``."""
    sides = (prediction, reference)
    whole = [grid for path, _labels, grid in sides if not is_segmentation_object(path)]
    target = {0: joint_grid(prediction[2], reference[2]), 1: whole[0] if whole else None, 2: None}[len(whole)]
    if target is not None:
        placed = [placed_on(labels, grid, target) for _path, labels, grid in sides]
        if placed[0] is not None and placed[1] is not None:
            return placed[0], placed[1], target
    message = " and ".join(f"{path} has {_in_words(grid)}" for path, _labels, grid in sides)
    raise GeometryError("grids-differ", message, "score on the scan's own grid: resample neither of the two")


def _in_words(grid: Grid) -> str:
    size = " x ".join(str(length) for length in grid.shape_kji[::-1])
    affine = np.round(grid.ijk_to_ras[:3], 3).tolist()
    return f"{size} voxels and IJK-to-RAS {affine}"


def _cells(scores: StructureScore | MeanScores) -> tuple[str, str, str]:
    return _cell(scores.dice, 3), _cell(scores.nsd, 3), _cell(scores.hd95_mm, 2)


def _cell(number: float, digits: int) -> str:
    return "–" if math.isnan(number) else f"{number:.{digits}f}"


def _caption(evaluation: Evaluation) -> str:
    absent = "only on one side: Dice and NSD 0, no HD95; in neither: in no mean"
    return f"{absent}; {evaluation.ignored_voxels} voxels left out"


def _without_nan(fields: dict[str, object]) -> dict[str, object]:
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in fields.items()}
