"""A small case for the tests of a site: two scans of random content with labels, of a patient who is told or not."""

import numpy as np

from CrossModalSegLib.imaging.volume import Volume
from CrossModalSegLib.labels import LabelMap, Structure
from CrossModalSegLib.site.case_store import CaseFiles
from Testing.volumes import grid_around

LABELS = LabelMap((Structure(2, "tissue", (0, 0, 255)), Structure(17, "ball", (0, 255, 0))))
BUNDLE = {"name": "model", "version": "1.0.0", "sha256": "0" * 64}


def small_case(number=1, patient="", labelled=True):
    """Another ``number`` is another case."""
    grids = {"T1w": grid_around((0, 0, 0), (5, 6, 7), (1, 1, 2)), "T2w": grid_around((1, 2, 3), (6, 5, 4), (1, 2, 1))}
    random = np.random.default_rng(number)
    volumes = {name: Volume(random.random(grid.shape_kji, np.float32), grid, name) for name, grid in grids.items()}
    labels = {name: (random.choice([0, 2, 17], grid.shape_kji).astype(np.uint16), grid) for name, grid in grids.items()}
    return CaseFiles(volumes, labels if labelled else {}, LABELS, BUNDLE, patient)
