"""Which structures of label maps are neighbours: they share at least 1 % of the surface of one of them.

    python -m Testing.label_neighbours bundle labels.nii.gz ...

prints the pairs of names that are neighbours in any of the files; left and right count alike. `brain_neighbours.json`
is what it says of eight whole heads with FreeSurfer's labels and the starter model.
"""

import json
import sys
from collections import Counter
from collections.abc import Mapping

import numpy as np

LEAST_SHARE = 0.01
_SIDES = {"left": "right", "right": "left"}
Pair = tuple[int, int]


def shares(labels: np.ndarray) -> dict[Pair, float]:
    """For each pair of labels that touch, the larger of the shares of their surfaces that they have in common.

    Surfaces are counted in faces of voxels; 0 is background, no pair has it.
    """
    common: Counter[Pair] = Counter()
    surface: Counter[int] = Counter()
    for axis in range(3):
        first, second = (
            np.take(labels, range(*ends), axis) for ends in ((0, labels.shape[axis] - 1), (1, labels.shape[axis]))
        )
        differs = first != second
        pairs, counts = np.unique(np.stack([first[differs], second[differs]]), axis=1, return_counts=True)
        for (one, other), count in zip(pairs.T.tolist(), counts.tolist(), strict=True):
            common[min(one, other), max(one, other)] += count
            surface[one] += count
            surface[other] += count
    return {pair: count / min(surface[one] for one in pair) for pair, count in common.items() if pair[0]}


def neighbours(labels: np.ndarray, names: Mapping[int, str]) -> set[tuple[str, str]]:
    """The pairs of names that are neighbours, in alphabetical order, on either side of the body."""
    found = set()
    for pair, share in shares(np.where(np.isin(labels, list(names)), labels, 0)).items():
        if share >= LEAST_SHARE:
            both = [names[value] for value in pair]
            found |= {tuple(sorted(both)), tuple(sorted(map(_mirrored, both)))}
    return found


def _mirrored(name: str) -> str:
    side, _, structure = name.partition(" ")
    return f"{_SIDES[side]} {structure}" if side in _SIDES else name


def main() -> None:
    from CrossModalSegLib.bundles.bundle import load_bundle
    from CrossModalSegLib.imaging.segmentation_io import read_segmentation

    label_map = load_bundle(sys.argv[1]).label_map
    names = {structure.value: structure.name for structure in label_map.structures}
    found: set[tuple[str, str]] = set()
    for path in sys.argv[2:]:
        found |= neighbours(read_segmentation(path)[0], names)
    print(json.dumps(sorted(found), indent=1))


if __name__ == "__main__":
    main()
