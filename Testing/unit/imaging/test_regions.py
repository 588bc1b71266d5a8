"""A region of a mask, by hand."""

import numpy as np

from CrossModalSegLib.imaging.regions import region_at

MM = np.array([2.0, 1.0, 1.0])


def two_blocks():
    """Blocks of 3 x 6 x 6 voxels, connected by a sheet that is one voxel thin."""
    mask = np.zeros((8, 12, 40), dtype=bool)
    mask[2:5, 2:8, 2:8] = mask[2:5, 2:8, 28:34] = True
    left = mask.copy()
    left[..., 20:] = False
    mask[3, 4, 8:28] = True
    return mask, left


def test_a_thin_sheet_does_not_join_two_regions():
    mask, left = two_blocks()
    found = region_at(mask, np.array([3, 5, 9]), MM, 1.0)
    assert not found[..., 20:].any()
    assert (found & left).sum() == left.sum(), "all of the block"
    assert not (found & ~mask).any()


def test_the_nearest_region_is_meant_also_from_beside_it():
    mask, left = two_blocks()
    found = region_at(mask, np.array([0, 0, 39]), MM, 1.0)
    assert not (found & left).any()
    assert found[3, 5, 30]


def test_where_all_is_thin_the_thin_one_is_the_region_and_nothing_is_nothing():
    mask = np.zeros((4, 5, 6), dtype=bool)
    mask[2, 1:4, 1:5] = True
    np.testing.assert_array_equal(region_at(mask, np.array([2, 2, 2]), MM, 1.0), mask)
    assert not region_at(np.zeros_like(mask), np.array([2, 2, 2]), MM, 1.0).any()
