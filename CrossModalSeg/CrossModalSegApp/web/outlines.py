"""The structures in the slices of the page: one picture for each view, instead of Slicer's one for each structure and
view, which takes longer than the scan itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import slicer
import vtk
from trame_slicer.views import SliceView
from vtk.util.numpy_support import numpy_to_vtk

from CrossModalSegApp.scene.comparison import labels_in_values_of
from CrossModalSegApp.scene.node_geometry import local_grid, world_grid
from CrossModalSegApp.scene.review_region import Region
from CrossModalSegApp.scene.segmentation_labels import marked_labels
from CrossModalSegApp.scene.structure_display import structures_of
from CrossModalSegApp.web.outline_picture import Look, dashed_picture, laid_over, outline_picture, slice_labels
from CrossModalSegLib.imaging.grid import Grid


@dataclass
class _Shown:
    """A segmentation node over its scan; ``labels`` (K, J, I) as they are now."""

    node: Any
    labels: np.ndarray
    ras_to_ijk: np.ndarray
    look: Look


class Outlines:
    """Draws one segmentation in each of some slice views."""

    def __init__(self) -> None:
        self._is_seen = True
        self._layers: dict[str, _Layer] = {}
        self._shown: dict[int, _Shown] = {}  # by row
        self._others: dict[int, _Shown] = {}  # by row; what they are compared with
        self._region: tuple[np.ndarray, np.ndarray] | None = None  # labels (K, J, I), and where they lie

    def add(self, view: SliceView, row: int) -> None:
        """Draw the segmentation of ``row`` in this view."""
        self._layers[view.name] = _Layer(view, row, self)

    def show(self, rows: Sequence[tuple[Any, Any] | None]) -> None:
        """Show these segmentation nodes over their volume nodes, row by row; None for a row without one."""
        self._shown = {row: _shown(*pair) for row, pair in enumerate(rows) if pair is not None}
        self.draw()

    def compare(self, nodes: Sequence[Any], volumes: Sequence[Any]) -> None:
        """Outline other segmentation nodes, one for each row or None, over their volume nodes, as they are now, in
        white. What is hidden is hidden in both."""
        self._others = {}
        for row, (node, volume) in enumerate(zip(nodes, volumes, strict=True)):
            own = self._shown.get(row)
            if node is not None and own is not None:
                labels, _names = labels_in_values_of(own.node, node, volume)
                self._others[row] = replace(own, labels=np.minimum(labels, len(own.look.outline)))
        self.draw()

    def point_out(self, region: Region | None) -> None:
        """A dashed line around this region, in all rows; None: no more."""
        had, self._region = self._region, None
        if region is not None:
            self._region = region.mask.astype(np.uint8), _grid_of(region.volume).ras_to_ijk
        if had is not None or region is not None:
            self.draw()

    def relabel(self, node: Any, labels: np.ndarray) -> None:
        """The labels of a segmentation node are others now."""
        for shown in self._shown.values():
            if shown.node is node:
                shown.labels = labels
        self.draw()

    def set_seen(self, is_seen: bool) -> None:
        """Draw structures, or nothing."""
        self._is_seen = is_seen
        self.draw()

    def restyle(self) -> None:
        """Structures are shown, hidden or coloured otherwise."""
        for shown in self._shown.values():
            shown.look = _look(shown.node)
        self.draw()

    def draw(self) -> None:
        for layer in self._layers.values():
            layer.is_stale = True
            layer.view.schedule_render()

    def shown_in(self, row: int) -> list[_Shown]:
        """What is drawn in the views of a row, the last one on top."""
        own, other = self._shown.get(row), self._others.get(row)
        if own is None or not self._is_seen:
            return []
        return [own] if other is None else [replace(other, look=own.look.in_white()), own]

    def pictures(self, row: int, xy_to_ras: np.ndarray, size: tuple[int, int]) -> list[np.ndarray]:
        """What is drawn in a view of a row, as RGBA (height, width, 4) uint8, the last one on top."""
        lines = [
            outline_picture(slice_labels(one.labels, one.ras_to_ijk @ xy_to_ras, *size), one.look)
            for one in self.shown_in(row)
        ]
        if lines and self._region is not None:
            labels, ras_to_ijk = self._region
            lines.append(dashed_picture(slice_labels(labels, ras_to_ijk @ xy_to_ras, *size) > 0))
        return lines


class _Layer:
    """The picture over the scan in one view, made when the view is drawn and something has moved."""

    def __init__(self, view: SliceView, row: int, outlines: Outlines):
        self.view, self.is_stale = view, True
        self._row, self._outlines = row, outlines
        self._place: tuple[Any, ...] = ()
        self._image = vtk.vtkImageData()
        mapper = vtk.vtkImageMapper()
        mapper.SetInputData(self._image)
        mapper.SetColorWindow(255)
        mapper.SetColorLevel(127.5)
        self._actor = vtk.vtkActor2D()
        self._actor.SetMapper(mapper)
        self._actor.SetVisibility(False)
        renderer = view.first_renderer()
        renderer.AddViewProp(self._actor)
        renderer.AddObserver("StartEvent", self._update)

    def _update(self, *_args: object) -> None:
        is_shown = bool(self._outlines.shown_in(self._row))
        self._actor.SetVisibility(is_shown)
        if not is_shown:
            return
        xy_to_ras = slicer.util.arrayFromVTKMatrix(self.view.get_view_node().GetXYToRAS())
        width, height = self.view.render_window().GetSize()
        place = (width, height, *xy_to_ras.ravel().tolist())
        if place == self._place and not self.is_stale:
            return
        self._place, self.is_stale = place, False
        picture = reduce(laid_over, self._outlines.pictures(self._row, xy_to_ras, (width, height)))
        self._image.SetDimensions(width, height, 1)
        self._image.GetPointData().SetScalars(numpy_to_vtk(picture.reshape(-1, 4), deep=True))
        self._image.Modified()


def _shown(node: Any, volume: Any) -> _Shown:
    return _Shown(node, marked_labels(node, volume), _grid_of(volume).ras_to_ijk, _look(node))


def _grid_of(volume: Any) -> Grid:
    return world_grid(volume) or local_grid(volume)


def _look(node: Any) -> Look:
    """How the display node of a segmentation wants its structures drawn."""
    display, structures = node.GetDisplayNode(), structures_of(node)
    size = max((one.value for one in structures), default=0) + 1
    look = Look(np.zeros((size, 3), np.uint8), np.zeros(size, np.float32), np.zeros(size, np.float32))
    for one in structures:
        if one.is_shown:
            look.colors[one.value] = np.rint(255 * np.array(one.color))
            look.outline[one.value] = one.opacity
            look.fill[one.value] = one.opacity * display.GetOpacity2DFill() * bool(display.GetVisibility2DFill())
    return look
