"""Labels of one grid on the voxels of another one, whichever way the axes of both run."""

from itertools import permutations, product

import numpy as np
import pytest

from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.lattice import joint_grid, placed_on
from Testing.volumes import grid_around, points_of, rotation

WHOLE = grid_around((3, -5, 8), (7, 6, 5), (2, 1.5, 3), rotation((20, -10, 30)))
TURNS = [(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]


def part_of(grid, low, high):
    """Voxels ``low`` to ``high`` (IJK, without the last) of a grid as one of their own."""
    moved = np.eye(4)
    moved[:3, 3] = low
    i, j, k = np.subtract(high, low).tolist()
    return Grid((k, j, i), grid.ijk_to_ras @ moved)


def turned(grid, order, signs):
    """The same voxels with the axes in another order, and some reversed."""
    change = np.zeros((4, 4))
    change[3, 3] = 1
    for new, (old, sign) in enumerate(zip(order, signs, strict=True)):
        change[old, new] = sign
        if sign < 0:
            change[old, 3] = grid.shape_ijk[old] - 1
    i, j, k = (grid.shape_ijk[old] for old in order)
    return Grid((k, j, i), grid.ijk_to_ras @ change)


def labels_at(points):
    """Another label in almost every voxel: a number that follows from its place."""
    return (np.rint(points @ [7, 31, 113]).astype(int) % 251 + 1).astype(np.uint8)


@pytest.mark.parametrize(("order", "signs"), TURNS)
def test_each_label_stays_at_its_point_whichever_way_the_axes_run(order, signs):
    part = turned(part_of(WHOLE, (1, 2, 1), (5, 5, 4)), order, signs)
    placed = placed_on(labels_at(points_of(part)), part, WHOLE)
    wanted = np.zeros(WHOLE.shape_kji, np.uint8)
    wanted[1:4, 2:5, 1:5] = labels_at(points_of(WHOLE))[1:4, 2:5, 1:5]
    assert np.array_equal(placed, wanted)


def test_labels_outside_are_refused_and_what_is_empty_there_is_not():
    wide = part_of(WHOLE, (-2, 0, -1), (9, 6, 5))
    labels = np.zeros(wide.shape_kji, np.uint8)
    labels[2, 3, 4] = 9
    placed = placed_on(labels, wide, WHOLE)
    assert np.argwhere(placed).tolist() == [[1, 3, 2]]
    labels[0, 0, 0] = 1
    assert placed_on(labels, wide, WHOLE) is None


def test_voxels_beside_voxels_are_refused():
    moved = np.eye(4)
    moved[0, 3] = 0.2
    beside = Grid(WHOLE.shape_kji, WHOLE.ijk_to_ras @ moved)
    assert placed_on(np.ones(WHOLE.shape_kji, np.uint8), beside, WHOLE) is None
    assert joint_grid(beside, WHOLE) is None


def test_a_joint_grid_has_the_voxels_of_both_and_no_more():
    first = part_of(WHOLE, (0, 1, 0), (4, 5, 3))
    second = turned(part_of(WHOLE, (2, 0, 2), (7, 4, 5)), (2, 0, 1), (1, -1, 1))
    both = joint_grid(first, second)
    assert both.shape_ijk == (7, 5, 5)
    for part in (first, second):
        placed = placed_on(labels_at(points_of(part)), part, both)
        assert np.array_equal(placed[placed > 0], labels_at(points_of(both))[placed > 0])
        assert (placed > 0).sum() == np.prod(part.shape_kji)
