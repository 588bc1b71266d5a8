"""The surfaces that 3D shows: made in the background, at a coarse resolution, of the structures that have changed."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import vtk
from scipy.ndimage import find_objects
from vtk.util.numpy_support import numpy_to_vtk

from CrossModalSegApp.scene.node_geometry import local_grid
from CrossModalSegApp.scene.segmentation_labels import marked_labels
from CrossModalSegApp.scene.segmentation_nodes import SURROUNDING_OPACITY, surrounding
from CrossModalSegApp.scene.structure_display import ShownStructure, structures_of
from CrossModalSegApp.web.render_turns import SECONDS_TO_ANSWER, TURNS
from CrossModalSegLib.imaging.grid import Grid

_BLOCKS = 50  # of voxels, along the longest side of a structure
_FINEST_MM, _COARSEST_MM = 1.5, 4.0  # between them
_THIN = 0.4  # share of a block
_AT_ONCE = 4  # models that are put into the scene
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Source:
    """Whose surfaces are shown: a segmentation node over its scan."""

    node: Any
    volume: Any


class Surfaces:
    """Shows the structures of one segmentation in 3D views, while `want` says that they are seen.

    ``on_change(is_making, is_first)`` is called when the making begins and ends; ``is_first``: of what was shown anew.
    """

    def __init__(self, scene: Any, on_change: Callable[[bool, bool], None]):
        self._scene, self._on_change = scene, on_change
        self._source: _Source | None = None
        self._is_wanted = self._is_making = False
        self._is_first = True
        self._stale: set[int] = set()
        self._models: dict[int, Any] = {}
        self._made: set[int] = set()  # the structures of what is shown whose surfaces are there
        self._task: asyncio.Task[None] | None = None

    def show(self, node: Any, volume: Any) -> None:
        """Show this segmentation node over this volume node; None: nothing."""
        source = _Source(node, volume) if node is not None else None
        if source == self._source:
            return
        self._source, self._is_first, self._made = source, True, set()
        for model in self._models.values():
            model.SetDisplayVisibility(False)
        self._stale = {one.value for one in structures_of(node)} if node is not None else set()
        self._make_soon()

    def refresh(self, node: Any, values: Iterable[int]) -> None:
        """Structures of a segmentation, by label value, have changed."""
        if self._source is not None and node is self._source.node:
            self._stale |= set(values)
            TURNS.note_move()
            self._make_soon()

    def restyle(self) -> None:
        """Structures are shown, hidden or coloured otherwise."""
        if self._source is not None and self._made:
            self._style(self._source)
            self._on_change(self._is_making, False)

    def want(self, is_wanted: bool) -> None:
        """Whether a 3D view is seen."""
        self._is_wanted = is_wanted
        self._make_soon()

    def _make_soon(self) -> None:
        is_due = self._is_wanted and self._source is not None and bool(self._stale)
        if is_due and (self._task is None or self._task.done()):
            try:
                self._task = asyncio.get_running_loop().create_task(self._make())
            except RuntimeError:  # the page is still being made
                return

    async def _make(self) -> None:
        """Until nothing has changed any more. What has, meanwhile, is made anew, and shown all at once."""
        self._is_making = True
        self._on_change(True, False)
        try:
            while self._stale and self._source is not None and self._is_wanted:
                await TURNS.stillness()  # a stroke has more to do than surfaces, and the next one may follow
                source, values = self._source, self._stale
                self._stale = set()
                if source is None:
                    break
                labels, grid = marked_labels(source.node, source.volume), local_grid(source.volume)
                made = await asyncio.to_thread(make_surfaces, labels, grid, values)
                await self._put(source, made)
        except Exception:  # noqa: BLE001 - nobody awaits it, and correcting goes on without a picture in 3D
            _log.exception("surfaces could not be made")
        finally:
            self._is_making = False
            self._on_change(False, self._is_first)
            self._is_first = False

    async def _put(self, source: _Source, made: dict[int, Any]) -> None:
        """Show them, unless something else is to be shown by now; what the browser sends is answered in between."""
        for number, (value, polydata) in enumerate(made.items(), 1):
            if source != self._source:
                return
            model = self._model(value)
            model.SetAndObserveTransformNodeID(source.node.GetTransformNodeID())
            model.SetAndObservePolyData(polydata)
            if number % _AT_ONCE == 0:
                await asyncio.sleep(SECONDS_TO_ANSWER)
        if source == self._source:
            self._made |= {one.value for one in structures_of(source.node)} & set(made)
            self._style(source)

    def _style(self, source: _Source) -> None:
        """Show the surfaces that have been made as the structures are shown in slices."""
        looks = {one.value: one for one in structures_of(source.node)}
        solid = {value for value in self._made if self._models[value].GetPolyData().GetNumberOfPoints() > 0}
        boxes = {value: np.array(self._models[value].GetPolyData().GetBounds()).reshape(3, 2) for value in solid}
        outermost = surrounding(boxes)
        for value, model in self._models.items():
            look = looks.get(value) if value in solid else None
            model.SetDisplayVisibility(look is not None and look.is_shown)
            if look is not None:
                model.GetDisplayNode().SetColor(look.color)
                model.GetDisplayNode().SetOpacity(_opacity(look, value == outermost))

    def _model(self, value: int) -> Any:
        if value not in self._models:
            model = self._scene.AddNewNodeByClass("vtkMRMLModelNode", f"Surface {value}")
            model.SetHideFromEditors(True)
            model.SetSaveWithScene(False)
            model.SetSelectable(False)
            model.CreateDefaultDisplayNodes()
            model.GetDisplayNode().SetVisibility2D(False)
            model.SetDisplayVisibility(False)  # until all of them are there
            self._models[value] = model
        return self._models[value]


def make_surfaces(labels: np.ndarray, grid: Grid, values: Iterable[int]) -> dict[int, Any]:
    """The smoothed surfaces (vtkPolyData, RAS mm) of labels of ``labels`` (K, J, I) on ``grid``, coarsely; may be
    empty.

    The larger a structure, the coarser: pictures of finer ones take seconds without a graphics card.
    """
    boxes = dict(enumerate(find_objects(labels), 1))
    return {value: _surface(labels, grid, value, boxes.get(value)) for value in values}


def _surface(labels: np.ndarray, grid: Grid, value: int, place: tuple[slice, ...] | None) -> Any:
    if place is None:
        return vtk.vtkPolyData()
    spacing = grid.spacing_ijk[::-1]  # k, j, i
    extent_mm = max((one.stop - one.start) * mm for one, mm in zip(place, spacing, strict=True))
    block_mm = min(max(extent_mm / _BLOCKS, _FINEST_MM), _COARSEST_MM)
    sizes = [max(1, round(block_mm / mm)) for mm in spacing]
    shares = np.pad(_shares(labels[place] == value, sizes), 1)
    image = vtk.vtkImageData()
    image.SetDimensions(*shares.shape[::-1])
    image.SetSpacing(*sizes[::-1])
    image.SetOrigin(*[one.start - (size + 1) / 2 for one, size in zip(place, sizes, strict=True)][::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(shares.ravel(), deep=True))
    surface = vtk.vtkFlyingEdges3D()
    surface.SetInputData(image)
    surface.SetValue(0, _level(shares))
    surface.ComputeScalarsOff()
    return _in_ras(surface, grid)


def _shares(inside: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """How much of each block of ``sizes`` voxels (k, j, i) is inside, 0 to 1."""
    padded = np.pad(inside, [(0, -count % size) for count, size in zip(inside.shape, sizes, strict=True)])
    blocks = [part for count, size in zip(padded.shape, sizes, strict=True) for part in (count // size, size)]
    return padded.reshape(blocks).mean((1, 3, 5), dtype=np.float32)


def _level(shares: np.ndarray) -> float:
    """The share at the surface: half, less where a structure is so thin or small that it would not keep its volume."""
    count = max(1, round(float(shares.sum())))
    least = float(np.partition(shares.ravel(), -count)[-count])
    return 0.5 if least >= _THIN else least / 2


def _in_ras(surface: Any, grid: Grid) -> Any:
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(grid.ijk_to_ras.ravel().tolist())
    transform = vtk.vtkTransform()
    transform.SetMatrix(matrix)
    placed = vtk.vtkTransformPolyDataFilter()
    placed.SetTransform(transform)
    placed.SetInputConnection(surface.GetOutputPort())
    placed.Update()
    if not grid.is_left_handed:
        return placed.GetOutput()
    turned = vtk.vtkReverseSense()  # mirrored triangles would be lit from within
    turned.ReverseCellsOn()
    turned.SetInputConnection(placed.GetOutputPort())
    turned.Update()
    return turned.GetOutput()


def _opacity(look: ShownStructure, is_outermost: bool) -> float:
    return look.opacity * (SURROUNDING_OPACITY if is_outermost else 1.0)
