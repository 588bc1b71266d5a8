"""Scans as volume nodes, for tests of whole runs: what they hold is known at every point of the world."""

from typing import Any

import numpy as np
from scene_volumes import TRANSFORMS, add_volume, put_under

from CrossModalSegLib.imaging.grid import Grid
from Testing.tiny_bundle import BALL_RADIUS, BALLS, HEAD_CENTRE, true_labels, two_balls
from Testing.volumes import grid_around, points_of, rotation, sampled

FIRST_GRID = grid_around((5.0, -10.0, 15.0), (27, 30, 28), (4.0, 4.0, 4.0))
SECOND_GRID = grid_around((5.0, -14.0, 20.0), (28, 20, 26), (4.0, 5.0, 4.0), rotation((8.0, -5.0, 12.0)))
ELSEWHERE = grid_around((900.0, 0.0, 0.0), (27, 30, 28), (4.0, 4.0, 4.0))


def add_head(scene: Any, name: str, grid: Grid = FIRST_GRID) -> Any:
    """A vtkMRMLScalarVolumeNode called ``name`` that shows `two_balls` on ``grid``; `ELSEWHERE` it lies out of
    place."""
    place = FIRST_GRID if grid is ELSEWHERE else grid
    return add_volume(scene, grid, sampled(two_balls, place).array, name)


def add_head_under(scene: Any, name: str, kind: str, seed: int) -> Any:
    """The same head of the world, on a random oblique grid under transforms of ``kind``; left-handed for odd seeds."""
    import slicer

    from CrossModalSegApp.scene.node_geometry import from_world, to_world

    random = np.random.default_rng(seed)
    node = add_volume(scene, FIRST_GRID, np.zeros(FIRST_GRID.shape_kji, np.float32), name)
    put_under(node, *TRANSFORMS[kind](scene, random))
    direction = rotation(tuple(random.uniform(-180, 180, 3)))[:, random.permutation(3)]
    if (np.linalg.det(direction) < 0) != bool(seed % 2):
        direction[:, 0] *= -1
    spacing = random.uniform(2.5, 4.5, 3)
    grid = grid_around(from_world(node, HEAD_CENTRE), tuple(np.rint(140 / spacing).astype(int)), spacing, direction)
    slicer.util.updateVolumeFromArray(node, two_balls(to_world(node, points_of(grid))).astype(np.float32))
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(grid.ijk_to_ras))
    return node


def head_landmarks(seed: int) -> list[tuple[np.ndarray, int]]:
    """World points (mm, RAS) well inside the balls and the tissue, with their label values."""
    random = np.random.default_rng(seed)
    inner = random.normal(size=(8, 3))
    inner *= 0.5 * BALL_RADIUS / np.linalg.norm(inner, axis=1, keepdims=True)
    points = [centre + step for centre in BALLS.values() for step in (np.zeros(3), *inner)]
    apart = [HEAD_CENTRE + offset for offset in ([0, 34, 0], [0, -34, 0], [0, 0, 30], [0, 0, -30], [4, 4, 2])]
    return [(point, int(true_labels(point[None])[0])) for point in [*points, *apart]]
