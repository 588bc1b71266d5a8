"""How often each label value occurs, slice by slice: NumPy counts 64-bit copies, eight times as large as labels."""

import numpy as np


def counts_by_slice(labels: np.ndarray, size: int = 0) -> np.ndarray:
    """(K, values) voxels of ``labels`` (K, J, I), label values, per slice and value from 0 to at least ``size`` - 1."""
    size = max(size, int(labels.max(initial=0)) + 1)
    return np.array([np.bincount(one.ravel(), minlength=size) for one in labels]).reshape(len(labels), size)


def sums_by_value(labels: np.ndarray, values: np.ndarray, size: int = 0) -> np.ndarray:
    """(values,) float64: the sum of ``values`` (K, J, I) over the voxels of each label value; ``size`` as above."""
    size = max(size, int(labels.max(initial=0)) + 1)
    sums = np.zeros(size)
    for one, weights in zip(labels, values, strict=True):
        sums += np.bincount(one.ravel(), weights=weights.ravel(), minlength=size)
    return sums
