"""The button Fill between slices of the section Correct: looked at first, then kept or not."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from CrossModalSegApp.logic.presenter import Host, Presenter
from CrossModalSegApp.logic.translation import tr as _
from CrossModalSegApp.scene.case_nodes import CaseNodes
from CrossModalSegApp.scene.drawn_by_hand import DrawnByHand
from CrossModalSegApp.scene.node_geometry import local_grid
from CrossModalSegApp.scene.review_region import Region
from CrossModalSegApp.scene.segmentation_labels import marked_labels
from CrossModalSegLib.imaging.fill_between import fill_between

_NOTHING = _("Nothing to fill: draw the structure in some slices of the scan, with slices between them left out.")


@dataclass(frozen=True)
class FillState:
    """``is_preview``: what would change is outlined, to be kept or not; ``words`` say what it is."""

    can_start: bool
    is_preview: bool
    words: str


@dataclass(frozen=True)
class _Preview:
    now: np.ndarray
    filled: np.ndarray


class FillPresenter(Presenter):
    """Fills the structure that is edited between drawn slices; ``on_put(labels)`` makes labels (K, J, I) the content,
    ``on_region`` outlines what would change."""

    def __init__(
        self,
        host: Host,
        drawn: DrawnByHand,
        on_put: Callable[[np.ndarray], None],
        on_region: Callable[[Region | None], None],
    ):
        super().__init__(host)
        self._drawn, self._on_put, self._on_region = drawn, on_put, on_region
        self._case: CaseNodes | None = None
        self._modality, self._value = "", 0
        self._preview: _Preview | None = None
        self._words = ""

    @property
    def state(self) -> FillState:
        return FillState(self._can_start and self._preview is None, self._preview is not None, self._words)

    @property
    def _can_start(self) -> bool:
        return self._case is not None and self._case.has_model_s_own(self._modality)

    def show(self, case: CaseNodes | None, modality: str) -> None:
        """The segmentation of ``modality`` is edited."""
        self._case, self._modality, self._words = case, modality, ""
        self.discard()

    def note_structure(self, value: int) -> None:
        """The structure with this label value is edited."""
        if value != self._value:
            self._value = value
            self.note_change()

    def note_change(self) -> None:
        """Something else was drawn: what was looked at is no more."""
        self._words = ""
        self.discard()

    def start(self) -> None:
        """Show what would be filled."""
        case = self._case
        if case is None or not self._can_start:
            return
        volume, node = case.volumes[self._modality], case.segmentations[self._modality]
        now = self._tried(lambda: marked_labels(node, volume))
        if now is None:
            return
        before = marked_labels(case.models[self._modality], volume)
        spacing = np.array(local_grid(volume).spacing_ijk[::-1])
        filled = fill_between(now, before, self._drawn.mask(node, now, before), self._value, spacing)
        differs = filled != now
        self._preview = _Preview(now, filled) if differs.any() else None
        words = _("{count:,} voxels between the drawn slices would change: in the dashed line.")
        self._words = words.format(count=int(differs.sum())) if self._preview else _NOTHING
        self._on_region(Region(volume, differs) if self._preview else None)
        self.changed()

    def keep(self) -> None:
        """Fill, in one step to undo."""
        preview, case = self._preview, self._case
        if preview is not None and case is not None:
            self._drawn.note_computed(case.segmentations[self._modality], preview.now, preview.filled)
            self._on_put(preview.filled)
            self._words = ""
            self.discard()

    def discard(self) -> None:
        """Leave it as it is."""
        if self._preview is not None:
            self._preview, self._words = None, ""
            self._on_region(None)
        self.changed()
