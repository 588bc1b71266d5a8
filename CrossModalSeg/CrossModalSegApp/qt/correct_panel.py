"""The Correct section: Slicer's Segment Editor on the result, and what a stroke may change beside the structure."""

from collections.abc import Callable
from typing import Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from CrossModalSegApp.logic.wording import masking_hint, masking_words
from CrossModalSegApp.qt.dialogs import Dialogs
from CrossModalSegApp.qt.selector import Selector
from CrossModalSegApp.scene.case_nodes import CaseNodes
from CrossModalSegApp.scene.correction import DEFAULT_MASKING, Masking, MaskSettings, mask_settings, set_masking
from CrossModalSegApp.scene.rendering import one_render
from CrossModalSegApp.scene.segmentation_nodes import replace_labels
from CrossModalSegApp.scene.structure_display import segments

_EDITOR_TAG = "CrossModalSeg"
_MASKINGS = tuple(Masking)


class CorrectPanel:
    """Edits one modality's segmentation of a case at a time.

    ``on_modality`` is called when another one is edited, ``on_structure`` with the label value of the structure that is
    chosen in the editor.
    """

    def __init__(self, ui: Any, dialogs: Dialogs, on_modality: Callable[[], None], on_structure: Callable[[int], None]):
        self._ui, self._dialogs, self._on_modality, self._on_structure = ui, dialogs, on_modality, on_structure
        self._case: CaseNodes | None = None
        self._selector = Selector(ui.correctSelector, self._choose)
        self._masking = DEFAULT_MASKING
        self._settings: MaskSettings | None = None  # of the editor's node, as the masking set them
        self._observed: tuple[Any, int] | None = None  # the editor's node
        ui.maskSelector.clear()
        for masking in _MASKINGS:
            ui.maskSelector.addItem(masking_words(masking))
        ui.maskSelector.setCurrentIndex(_MASKINGS.index(self._masking))
        ui.maskSelector.activated.connect(self._choose_masking)
        ui.restoreButton.clicked.connect(self._restore)

    @property
    def modality(self) -> str | None:
        """The modality whose segmentation is edited."""
        current = self._selector.current
        return current if self._case and current in self._case.segmentations else None

    def show(self, case: CaseNodes | None) -> None:
        """Edit ``case``. What is edited already goes on being edited, with the tool that is in hand."""
        former = self.modality
        self._case = case
        self._ui.correctSection.visible = case is not None
        modalities = list(case.segmentations) if case else []
        current = former if former in modalities else next(iter(modalities), "")
        self._selector.show(tuple((name, name) for name in modalities), current)
        self._edit()

    def choose(self, value: int) -> None:
        """Edit the structure with this label value."""
        editor = self._ui.segmentEditor
        segmentation = editor.segmentationNode()
        found = [one.segment_id for one in segments(segmentation) if one.value == value] if segmentation else []
        if found and editor.currentSegmentID() != found[0]:
            editor.setCurrentSegmentID(found[0])

    def put(self, labels: np.ndarray) -> None:
        """Make labels (K, J, I) those of the segmentation that is edited; Undo takes it back."""
        modality = self.modality
        if modality is not None and self._case is not None:
            self._ui.segmentEditor.saveStateForUndo()
            with one_render():
                replace_labels(self._case.segmentations[modality], self._case.volumes[modality], labels)

    def release(self) -> None:
        """Take the editor off the scene's nodes: the panel is left, or the scene closes."""
        editor = self._ui.segmentEditor
        self._observe(None)
        if editor.mrmlSegmentEditorNode() is not None:
            editor.setSegmentationNode(None)
            editor.setSourceVolumeNode(None)
            editor.setMRMLSegmentEditorNode(None)

    # --- what is edited

    def _choose(self, _modality: str) -> None:
        self._edit()
        self._on_modality()

    def _edit(self) -> None:
        modality, editor = self.modality, self._ui.segmentEditor
        if modality is None or self._case is None:
            self.release()
            return
        segmentation, volume = self._case.segmentations[modality], self._case.volumes.get(modality)
        if editor.segmentationNode() is segmentation and editor.sourceVolumeNode() is volume:
            return
        node = _editor_node(segmentation.GetScene())
        self._observe(None)
        editor.setMRMLSegmentEditorNode(node)
        editor.setSegmentationNode(segmentation)
        editor.setSourceVolumeNode(volume)
        self._mask(self._masking)
        self._observe(node)
        self._on_editor(node)

    def _restore(self, *_args: object) -> None:
        modality = self.modality
        if modality is None or self._case is None:
            return
        question = _("Discard all corrections of {modality} and go back to the model's result?")
        if self._dialogs.confirm(question.format(modality=modality)):
            self._case.restore(modality)

    # --- what a stroke may change

    def _choose_masking(self, *_args: object) -> None:
        self._mask(_MASKINGS[self._ui.maskSelector.currentIndex])

    def _mask(self, masking: Masking) -> None:
        node = self._ui.segmentEditor.mrmlSegmentEditorNode()
        self._masking = masking
        if node is not None and self._case is not None:
            set_masking(node, masking, self._case.volumes.get(self.modality or ""))
            self._settings = mask_settings(node)
        self._render_masking()

    def _render_masking(self, *_args: object) -> None:
        """The choice that is in force; none where the user has set something else in the editor itself."""
        node = self._ui.segmentEditor.mrmlSegmentEditorNode()
        is_own = node is None or self._settings in (None, mask_settings(node))
        index = _MASKINGS.index(self._masking) if is_own else -1
        if self._ui.maskSelector.currentIndex != index:
            self._ui.maskSelector.setCurrentIndex(index)
        own = masking_hint(self._masking)
        kept = _("The model's own result is kept, hidden, beside the one that is corrected.")
        hint = own if is_own else _("What a stroke may change is set below, under Masking.")
        self._ui.maskLabel.text = f"{hint} {kept}"

    def _observe(self, node: Any) -> None:
        if self._observed is not None:
            former, tag = self._observed
            former.RemoveObserver(tag)
        event = vtk.vtkCommand.ModifiedEvent
        self._observed = (node, node.AddObserver(event, self._on_editor)) if node is not None else None

    def _on_editor(self, node: Any, _event: str = "") -> None:
        """Something else is set, or chosen, in the editor."""
        self._render_masking()
        segmentation = node.GetSegmentationNode()
        chosen = node.GetSelectedSegmentID()
        found = [one.value for one in segments(segmentation) if one.segment_id == chosen] if segmentation else []
        self._on_structure(found[0] if found else 0)


def _editor_node(scene: Any) -> Any:
    """The module's own editor node, so that the Segment Editor module keeps its settings."""
    node = scene.GetSingletonNode(_EDITOR_TAG, "vtkMRMLSegmentEditorNode")
    if node is None:
        node = slicer.vtkMRMLSegmentEditorNode()
        node.SetSingletonTag(_EDITOR_TAG)
        node = scene.AddNode(node)
    return node
