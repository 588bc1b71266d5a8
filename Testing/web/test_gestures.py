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


def drag(interactor, *events):
    """Invoke events at places, as they come from the browser."""
    for name, place in events:
        interactor.SetEventPosition(*place)
        interactor.InvokeEvent(f"{name}Event")


def test_a_tool_is_led_along_all_that_the_mouse_has_passed_also_where_only_the_last_move_arrives():
    interactor, seen = vtk.vtkGenericRenderWindowInteractor(), []
    interactor.SetSize(200, 100)
    events = GestureEvents(lambda: False, lambda _place: None, lambda _across, _up: None, lambda: None)
    gestures = Gestures(SimpleNamespace(interactor=lambda: interactor), events)
    interactor.AddObserver("MouseMoveEvent", lambda caller, _event: seen.append(caller.GetEventPosition()), 1.0)
    gestures.note_way(True, [(0.9, 0.9)])  # taken by something else
    gestures.note_way(False, [(0.8, 0.8)])
    gestures.note_way(True, [(0.1, 0.1)])
    gestures.note_way(False, [(0.2, 0.1), (0.3, 0.2)])
    drag(interactor, ("LeftButtonPress", (20, 10)), ("MouseMove", (60, 20)))
    assert seen == [(40, 10), (60, 20), (60, 20)]
    gestures.note_way(False, [(0.4, 0.3)])
    gestures.note_way(True, [(0.5, 0.5)])  # the next one has begun before this one has ended here
    gestures.note_way(False, [(0.6, 0.5)])
    drag(interactor, ("LeftButtonRelease", (80, 30)))
    assert seen[3:] == [(80, 30)]
    drag(interactor, ("LeftButtonPress", (100, 50)), ("LeftButtonRelease", (120, 50)), ("MouseMove", (5, 5)))
    assert seen[4:] == [(120, 50), (5, 5)]


def test_without_a_tool_the_crosshair_goes_to_the_last_place_alone():
    interactor, places = vtk.vtkGenericRenderWindowInteractor(), []
    interactor.SetSize(200, 100)
    node = SimpleNamespace(GetXYToRAS=vtk.vtkMatrix4x4)
    events = GestureEvents(lambda: True, places.append, lambda _across, _up: None, lambda: None)
    gestures = Gestures(SimpleNamespace(interactor=lambda: interactor, get_view_node=lambda: node), events)
    gestures.note_way(True, [(0.1, 0.1)])
    gestures.note_way(False, [(0.2, 0.1), (0.3, 0.2)])
    drag(interactor, ("LeftButtonPress", (20, 10)), ("MouseMove", (60, 20)))
    assert places == [(20, 10, 0), (60, 20, 0)]
