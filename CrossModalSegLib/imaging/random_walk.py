"""Random walks that share out voxels among labels, with a prior: L. Grady, "Multilabel random walker image segmentation
using prior models", CVPR 2005, equation 7: (L + gamma) x = gamma prior, x given at the seeds.

scikit-image's `random_walker` is the same without a prior, and 3D Slicer does not bring it; SciPy it does.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import cg

_LEAST_WEIGHT = 1e-6  # of an edge: no voxel is cut off
_TOLERANCE, _MOST_STEPS = 1e-3, 300  # of the solver


def random_walk(
    seeds: np.ndarray, free: np.ndarray, prior: np.ndarray, pull: np.ndarray, likeness: Sequence[np.ndarray]
) -> np.ndarray:
    """Which label a walker from each ``free`` voxel (K, J, I; bool) meets first: indices into the labels, -1 elsewhere.

    ``seeds`` (K, J, I) are indices of labels, -1 where there is none; no walker passes voxels that are neither seeds
    nor free. ``prior`` (n, K, J, I) are probabilities of the n labels, ``pull`` (K, J, I; above 0) how much they
    count beside the six edges of a voxel. ``likeness`` has for each axis how easily a walker goes from a voxel to the
    next one, from 0 to 1; its arrays are one shorter along their axis.
    """
    nodes = free | (seeds >= 0)
    is_free = free[nodes]
    laplacian = _laplacian(nodes, likeness)
    own, between = laplacian[is_free][:, is_free], laplacian[is_free][:, ~is_free]
    strength = pull[free]
    system = (own + sparse.diags(strength)).tocsr()
    conditioner = sparse.diags(1 / system.diagonal())
    result = np.full(seeds.shape, -1, dtype=np.int64)
    best = np.full(strength.shape, -np.inf)
    found = np.zeros(strength.shape, dtype=np.int64)
    given = seeds[nodes][~is_free]
    for label, chances in enumerate(prior):
        expected = chances[free].astype(np.float64)
        right = strength * expected - between @ (given == label).astype(np.float64)
        share, _ = cg(system, right, x0=expected, rtol=_TOLERANCE, maxiter=_MOST_STEPS, M=conditioner)
        better = share > best
        best[better], found[better] = share[better], label
    result[free] = found
    return result


def _laplacian(nodes: np.ndarray, likeness: Sequence[np.ndarray]) -> sparse.csr_matrix:
    """Of the graph of all ``nodes`` (K, J, I; bool) whose edges join neighbours."""
    number = np.full(nodes.shape, -1, dtype=np.int64)
    number[nodes] = np.arange(np.count_nonzero(nodes))
    edges = list(_edges(nodes, number, likeness))
    first, second, weight = (np.concatenate(parts) for parts in zip(*edges, strict=True))
    rows, columns = np.concatenate([first, second]), np.concatenate([second, first])
    size = int(number.max(initial=-1)) + 1
    weights = sparse.coo_matrix((np.concatenate([weight, weight]), (rows, columns)), shape=(size, size)).tocsr()
    return (sparse.diags(np.asarray(weights.sum(axis=1)).ravel()) - weights).tocsr()


def _edges(
    nodes: np.ndarray, number: np.ndarray, likeness: Sequence[np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    for axis, alike in enumerate(likeness):
        lower = tuple(slice(None, -1) if one == axis else slice(None) for one in range(3))
        upper = tuple(slice(1, None) if one == axis else slice(None) for one in range(3))
        both = nodes[lower] & nodes[upper]
        yield number[lower][both], number[upper][both], alike[both].astype(np.float64) + _LEAST_WEIGHT
