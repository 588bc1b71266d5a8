"""Scores on real scans: manual labels where there are any, and results that must agree with each other."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from CrossModalSegLib.imaging.resampling import resample_labels
from CrossModalSegLib.imaging.volume import Volume, read_image, read_volume
from CrossModalSegLib.inference.case_output import agreement
from CrossModalSegLib.inference.evaluation import evaluate, mean_scores
from CrossModalSegLib.inference.inference import Segmenter
from CrossModalSegLib.inference.native_grid import restore
from CrossModalSegLib.label_translation import LabelTranslation, read_labels
from Testing.Benchmarks.starter.moved import displaced_volume, flipped, oblique
from Testing.Benchmarks.starter.tables import Scores, dice_between, summary

PATIENTS = ("patient07", "patient19")
BACKGROUND = 1e-6  # a voxel that differs less from the corner is outside of the extracted brain
WHITE_MATTER, VENTRICLES, BRAIN_STEM = (2, 41), (4, 43, 5, 44), 16


def score_oasis(segmenter: Segmenter, data: Path) -> Scores:
    """Dice, NSD (1 mm) and HD95 on real T1w scans given alone."""
    translation = read_labels(data / "oasis-t1" / "to_freesurfer.json")
    assert isinstance(translation, LabelTranslation)
    first = segmenter.bundle.modalities[0]
    cases, surfaces = [], []
    for folder in sorted((data / "oasis-t1").iterdir()):
        if folder.is_dir():
            volume = read_volume(folder / "T1w.nii.gz", first)
            reference, untranslated = translation.apply(read_image(folder / "labels.nii.gz")[0])
            result = segmenter.segment({first: volume}).modalities[first]
            rows = evaluate(result.labels, reference, volume.grid, segmenter.bundle.label_map, ignored=untranslated)
            cases.append({row.name: row.dice for row in rows if row.value in translation.values})
            surfaces.append(mean_scores([row for row in rows if row.value in translation.values]))
    means = {"nsd": np.mean([s.nsd for s in surfaces]), "hd95_mm": np.mean([s.hd95_mm for s in surfaces])}
    return summary(cases) | {name: round(float(value), 4) for name, value in means.items()}


def score_located(segmenter: Segmenter, data: Path) -> Scores:
    """Percent of extracted brains, by scan, that lie outside of what the locator finds and its reach."""
    assert segmenter.locator is not None
    files = [data / "open-ms" / patient / name for patient in PATIENTS for name in ("T1.nii.gz", "FLAIR.nii.gz")]
    files += sorted((data / "glioma").glob("*/T1c.nii.gz"))[:2]
    lost: dict[str, float] = {}
    for file in files:
        slot = int(file.name.startswith("FLAIR"))
        volume = read_volume(file, segmenter.bundle.modalities[slot])
        brain = np.abs(volume.array - volume.array.flat[0]) > BACKGROUND
        found = segmenter.locator.find({slot: volume})
        outside = brain if found is None else brain & ~found.within(volume.grid).numpy()
        lost[f"{file.parent.name} {file.name.split('.')[0]}"] = round(100 * float(outside.sum() / brain.sum()), 2)
    return dict(lost)


def score_displaced(segmenter: Segmenter, data: Path) -> Scores:
    """Dice between the first modality's result with the second aligned, and with it displaced and stored otherwise."""

    def compare(volumes: Mapping[str, Volume]) -> dict[str, float]:
        first, second = volumes
        aligned = segmenter.segment(volumes).modalities[first].labels
        moved = displaced_volume(volumes[second])
        result = segmenter.segment({first: volumes[first], second: moved}).modalities[first].labels
        return dice_between(segmenter.bundle.label_map, result, aligned)

    return over_real_pairs(data, compare)


def score_agreement(segmenter: Segmenter, data: Path) -> Scores:
    """Dice between the two modalities' results."""

    def compare(volumes: Mapping[str, Volume]) -> dict[str, float]:
        scores = agreement(segmenter.segment(volumes), segmenter.bundle.label_map) or {}
        return {name: score for name, score in scores.items() if score is not None and name != "mean"}

    return over_real_pairs(data, compare)


def score_storage(segmenter: Segmenter, data: Path) -> Scores:
    """Dice between the result for a scan and for the same scan stored flipped and permuted, and obliquely.

    Compared on the original's voxels: once by the probabilities of the second run, once by its labels, which lie on
    voxels of their own; what the second number lacks is the rounding of thin structures to other voxels.
    """
    folder = min(item for item in (data / "oasis-t1").iterdir() if item.is_dir())
    first = segmenter.bundle.modalities[0]
    volume = read_volume(folder / "T1w.nii.gz", first)
    original = segmenter.segment({first: volume}).modalities[first].labels
    scores: Scores = {}
    for name, stored in (("flipped and permuted", flipped(volume)), ("oblique", oblique(volume))):
        result = segmenter.segment({first: stored})
        probabilities, model = result.modalities[first].probabilities, result.model_grid
        here, _ = restore(probabilities, model, volume.grid, segmenter.bundle.label_map.channels)
        carried = resample_labels(result.modalities[first].labels, stored.grid, volume.grid)
        for labels, how in ((here, name), (carried, f"{name}, labels carried over by nearest voxel")):
            scores[how] = summary([dice_between(segmenter.bundle.label_map, labels, original)])["mean"]
    return scores


def over_real_pairs(data: Path, compare: Callable[[Mapping[str, Volume]], dict[str, float]]) -> Scores:
    """``compare`` on T1 + T2 and T1 + FLAIR of both open-ms patients; means per pair of contrasts."""
    scores: Scores = {}
    for second in ("T2", "FLAIR"):
        cases = []
        for patient in PATIENTS:
            folder = data / "open-ms" / patient
            pair = {name: read_volume(folder / f"{name}.nii.gz", name) for name in ("T1", second)}
            cases.append(compare(pair))
        scores[f"T1 + {second}"] = summary(cases)
    return scores


def score_lesions(segmenter: Segmenter, data: Path) -> Scores:
    """What lesions of multiple sclerosis are labelled as in T1 beside FLAIR: percent of their voxels."""
    scores: Scores = {}
    for patient in PATIENTS:
        folder = data / "open-ms" / patient
        pair = {name: read_volume(folder / f"{name}.nii.gz", name) for name in ("T1", "FLAIR")}
        lesions = read_image(folder / "lesions.nii.gz")[0] > 0
        labels = segmenter.segment(pair).modalities["T1"].labels[lesions]
        scores[patient] = {
            "white matter": round(100 * float(np.isin(labels, WHITE_MATTER).mean()), 1),
            "brain stem": round(100 * float((labels == BRAIN_STEM).mean()), 1),  # where such lesions are, too
            "ventricles": round(100 * float(np.isin(labels, VENTRICLES).mean()), 1),
            "nothing": round(100 * float((labels == 0).mean()), 1),
        }
    return scores
