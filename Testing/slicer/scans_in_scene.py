"""Scans as volume nodes, for tests of the module: what they hold is known at every point of the world."""

from typing import Any

from CrossModalSegLib.grid import Grid
from CrossModalSegLib.volume import Volume
from Testing.tiny_bundle import two_balls
from Testing.volumes import grid_around, rotation, sampled

FIRST_GRID = grid_around((5.0, -10.0, 15.0), (27, 30, 28), (4.0, 4.0, 4.0))
SECOND_GRID = grid_around((5.0, -14.0, 20.0), (28, 20, 26), (4.0, 5.0, 4.0), rotation((8.0, -5.0, 12.0)))
ELSEWHERE = grid_around((900.0, 0.0, 0.0), (27, 30, 28), (4.0, 4.0, 4.0))


def add_scan(scene: Any, name: str, grid: Grid = FIRST_GRID) -> Any:
    """A vtkMRMLScalarVolumeNode called ``name`` that shows `two_balls` on ``grid``; `ELSEWHERE` it lies out of place."""
    if grid is ELSEWHERE:
        return add_volume(scene, name, Volume(sampled(two_balls, FIRST_GRID).array, grid, "T1w"))
    return add_volume(scene, name, sampled(two_balls, grid))


def add_volume(scene: Any, name: str, volume: Volume) -> Any:
    """``volume`` as a vtkMRMLScalarVolumeNode called ``name``."""
    import slicer

    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(volume.grid.ijk_to_ras))
    slicer.util.updateVolumeFromArray(node, volume.array)
    node.CreateDefaultDisplayNodes()
    return node
