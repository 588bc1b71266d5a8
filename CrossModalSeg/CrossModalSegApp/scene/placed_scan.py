"""A scan that was handed to the worker, and where it was at that moment: its result must find the same place again."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from CrossModalSegApp.scene.node_geometry import local_grid, parent_transform_kind, to_world
from CrossModalSegApp.scene.scene_io import world_volume, write_scan
from CrossModalSegLib.errors import GeometryError
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.volume import Volume

_MOVED_MM = 0.01


@dataclass(frozen=True)
class PlacedScan:
    """``node`` as it was written to ``path`` in world space; ``corners`` (8, 3) of the scan in RAS mm.

    ``grid`` is the node's own; ``is_warped`` where its parent transform is more than rotation, shift and scale, so
    that the voxels in the file are not the node's own. ``version`` changes with its voxels and its place.
    """

    node: Any
    path: Path
    grid: Grid
    corners: np.ndarray
    is_warped: bool
    version: tuple[int, ...]

    def is_current(self) -> bool:
        """Whether the file still shows what the node shows."""
        return self.version == _version(self.node)

    def require_unchanged(self, scene: Any, modality: str) -> None:
        """Raise GeometryError ``volume-gone`` or ``volume-changed`` where the result would not fit the node any more.

        A scan that was not warped may have been moved meanwhile: its result lies on its own grid and moves along.
        """
        self.require_present(scene, modality)
        same_grid = local_grid(self.node).is_close(self.grid)
        moved = np.abs(_corners(self.node, self.grid) - self.corners).max() > _MOVED_MM
        if not same_grid or (self.is_warped and moved):
            what = f"{modality}: {self.node.GetName()} was changed during the run"
            raise GeometryError("volume-changed", what, "segment again")

    def require_present(self, scene: Any, modality: str) -> None:
        """Raise GeometryError ``volume-gone`` where the scan has left the scene."""
        if not scene.IsNodePresent(self.node):
            what = f"{modality}: the scan was removed during the run"
            raise GeometryError("volume-gone", what, "load it, segment again")


def place(node: Any, path: Path, volume: Volume | None = None) -> PlacedScan:
    """Write ``node`` to ``path`` as NRRD in world space; ``volume`` is its `world_volume` where that is known already.

    Raises what `world_volume` and `write_scan` raise.
    """
    grid, version = local_grid(node), _version(node)
    write_scan(volume or world_volume(node, ""), path)
    is_warped = parent_transform_kind(node) in ("sheared", "non-linear")
    return PlacedScan(node, path, grid, _corners(node, grid), is_warped, version)


def _version(node: Any) -> tuple[int, ...]:
    """Times of VTK: of the node's voxels, of the node with its affine, and of its transforms."""
    image, parent = node.GetImageData(), node.GetParentTransformNode()
    moved = (id(parent), parent.GetTransformToWorldMTime()) if parent is not None else ()
    return image.GetMTime() if image is not None else 0, node.GetMTime(), *moved


def _corners(node: Any, grid: Grid) -> np.ndarray:
    return to_world(node, grid.corners_ras())
