"""The tools of the section Correct: what trame-slicer's segment editor offers, cut down to corrections."""

from dataclasses import dataclass
from typing import Any

from trame.widgets import html
from trame.widgets.vuetify3 import VBtn, VIcon
from trame_slicer.app.ui.segmentation import SegmentEditorUI
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
)

from CrossModalSegApp.web.tool_options import (
    BrushOptions,
    DrawOptions,
    IslandsOptions,
    LogicalOptions,
    ScissorsOptions,
    SmoothingOptions,
    ThresholdOptions,
)


@dataclass(frozen=True)
class Tool:
    """A button; ``key`` presses it, ``options`` shows what can be set."""

    name: str
    key: str
    icon: str
    effect: type
    options: type | None = None


TOOLS = (
    Tool("No tool", "0", "mdi-cursor-default", SegmentationEffectNoTool),
    Tool("Paint", "1", "mdi-brush", SegmentationEffectPaint, BrushOptions),
    Tool("Erase", "2", "mdi-eraser", SegmentationEffectErase, BrushOptions),
    Tool("Scissors", "3", "mdi-content-cut", SegmentationEffectScissors, ScissorsOptions),
    Tool("Threshold", "4", "mdi-auto-fix", SegmentationEffectThreshold, ThresholdOptions),
    Tool("Islands", "5", "mdi-scatter-plot", SegmentationEffectIslands, IslandsOptions),
    Tool("Smoothing", "6", "mdi-square-rounded-outline", SegmentationEffectSmoothing, SmoothingOptions),
    Tool(
        "Logical operators",
        "7",
        "mdi-vector-intersection",
        SegmentationEffectLogicalOperators,
        LogicalOptions,
    ),
    Tool("Draw", "8", "mdi-draw", SegmentationEffectDraw, DrawOptions),
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
                for tool in TOOLS:
                    self._button(tool)
                _history("Undo", "mdi-undo", "Ctrl+Z", self.undo_clicked, names.can_undo)
                _history("Redo", "mdi-redo", "Ctrl+Y", self.redo_clicked, names.can_redo)
            for tool in TOOLS:
                if tool.options is not None:
                    self._register_effect_ui(tool.effect, tool.options)

    def _button(self, tool: Tool) -> None:
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
