"""Score a brain bundle: the figures of its model card.

    python Testing/Benchmarks/starter/score.py --bundle brain-mr-pair --output runs/scores.json

Needs the data folder (CROSSMODALSEG_DATA or ../shared/data). Everything runs through the library as users run it: files
in, label maps on native grids out. Parts (choose with --parts):

synthetic   pairs of whole synthetic scans from label maps that training never saw: both modalities, the first alone,
            the second alone, and the second displaced by 5 mm and 5 degrees; Dice of the first modality's labels
            (of the second's where only the second is given)
oasis       real T1w of oasis-t1, alone; Dice against manual labels mapped to FreeSurfer numbers
displaced   consistency: real pairs of open-ms, second scan displaced by 5 mm and 5 degrees and stored oblique,
            left-handed, on 3 mm slices; Dice of the first modality's result with its own aligned result
agreement   real pairs of open-ms: Dice between the results of the two modalities
storage     oasis-t1 stored flipped and permuted, and obliquely; Dice with the original's result in physical space
"""

import argparse
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from CrossModalSegLib.bundles.bundle import load_bundle
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.resampling import resample_labels
from CrossModalSegLib.imaging.volume import Volume, read_image, read_volume
from CrossModalSegLib.inference.case_output import agreement
from CrossModalSegLib.inference.evaluation import evaluate, mean_scores
from CrossModalSegLib.inference.inference import Segmenter
from CrossModalSegLib.inference.native_grid import restore
from CrossModalSegLib.label_translation import LabelTranslation, read_labels
from CrossModalSegLib.labels import LabelMap
from CrossModalSegLib.synthesis.synthesis import PairSynthesizer
from CrossModalSegLib.training.config import config_from_tables
from CrossModalSegLib.training.training_data import world_aligned

Scores = dict[str, object]
UNSEEN_MAPS = (18, 19, 20)
DISPLACEMENT_MM = 5.0
DISPLACEMENT_DEGREES = 5.0
WHOLE_HEAD_MM = (192, 224, 192)  # (k, j, i)


def main() -> None:
    """Print a table and write the scores as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="brain-mr-pair")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("CROSSMODALSEG_DATA", "../shared/data")))
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    segmenter = Segmenter(load_bundle(args.bundle), args.device)
    scores: Scores = {
        "bundle": segmenter.bundle.name,
        "sha256": segmenter.bundle.sha256,
        "device": str(segmenter.device),
    }
    for part in args.parts:
        scores[part] = PARTS[part](segmenter, args.data)
        print(part, json.dumps(scores[part], indent=1), flush=True)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(scores, indent=1))


def score_synthetic(segmenter: Segmenter, data: Path) -> Scores:
    """Mean Dice over maps and structures, and per structure, for each way of giving the pair."""
    settings: dict[str, list[dict[str, float]]] = {}
    first, second = segmenter.bundle.modalities
    for number in UNSEEN_MAPS:
        labels, grid = read_image(data / "brain-label-maps" / f"training_seg_{number:02d}.nii.gz")
        volumes, truths = synthetic_pair(segmenter, labels, grid, displaced=False, seed=number)
        moved, moved_truths = synthetic_pair(segmenter, labels, grid, displaced=True, seed=number)
        both = dice_of(segmenter, volumes, truths)
        cases = {
            "both": both[first],
            "both, labels of the second": both[second],
            "first only": dice_of(segmenter, {first: volumes[first]}, truths)[first],
            "second only": dice_of(segmenter, {second: volumes[second]}, truths)[second],
            "displaced": dice_of(segmenter, moved, moved_truths)[first],
        }
        for name, case in cases.items():
            settings.setdefault(name, []).append(case)
    return {name: summary(cases) for name, cases in settings.items()}


def synthetic_pair(
    segmenter: Segmenter, labels: np.ndarray, grid: Grid, displaced: bool, seed: int
) -> tuple[dict[str, Volume], dict[str, np.ndarray]]:
    """Two whole synthetic scans at 1 mm with typical contrasts, not deformed, and their label values."""
    bundle = segmenter.bundle
    config = config_from_tables(bundle.metadata["crossmodalseg"]["training"]["configuration"])
    array, spacing = world_aligned(labels, grid)
    tables = {**config.synthesis.__dict__} | {
        "rotation": 0.0, "scaling": 0.0, "shear": 0.0, "elastic": 0.0, "anywhere_probability": 0.0,
        "single_probability": 0.0, "crop_probability": 0.0, "extraction_probability": 0.0,
        "thick_slice_probability": 0.0, "displacement_probability": 0.0, "centre_spread": 0.0,
    }  # fmt: skip
    synthesizer = PairSynthesizer(
        type(config.synthesis)(**tables), np.unique(array).tolist(), bundle.label_map.channels, bundle.modalities,
        segmenter.rules,
    )  # fmt: skip
    source = synthesizer.source(torch.from_numpy(array), spacing)
    sample = synthesizer.sample(source, WHOLE_HEAD_MM, 1.0, seed)
    target = Grid(WHOLE_HEAD_MM, centred_affine(WHOLE_HEAD_MM))
    channels = np.array(bundle.label_map.channels)
    volumes, truths = {}, {}
    for slot, name in enumerate(bundle.modalities):
        moved = displaced_grid(target) if displaced and slot == 1 else target
        volumes[name] = Volume(sample.volumes[slot, 0].numpy(), moved, name)
        truths[name] = channels[sample.labels[slot].numpy()]
    return volumes, truths


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
        for patient in ("patient07", "patient19"):
            folder = data / "open-ms" / patient
            pair = {name: read_volume(folder / f"{name}.nii.gz", name) for name in ("T1", second)}
            cases.append(compare(pair))
        scores[f"T1 + {second}"] = summary(cases)
    return scores


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


def displacement(centre: np.ndarray) -> np.ndarray:
    """4x4 rigid motion in RAS mm: 5 degrees about an oblique axis through ``centre``, and a shift of 5 mm."""
    turn = sitk.VersorRigid3DTransform()
    axis = np.array([1.0, 2.0, 2.0]) / 3
    turn.SetRotation(axis.tolist(), float(np.deg2rad(DISPLACEMENT_DEGREES)))
    motion = np.eye(4)
    motion[:3, :3] = np.reshape(turn.GetMatrix(), (3, 3))
    motion[:3, 3] = centre - motion[:3, :3] @ centre + DISPLACEMENT_MM * np.array([2.0, 1.0, 2.0]) / 3
    return motion


def displaced_grid(grid: Grid) -> Grid:
    """The same voxels elsewhere: what a patient's motion between two scans does."""
    return Grid(grid.shape_kji, displacement(grid.corners_ras().mean(axis=0)) @ grid.ijk_to_ras)


def displaced_volume(volume: Volume) -> Volume:
    """Moved by the displacement, then stored on a left-handed grid of 3 mm slices that is oblique by the motion."""
    moved = Volume(volume.array, displaced_grid(volume.grid), volume.modality)
    return restored(moved, oblique_grid(moved.grid, (1.0, 1.0, 3.0), degrees=10.0))


def flipped(volume: Volume) -> Volume:
    """The same content with axes permuted and one reversed."""
    array = np.ascontiguousarray(volume.array.transpose(1, 2, 0)[::-1])  # new (k, j, i) = old (j reversed, i, k)
    size_j = volume.array.shape[1]
    old_from_new = np.array([[0, 1, 0, 0], [0, 0, -1, size_j - 1], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=float)
    return Volume(array, Grid(array.shape, volume.grid.ijk_to_ras @ old_from_new), volume.modality)


def oblique(volume: Volume) -> Volume:
    """The same content resampled onto an oblique, left-handed grid of the same resolution."""
    return restored(volume, oblique_grid(volume.grid, volume.grid.spacing_ijk, degrees=20.0))


def oblique_grid(grid: Grid, spacing: tuple[float, ...], degrees: float) -> Grid:
    """A left-handed grid turned by ``degrees`` that holds the whole field of view of ``grid``."""
    turn = sitk.VersorRigid3DTransform()
    turn.SetRotation([2 / 3, -1 / 3, 2 / 3], float(np.deg2rad(degrees)))
    rotation = np.reshape(turn.GetMatrix(), (3, 3)) @ np.diag([-1.0, 1.0, 1.0])
    corners = grid.corners_ras() @ rotation
    size = np.ceil((corners.max(axis=0) - corners.min(axis=0)) / spacing).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = rotation * spacing
    affine[:3, 3] = rotation @ (corners.min(axis=0) + np.array(spacing) / 2)
    return Grid((int(size[2]), int(size[1]), int(size[0])), affine)


def restored(volume: Volume, grid: Grid) -> Volume:
    """``volume`` resampled onto ``grid`` by cubic interpolation; what lies outside gets the darkest value."""
    image = sitk.GetImageFromArray(volume.array)
    volume.grid.to_sitk_geometry(image)
    reference = sitk.Image(grid.shape_ijk, sitk.sitkUInt8)
    grid.to_sitk_geometry(reference)
    lowest = float(np.median(volume.array[0]))
    out = sitk.Resample(image, reference, sitk.Transform(), sitk.sitkBSpline, lowest, sitk.sitkFloat32)
    return Volume(sitk.GetArrayFromImage(out), grid, volume.modality)


def centred_affine(shape_kji: tuple[int, int, int]) -> np.ndarray:
    """ijk_to_ras of a world-aligned 1 mm grid with its centre at the origin."""
    affine = np.eye(4)
    affine[:3, 3] = -(np.array(shape_kji[::-1]) - 1) / 2
    return affine


PARTS = {
    "synthetic": score_synthetic,
    "oasis": score_oasis,
    "displaced": score_displaced,
    "agreement": score_agreement,
    "storage": score_storage,
}

if __name__ == "__main__":
    main()
