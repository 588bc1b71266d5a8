"""Where two label maps differ: counted by hand on small boxes."""

import numpy as np
import pytest

from CrossModalSegLib.imaging.differences import find_differences, overlaps
from CrossModalSegLib.imaging.grid import Grid

AFFINE = np.diag([-2.0, 1.0, 5.0, 1.0])  # x grows to the left; 0.01 mL a voxel
AFFINE[:3, 3] = 10, 20, 30
GRID = Grid((12, 20, 16), AFFINE)


def empty():
    return np.zeros(GRID.shape_kji, np.uint16)


def test_overlaps_are_dice_and_volumes_of_what_either_has():
    here, there = empty(), empty()
    here[2:6, 2:6, 2:6], there[4:8, 2:6, 2:6] = 3, 3  # 64 voxels each, 32 in common
    there[0, 0, :5] = 7
    found = overlaps(here, there, GRID)
    assert set(found) == {3, 7}
    assert (found[3].dice, found[3].here_ml, found[3].there_ml) == pytest.approx((0.5, 0.64, 0.64))
    assert (found[7].dice, found[7].here_ml, found[7].there_ml) == pytest.approx((0.0, 0.0, 0.05))


def test_places_are_pieces_that_differ_in_one_way_largest_first_each_with_a_point_inside():
    here, there = empty(), empty()
    there[1:4, 1:4, 1:4] = 5  # 27 voxels, of which the opening leaves 7: the middle and its neighbours
    here[6:11, 10:15, 8:13], there[6:11, 10:15, 8:13] = 2, 4  # 125 voxels
    found = find_differences(here, there, GRID)
    assert [(one.here, one.there) for one in found.places] == [(2, 4), (0, 5)]
    large, small = found.places
    assert large.ras_mm == (10 - 2 * 10, 20 + 12, 30 + 5 * 8)
    assert small.ras_mm == (10 - 2 * 2, 20 + 2, 30 + 5 * 2)
    assert small.volume_ml == pytest.approx(0.07)
    total = large.volume_ml + small.volume_ml + found.rest_ml
    assert total == pytest.approx(1.52)  # all voxels that differ


def test_a_rim_a_voxel_thin_is_no_place_beside_something_thicker_and_told_as_the_rest():
    here, there = empty(), empty()
    here[0, :, :] = 1  # a sheet of 320 voxels
    here[6:11, 10:15, 8:13] = 1
    found = find_differences(here, there, GRID)
    assert len(found.places) == 1
    assert 30 + 5 * 6 < found.places[0].ras_mm[2] < 30 + 5 * 11
    assert found.rest_ml == pytest.approx((320 + 125) * 0.01 - found.places[0].volume_ml)


def test_where_all_of_it_is_thin_it_is_listed():
    here, there = empty(), empty()
    here[5, 5, 2:9] = 1
    (place,) = find_differences(here, there, GRID).places
    assert (place.here, place.there, place.volume_ml) == (1, 0, pytest.approx(0.07))


def test_what_is_the_same_differs_nowhere():
    labels = empty()
    labels[3:5] = 9
    assert find_differences(labels, labels.copy(), GRID).places == ()
    assert overlaps(labels, labels.copy(), GRID)[9].dice == 1.0


def test_no_more_than_the_limit_is_listed():
    here = empty()
    for first in range(0, 16, 4):
        here[:3, first : first + 2, :2] = 1  # columns of twelve voxels
    assert [len(find_differences(here, empty(), GRID, limit=limit).places) for limit in (3, 9)] == [3, 4]
