"""What the mouse does in a slice view while no tool is in use: a click sets the crosshair, the right button windows.

A tool that is in use is led along the whole way of a drag. The browser's events for a view wait while the program is
busy, and of moves that wait only the last one arrives: a line drawn fast would cut corners.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import slicer
from trame_slicer.views import SliceView

from CrossModalSegApp.scene.pointed_place import Place

_FIRST = 10.0  # priority: before Slicer's own interaction
_SAME_PLACE = 3  # pixels
_EVENTS = ("LeftButtonPress", "LeftButtonRelease", "RightButtonPress", "RightButtonRelease", "MouseMove")


@dataclass(frozen=True)
class GestureEvents:
    """``is_free`` says that no tool is in use; ``on_place`` is called with the place of the crosshair, ``on_drag`` with
    the pixels across and up that the right button was dragged, ``on_hold()`` whenever a button is pressed, released or
    held while the mouse moves, whoever takes it."""

    is_free: Callable[[], bool]
    on_place: Callable[[Place], None]
    on_drag: Callable[[float, float], None]
    on_hold: Callable[[], None]


class Gestures:
    """Listens to the mouse in ``view``; what it takes for itself, Slicer's own interaction does not get."""

    def __init__(self, view: SliceView, events: GestureEvents):
        self._view, self._events = view, events
        self._button = ""  # that is held down and ours
        self._is_held = False
        self._last = (0, 0)
        self._ways: list[list[tuple[int, int]]] = []  # of drags that have begun in the browser, and not yet here
        self._way: list[tuple[int, int]] = []  # of the drag that is under way, still to be gone
        interactor = view.interactor()
        self._tags = {name: interactor.AddObserver(f"{name}Event", self._on_event, _FIRST) for name in _EVENTS}

    def note_way(self, is_start: bool, shares: Sequence[tuple[float, float]]) -> None:
        """Where the mouse has passed (shares of the view's width and height, from below) with the left button held;
        where it ``is_start``, a drag begins. It arrives before the view's own events for the same places."""
        width, height = self._view.interactor().GetSize()
        points = [(int(x * width), int(y * height)) for x, y in shares]
        if is_start:
            self._ways.append(points)
        elif self._ways:
            self._ways[-1] += points
        else:
            self._way += points

    def _begin_way(self, here: tuple[int, int]) -> None:
        """Find the drag that begins here; those before it have been taken by something else."""
        self._way = []
        while self._ways and not self._way:
            start, *rest = self._ways.pop(0)
            if math.dist(start, here) <= _SAME_PLACE:
                self._way = rest or [start]

    def _go_way(self, interactor: Any) -> None:
        """Lead the tool along what has been passed since, and then to where the event is."""
        here = interactor.GetEventPosition()
        way, self._way = self._way, []
        for place in () if self._events.is_free() else way:
            interactor.SetEventPosition(*place)
            interactor.InvokeEvent("MouseMoveEvent")
        interactor.SetEventPosition(*here)

    def _on_event(self, interactor: Any, event: str) -> None:
        name = event.removesuffix("Event")
        if name == "LeftButtonPress":
            self._begin_way(interactor.GetEventPosition())
        elif self._way and name in ("MouseMove", "LeftButtonRelease"):
            self._go_way(interactor)
        if self._is_held or name != "MouseMove":
            self._events.on_hold()
            self._is_held = not name.endswith("Release")
        if self._takes(name, interactor):
            interactor.GetCommand(self._tags[name]).SetAbortFlag(1)

    def _takes(self, name: str, interactor: Any) -> bool:
        """Whether the event is ours; does what it asks for."""
        here = interactor.GetEventPosition()
        if name.endswith("Press"):
            if self._button or not self._events.is_free() or interactor.GetShiftKey() or interactor.GetControlKey():
                return False
            self._button, self._last = name.removesuffix("ButtonPress"), here
            if self._button == "Left":
                self._events.on_place(self._place(here))
            return True
        if name == "MouseMove":
            if self._button == "Left":
                self._events.on_place(self._place(here))
            elif self._button == "Right":
                self._events.on_drag(here[0] - self._last[0], here[1] - self._last[1])
                self._last = here
            return bool(self._button)
        was_ours = self._button == name.removesuffix("ButtonRelease")
        if was_ours:
            self._button = ""
        return was_ours

    def _place(self, pixel: tuple[int, int]) -> Place:
        matrix = slicer.util.arrayFromVTKMatrix(self._view.get_view_node().GetXYToRAS())
        r, a, s = (matrix[:3, :2] @ pixel + matrix[:3, 3]).tolist()
        return r, a, s
