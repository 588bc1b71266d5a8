"""The patients of the benchmark: real T1 crops with labels, and the second scans simulated for them, kept on disk."""

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.segmentation_io import read_segmentation
from CrossModalSegLib.imaging.volume import Volume, read_volume, write_volume
from CrossModalSegLib.training.training_case import TrainingCase, training_case
from Testing.Benchmarks.method.simulate import ALIGNED, DISPLACED, contrast, simulate

CHANNELS = (0, 1, 2)  # background, anterior, posterior hippocampus
FEWEST = 10  # patients: one of them validates, two are scored
PLACEMENTS = {"aligned": ALIGNED, "displaced": DISPLACED}


@dataclass(frozen=True)
class Scan:
    """One scan and its labels, each on its own grid."""

    volume: Volume
    labels: np.ndarray
    label_grid: Grid


@dataclass(frozen=True)
class Patient:
    """Where a patient's files are; ``number`` seeds the simulation."""

    number: int
    image: Path
    label: Path
    folder: Path

    def first(self) -> Scan:
        """The real T1-weighted scan."""
        labels, grid, _ = read_segmentation(self.label)
        return Scan(read_volume(self.image, "T1w"), np.rint(labels).astype(np.int16), grid)

    def second(self, placement: str) -> Scan:
        """The simulated scan, "aligned" or "displaced"."""
        labels, grid, _ = read_segmentation(self.folder / f"label-{placement}.nrrd")
        volume = read_volume(self.folder / f"SIM-{placement}.nrrd", "SIM")
        return Scan(volume, np.rint(labels).astype(np.int16), grid)

    def simulate(self, recipe: int) -> None:
        """Make both second scans, unless they are there."""
        first = self.first()
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, placement in PLACEMENTS.items():
            if not (self.folder / f"SIM-{name}.nrrd").exists():
                made = simulate(first.volume, first.labels, placement, contrast(recipe), self.number)
                write_volume(self.folder / f"label-{name}.nrrd", made.labels.astype(np.int16), made.label_grid)
                write_volume(self.folder / f"SIM-{name}.nrrd", made.volume.array, made.volume.grid)

    def case(self, slots: Sequence[int], labelled: bool, spacing: float) -> TrainingCase:
        """The aligned pair, or one of its scans, for training; without ``labelled`` no label goes into it."""
        scans = {slot: (self.first, lambda: self.second("aligned"))[slot]() for slot in slots}
        labels = {slot: (scan.labels, scan.label_grid) for slot, scan in scans.items()} if labelled else {}
        return training_case({slot: scan.volume for slot, scan in scans.items()}, labels, CHANNELS, spacing)


@dataclass(frozen=True)
class Split:
    """Agreed parts: the first 70 % of the patients train, the next 10 % validate, the last 20 % test."""

    training: tuple[Patient, ...]
    validation: tuple[Patient, ...]
    test: tuple[Patient, ...]


def split_of(data: Path, cache: Path) -> Split:
    """The patients in ``data`` (folders ``images`` and ``labels`` with the same file names), in ascending order."""
    images = images_in(data)
    patients = [
        Patient(number, image, data / "labels" / image.name, cache / image.name.removesuffix(".nii.gz"))
        for number, image in enumerate(images)
    ]
    train, validation = round(0.7 * len(patients)), round(0.1 * len(patients))
    first, second = tuple(patients[:train]), tuple(patients[train : train + validation])
    return Split(first, second, tuple(patients[train + validation :]))


def images_in(data: Path) -> list[Path]:
    """The first scans, in ascending order. Leaves the program with a message where there are too few, or labels
    lack."""
    images = [path for path in sorted((data / "images").glob("*.nii.gz")) if not path.name.startswith(".")]
    if len(images) < FEWEST:
        sys.exit(f"{data / 'images'}: {len(images)} files *.nii.gz, at least {FEWEST} are needed")
    missing = [path.name for path in images if not (data / "labels" / path.name).exists()]
    if missing:
        sys.exit(f"{data / 'labels'}: {len(missing)} label maps are missing, such as {missing[0]}")
    return images


def fingerprint(data: Path) -> str:
    """What tells one set of patients from another: names and sizes of all files, hashed."""
    files = [path for image in images_in(data) for path in (image, data / "labels" / image.name)]
    named = "".join(f"{path.parent.name}/{path.name} {path.stat().st_size}\n" for path in files)
    return hashlib.sha256(named.encode()).hexdigest()[:12]
