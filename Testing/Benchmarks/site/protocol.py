"""A second labelling protocol, simulated: what an expert draws otherwise, and always in the same way.

``dilated`` and ``eroded`` move all outer borders by one voxel; ``merged`` calls the posterior hippocampus anterior;
``left-out`` draws no posterior hippocampus at all. The scans stay what they are.
"""

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from Testing.Benchmarks.method.patients import Scan

ANTERIOR, POSTERIOR = 1, 2


def drawn(scan: Scan, protocol: str) -> Scan:
    """The scan with labels as this protocol has them; its labels are a fresh array."""
    return Scan(scan.volume, PROTOCOLS[protocol](scan.labels), scan.label_grid)


def _dilated(labels: np.ndarray) -> np.ndarray:
    """Background beside a structure becomes the nearest one."""
    distance, nearest = ndimage.distance_transform_edt(labels == 0, return_indices=True)
    return np.where(distance <= 1, labels[tuple(nearest)], 0).astype(labels.dtype)


def _eroded(labels: np.ndarray) -> np.ndarray:
    inside = ndimage.binary_erosion(labels > 0, border_value=1)
    return np.where(inside, labels, 0).astype(labels.dtype)


def _merged(labels: np.ndarray) -> np.ndarray:
    return np.where(labels == POSTERIOR, ANTERIOR, labels).astype(labels.dtype)


def _left_out(labels: np.ndarray) -> np.ndarray:
    return np.where(labels == POSTERIOR, 0, labels).astype(labels.dtype)


PROTOCOLS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "dilated": _dilated,
    "eroded": _eroded,
    "merged": _merged,
    "left-out": _left_out,
}
