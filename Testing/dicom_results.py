"""A DICOM series, and labels on it that are a known function of the point in space, for tests of what is written in
DICOM."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.volume import Volume, read_volume
from CrossModalSegLib.labels import Code, LabelMap, Structure, Terminology
from CrossModalSegLib.pacs.export import SegmentedScan
from CrossModalSegLib.pacs.made_object import Model
from CrossModalSegLib.pacs.report_object import Measured
from CrossModalSegLib.pacs.source_images import source_images
from Testing.dicom_files import write_enhanced, write_series
from Testing.volumes import grid_around, points_of, random_grid, rotation

_ANATOMY = Code("SCT", "123037004", "Anatomical Structure")
_PUTAMEN = Code("SCT", "89278009", "Putamen")
LEFT, RIGHT, NAMELESS, ABSENT = 12, 51, 300, 400
LABEL_MAP = LabelMap(
    (
        Structure(
            LEFT, "left putamen", (236, 13, 176), Terminology(_ANATOMY, _PUTAMEN, Code("SCT", "7771000", "Left"))
        ),
        Structure(
            RIGHT, "right putamen", (13, 48, 255), Terminology(_ANATOMY, _PUTAMEN, Code("SCT", "24028007", "Right"))
        ),
        Structure(NAMELESS, "a structure of our own", (60, 60, 60)),
        Structure(ABSENT, "a structure that is not there", (0, 255, 0)),
    )
)
MODEL = Model("tiny", "1.2.3", "ab" * 32, "Research and education. Not for clinical use.")
GRIDS = {
    "straight": grid_around((3, -5, 8), (20, 24, 12), (2, 2, 3)),
    "thick": grid_around((3, -5, 8), (33, 29, 9), (1, 1.25, 5)),
    "oblique": grid_around((3, -5, 8), (22, 20, 14), (2, 1.5, 3), rotation((20, -10, 30))),
    "sagittal": grid_around((0, 0, 0), (20, 24, 12), (2, 2, 3), np.array([[0, 0, -1], [1, 0, 0], [0, -1, 0]])),
    "left-handed": random_grid(1, 50),
    "left-handed too": random_grid(7, 50),
}


@dataclass(frozen=True, eq=False)
class Written:
    """A series as it was read, and the labels (K, J, I) of it."""

    folder: Path
    volume: Volume
    labels: np.ndarray

    @property
    def scan(self) -> SegmentedScan:
        measured = {
            one.value: Measured(float((self.labels == one.value).sum() * self.volume.grid.voxel_volume_ml), 0.75, 0.5)
            for one in LABEL_MAP.structures
        }
        return SegmentedScan(source_images(self.volume), self.labels, measured)


def label_at(points: np.ndarray) -> np.ndarray:
    """Label values at RAS points (..., 3) mm: three boxes of unlike size, apart; the outer slices have none."""
    labels = np.zeros(points.shape[:-1], np.uint16)
    for value, low, high in (
        (LEFT, (-14, -9, -6), (-4, 6, 13)),
        (RIGHT, (4, -12, -3), (12, 3, 9)),
        (NAMELESS, (-2, 8, 2), (3, 14, 7)),
    ):
        labels[((points >= low) & (points < high)).all(axis=-1)] = value
    return labels


def written_series(folder: Path, grid: Grid) -> Written:
    """One file per slice, numbered against their order."""
    write_series(folder, _intensities(grid), grid)
    return _read(folder)


def written_enhanced(folder: Path, grid: Grid) -> Written:
    """One multi-frame file whose frames are in no order."""
    folder.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(0).permutation(grid.shape_kji[0]).tolist()
    write_enhanced(folder / "enhanced", _intensities(grid), grid, order, [1.0] * len(order))
    return _read(folder)


def _intensities(grid: Grid) -> np.ndarray:
    return np.arange(np.prod(grid.shape_kji), dtype=np.int16).reshape(grid.shape_kji) % 1000


def _read(folder: Path) -> Written:
    volume = read_volume(folder, "T1w")
    return Written(folder, volume, label_at(points_of(volume.grid)))
