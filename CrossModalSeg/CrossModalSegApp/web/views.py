"""The pictures of the page: trame-slicer's views, in the rows that the module's two-scan layout asks for."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
from trame_client.ui.core import AbstractLayout
from trame_server import Server
from trame_slicer.core import LayoutManager, SlicerApp
from trame_slicer.rca_view import RemoteViewFactory
from trame_slicer.views import (
    AbstractView,
    NoScheduleRendering,
    SliceView,
    ThreeDView,
    ViewType,
)

from CrossModalSegApp.scene.case_nodes import CaseNodes
from CrossModalSegApp.scene.layout import TwoModalityLayout
from CrossModalSegApp.scene.review_region import Region
from CrossModalSegApp.scene.scene_nodes import nodes_of_class
from CrossModalSegApp.scene.slice_views import views
from CrossModalSegApp.web.arrangements import MODES, ROWS, arrangement, arrangement_name
from CrossModalSegApp.web.gestures import GestureEvents, Gestures
from CrossModalSegApp.web.outlines import Outlines
from CrossModalSegApp.web.page_state import PageState
from CrossModalSegApp.web.render_turns import TURNS, PatientThreeDView, draw_in_turns
from CrossModalSegApp.web.surfaces import Surfaces
from CrossModalSegApp.web.view_overlays import scale_of, slice_overlay, title_3d

_SETTLE_SECONDS = 0.3
_FRAMES_PER_SECOND = 20.0
# As that of a still picture: the browser is on this computer, and a second, finer picture costs a second drawing.
_QUALITY = 90
_SAME_SIZE = 0.03  # of the size before
_NO_MULTISAMPLES = 0  # without a graphics card, smoothing edges costs more than the picture


class Views:
    """Shows scans and results in linked rows of slices and in 3D; says in the state ``display`` how.

    ``on_contrast`` is called when dragging begins to change brightness and contrast.
    """

    def __init__(self, server: Server, application: SlicerApp):
        self.on_contrast: Callable[[], None] = lambda: None
        self._application = application
        self._scene = application.scene
        self._state = PageState(
            server,
            "display",
            mode="slices",
            crossfade=0,
            is_filled=False,
            is_outlined=True,
            is_contrast=False,
            is_uncertain=False,
            has_uncertainty=False,
            row_in_3d=0,
            is_making_surfaces=False,
            rows=[],
            slices={},
        )
        self._layout_node = self._scene.AddNewNodeByClass("vtkMRMLLayoutNode")
        draw_in_turns()
        for kind, view_type, overlay in (
            (SliceView, ViewType.SLICE_VIEW, slice_overlay),
            (PatientThreeDView, ViewType.THREE_D_VIEW, title_3d),
        ):
            make = partial(_quiet, kind)
            factory = RemoteViewFactory(
                server,
                make,
                view_type,
                populate_view_ui_f=overlay,
                blur_fps=_FRAMES_PER_SECOND,
                interactive_quality=_QUALITY,
            )
            application.view_manager.register_factory(factory)
        self._manager = LayoutManager(self._scene, application.view_manager, server)
        for rows in ROWS.values():
            for mode in MODES:
                self._manager.register_layout(arrangement_name(rows, mode), arrangement(rows, mode))
        self._layout = TwoModalityLayout(self._scene)
        self._surfaces = Surfaces(self._scene, self._on_surfaces)
        self._outlines = Outlines()
        self._case: CaseNodes | None = None
        self._gestures: dict[str, Gestures] = {}  # by view
        self._sizes: dict[str, tuple[int, ...]] = {}
        self._scans: tuple[Any, ...] = ()
        self._place: tuple[float, float, float] | None = None
        self._fitting: asyncio.TimerHandle | None = None
        rows_of = {view.name: view.row for view in views(2)}
        for view in application.view_manager.get_slice_views():
            view.modified.connect(self._follow)
            self._outlines.add(view, rows_of[view.name])
        for name in (
            "mode",
            "crossfade",
            "filled",
            "outlined",
            "uncertain",
            "contrast",
            "row_in_3d",
            "slice",
            "step",
            "way",
            "fit",
        ):
            self._state.on(name, getattr(self, f"_set_{name}"))
        self._switch()
        self._show_3d(is_seen=False)

    def place_in(self, page: AbstractLayout) -> None:
        """Put the views where the page is being built."""
        self._manager.initialize_layout_grid(page)

    def show_scans(self, volumes: dict[str, Any]) -> None:
        """Show volume nodes by modality, one row each, without a result."""
        self._case = None
        self._offer_uncertainty()
        self._show_surfaces()
        self._enter([*volumes.values(), None][:2], volumes)

    def show_case(self, case: CaseNodes) -> None:
        """Show the scans of a result with its segmentations."""
        self._case = case
        self._show_surfaces()
        self._enter(case.rows(), case.volumes)
        self._offer_uncertainty()

    def refresh(self, segmentation: Any, values: Iterable[int], labels: np.ndarray) -> None:
        """Structures of a segmentation node, by label value, have changed; ``labels`` (K, J, I) are all of them."""
        self._outlines.relabel(segmentation, labels)
        self._surfaces.refresh(segmentation, values)

    def restyle(self) -> None:
        """Structures are shown, hidden or coloured otherwise."""
        self._outlines.restyle()
        self._surfaces.restyle()

    def show_compared(self, nodes: Mapping[str, Any]) -> None:
        """Outline these segmentation nodes by modality beside those of the result; none of them ends it."""
        volumes = self._case.volumes if self._case else {}
        self._outlines.compare([nodes.get(name) for name in volumes], list(volumes.values()))

    def outline_region(self, region: Region | None) -> None:
        """Outline what is in question, in all slices; None ends it."""
        self._outlines.point_out(region)

    def clear(self) -> None:
        """Show nothing."""
        self._case = None
        self._offer_uncertainty()
        self._show_surfaces()
        self._show_outlines()
        self._scans, self._place = (), None
        self._layout.leave()
        self._state.show(rows=[])

    def jump_to(self, ras: tuple[float, float, float]) -> None:
        """Centre all slices on a place in the world (RAS, mm), with the crosshair on it."""
        self._place = ras
        self._layout.jump_to(ras)

    def point_at(self, ras: tuple[float, float, float]) -> None:
        """Show the slices through a place in the world (RAS, mm), with the crosshair on it."""
        if self._layout.is_entered:
            self._layout.point_at(ras)

    def free_mouse(self, is_free: Callable[[], bool], on_drag: Callable[[int, float, float], None]) -> None:
        """While ``is_free()``, a click sets the crosshair, and the right button calls ``on_drag(row, across, up)`` with
        pixels."""
        rows_of = {view.name: view.row for view in views(2)}
        is_free_here = lambda: self._layout.is_entered and not self._state["is_contrast"] and is_free()
        self._gestures.clear()
        for view in self._slice_views():
            on_drag_here = partial(on_drag, rows_of[view.name])
            events = GestureEvents(is_free_here, self.point_at, on_drag_here, TURNS.note_move)
            self._gestures[view.name] = Gestures(view, events)

    def leave_contrast(self) -> None:
        """The mouse does something else from here on than to change brightness and contrast."""
        if self._state["is_contrast"]:
            self._set_contrast(False)

    def _enter(self, nodes: Any, volumes: dict[str, Any]) -> None:
        scans = tuple(nodes[:2])
        if scans != self._scans:
            self._scans, self._place = scans, None
        self._layout.enter(*nodes)
        self._state.show(rows=[f"{modality}: {node.GetName()}" for modality, node in volumes.items()])
        self._show_outlines()
        self._switch()
        for view in self._slice_views():
            self._follow(view)

    def _offer_uncertainty(self) -> None:
        """That of the result that is shown, where it has one."""
        self._state.show(has_uncertainty=bool(self._case and self._case.uncertainties))
        self._set_uncertain(self._state["is_uncertain"])

    def _slice_views(self) -> list[SliceView]:
        return self._application.view_manager.get_slice_views()

    def _switch(self) -> None:
        """The arrangement that the layout asks for, in the mode that the user has chosen."""
        rows = ROWS.get(self._layout_node.GetViewArrangement(), 2)
        self._manager.set_layout(arrangement_name(rows, self._state["mode"]))

    def _follow(self, view: SliceView) -> None:
        """Draw what has changed in a view, and note where its slice is; one of another size shows all of the scans
        again."""
        # Slicer's displayable managers ask for it on their own nodes only, not for scans that fade.
        view.schedule_render()
        lower, upper = view.get_slice_range()
        found = {"lower": lower, "upper": upper, "step": view.get_slice_step(), "value": view.get_slice_value()}
        found |= scale_of(view)
        if self._state["slices"].get(view.name) != found:
            TURNS.note_move()
            self._state.show(slices={**self._state["slices"], view.name: found})
        size = view.get_view_node().GetDimensions()[:2]
        if self._layout.is_entered and _is_other(size, self._sizes.get(view.name)):
            self._sizes[view.name] = size
            self._fit_soon()

    def _fit_soon(self) -> None:
        """The views get their sizes one after the other, and in steps."""
        if self._fitting is not None:
            self._fitting.cancel()
        try:
            self._fitting = asyncio.get_running_loop().call_later(_SETTLE_SECONDS, self._fit)
        except RuntimeError:  # before the page is served
            self._fit()

    def _fit(self) -> None:
        self._fitting = None
        if self._layout.is_entered:
            self._layout.fit()
            if self._place is not None:
                self._layout.jump_to(self._place)

    def _fit_3d(self) -> None:
        for view in self._threed_views():
            view.fit_view_to_content()
            view.schedule_render()

    def _threed_views(self) -> list[ThreeDView]:
        return self._application.view_manager.get_threed_views()

    def _show_3d(self, is_seen: bool) -> None:
        """A 3D view that nobody sees is not drawn, and its surfaces are not made."""
        for view in self._threed_views():
            view.set_render_blocked(not is_seen)
        self._surfaces.want(is_seen)

    def _show_surfaces(self) -> None:
        case, row = self._case, self._state["row_in_3d"]
        names = [name for name in case.segmentations if name in case.volumes] if case else []
        if case is None or row >= len(names):
            self._surfaces.show(None, None)
        else:
            self._surfaces.show(case.segmentations[names[row]], case.volumes[names[row]])

    def _show_outlines(self) -> None:
        """The segmentation of each row, over its scan."""
        case = self._case
        for display in self._shown_displays():
            display.SetVisibility2D(False)  # this page draws them itself
            display.SetVisibility2DFill(self._state["is_filled"])
        pairs = [(case.segmentations.get(name), node) for name, node in case.volumes.items()] if case else []
        self._outlines.show([pair if pair[0] is not None else None for pair in pairs])

    def _on_surfaces(self, is_making: bool, is_first: bool) -> None:
        self._state.show(is_making_surfaces=is_making)
        if is_first:
            self._fit_3d()
        for view in self._threed_views():
            view.schedule_render()

    # --- what the user does

    def _set_fit(self) -> None:
        self._place = None
        self._fit()
        self._fit_3d()

    def _set_mode(self, mode: str) -> None:
        if mode in MODES:
            self._state.show(mode=mode)
            self._switch()
            self._show_3d(is_seen=mode != "slices")
            self._fit_soon()

    def _set_crossfade(self, percent: float) -> None:
        self._state.show(crossfade=percent)
        self._layout.set_crossfade(percent / 100)

    def _set_filled(self, is_filled: bool) -> None:
        self._state.show(is_filled=is_filled)
        for display in self._shown_displays():
            display.SetVisibility2DFill(is_filled)
        self._outlines.restyle()

    def _set_outlined(self, is_outlined: bool) -> None:
        """Show the structures in the slices, or the scans alone."""
        self._state.show(is_outlined=is_outlined)
        self._outlines.set_seen(is_outlined)

    def _set_uncertain(self, is_uncertain: bool) -> None:
        """Lay what the model is not sure of over the scans."""
        case = self._case
        found = [case.uncertainties.get(name) for name in case.volumes] if case and is_uncertain else []
        self._layout.show_uncertainties(found)
        self._state.show(is_uncertain=any(node is not None for node in found))
        for view in self._slice_views():
            view.schedule_render()

    def _set_row_in_3d(self, row: int) -> None:
        self._state.show(row_in_3d=row)
        self._show_surfaces()

    def _set_contrast(self, is_on: bool) -> None:
        self._state.show(is_contrast=is_on)
        node = self._application.app_logic.GetInteractionNode()
        node.SetCurrentInteractionMode(node.AdjustWindowLevel if is_on else node.ViewTransform)
        if is_on:
            self.on_contrast()

    def _set_slice(self, name: str, offset: float) -> None:
        """Move the slices of one orientation in both rows: slices that are linked only follow the mouse."""
        moved = next((view for view in views(2) if view.name == name), None)
        same = {view.name for view in views(2) if moved and view.orientation == moved.orientation}
        for view in self._slice_views():
            if view.name in same:
                view.set_slice_value(float(offset))

    def _set_step(self, name: str, steps: int) -> None:
        """Go so many slices further, within the scans."""
        found = self._state["slices"].get(name)
        if found is not None:
            self._set_slice(name, min(max(found["value"] + steps * found["step"], found["lower"]), found["upper"]))

    def _set_way(self, name: str, is_start: bool, shares: list[tuple[float, float]]) -> None:
        if name in self._gestures:
            self._gestures[name].note_way(is_start, shares)

    def _shown_displays(self) -> list[Any]:
        displays = nodes_of_class(self._scene, "vtkMRMLSegmentationDisplayNode")
        return [display for display in displays if display.GetVisibility()]


def _is_other(size: tuple[int, ...], former: tuple[int, ...] | None) -> bool:
    """Whether a view has got another size, not only a window that was looked at again."""
    pairs = zip(size, former or (), strict=False)
    return former is None or any(abs(now - then) > _SAME_SIZE * max(then, 1) for now, then in pairs)


def _quiet(kind: type[AbstractView], **given: Any) -> AbstractView:
    """A view that draws nothing before a browser shows it, instead of each time that it is set up further."""
    view = kind(scheduled_render_strategy=NoScheduleRendering(), **given)
    view.render_window().SetMultiSamples(_NO_MULTISAMPLES)
    return view
