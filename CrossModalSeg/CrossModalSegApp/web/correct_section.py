"""The section Correct: which scan's segmentation is edited, what a stroke may change, and back to the model's
result."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from trame_server import Server

from CrossModalSegApp.logic.translation import tr as _
from CrossModalSegApp.logic.wording import masking_hint, masking_words
from CrossModalSegApp.scene.case_nodes import CaseNodes
from CrossModalSegApp.scene.correction import DEFAULT_MASKING, Masking
from CrossModalSegApp.scene.scene_io import voxels_of
from CrossModalSegApp.scene.segmentation_labels import marked_labels
from CrossModalSegApp.scene.smart_brush import limited_to_alike
from CrossModalSegApp.web.dialogs import Dialogs
from CrossModalSegApp.web.editor import Editor
from CrossModalSegApp.web.page_state import PageState
from CrossModalSegApp.web.strokes import LabelChange

_NOTHING = _("No voxel was changed.")
_SPARED = _("No voxel was changed: neighbouring structures are left alone.")
_NAMED = 4  # structures that a stroke has changed


@dataclass(frozen=True)
class Chosen:
    """What is called when a tool is taken, with its label value when a structure is, and with the modality when another
    segmentation is, "" for none."""

    on_tool: Callable[[], None]
    on_structure: Callable[[int], None]
    on_segmentation: Callable[[CaseNodes | None, str], None]


class CorrectSection:
    """Edits one modality's segmentation of a case at a time; ``chosen`` is told what with."""

    def __init__(self, server: Server, editor: Editor, dialogs: Dialogs, chosen: Chosen):
        self._editor, self._dialogs, self._chosen = editor, dialogs, chosen
        self._case: CaseNodes | None = None
        self._masking = DEFAULT_MASKING
        maskings = [{"id": one.value, "title": masking_words(one)} for one in Masking]
        self._state = PageState(
            server,
            "correct",
            modalities=[],
            modality="",
            can_restore=False,
            maskings=maskings,
            masking="",
            is_smart=False,
            hint="",
            cursor="",
            outcome="",
            strokes=0,
        )
        self._state.on("choose", self._choose)
        self._state.on("restore", self._restore)
        self._state.on("smart", self._set_smart)
        self._state.on("mask", lambda name: self._mask(Masking(name)))
        editor.on_stroke = self._tell
        editor.on_error = dialogs.show_error
        editor.on_choice = self._show_choice

    def show(self, case: CaseNodes | None) -> None:
        self._case = case
        modalities = [name for name in case.segmentations if name in case.volumes] if case else []
        self._state.show(modalities=modalities)
        self._choose(self._state["modality"] if self._state["modality"] in modalities else next(iter(modalities), ""))

    def _choose(self, modality: str) -> None:
        case = self._case
        self._state.show(outcome="")
        if case is None or modality not in self._state["modalities"]:
            self._state.show(modality="", can_restore=False)
            self._editor.release()
            self._chosen.on_segmentation(case, "")
            return
        self._state.show(modality=modality, can_restore=modality in case.models)
        self._editor.edit(case.segmentations[modality], case.volumes[modality])
        self._mask(self._masking)
        self._chosen.on_segmentation(case, modality)

    def _mask(self, masking: Masking) -> None:
        self._masking = masking
        self._state.show(masking=masking.value, hint=masking_hint(masking))
        self._editor.mask(masking)
        self._show_choice()

    def _set_smart(self, is_smart: bool) -> None:
        self._state.show(is_smart=is_smart)
        self._editor.limit = self._limit if is_smart else None
        self._show_choice()

    def _limit(self, brush: np.ndarray) -> np.ndarray:
        """What is painted of what the brush has passed."""
        case, modality = self._case, self._state["modality"]
        if case is None or brush.shape != voxels_of(case.volumes[modality]).shape:
            return brush
        return limited_to_alike(brush, case, modality)

    def _show_choice(self) -> None:
        """At the mouse: what it does, and to what."""
        tool = self._editor.tool
        words = f"{tool}: {self._editor.structure}. {masking_words(self._masking)}" if tool else ""
        self._state.show(cursor=words)
        self._chosen.on_structure(self._editor.value)
        if tool:
            self._chosen.on_tool()

    def _tell(self, change: LabelChange | None) -> None:
        """What a stroke has changed, in the edited structure and in its neighbours."""
        self._state.show(strokes=self._state["strokes"] + 1)
        if change is None:
            self._state.show(outcome=_SPARED if self._masking is Masking.LEAVE_NEIGHBOURS else _NOTHING)
            return
        names = self._editor.names()
        gains = sorted(((value, gain) for value, gain in change.gains.items() if gain), key=lambda item: -abs(item[1]))
        words = [f"{names.get(value, value)} {gain:+,}" for value, gain in gains[:_NAMED]]
        more = _(", {count} more").format(count=len(gains) - _NAMED) if len(gains) > _NAMED else ""
        self._state.show(outcome=_("Voxels: {gains}").format(gains=", ".join(words)) + more)

    def _restore(self) -> None:
        case, modality = self._case, self._state["modality"]
        if case is None or modality not in case.models:
            return
        question = _("Discard all corrections of {modality} and go back to the model's result?")
        put_back = lambda: self._put_back(case, modality)
        self._dialogs.ask(question.format(modality=modality), _("Discard"), put_back)

    def _put_back(self, case: CaseNodes, modality: str) -> None:
        if case is self._case and modality == self._state["modality"]:
            self._editor.put(marked_labels(case.models[modality], case.volumes[modality]))
