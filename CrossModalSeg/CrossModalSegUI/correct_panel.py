"""The Correct section: Slicer's Segment Editor on the result, set for what a stroke may change."""

from typing import Any

import slicer
from slicer.i18n import tr as _

from CrossModalSegUI.case_nodes import CaseNodes
from CrossModalSegUI.correction import DEFAULT_MASKING, set_masking
from CrossModalSegUI.dialogs import Dialogs

_EDITOR_TAG = "CrossModalSeg"


class CorrectPanel:
    """Edits one modality's segmentation of a case at a time."""

    def __init__(self, ui: Any, dialogs: Dialogs):
        self._ui, self._dialogs = ui, dialogs
        self._case: CaseNodes | None = None
        self._is_filling = False
        ui.correctSelector.currentIndexChanged.connect(self._choose)
        ui.restoreButton.clicked.connect(self._restore)

    def show(self, case: CaseNodes | None) -> None:
        self._case = case
        self._ui.correctSection.visible = case is not None
        self._is_filling = True
        self._ui.correctSelector.clear()
        for modality in case.segmentations if case else ():
            self._ui.correctSelector.addItem(modality)
        self._is_filling = False
        self._edit()

    def let_go(self) -> None:
        """Take the editor off the scene's nodes: the panel is left, or the scene closes."""
        editor = self._ui.segmentEditor
        if editor.mrmlSegmentEditorNode() is not None:
            editor.setSegmentationNode(None)
            editor.setSourceVolumeNode(None)
            editor.setMRMLSegmentEditorNode(None)

    @property
    def _modality(self) -> str | None:
        text = self._ui.correctSelector.currentText
        return text if self._case and text in self._case.segmentations else None

    def _choose(self, _index: int) -> None:
        if not self._is_filling:
            self._edit()

    def _edit(self) -> None:
        modality = self._modality
        if modality is None or self._case is None:
            return
        editor = self._ui.segmentEditor
        node = _editor_node(self._case.segmentations[modality].GetScene())
        editor.setMRMLSegmentEditorNode(node)
        editor.setSegmentationNode(self._case.segmentations[modality])
        volume = self._case.volumes.get(modality)
        editor.setSourceVolumeNode(volume)
        set_masking(node, DEFAULT_MASKING, volume)

    def _restore(self, *_args: object) -> None:
        modality = self._modality
        if modality is None or self._case is None:
            return
        question = _("Discard all corrections of {modality} and go back to the model's result?")
        if self._dialogs.confirm(question.format(modality=modality)):
            self._case.restore(modality)


def _editor_node(scene: Any) -> Any:
    """The module's own editor node, so that the Segment Editor module keeps its settings."""
    node = scene.GetSingletonNode(_EDITOR_TAG, "vtkMRMLSegmentEditorNode")
    if node is None:
        node = slicer.vtkMRMLSegmentEditorNode()
        node.SetSingletonTag(_EDITOR_TAG)
        node = scene.AddNode(node)
    return node
