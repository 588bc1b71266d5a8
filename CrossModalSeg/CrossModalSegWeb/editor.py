"""trame-slicer's segment editor, cut down to corrections: structures are neither added, removed nor renamed."""

from dataclasses import dataclass
from typing import Any

from trame.widgets import html
from trame.widgets.vuetify3 import VBtn, VIcon
from trame_server import Server
from trame_slicer.app.logic.segmentation import SegmentEditorLogic
from trame_slicer.app.ui.segmentation import SegmentEditorUI
from trame_slicer.app.ui.segmentation.draw_effect_ui import DrawEffectUI
from trame_slicer.app.ui.segmentation.islands_effect_ui import IslandsEffectUI
from trame_slicer.app.ui.segmentation.logical_operators_effect_ui import LogicalOperatorsEffectUI
from trame_slicer.app.ui.segmentation.paint_effect_ui import PaintEffectUI
from trame_slicer.app.ui.segmentation.scissors_effect_ui import ScissorsEffectUI
from trame_slicer.app.ui.segmentation.segment_display_ui import SegmentDisplayState
from trame_slicer.app.ui.segmentation.smoothing_effect_ui import SmoothingEffectUI
from trame_slicer.app.ui.segmentation.threshold_effect_ui import ThresholdEffectUI
from trame_slicer.core import SlicerApp
from trame_slicer.segmentation import (
    SegmentationEffectDraw,
    SegmentationEffectErase,
    SegmentationEffectIslands,
    SegmentationEffectLogicalOperators,
    SegmentationEffectNoTool,
    SegmentationEffectPaint,
    SegmentationEffectScissors,
    SegmentationEffectSmoothing,
    SegmentationEffectThreshold,
    SegmentationIslandsMode,
)

from CrossModalSegUI.correction import Masking, set_masking


class _Islands(IslandsEffectUI):
    """Without "Split", which makes structures that the model does not know."""

    def _create_mode_button(self, mode: SegmentationIslandsMode) -> None:
        if mode is not SegmentationIslandsMode.SPLIT_TO_SEGMENTS:
            super()._create_mode_button(mode)


@dataclass(frozen=True)
class _Tool:
    """A button; ``key`` presses it, ``options`` shows what can be set."""

    name: str
    key: str
    icon: str
    effect: type
    options: type | None = None


_TOOLS = (
    _Tool("No tool", "0", "mdi-cursor-default", SegmentationEffectNoTool),
    _Tool("Paint", "1", "mdi-brush", SegmentationEffectPaint, PaintEffectUI),
    _Tool("Erase", "2", "mdi-eraser", SegmentationEffectErase, PaintEffectUI),
    _Tool("Scissors", "3", "mdi-content-cut", SegmentationEffectScissors, ScissorsEffectUI),
    _Tool("Threshold", "4", "mdi-auto-fix", SegmentationEffectThreshold, ThresholdEffectUI),
    _Tool("Islands", "5", "mdi-scatter-plot", SegmentationEffectIslands, _Islands),
    _Tool("Smoothing", "6", "mdi-square-rounded-outline", SegmentationEffectSmoothing, SmoothingEffectUI),
    _Tool(
        "Logical operators",
        "7",
        "mdi-vector-intersection",
        SegmentationEffectLogicalOperators,
        LogicalOperatorsEffectUI,
    ),
    _Tool("Draw", "8", "mdi-draw", SegmentationEffectDraw, DrawEffectUI),
)


class EditorUI(SegmentEditorUI):
    """Tools, undo and redo, the structure to edit, and the options of the tool in use."""

    def _build_ui(self) -> None:
        names = self._typed_state.name
        listed = names.segment_list
        select = self.server.controller.trigger_name(self.select_segment_clicked)
        with self:
            html.Label(
                _STRUCTURE.format(active=listed.active_segment_id, all=listed.segments, select=select), classes="field"
            )
            with html.Div(classes="tools", raw_attrs=['role="toolbar"', 'aria-label="Tools"']):
                for tool in _TOOLS:
                    self._button(tool)
                _history("Undo", "mdi-undo", "Ctrl+Z", self.undo_clicked, names.can_undo)
                _history("Redo", "mdi-redo", "Ctrl+Y", self.redo_clicked, names.can_redo)
            with html.Div(classes="options"):
                for tool in _TOOLS:
                    if tool.options is not None:
                        self._register_effect_ui(tool.effect, tool.options)

    def _button(self, tool: _Tool) -> None:
        (is_active,) = self.is_active_effect(tool.effect)
        with VBtn(
            click=lambda: self.effect_button_clicked(tool.effect),
            active=(is_active,),
            classes="tool",
            raw_attrs=[
                f'data-key="{tool.key}"',
                f'aria-label="{tool.name}"',
                f'title="{tool.name} ({tool.key})"',
                f':aria-pressed="{is_active}"',
            ],
        ):
            VIcon(tool.icon)


_STRUCTURE = """Structure
<select :value="{active}" @change="trigger('{select}', [$event.target.value])" id="structure">
  <option v-for="one in {all}" :key="one.segment_id" :value="one.segment_id">{{{{ one.name }}}}</option>
</select>"""


def _history(name: str, icon: str, key: str, click: Any, can: str) -> None:
    label = [f'aria-label="{name}"', f'title="{name} ({key})"', f'data-key="{key}"']
    with VBtn(click=click, disabled=(f"!{can}",), classes="tool", raw_attrs=label):
        VIcon(icon)


class _Logic(SegmentEditorLogic):
    """How segmentations are shown is not the editor's business here: the views see to that."""

    def _on_segment_display_changed(self, display_state: SegmentDisplayState) -> None:
        pass


class Editor:
    """Edits one segmentation at a time; `mask` says what a stroke may change."""

    def __init__(self, server: Server, application: SlicerApp):
        self._editor = application.segmentation_editor
        self._editor.show_3d(True)  # else the editor would take away the surfaces
        # Slicer's logic spares other segments than the selected one, which trame-slicer does not tell it.
        self._select = lambda segment_id: self._editor.editor_node.SetSelectedSegmentID(segment_id)
        self._editor.active_segment_id_changed.connect(self._select)
        self._logic = _Logic(server, application)

    def place(self) -> None:
        """Put the tools where the page is being built."""
        self._logic.set_ui(EditorUI())

    def edit(self, segmentation: Any, volume: Any) -> None:
        """Edit a segmentation node over the volume node that it is of."""
        self._editor.set_active_segmentation(segmentation, volume)

    def mask(self, masking: Masking) -> None:
        """What a stroke may change, of the segmentation that is edited, from here on."""
        if self._editor.active_volume_node is not None:
            set_masking(self._editor.editor_node, masking, self._editor.active_volume_node)

    def let_go(self) -> None:
        """Edit nothing."""
        self._editor.clear()

    def rest(self) -> None:
        """Put the tool down."""
        self._editor.deactivate_effect()

    def on_tool(self, listener: Any) -> None:
        """Call ``listener(name)`` when another tool is taken."""
        self._editor.active_effect_name_changed.connect(listener)
