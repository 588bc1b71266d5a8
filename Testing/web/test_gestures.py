"""What a view's mouse tells of itself, with a real interactor and without a browser."""

from types import SimpleNamespace

import vtk

from CrossModalSegApp.web.gestures import GestureEvents, Gestures


def test_a_button_that_is_pressed_held_or_released_is_told_whoever_takes_it_and_a_mere_move_is_not():
    interactor, held = vtk.vtkGenericRenderWindowInteractor(), []
    events = GestureEvents(lambda: False, lambda _place: None, lambda _across, _up: None, lambda: held.append(1))
    gestures = Gestures(SimpleNamespace(interactor=lambda: interactor), events)
    counts = []
    for event in ("MouseMove", "LeftButtonPress", "MouseMove", "MouseMove", "LeftButtonRelease", "MouseMove"):
        interactor.InvokeEvent(f"{event}Event")
        counts.append(len(held))
    assert counts == [0, 1, 2, 3, 4, 4]
    assert gestures is not None
