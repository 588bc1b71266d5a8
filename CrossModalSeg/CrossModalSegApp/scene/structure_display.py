"""How the structures of one result are seen: colours, what is shown, and how opaque; in all of its segmentations
alike."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from CrossModalSegApp.scene.rendering import one_render
from CrossModalSegApp.scene.segmentation_nodes import label_value, show_colors


@dataclass(frozen=True)
class ShownStructure:
    """One structure as it is seen; ``color`` red, green, blue from 0 to 1, ``opacity`` from 0 to 1."""

    value: int
    name: str
    color: tuple[float, float, float]
    is_shown: bool
    opacity: float


class StructureDisplay:
    """The structures of ``segmentations``, by label value; ``on_change`` is called when a person changes how they are
    seen elsewhere, such as in Slicer's table of segments. Call `close` at the end."""

    def __init__(self, segmentations: Iterable[Any], on_change: Callable[[], None]):
        self._nodes = list(segmentations)
        self._on_change = on_change
        self._is_changing = False
        for node in self._nodes:
            show_colors(node)
        displays = [node.GetDisplayNode() for node in self._nodes]
        self._observed = [(one, one.AddObserver("ModifiedEvent", self._changed)) for one in displays if one]

    def close(self) -> None:
        """Listen no more."""
        for node, tag in self._observed:
            node.RemoveObserver(tag)
        self._observed = []

    def structures(self) -> tuple[ShownStructure, ...]:
        """In the order of the first segmentation."""
        return structures_of(self._nodes[0]) if self._nodes else ()

    def show(self, values: Iterable[int], is_shown: bool) -> None:
        """Show these structures, or hide them."""
        wanted = set(values)
        with self._changing():
            for display, segment_id, value in self._each():
                if value in wanted:
                    display.SetSegmentVisibility(segment_id, is_shown)

    def show_only(self, value: int) -> None:
        """Hide all others."""
        with self._changing():
            for display, segment_id, one in self._each():
                display.SetSegmentVisibility(segment_id, one == value)

    def set_opacity(self, values: Iterable[int], opacity: float) -> None:
        """Of outline, fill and surface, from 0 to 1."""
        wanted = set(values)
        with self._changing():
            for display, segment_id, value in self._each():
                if value in wanted:
                    display.SetSegmentOpacity2DOutline(segment_id, opacity)
                    display.SetSegmentOpacity2DFill(segment_id, opacity)

    def _each(self) -> Iterator[tuple[Any, str, int]]:
        """Display node, segment id and label value of each segment."""
        for node in self._nodes:
            display = node.GetDisplayNode()
            if display is not None and node.GetScene() is not None:
                for one in segments(node):
                    yield display, one.segment_id, one.value

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """What happens inside is one change of each node, and is not news."""
        self._is_changing = True
        displays = [display for display in (node.GetDisplayNode() for node in self._nodes) if display is not None]
        was_modifying = [display.StartModify() for display in displays]
        try:
            with one_render():
                yield
                for display, was in zip(displays, was_modifying, strict=True):
                    display.EndModify(was)
        finally:
            self._is_changing = False
        self._on_change()

    def _changed(self, *_args: object) -> None:
        if not self._is_changing:
            self._on_change()


@dataclass(frozen=True)
class StructureSegment:
    """A segment that is a structure."""

    segment_id: str
    value: int
    name: str


def segments(node: Any) -> list[StructureSegment]:
    """The structures of a segmentation, in its order."""
    segmentation = node.GetSegmentation()
    ids = [segmentation.GetNthSegmentID(number) for number in range(segmentation.GetNumberOfSegments())]
    found = [(one, segmentation.GetSegment(one)) for one in ids]
    values = ((one, label_value(segment), segment.GetName()) for one, segment in found)
    return [StructureSegment(one, value, name) for one, value, name in values if value is not None]


def structures_of(node: Any) -> tuple[ShownStructure, ...]:
    """The structures of a segmentation as they are seen, in its order."""
    display = node.GetDisplayNode()
    return tuple(_shown(display, one) for one in segments(node)) if display is not None else ()


def _shown(display: Any, one: StructureSegment) -> ShownStructure:
    color = display.GetSegmentColor(one.segment_id)  # a vtkVector3d, which cannot be unpacked
    is_shown = bool(display.GetSegmentVisibility(one.segment_id))
    opacity = display.GetSegmentOpacity2DOutline(one.segment_id)
    return ShownStructure(one.value, one.name, (color[0], color[1], color[2]), is_shown, opacity)
