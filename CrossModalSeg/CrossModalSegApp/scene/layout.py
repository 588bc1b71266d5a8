"""The two-modality layout: a row of slice views per scan, linked, with outlines, a crossfade, and jumps to places."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from CrossModalSegApp.scene.case_nodes import ROLE_ATTRIBUTE
from CrossModalSegApp.scene.node_geometry import local_grid, to_world
from CrossModalSegApp.scene.node_state import COMPOSITE, DISPLAY, MARKS, THRESHOLD, NodeState, set_view_ids
from CrossModalSegApp.scene.rendering import one_render
from CrossModalSegApp.scene.scene_nodes import nodes_of_class
from CrossModalSegApp.scene.slice_views import (
    ONE_ROW,
    TWO_ROWS,
    SliceView,
    composite_node,
    layout_description,
    slice_node,
    views,
)

_OURS = {ONE_ROW: 1, TWO_ROWS: 2}  # layout number: rows
_NUMBERS = {rows: number for number, rows in _OURS.items()}
_OVERLAY_OPACITY = 0.5
_CERTAIN_PERCENT = 20.0  # less is not shown: every border is a little uncertain
_THICK, _FAINT = 3, 0.6  # pixels; opacity
_WELL_INSIDE = 0.9  # of a view's width and height: a place beyond is at its edge
_MARGIN = 1.05  # of the field of view around the scans


class TwoModalityLayout:
    """The layout in ``scene``. Where the scene has no layout node (no main window), it does nothing, without an error.

    The upper row shows the first scan with the second faded in by the crossfade, the lower row the reverse; each row
    has the outlines of its own scan's segmentation. ``has_marks``: Slicer's scale bar and orientation marker are shown
    in each view. On `leave` views and display are as they were before `enter`.
    """

    def __init__(self, scene: Any, has_marks: bool = False):
        self._scene, self._has_marks = scene, has_marks
        self._volumes: tuple[Any, ...] = ()
        self._shown: tuple[str, ...] = ()  # ids of what was entered with
        self._crossfade = 0.0
        self._uncertainties: tuple[Any, ...] = ()
        self._thresholds: list[NodeState] = []
        self._row_in_3d = 0
        self._former: int | None = None
        self._states: list[NodeState] = []
        self._describe()

    @property
    def is_entered(self) -> bool:
        return bool(self._volumes)

    def make_views(self, rows: int) -> None:
        """Switch to the layout of so many rows where its views have never been shown; call `enter` next.

        A block of one render does not hold back views that come within it. So they are made before.
        """
        made = (self._scene.GetSingletonNode(view.name, "vtkMRMLSliceNode") for view in views(rows))
        if self._layout_node() is not None and not all(made):
            self._switch_to(_NUMBERS[rows])

    def enter(
        self, first_volume: Any, second_volume: Any = None, *segmentations: Any, compared: Sequence[Any] = ()
    ) -> None:
        """Show the scans, one row each, and their ``segmentations``; None for a scan that is missing. Those that they
        are ``compared`` with have fainter outlines.

        Each segmentation goes into the row of the volume that it is of. Other results of this module are hidden
        meanwhile. Entering again with the same nodes changes nothing, with the same scans not the place and zoom.
        """
        volumes = tuple(volume for volume in (first_volume, second_volume) if volume is not None)
        shown = tuple(node.GetID() for node in (*volumes, *segmentations, *compared))
        if not volumes or self._layout_node() is None or (shown == self._shown and volumes == self._volumes):
            return
        has_new_scans = volumes != self._volumes
        self._put_back()
        self._volumes, self._shown = volumes, shown
        self._switch_to(_NUMBERS[len(volumes)])
        self._show_scans()
        self._show_segmentations([*segmentations, *compared])
        self._tell_apart(segmentations, compared)
        if has_new_scans:
            self.fit()

    def leave(self) -> None:
        """Back to the layout before, if ours is still the one that is shown, and to what its nodes showed."""
        if not self.is_entered:
            return
        layout = self._layout_node()
        if layout is not None and layout.GetViewArrangement() in _OURS:
            layout.SetViewArrangement(layout.SlicerLayoutFourUpView if self._former is None else self._former)
        self._put_back()
        self._volumes, self._shown, self._former = (), (), None

    def set_crossfade(self, share: float) -> None:
        """How much of the other scan each row shows, from 0 to 1; kept for the next `enter`."""
        self._crossfade = min(max(float(share), 0.0), 1.0)
        with one_render():
            self._show_above()

    def show_uncertainties(self, volumes: Sequence[Any]) -> None:
        """Lay these volumes, in percent, over the scans instead of the other scan: one for each row, or None. Without
        any, end it."""
        self._uncertainties = tuple(volumes)
        with one_render():
            for state in self._thresholds:
                state.restore()
            displays = [node.GetDisplayNode() for node in self._uncertainties if node is not None]
            self._thresholds = [NodeState(display, THRESHOLD) for display in displays]
            for display in displays:
                display.SetThreshold(_CERTAIN_PERCENT, 100.0)
                display.SetApplyThreshold(True)
            self._show_above()

    def show_in_3d(self, row: int) -> None:
        """Which row's segmentation 3D views show, beside this layout: two at one place would hide each other."""
        self._row_in_3d = row
        for state in self._states:
            if state.node.IsA("vtkMRMLSegmentationDisplayNode") and state.node.GetVisibility():
                set_view_ids(state.node, self._view_ids_for(state.node.GetDisplayableNode()))

    def jump_to(self, ras: tuple[float, float, float]) -> None:
        """Show the slices through a place in the world (RAS, mm), in our views or all others, with the crosshair there.

        What is in the middle of a view stays where the place is well inside of it; else the view is centred on it.
        """
        for node in self._jumping_nodes():
            node.JumpSliceByOffsetting(*ras)
            if not _is_well_inside(node, ras):
                node.JumpSliceByCentering(*ras)
        self._set_crosshair(ras)

    def point_at(self, ras: tuple[float, float, float]) -> None:
        """Show the slices through a place in the world (RAS, mm), with the crosshair there; what is in their middle
        stays."""
        for node in self._jumping_nodes():
            node.JumpSliceByOffsetting(*ras)
        self._set_crosshair(ras)

    def _set_crosshair(self, ras: tuple[float, float, float]) -> None:
        crosshair = self._scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
        if crosshair is not None:
            if self.is_entered and all(state.node is not crosshair for state in self._states):
                self._states.append(NodeState(crosshair, ("CrosshairMode",)))
            crosshair.SetCrosshairRAS(*ras)
            if crosshair.GetCrosshairMode() == crosshair.NoCrosshair:
                crosshair.SetCrosshairMode(crosshair.ShowBasic)

    def fit(self) -> None:
        """Centre all views on the scans, at one scale at which both fit; call it again where views have got their
        size."""
        corners = np.concatenate([to_world(volume, local_grid(volume).corners_ras()) for volume in self._volumes])
        lower, upper = corners.min(axis=0), corners.max(axis=0)
        for view in self._views():
            node = slice_node(self._scene, view)
            across = np.abs(_axes(node) * (upper - lower)[:, None]).sum(axis=0)  # mm along the view's x, y
            width, height, _ = node.GetDimensions()
            mm_per_pixel = _MARGIN * max(across[0] / width, across[1] / height)
            node.SetFieldOfView(width * mm_per_pixel, height * mm_per_pixel, node.GetFieldOfView()[2])
            node.SetXYZOrigin(0, 0, 0)
            node.JumpSliceByCentering(*((lower + upper) / 2))

    def _layout_node(self) -> Any:
        return self._scene.GetFirstNodeByClass("vtkMRMLLayoutNode")

    def _views(self) -> tuple[SliceView, ...]:
        return views(len(self._volumes))

    def _describe(self) -> None:
        """Make our layouts known to Slicer; also to a scene that was saved with one of them."""
        layout = self._layout_node()
        for number, rows in _OURS.items() if layout is not None else ():
            if not layout.IsLayoutDescription(number):
                layout.AddLayoutDescription(number, layout_description(rows))

    def _switch_to(self, number: int) -> None:
        self._describe()
        layout = self._layout_node()
        if layout.GetViewArrangement() not in _OURS:
            self._former = layout.GetViewArrangement()
        layout.SetViewArrangement(number)

    def _show_scans(self) -> None:
        for view in self._views():
            self._mark(slice_node(self._scene, view))
            composite = composite_node(self._scene, view)
            self._states.append(NodeState(composite, COMPOSITE))
            was_modifying = composite.StartModify()
            composite.SetBackgroundVolumeID(self._volumes[view.row].GetID())
            composite.SetLabelVolumeID(None)
            composite.SetLinkedControl(True)
            composite.SetHotLinkedControl(True)
            composite.EndModify(was_modifying)
        self._show_above()

    def _show_above(self) -> None:
        """What lies over the scan of each row: the other scan, or what is uncertain."""
        for view in self._views():
            above, opacity = self._volumes[1 - view.row] if len(self._volumes) == 2 else None, self._crossfade
            if any(node is not None for node in self._uncertainties):
                found = [*self._uncertainties, None, None]
                above, opacity = found[view.row], _OVERLAY_OPACITY
            composite = composite_node(self._scene, view)
            was_modifying = composite.StartModify()
            composite.SetForegroundVolumeID(above.GetID() if above is not None else None)
            composite.SetForegroundOpacity(opacity)
            composite.EndModify(was_modifying)

    def _mark(self, node: Any) -> None:
        """Show how large things are, and which side is which."""
        if self._has_marks:
            self._states.append(NodeState(node, MARKS))
            node.SetRulerType(node.RulerTypeThin)
            node.SetOrientationMarkerType(node.OrientationMarkerTypeHuman)
            node.SetOrientationMarkerSize(node.OrientationMarkerSizeSmall)

    def _show_segmentations(self, segmentations: Iterable[Any]) -> None:
        shown = {node.GetID() for node in segmentations}
        for node in nodes_of_class(self._scene, "vtkMRMLSegmentationNode"):
            display = node.GetDisplayNode()
            if display is None or (node.GetID() not in shown and not node.GetAttribute(ROLE_ATTRIBUTE)):
                continue
            self._states.append(NodeState(display, DISPLAY))
            display.SetVisibility(node.GetID() in shown)
            if node.GetID() in shown:
                display.SetVisibility2DOutline(True)
                display.SetVisibility2DFill(False)
                set_view_ids(display, self._view_ids_for(node))

    def _tell_apart(self, segmentations: Sequence[Any], compared: Sequence[Any]) -> None:
        """Thick lines and thin, faint ones."""
        looks = [(node, _THICK, 1.0) for node in segmentations] + [(node, 1, _FAINT) for node in compared]
        for node, thickness, opacity in looks if compared else []:
            node.GetDisplayNode().SetSliceIntersectionThickness(thickness)
            node.GetDisplayNode().SetOpacity2DOutline(opacity)

    def _view_ids_for(self, segmentation: Any) -> tuple[str, ...]:
        """Ids of the views that a segmentation is shown in: its scan's row, and 3D views where it is that row's turn.

        In all rows where it is of neither scan.
        """
        role = segmentation.GetReferenceImageGeometryReferenceRole()
        volume = segmentation.GetNodeReference(role)
        rows = [row for row, shown in enumerate(self._volumes) if shown is volume] or range(len(self._volumes))
        slices = [slice_node(self._scene, view).GetID() for view in self._views() if view.row in rows]
        return (*slices, *(self._ids_of_3d_views() if self._row_in_3d in rows else ()))

    def _ids_of_3d_views(self) -> list[str]:
        return [node.GetID() for node in nodes_of_class(self._scene, "vtkMRMLViewNode")]

    def _jumping_nodes(self) -> list[Any]:
        if self.is_entered:
            return [slice_node(self._scene, view) for view in self._views()]
        return nodes_of_class(self._scene, "vtkMRMLSliceNode")

    def _put_back(self) -> None:
        for state in reversed(self._states):
            state.restore()
        self._states = []


def _is_well_inside(slice_node_: Any, ras: Sequence[float]) -> bool:
    """Whether a place in the slice (RAS, mm) is seen, and not close to the view's edge."""
    matrix = slice_node_.GetSliceToRAS()
    from_middle = np.asarray(ras) - [matrix.GetElement(row, 3) for row in range(3)]
    across = np.abs(from_middle @ _axes(slice_node_)[:, :2])  # mm along the view's x, y
    return bool((across <= _WELL_INSIDE / 2 * np.array(slice_node_.GetFieldOfView()[:2])).all())


def _axes(slice_node_: Any) -> np.ndarray:
    """(3, 3): directions of the view's x, y and normal (columns) in RAS."""
    matrix = slice_node_.GetSliceToRAS()
    return np.array([[matrix.GetElement(row, column) for column in range(3)] for row in range(3)])
