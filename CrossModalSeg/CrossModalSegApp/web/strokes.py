"""What is drawn on a segmentation, stroke by stroke: what it changed, back, and again.

Each stroke keeps the voxels of the box that it changed, packed; trame-slicer keeps two copies of everything for each.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from undo_stack import UndoCommand

from CrossModalSegApp.scene.segmentation_labels import marked_labels
from CrossModalSegApp.scene.segmentation_nodes import replace_labels

_FAST = 1  # level of zlib


@dataclass(frozen=True)
class LabelChange:
    """A box of label values before and after.

    ``gains`` says by structure how many voxels it has more, or fewer; of all structures that have changed.
    """

    box: tuple[slice, ...]
    before: bytes
    after: bytes
    gains: dict[int, int]

    @classmethod
    def between(cls, before: np.ndarray, after: np.ndarray) -> "LabelChange | None":
        """The difference of two label maps (K, J, I) uint16; None where there is none."""
        differs = before != after
        axes = [np.flatnonzero(differs.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
        if axes[0].size == 0:
            return None
        box = tuple(slice(int(found[0]), int(found[-1]) + 1) for found in axes)
        old, new = np.bincount(before[differs]), np.bincount(after[differs])
        size = max(len(old), len(new))
        gains = np.pad(new, (0, size - len(new))).astype(int) - np.pad(old, (0, size - len(old)))
        touched = np.union1d(before[differs], after[differs]).tolist()
        return cls(box, _packed(before[box]), _packed(after[box]), {v: int(gains[v]) for v in touched if v})

    def apply(self, labels: np.ndarray, back: bool) -> None:
        """Put the voxels of the box into ``labels``, those before where ``back``."""
        there = labels[self.box]
        there[...] = np.frombuffer(zlib.decompress(self.before if back else self.after), np.uint16).reshape(there.shape)


def _packed(labels: np.ndarray) -> bytes:
    return zlib.compress(np.ascontiguousarray(labels, dtype=np.uint16).tobytes(), _FAST)


class EditedLabels:
    """The labels of a segmentation node over its scan as they are now.

    ``on_change(change, labels)`` is called when they have changed; ``labels`` (K, J, I) uint16 go on changing.
    """

    def __init__(self, node: Any, volume_node: Any, on_change: Callable[[LabelChange, np.ndarray], None]):
        self.node, self.volume_node, self._on_change = node, volume_node, on_change
        self.labels = marked_labels(node, volume_node)  # (K, J, I) uint16

    def record(self) -> "Stroke | None":
        """What the tool has changed since; None where nothing. Raises what `marked_labels` raises, with all put
        back."""
        try:
            now = marked_labels(self.node, self.volume_node)
        except BaseException:
            self._put()
            raise
        change = LabelChange.between(self.labels, now)
        if change is None:
            return None
        self.labels = now
        self._on_change(change, self.labels)
        return Stroke(self, change)

    def apply(self, change: LabelChange, back: bool) -> None:
        change.apply(self.labels, back)
        self._put()
        self._on_change(change, self.labels)

    def _put(self) -> None:
        replace_labels(self.node, self.volume_node, self.labels)
        self.node.GetSegmentation().Modified()
        self.node.Modified()


class Stroke(UndoCommand):
    """A change that can be undone."""

    def __init__(self, edited: EditedLabels, change: LabelChange):
        super().__init__()
        self._edited, self.change = edited, change

    def undo(self) -> None:
        self._edited.apply(self.change, back=True)

    def redo(self) -> None:
        self._edited.apply(self.change, back=False)
