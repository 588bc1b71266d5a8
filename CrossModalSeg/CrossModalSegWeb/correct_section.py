"""The section Correct: which scan's segmentation is edited, and back to the model's result."""

from trame_server import Server

from CrossModalSegUI.case_nodes import CaseNodes
from CrossModalSegUI.correction import DEFAULT_MASKING, Masking
from CrossModalSegUI.wording import masking_hint, masking_words
from CrossModalSegWeb.dialogs import Dialogs
from CrossModalSegWeb.editor import Editor
from CrossModalSegWeb.page_state import PageState


class CorrectSection:
    """Edits one modality's segmentation of a case at a time."""

    def __init__(self, server: Server, editor: Editor, dialogs: Dialogs):
        self._editor, self._dialogs = editor, dialogs
        self._case: CaseNodes | None = None
        self._state = PageState(
            server, "correct", maskings=[], modalities=[], modality="", can_restore=False, masking="", hint=""
        )
        self._state.show(maskings=[{"id": one.value, "title": masking_words(one)} for one in Masking])
        self._state.on("choose", self._choose)
        self._state.on("restore", self._restore)
        self._state.on("mask", lambda name: self._mask(Masking(name)))
        self._masking = DEFAULT_MASKING

    def show(self, case: CaseNodes | None) -> None:
        self._case = case
        modalities = [name for name in case.segmentations if name in case.volumes] if case else []
        self._state.show(modalities=modalities)
        self._choose(self._state["modality"] if self._state["modality"] in modalities else next(iter(modalities), ""))

    def _choose(self, modality: str) -> None:
        case = self._case
        if case is None or modality not in self._state["modalities"]:
            self._state.show(modality="", can_restore=False)
            self._editor.let_go()
            return
        self._state.show(modality=modality, can_restore=modality in case.models)
        self._editor.edit(case.segmentations[modality], case.volumes[modality])
        self._mask(self._masking)

    def _mask(self, masking: Masking) -> None:
        self._masking = masking
        self._state.show(masking=masking.value, hint=masking_hint(masking))
        self._editor.mask(masking)

    def _restore(self) -> None:
        case, modality = self._case, self._state["modality"]
        if case is None or modality not in case.models:
            return
        question = f"Discard all corrections of {modality} and go back to the model's result?"
        self._dialogs.ask(question, "Discard", lambda: self._put_back(case, modality))

    def _put_back(self, case: CaseNodes, modality: str) -> None:
        case.restore(modality)
        self._choose(modality)  # steps back from here would lead to what has been discarded
