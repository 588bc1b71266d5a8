"""What can be set for the tool in use: trame-slicer's settings and signals, behind plain controls that have names."""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from trame.widgets import html
from trame_server.utils.typed_state import TypedState
from trame_slicer.app.ui import (
    DrawEffectState,
    IslandsState,
    LogicalOperatorsSegmentationMode,
    LogicalOperatorsState,
    PaintEffectState,
    ScissorsEffectState,
    SmoothingEffectMode,
    SmoothingState,
    ThresholdState,
)
from trame_slicer.segmentation import (
    BrushDiameterMode,
    BrushInteractionMode,
    ScissorsEffectFillMode,
    ScissorsEffectRangeMode,
    SegmentationIslandsMode,
)
from undo_stack import Signal

BRUSH_MM, _LARGEST_BRUSH_MM = 6.0, 60.0


class _Options(html.Div):
    """Shown while the tool is in use; ``v_if`` says when."""

    def __init__(self, **given: Any):
        super().__init__(classes="options", **given)

    def _call(self, signal: Signal) -> str:
        """What a click on a button does in the page, to emit ``signal``."""
        return f"trigger('{self.server.controller.trigger_name(signal)}')"

    def _apply(self, signal: Signal, disabled: str = "false", title: str = "Apply") -> str:
        return f'<button type="button" :disabled="{disabled}" @click="{self._call(signal)}">{title}</button>'


class BrushOptions(_Options):
    """Of paint and erase."""

    def __init__(self, **given: Any):
        super().__init__(**given)
        with self:
            html.Div(_brush(TypedState(self.state, PaintEffectState)))


class ScissorsOptions(_Options):
    def __init__(self, **given: Any):
        super().__init__(**given)
        names = TypedState(self.state, ScissorsEffectState).name
        is_symmetric = f"{names.range_mode} === {ScissorsEffectRangeMode.SYMMETRIC.value}"
        depth = _number("Depth (mm)", names.symmetric_distance, 0, 1)
        with self:
            html.Div(
                _choice("Operation", names.fill_mode, _FILL)
                + _choice("In slices", names.range_mode, _RANGE)
                + f'<template v-if="{is_symmetric}">{depth}</template>'
                + _choice("Line", names.brush_interaction_mode, _LINE)
            )


class DrawOptions(_Options):
    def __init__(self, **given: Any):
        super().__init__(**given)
        names = TypedState(self.state, DrawEffectState).name
        with self:
            html.Div(_choice("Line", names.brush_interaction_mode, _LINE))


class ThresholdOptions(_Options):
    auto_threshold_clicked = Signal()
    apply_clicked = Signal()
    use_as_mask_clicked = Signal()  # not offered: it would limit all tools from then on, and nothing would say so

    def __init__(self, **given: Any):
        super().__init__(**given)
        slider = TypedState(self.state, ThresholdState).name.threshold_slider
        value, limits = slider.value, f':min="{slider.min_value}" :max="{slider.max_value}"'
        ends = "".join(
            f'<label class="field">{title}<input type="number" step="any" {limits} :value="{value}[{place}]" '
            f'@change="{value} = [{new}]"></label>'
            for place, title, new in (
                (0, "From intensity", f"Number($event.target.value), {value}[1]"),
                (1, "To intensity", f"{value}[0], Number($event.target.value)"),
            )
        )
        auto = self._apply(self.auto_threshold_clicked, title="Choose by itself")
        with self:
            html.Div(f'{ends}<div class="row">{self._apply(self.apply_clicked)}{auto}</div>')


class IslandsOptions(_Options):
    """Without "Split", which makes structures that the model does not know."""

    apply_clicked = Signal()

    def __init__(self, **given: Any):
        super().__init__(**given)
        names = TypedState(self.state, IslandsState).name
        clicks = [mode.value for mode in SegmentationIslandsMode.get_interactive_modes()]
        small = _number("Fewest voxels", names.minimum_size, 0, 1)
        removes_small = f"{names.mode} === {SegmentationIslandsMode.REMOVE_SMALL_ISLANDS.value}"
        with self:
            html.Div(
                _choice("Operation", names.mode, _ISLANDS)
                + f'<template v-if="{removes_small}">{small}</template>'
                + f'<p class="hint" v-if="{clicks}.includes({names.mode})">Click on an island in a slice.</p>'
                + f"<template v-else>{self._apply(self.apply_clicked)}</template>"
            )


class SmoothingOptions(_Options):
    apply_clicked = Signal()

    def __init__(self, **given: Any):
        super().__init__(**given)
        state = TypedState(self.state, SmoothingState)
        names, mode = state.name, state.name.mode
        gauss, joint = SmoothingEffectMode.GAUSSIAN.value, SmoothingEffectMode.JOINT.value
        with self:
            html.Div(
                _choice("Method", mode, _SMOOTHING)
                + f'<template v-if="![{gauss}, {joint}].includes({mode})">'
                + _number("Kernel size (mm)", names.kernel_size, 0, 0.1)
                + f'</template><template v-if="{mode} === {gauss}">'
                + _number("Standard deviation (mm)", names.standard_deviation, 0, 0.1)
                + f'</template><template v-if="{mode} === {joint}">'
                + _number("Factor", names.smoothing_factor, 0, 0.05, 1)
                + f'</template><div class="row">{self._apply(self.apply_clicked)}'
                + '<span class="hint">to all of it, or paint where</span></div>'
                + _brush(state.get_sub_state(names.brush))
            )


class LogicalOptions(_Options):
    apply_clicked = Signal()

    def __init__(self, **given: Any):
        super().__init__(**given)
        names = TypedState(self.state, LogicalOperatorsState).name
        needs = f"{[mode.value for mode in _WITH_ANOTHER]}.includes({names.logical_operator})"
        other = names.reference_segment_id
        with self:
            html.Div(
                _choice("Operation", names.logical_operator, _LOGICAL)
                + f'<label class="field" v-if="{needs}">Other structure<select :value="{other}" '
                + f'@change="{other} = $event.target.value"><option value="" disabled>choose</option>'
                + f'<option v-for="one in {names.available_segments}" :key="one.segment_id" :value="one.segment_id">'
                + "{{ one.name }}</option></select></label>"
                + self._apply(self.apply_clicked, f"{needs} && !{other}")
            )


def _brush(state: TypedState[Any]) -> str:
    """Diameter in mm, and whether the brush is a ball."""
    data, names = state.data, state.name
    data.brush_diameter_mode = BrushDiameterMode.Absolute
    data.use_sphere_brush = False  # what is painted is what is seen
    slider = names.brush_diameter_slider
    data.brush_diameter_slider.min_value, data.brush_diameter_slider.max_value = 1, _LARGEST_BRUSH_MM
    data.brush_diameter_slider.value, data.brush_diameter_slider.step = BRUSH_MM, 0.5
    return (
        f'<label class="field">Brush {{{{ {slider.value} }}}} mm<input type="range" aria-label="Brush diameter in mm" '
        f':min="{slider.min_value}" :max="{slider.max_value}" step="0.5" :value="{slider.value}" '
        f'@input="{slider.value} = Number($event.target.value)"></label>'
        f'<label class="inline"><input type="checkbox" :checked="{names.use_sphere_brush}" '
        f'@change="{names.use_sphere_brush} = $event.target.checked"> A ball: reaches into the slices beside</label>'
    )


def _number(title: str, name: Any, lowest: float, step: float, highest: float | None = None) -> str:
    limit = "" if highest is None else f' max="{highest}"'
    return (
        f'<label class="field">{title}<input type="number" min="{lowest}" step="{step}"{limit} :value="{name}" '
        f'@change="{name} = Number($event.target.value)"></label>'
    )


def _choice(title: str, name: Any, options: Mapping[Any, str]) -> str:
    entries = "".join(f'<option :value="{mode.value}">{words}</option>' for mode, words in options.items())
    return (
        f'<label class="field">{title}<select :value="{name}" @change="{name} = Number($event.target.value)">{entries}'
        "</select></label>"
    )


_FILL: Mapping[Enum, str] = {
    ScissorsEffectFillMode.ERASE_INSIDE: "Erase inside",
    ScissorsEffectFillMode.ERASE_OUTSIDE: "Erase outside",
    ScissorsEffectFillMode.FILL_INSIDE: "Fill inside",
    ScissorsEffectFillMode.FILL_OUTSIDE: "Fill outside",
}
_RANGE: Mapping[Enum, str] = {
    ScissorsEffectRangeMode.UNLIMITED: "All slices",
    ScissorsEffectRangeMode.POSITIVE: "Those in front",
    ScissorsEffectRangeMode.NEGATIVE: "Those behind",
    ScissorsEffectRangeMode.SYMMETRIC: "Within a depth",
}
_LINE: Mapping[Enum, str] = {
    BrushInteractionMode.CONTINUOUS: "Drag",
    BrushInteractionMode.POINT_BY_POINT: "Click points, right button ends",
}
_ISLANDS: Mapping[Enum, str] = {
    SegmentationIslandsMode.KEEP_LARGEST_ISLAND: "Keep the largest",
    SegmentationIslandsMode.REMOVE_SMALL_ISLANDS: "Remove small ones",
    SegmentationIslandsMode.KEEP_SELECTED: "Keep the one clicked",
    SegmentationIslandsMode.REMOVE_SELECTED: "Remove the one clicked",
    SegmentationIslandsMode.ADD_SELECTED: "Add the one clicked, of another structure",
}
_SMOOTHING: Mapping[Enum, str] = {
    SmoothingEffectMode.MEDIAN: "Median",
    SmoothingEffectMode.OPENING: "Opening: removes what is thin",
    SmoothingEffectMode.CLOSING: "Closing: fills what is narrow",
    SmoothingEffectMode.GAUSSIAN: "Gaussian",
    SmoothingEffectMode.JOINT: "Joint: all structures at once",
}
_WITH_ANOTHER: Sequence[Enum] = (
    LogicalOperatorsSegmentationMode.COPY,
    LogicalOperatorsSegmentationMode.ADD,
    LogicalOperatorsSegmentationMode.SUBTRACT,
    LogicalOperatorsSegmentationMode.INTERSECT,
)
_LOGICAL: Mapping[Enum, str] = {
    LogicalOperatorsSegmentationMode.COPY: "Copy of another",
    LogicalOperatorsSegmentationMode.ADD: "Add another",
    LogicalOperatorsSegmentationMode.SUBTRACT: "Subtract another",
    LogicalOperatorsSegmentationMode.INTERSECT: "Keep what is in another",
    LogicalOperatorsSegmentationMode.INVERT: "Invert",
    LogicalOperatorsSegmentationMode.CLEAR: "Clear",
    LogicalOperatorsSegmentationMode.FILL: "Fill everything",
}
