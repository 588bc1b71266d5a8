"""Make the frozen cases that the starter bundle carries: crops of synthetic scans of label maps that it never trained
on.

    python training_cli/frozen_crops.py --data ../shared/data/brain-label-maps

They show what a fine-tuned model loses elsewhere: the brain's middle at 1.5 mm in several contrasts, as pairs and
alone, with the starter's own protocol. ``publish_starter.py`` puts them into the bundle; they are never trained on. The
same maps give the same files.
"""

import argparse
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.segmentation_io import write_segmentation
from CrossModalSegLib.imaging.volume import read_image, write_volume
from CrossModalSegLib.labels import LABEL_MAP_FOLDER, LabelMap, read_label_map
from CrossModalSegLib.synthesis.synthesis import ContrastPrior, PairSynthesizer
from CrossModalSegLib.training.config import TrainingConfig, read_config
from CrossModalSegLib.training.training_data import world_aligned

HERE = Path(__file__).resolve().parent
CONFIG = HERE / "configs" / "brain-mr-pair.toml"
OUTPUT = HERE / "frozen"
CROP = (56, 72, 56)  # slices, rows, columns
SPACING_MM = 1.5
LEVELS = 48.0  # of grey between the darkest and the brightest tissue: enough for a network, and small when packed
LEAST_ML = 0.3  # of a structure inside the crop, to be scored
STILL = {
    "rotation": 0.0, "scaling": 0.0, "shear": 0.0, "elastic": 0.0, "anywhere_probability": 0.0, "centre_spread": 0.0,
    "single_probability": 0.0, "crop_probability": 0.0, "thick_slice_probability": 0.0, "displacement_probability": 0.0,
    "noise": 0.03, "extraction_probability": 1.0,
}  # fmt: skip


@dataclass(frozen=True)
class Crop:
    """``contrasts`` are positions among the configuration's, by modality."""

    name: str
    label_map: int
    contrasts: Mapping[str, int]


T1W, T2W, FLAIR = 0, 1, 2
CROPS = (
    Crop("map-18-t1w-t2w", 18, {"T1w": T1W, "T2w": T2W}),
    Crop("map-19-t1w", 19, {"T1w": T1W}),
    Crop("map-19-flair", 19, {"T2w": FLAIR}),
    Crop("map-20-t1w-flair", 20, {"T1w": T1W, "T2w": FLAIR}),
)


def main() -> None:
    """Write FOLDER/<case>/<modality>.nrrd and .seg.nrrd."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data" / "brain-label-maps")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    args = parser.parse_args()
    config = read_config(CONFIG)
    label_map = read_label_map(LABEL_MAP_FOLDER / f"{config.label_map}.json")
    for crop in CROPS:
        array, grid = read_image(args.data / f"training_seg_{crop.label_map:02d}.nii.gz")
        write_crop(args.output / crop.name, crop, config, label_map, *world_aligned(array, grid))
    size = sum(path.stat().st_size for path in args.output.rglob("*.nrrd"))
    print(f"wrote {len(CROPS)} cases, {size / 1000:.0f} kB, to {args.output}")


def write_crop(
    folder: Path, crop: Crop, config: TrainingConfig, label_map: LabelMap, array: np.ndarray, spacing_mm: float
) -> None:
    """One case: scans as whole numbers, and labels of the structures that lie in the crop, on the same grid."""
    chosen = {name: config.synthesis.contrast[number] for name, number in crop.contrasts.items()}
    priors: list[ContrastPrior] = [dataclasses.replace(one, probability=1.0) for one in chosen.values()]
    synthesis = dataclasses.replace(config.synthesis, contrast=tuple(priors), **STILL)
    synthesizer = PairSynthesizer(
        synthesis, np.unique(array).tolist(), label_map.channels, config.modalities, config.rules
    )
    source = synthesizer.source(torch.from_numpy(array), spacing_mm)
    sample = synthesizer.sample(source, CROP, SPACING_MM, crop.label_map)
    grid = Grid(CROP, _centred(CROP))
    folder.mkdir(parents=True, exist_ok=True)
    for name in crop.contrasts:
        slot = config.modalities.index(name)
        image = (sample.volumes[slot, 0].numpy() * LEVELS).round().clip(0, 255).astype(np.uint8)
        labels = np.array(label_map.channels)[sample.labels[slot].numpy()].astype(np.uint16)
        values, counts = np.unique(labels, return_counts=True)
        enough = set(values[counts * SPACING_MM**3 / 1000 >= LEAST_ML].tolist())
        shown = LabelMap(tuple(one for one in label_map.structures if one.value in enough))
        write_volume(folder / f"{name}.nrrd", image, grid)
        write_segmentation(folder / f"{name}.seg.nrrd", np.where(np.isin(labels, shown.values), labels, 0), grid, shown)


def _centred(shape: tuple[int, int, int]) -> np.ndarray:
    """IJK to RAS with the middle of the grid at the origin."""
    affine = np.diag([SPACING_MM, SPACING_MM, SPACING_MM, 1.0])
    affine[:3, 3] = [-SPACING_MM * (n - 1) / 2 for n in shape[::-1]]
    return affine


if __name__ == "__main__":
    main()
