"""trame-slicer's segment editor, cut down to corrections: structures are neither added, removed nor renamed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from trame_server import Server
from trame_slicer.app.logic.segmentation import SegmentEditorLogic
from trame_slicer.app.ui import IslandsState
from trame_slicer.app.ui.segmentation.segment_display_ui import SegmentDisplayState
from trame_slicer.core import SlicerApp
from trame_slicer.segmentation import (
    BrushDiameterMode,
    SegmentationEffectErase,
    SegmentationEffectIslands,
    SegmentationEffectPaint,
    SegmentationEffectSmoothing,
)
from trame_slicer.segmentation.abstract_segmentation_effect_brush import AbstractSegmentationEffectBrush
from undo_stack import UndoStack
from vtk.util.numpy_support import vtk_to_numpy

from CrossModalSegApp.scene.correction import Masking, set_masking
from CrossModalSegApp.scene.segmentation_nodes import replace_labels
from CrossModalSegApp.scene.structure_display import StructureSegment, segments
from CrossModalSegApp.web.strokes import EditedLabels, LabelChange
from CrossModalSegApp.web.tool_options import BRUSH_MM
from CrossModalSegApp.web.tools import TOOLS, EditorUI
from CrossModalSegLib.errors import LabelError

_STEPS_BACK = 50


class _Logic(SegmentEditorLogic):
    """How segmentations are shown is not the editor's business here: the views see to that."""

    def __init__(self, server: Server, application: SlicerApp):
        super().__init__(server, application)
        self.steps.set_undo_limit(_STEPS_BACK)
        # Its own steps are two copies of the whole segmentation each, also of what changed nothing: `Editor` makes
        # ours.
        self.segmentation_editor.set_undo_stack(None)

    @property
    def steps(self) -> UndoStack:
        """What can be undone and done again."""
        return self._undo_stack

    def _on_segment_display_changed(self, display_state: SegmentDisplayState) -> None:
        pass


class Editor:
    """Edits one segmentation at a time; `mask` says what a stroke may change.

    ``on_stroke(change)`` is called when a tool has been used, with None where it has changed nothing; ``on_labels(node,
    change, labels)`` whenever labels have changed, also by undoing; ``on_error`` with what went wrong; ``on_choice``
    when another tool or structure is taken. ``limit``, where there is one, says which voxels of a brush (K, J, I;
    bool) are painted.
    """

    def __init__(self, server: Server, application: SlicerApp):
        self.on_stroke: Callable[[LabelChange | None], None] = lambda _change: None
        self.on_labels: Callable[[Any, LabelChange, np.ndarray], None] = lambda _node, _change, _labels: None
        self.on_error: Callable[[LabelError], None] = lambda _error: None
        self.on_choice: Callable[[], None] = lambda: None
        self.limit: Callable[[np.ndarray], np.ndarray] | None = None
        self._editor = application.segmentation_editor
        self._edited: EditedLabels | None = None
        self._depth = 0  # of what counts as one stroke
        # Slicer's logic spares other segments than the selected one, which trame-slicer does not tell it.
        self._select = self._editor.editor_node.SetSelectedSegmentID
        self._editor.active_segment_id_changed.connect(self._select)
        self._choose = self._editor.set_active_segment_id
        self._editor.set_active_segment_id = self._choose_after_stroke
        self._logic = _Logic(server, application)
        for kind in (SegmentationEffectPaint, SegmentationEffectErase, SegmentationEffectSmoothing):
            _keep_in_slices(self._editor._effects[kind.get_effect_name()])
            self._editor.get_effect(kind).set_brush_diameter(BRUSH_MM, BrushDiameterMode.Absolute)
        islands = self._editor.get_effect(SegmentationEffectIslands)
        islands.set_minimum_island_size(IslandsState().minimum_size)  # what the page shows, before anybody changes it
        self._editor.active_effect_name_changed.connect(self._on_choice)
        self._editor.active_segment_id_changed.connect(self._on_choice)

    def place(self) -> None:
        """Put the tools where the page is being built."""
        self._logic.set_ui(EditorUI())

    def edit(self, segmentation: Any, volume: Any) -> None:
        """Edit a segmentation node over the volume node that it is of; the structure stays the one that is chosen."""
        chosen = self._editor.active_segment_id
        self._leave()
        self._edited = EditedLabels(segmentation, volume, lambda *given: self.on_labels(segmentation, *given))
        self._editor.set_active_segmentation(segmentation, volume)
        if chosen in self._editor.get_segment_ids():
            self._editor.set_active_segment_id(chosen)
        modifier = self._editor.active_segment_modifier
        apply = modifier.apply_labelmap

        def apply_as_stroke(passed: Any, **named: Any) -> None:
            if self.limit is not None and self._editor.active_effect_name == SegmentationEffectPaint.get_effect_name():
                _limit(passed, self.limit)
            with self._stroke():
                apply(passed, **named)

        modifier.apply_labelmap = apply_as_stroke  # all tools end there
        modifier.group_undo_commands = lambda _text="": self._stroke()

    def put(self, labels: np.ndarray) -> None:
        """Replace all labels (K, J, I) of what is edited, as one stroke."""
        if self._edited is not None:
            with self._stroke():
                replace_labels(self._edited.node, self._edited.volume_node, labels)
                self._edited.node.Modified()

    def mask(self, masking: Masking) -> None:
        """What a stroke may change, of the segmentation that is edited, from here on."""
        if self._editor.active_volume_node is not None:
            set_masking(self._editor.editor_node, masking, self._editor.active_volume_node)

    def choose(self, value: int) -> None:
        """Edit the structure with this label value."""
        segment_id = next((one.segment_id for one in self._structures() if one.value == value), "")
        if segment_id and segment_id != self._editor.active_segment_id:
            self._editor.set_active_segment_id(segment_id)

    def release(self) -> None:
        """Edit nothing."""
        self._leave()
        self._editor.clear()

    def rest(self) -> None:
        """Put the tool down."""
        self._editor.deactivate_effect()

    @property
    def tool(self) -> str:
        """The name of the tool in use, "" without one."""
        name = self._editor.active_effect_name
        return next((tool.name for tool in TOOLS[1:] if tool.effect.get_effect_name() == name), "")

    @property
    def structure(self) -> str:
        """The name of the structure that is edited."""
        segment = self._editor.get_segment(self._editor.active_segment_id)
        return segment.GetName() if segment else ""

    @property
    def value(self) -> int:
        """The label value of the structure that is edited, 0 without one."""
        chosen = self._editor.active_segment_id
        return next((one.value for one in self._structures() if one.segment_id == chosen), 0)

    def names(self) -> dict[int, str]:
        """The names of the structures by label value."""
        return {one.value: one.name for one in self._structures()}

    def _structures(self) -> list[StructureSegment]:
        return segments(self._edited.node) if self._edited else []

    def _choose_after_stroke(self, segment_id: str) -> None:
        """A stroke that is under way ends in the structure that it was begun with."""
        effect = self._editor.active_effect
        if effect is not None and segment_id != self._editor.active_segment_id:
            effect.deactivate()
            effect.activate()
        self._choose(segment_id)

    def _leave(self) -> None:
        """A stroke that is under way ends where it was drawn, and nowhere where that has left the scene; trame-slicer
        would draw it into what is edited next. It also goes on to listen to every segmentation that it has ever edited,
        and keeps it."""
        edited, modifier = self._edited, self._editor.active_segment_modifier
        if edited is not None and None in (edited.node.GetScene(), edited.volume_node.GetScene()):
            modifier.active_segment_id = ""
        self.rest()
        self._logic.steps.clear()
        former = self._editor.active_segmentation
        if former is not None:
            former.segmentation_node.RemoveObserver(former._node_obs)
        self._edited = None

    @contextmanager
    def _stroke(self) -> Iterator[None]:
        """What happens inside is one step, to be undone at once; none at all where it has changed nothing."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
        if self._depth or self._edited is None:
            return
        try:
            stroke = self._edited.record()
        except LabelError as error:
            self.on_error(error)
            return
        if stroke is not None:
            self._logic.steps.push(stroke)
        self.on_stroke(stroke.change if stroke else None)

    def _on_choice(self, *_given: object) -> None:
        effect = self._editor.active_effect
        if isinstance(effect, AbstractSegmentationEffectBrush):
            brush = effect._get_paint_parameters()
            for node in (brush.brush_model_node, brush.paint_feedback_model_node):
                if node is not None:  # else 3D is drawn anew with each move of the mouse in a slice
                    node.GetDisplayNode().SetVisibility3D(False)
        self.on_choice()


def _limit(passed: Any, limit: Callable[[np.ndarray], np.ndarray]) -> None:
    """Leave in the labels of a brush (vtkOrientedImageData) what ``limit`` leaves of them."""
    values = vtk_to_numpy(passed.GetPointData().GetScalars()).reshape(passed.GetDimensions()[::-1])
    values[~limit(values > 0)] = 0
    passed.Modified()


def _keep_in_slices(brush: AbstractSegmentationEffectBrush) -> None:
    """In 3D, a drag goes on to turn the view: nobody sees there what a brush would paint."""
    create = brush._create_pipeline
    brush._create_pipeline = lambda view, parameter: create(view, parameter) if view.IsA("vtkMRMLSliceNode") else None
