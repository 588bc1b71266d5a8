"""Scores on synthetic scans of the label maps 18 to 20, which no training saw.

Contrasts are the typical ones of training_cli/configs/brain-mr-pair.toml, whatever a bundle was trained with, so that
versions compare. Anatomies are those of the maps unless a part says otherwise.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.volume import Volume, read_image
from CrossModalSegLib.inference.inference import Segmenter
from CrossModalSegLib.synthesis import acquisition
from CrossModalSegLib.synthesis.anatomy import Growth, LesionConfig
from CrossModalSegLib.synthesis.synthesis import LabelSource, PairSynthesizer, SynthesisConfig
from CrossModalSegLib.training.config import read_config
from CrossModalSegLib.training.training_data import world_aligned
from Testing.Benchmarks.starter.moved import displaced_grid
from Testing.Benchmarks.starter.tables import Scores, dice_between, dice_of, summary

CONFIG = Path(__file__).resolve().parents[3] / "training_cli" / "configs" / "brain-mr-pair.toml"
UNSEEN_MAPS = (18, 19, 20)
WHOLE_HEAD_MM = (192, 224, 192)  # (k, j, i)
HIPPOCAMPUS = (17, 53)
PULLS_MM = (0.0, 0.6, 1.2, 2.0)  # inwards: from no atrophy to about 40 %
FAR_MM = 5.0  # outside of the brain
STILL = SynthesisConfig(
    rotation=0, scaling=0, shear=0, elastic=0, anywhere_probability=0, single_probability=0, crop_probability=0,
    extraction_probability=0, thick_slice_probability=0, displacement_probability=0, centre_spread=0, noise=0.03,
    bias=0.2, )  # fmt: skip


@dataclass(frozen=True)
class Head:
    """A synthetic pair of whole scans at 1 mm and its label values, by modality."""

    volumes: Mapping[str, Volume]
    truths: Mapping[str, np.ndarray]

    def changed(self, name: str, array: np.ndarray) -> "Head":
        """The same head with another image of one modality."""
        return replace(
            self, volumes={**self.volumes, name: replace(self.volumes[name], array=array.astype(np.float32))}
        )


def head(segmenter: Segmenter, data: Path, number: int, displaced: bool = False, **changes: object) -> Head:
    """Scans of map ``number``; ``changes`` of the synthesis. ``displaced``: the second moved, as a patient moves."""
    bundle, options = segmenter.bundle, read_config(CONFIG).synthesis
    contrasts = tuple(replace(one, probability=float(n < 2), elsewhere=0.0) for n, one in enumerate(options.contrast))
    known = {"groups": options.groups, "merge": options.merge, "outside": options.outside, "contrast": contrasts}
    config = replace(STILL, **{**known, "lesions": LesionConfig(), **changes})  # type: ignore[arg-type]
    array, spacing = _map(data, number)
    synthesizer = PairSynthesizer(
        config, np.unique(array).tolist(), bundle.label_map.channels, bundle.modalities, segmenter.rules
    )
    source: LabelSource = synthesizer.source(torch.from_numpy(array), spacing)
    sample = synthesizer.sample(source, WHOLE_HEAD_MM, 1.0, number)
    channels = np.array(bundle.label_map.channels)
    grid = Grid(WHOLE_HEAD_MM, centred_affine(WHOLE_HEAD_MM))
    places = (grid, displaced_grid(grid) if displaced else grid)
    named = list(zip(bundle.modalities, places, sample.volumes, sample.labels, strict=True))
    return Head(
        {name: Volume(volume[0].numpy(), place, name) for name, place, volume, _ in named},
        {name: channels[labels.numpy()] for name, _, _, labels in named},
    )


@cache
def _map(data: Path, number: int) -> tuple[np.ndarray, float]:
    return world_aligned(*read_image(data / "brain-label-maps" / f"training_seg_{number:02d}.nii.gz"))


def score_pairs(segmenter: Segmenter, data: Path) -> Scores:
    """Dice for each way of giving the pair."""
    settings: dict[str, list[dict[str, float]]] = {}
    first, second = segmenter.bundle.modalities
    for number in UNSEEN_MAPS:
        still, moved = head(segmenter, data, number), head(segmenter, data, number, displaced=True)
        both = dice_of(segmenter, still.volumes, still.truths)
        cases = {
            "both": both[first],
            "both, labels of the second": both[second],
            "first only": dice_of(segmenter, {first: still.volumes[first]}, still.truths)[first],
            "second only": dice_of(segmenter, {second: still.volumes[second]}, still.truths)[second],
            "displaced": dice_of(segmenter, moved.volumes, moved.truths)[first],
        }
        for name, case in cases.items():
            settings.setdefault(name, []).append(case)
    return {name: summary(cases) for name, cases in settings.items()}


def score_slots(segmenter: Segmenter, data: Path) -> Scores:
    """Dice of a T1w in its own place, in the T2w's, and inverted in the T2w's."""
    first, second = segmenter.bundle.modalities
    cases: dict[str, list[dict[str, float]]] = {}
    for number in UNSEEN_MAPS:
        given = head(segmenter, data, number, extraction_probability=1.0)
        image, truth = given.volumes[first], given.truths[first]
        inverted = replace(image, array=np.where(image.array > 0, 1.2 - image.array, 0).astype(np.float32))
        for name, slot, volume in (
            ("T1w", first, image), ("T1w as T2w", second, image), ("inverted as T2w", second, inverted)
        ):  # fmt: skip
            result = segmenter.segment({slot: replace(volume, modality=slot)}).modalities[slot].labels
            cases.setdefault(name, []).append(dice_between(segmenter.bundle.label_map, result, truth))
    return {name: summary(found) for name, found in cases.items()}


def score_fusion(segmenter: Segmenter, data: Path) -> Scores:
    """Dice of a scan of 5 mm slices, and of a noisy one, alone and beside a good scan of the other contrast."""
    first, second = segmenter.bundle.modalities
    cases: dict[str, list[dict[str, float]]] = {}
    for number in UNSEEN_MAPS:
        good = head(segmenter, data, number, extraction_probability=1.0)
        for name, other in ((first, second), (second, first)):
            for how, image in _worse(good.volumes[name].array):
                poor = good.changed(name, image)
                pair = dice_of(segmenter, poor.volumes, poor.truths)
                alone = dice_of(segmenter, {name: poor.volumes[name]}, poor.truths)
                for words, found in (("beside the other", pair), ("alone", alone)):
                    cases.setdefault(f"{name}, {how}, {words}", []).append(found[name])
                cases.setdefault(f"{other}, good, beside the {how} {name}", []).append(pair[other])
    return {name: summary(found) for name, found in cases.items()}


def _worse(array: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    image = torch.from_numpy(array)
    yield "5 mm slices", acquisition.thick_slices(image, 0, 5.0).numpy()
    noisy = acquisition.add_noise(image, 0.12, torch.Generator().manual_seed(0)).numpy()
    yield "noisy", np.where(array > 0, np.clip(noisy, 0, None), 0)


def score_volumes(segmenter: Segmenter, data: Path) -> Scores:
    """Volume of each structure over the true one, mean over whole and brain-extracted T1w."""
    first = segmenter.bundle.modalities[0]
    ratios: dict[str, list[float]] = {}
    for number in UNSEEN_MAPS:
        for extracted in (0.0, 1.0):
            given = head(segmenter, data, number, extraction_probability=extracted)
            labels = segmenter.segment({first: given.volumes[first]}).modalities[first].labels
            for one in segmenter.bundle.label_map.structures:
                true = int((given.truths[first] == one.value).sum())
                if true:
                    ratios.setdefault(one.name, []).append(int((labels == one.value).sum()) / true)
    return {name: round(float(np.mean(found)), 3) for name, found in ratios.items()}


def score_atrophy(segmenter: Segmenter, data: Path) -> Scores:
    """Correlation over heads of a hippocampus that is small or not with what is measured; volumes in mL."""
    first = segmenter.bundle.modalities[0]
    pairs = []
    for number in UNSEEN_MAPS:
        for pull in PULLS_MM:
            shrunken = (Growth(HIPPOCAMPUS, outwards=0.0, inwards=pull, probability=1.0),)  # by up to this much
            given = head(segmenter, data, number, growth=shrunken, extraction_probability=1.0)
            labels = segmenter.segment({first: given.volumes[first]}).modalities[first].labels
            pairs += [
                [round(float((where == value).sum()) / 1000, 3) for where in (given.truths[first], labels)]
                for value in HIPPOCAMPUS
            ]
    true, measured = np.array(pairs).T
    return {"correlation": round(float(np.corrcoef(true, measured)[0, 1]), 3), "true and measured, mL": pairs}


def score_outside(segmenter: Segmenter, data: Path) -> Scores:
    """mL labelled more than 5 mm outside of the brain in whole heads, per map."""
    first = segmenter.bundle.modalities[0]
    found = {}
    for number in UNSEEN_MAPS:
        given = head(segmenter, data, number)
        labels = segmenter.segment({first: given.volumes[first]}).modalities[first].labels
        far = ndimage.distance_transform_edt(given.truths[first] == 0) > FAR_MM
        found[f"map {number}"] = round(float((far & (labels > 0)).sum()) / 1000, 2)
    return dict(found)


def centred_affine(shape_kji: tuple[int, int, int]) -> np.ndarray:
    """ijk_to_ras of a world-aligned 1 mm grid with its centre at the origin."""
    affine = np.eye(4)
    affine[:3, 3] = -(np.array(shape_kji[::-1]) - 1) / 2
    return affine
