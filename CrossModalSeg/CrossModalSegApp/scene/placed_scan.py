"""A scan that was handed to the worker, and where it was at that moment: its result must find the same place again."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from CrossModalSegApp.scene.scene_io import export_volume, local_grid, parent_transform_kind, to_world
from CrossModalSegLib.errors import GeometryError
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.volume import Volume

_MOVED_MM = 0.01


@dataclass(frozen=True)
class PlacedScan:
    """``node`` as it was exported to ``path``: ``volume`` in world space, ``corners`` (8, 3) of the scan in RAS mm.

    ``grid`` is the node's own; ``is_warped`` where its parent transform is more than rotation, shift and scale, so
    that the exported voxels are not the node's own.
    """

    node: Any
    path: Path
    volume: Volume
    grid: Grid
    corners: np.ndarray
    is_warped: bool

    def require_unchanged(self, scene: Any) -> None:
        """Raise GeometryError ``volume-gone`` or ``volume-changed`` where the result would not fit the node any more.

        A scan that was not warped may have been moved meanwhile: its result lies on its own grid and moves along.
        """
        self.require_present(scene)
        name = self.volume.modality
        same_grid = local_grid(self.node).is_close(self.grid)
        moved = np.abs(_corners(self.node, self.grid) - self.corners).max() > _MOVED_MM
        if not same_grid or (self.is_warped and moved):
            what = f"{name}: {self.node.GetName()} was changed during the run"
            raise GeometryError("volume-changed", what, "segment again")

    def require_present(self, scene: Any) -> None:
        """Raise GeometryError ``volume-gone`` where the scan has left the scene."""
        if not scene.IsNodePresent(self.node):
            what = f"{self.volume.modality}: the scan was removed during the run"
            raise GeometryError("volume-gone", what, "load it, segment again")


def place(node: Any, path: Path, modality: str) -> PlacedScan:
    """Write ``node`` to ``path`` as NRRD in world space. Raises what `export_volume` raises."""
    grid = local_grid(node)
    volume = export_volume(node, path, modality)
    is_warped = parent_transform_kind(node) in ("sheared", "non-linear")
    return PlacedScan(node, path, volume, grid, _corners(node, grid), is_warped)


def _corners(node: Any, grid: Grid) -> np.ndarray:
    return to_world(node, grid.corners_ras())
