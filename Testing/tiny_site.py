"""A small site for tests: heads with two bright balls, in a contrast that the base bundle of ``tiny_bundle``
misreads."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.volume import Volume
from CrossModalSegLib.labels import LabelMap
from CrossModalSegLib.site.case_files import CaseFiles
from CrossModalSegLib.site.case_store import CaseStore
from Testing.tiny_bundle import LABEL_MAP, LEFT, RIGHT, true_labels, two_balls
from Testing.volumes import grid_around, points_of

SHAPE, SPACING = (24, 28, 24), (4.0, 4.0, 4.0)


def site_grid(number: int) -> Grid:
    """Each case lies a little elsewhere."""
    return grid_around((5.0 + number, -10.0 - number, 15.0), SHAPE, SPACING)


def scan(number: int, modality: str, shift: float = 130.0) -> Volume:
    """Brighter than the bundle expects, by ``shift``: the head's 400 comes nearer to the balls' 1000."""
    grid = site_grid(number)
    noise = np.random.default_rng([number, len(modality)]).normal(0, 25, grid.shape_kji)
    clean = two_balls(points_of(grid))
    return Volume((clean + shift * (clean > 200) + noise).astype(np.float32), grid, modality)


def labels(number: int, exchanged: bool = False) -> np.ndarray:
    """The truth, or with the two balls exchanged."""
    true = true_labels(points_of(site_grid(number)))
    if exchanged:
        return np.where(true == LEFT, RIGHT, np.where(true == RIGHT, LEFT, true)).astype(np.uint16)
    return true


def make_site(
    folder: Path,
    corrected: int,
    unlabelled: int,
    modalities: Sequence[str] = ("T1w", "T2w"),
    label_map: LabelMap = LABEL_MAP,
    exchanged: bool = False,
    shift: float = 130.0,
) -> CaseStore:
    """Corrected cases first, each of another patient, then those without labels, of whom chance holds out none."""
    store = CaseStore(folder)
    for number in range(corrected + unlabelled):
        volumes = {modality: scan(number, modality, shift) for modality in modalities}
        corrections = {modality: (labels(number, exchanged), site_grid(number)) for modality in modalities}
        known = corrections if number < corrected else {}
        case = CaseFiles(
            volumes, known, label_map, {"name": "tiny", "modalities": list(modalities)}, f"patient {number}"
        )
        if known:
            store.save_correction(case, author="ab")
        else:
            store.set_split(store.add_unlabelled(case).id, "training")
    return store
