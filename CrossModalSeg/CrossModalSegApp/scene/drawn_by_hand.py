"""What was drawn by hand on the segmentations of a result, told from what was computed from it."""

from collections import defaultdict, deque
from typing import Any

import numpy as np

_NO_LABEL = np.iinfo(np.uint16).max
_REMEMBERED = 30  # computed parts of one segmentation

Box = tuple[slice, ...]  # of an array (K, J, I)


class DrawnByHand:
    """Knows what was computed in each segmentation, also after steps back."""

    def __init__(self) -> None:
        self._computed: dict[str, deque[tuple[Box, np.ndarray]]] = defaultdict(lambda: deque(maxlen=_REMEMBERED))

    def forget(self) -> None:
        """The nodes have gone."""
        self._computed.clear()

    def note_computed(self, node: Any, before: np.ndarray, after: np.ndarray) -> None:
        """The labels (K, J, I) of the segmentation ``node`` become others without being drawn."""
        differs = before != after
        found = [np.flatnonzero(differs.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
        if found[0].size:
            box = tuple(slice(int(one[0]), int(one[-1]) + 1) for one in found)
            self._computed[node.GetID()].append((box, np.where(differs[box], after[box], _NO_LABEL)))

    def mask(self, node: Any, now: np.ndarray, before: np.ndarray) -> np.ndarray:
        """Bool (K, J, I): where the labels ``now`` are neither the model's, ``before``, nor what was computed."""
        by_hand = now != before
        for box, values in self._computed[node.GetID()]:
            values[values != now[box]] = _NO_LABEL  # taken back, or painted over
            by_hand[box] &= values == _NO_LABEL
        return by_hand
