"""How far apart two scans of one patient lie, judged by the structures that are labelled in both."""

import statistics
from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from CrossModalSegLib.imaging.grid import Grid

FARTHEST_MM = 2.0  # up to here, two scans count as lying on each other


def structure_centres(labels: np.ndarray, grid: Grid) -> dict[int, np.ndarray]:
    """Centre of mass (3,) in RAS mm of each label value above 0 in ``labels`` (K, J, I).

    A structure at the edge of the array is left out: the scan may show a part of it only.
    """
    centres = {}
    for value, box in enumerate(ndimage.find_objects(labels), start=1):
        inside = box is not None and all(s.start > 0 and s.stop < n for s, n in zip(box, labels.shape, strict=True))
        if inside:
            corner = np.array([side.start for side in box])
            centre_kji = corner + ndimage.center_of_mass(labels[box] == value)
            centres[value] = grid.ijk_to_ras[:3] @ [*centre_kji[::-1], 1.0]
    return centres


def displacement_mm(first: Mapping[int, np.ndarray], second: Mapping[int, np.ndarray]) -> float | None:
    """Median distance of the centres of what both have, from ``structure_centres``; None where that is nothing."""
    distances = [float(np.linalg.norm(first[value] - second[value])) for value in first.keys() & second.keys()]
    return statistics.median(distances) if distances else None
