"""The button Adapt locally of the section Correct: strokes stay, the rest around them is decided anew."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from CrossModalSegApp.logic.presenter import Host, Presenter
from CrossModalSegApp.logic.translation import tr as _
from CrossModalSegApp.scene.case_nodes import CaseNodes
from CrossModalSegApp.scene.drawn_by_hand import DrawnByHand
from CrossModalSegApp.scene.local_rerun import Adapted, rerun
from CrossModalSegApp.scene.node_geometry import place_of

_READY = _("After some strokes: the model's result and both scans decide the rest around them.")
_NO_STROKE = _("Nothing was drawn yet: paint or erase a part of what is wrong, then adapt the rest.")
_WORKING = _("Adapting…")


@dataclass(frozen=True)
class AdaptState:
    """``can_start``: there is a model's own result to begin with; ``words`` say what it does, or has done."""

    can_start: bool
    words: str


class AdaptPresenter(Presenter):
    """Adapts the segmentation that is edited; ``on_put(labels)`` makes labels (K, J, I) its content, in one step back.

    The view says by `show` what is edited. ``drawn`` tells what was drawn from what was computed.
    """

    def __init__(self, host: Host, drawn: DrawnByHand, on_put: Callable[[np.ndarray], None]):
        super().__init__(host)
        self._drawn, self._on_put = drawn, on_put
        self._case: CaseNodes | None = None
        self._modality = ""
        self._place: Sequence[float] | None = None
        self._words = _READY
        self._is_working = False

    @property
    def state(self) -> AdaptState:
        return AdaptState(self._can_start and not self._is_working, self._words)

    @property
    def _can_start(self) -> bool:
        return self._case is not None and self._case.has_model_s_own(self._modality)

    def show(self, case: CaseNodes | None, modality: str) -> None:
        """The segmentation of ``modality`` is edited."""
        self._case, self._modality, self._place, self._words = case, modality, None, _READY
        self.changed()

    def note_place(self, ras: Sequence[float] | None) -> None:
        """Where somebody has drawn last (RAS, mm), or looks."""
        self._place = ras

    def note_stroke(self, node: Any, box: tuple[slice, ...]) -> None:
        """Somebody has drawn on a segmentation node, in this box (K, J, I) of its scan."""
        case = self._case
        if case is not None and node is case.segmentations.get(self._modality):
            middle = [(part.start + part.stop - 1) / 2 for part in box]
            self.note_place(place_of(case.volumes[self._modality], middle))

    def start(self) -> None:
        """Adapt around the strokes, once the view says so."""
        if self._can_start and not self._is_working:
            self._is_working, self._words = True, _WORKING
            self.changed()
            self._host.soon(self._adapt)

    def _adapt(self) -> None:
        self._is_working, self._words = False, _READY
        case = self._case
        if case is not None and self._can_start:
            self._tried(lambda: self._put(rerun(case, self._modality, self._drawn, self._place)))
        self.changed()

    def _put(self, adapted: Adapted | None) -> None:
        self._words = _NO_STROKE
        if adapted is not None:
            self._on_put(adapted.labels)
            self._words = _summary(adapted)


def _summary(adapted: Adapted) -> str:
    words = _("{changed:,} voxels adapted to {drawn:,} that were drawn, in {seconds:.1f} s. Undo takes it back.")
    return words.format(changed=adapted.changed, drawn=adapted.drawn, seconds=adapted.seconds)
