"""Labels onto another grid: the nearest voxel's value, nothing mixed, nothing made up outside."""

import numpy as np

from CrossModalSegLib.grid import Grid
from CrossModalSegLib.resampling import resample_labels
from CrossModalSegLib.volume import Volume
from Testing.volumes import grid_around, points_of, random_grid, stored_otherwise


def test_a_worked_example_along_one_axis():
    labels = np.tile(np.array([7, 300, 9], dtype=np.uint16), (2, 2, 1))
    source = Grid((2, 2, 3), np.diag([3.0, 3.0, 3.0, 1.0]))  # voxel centres at x = 0, 3, 6; edges at -1.5 and 7.5
    target = np.eye(4)
    target[0, 3] = -2.0
    resampled = resample_labels(labels, source, Grid((1, 1, 11), target))  # x = -2, -1 ... 8
    assert resampled.ravel().tolist() == [0, 7, 7, 7, 300, 300, 300, 9, 9, 9, 0]
    assert resampled.dtype == np.uint16


def test_every_voxel_has_the_value_of_the_nearest_one_on_oblique_and_left_handed_grids():
    for seed in range(4):
        source, target = random_grid(seed), random_grid(seed + 11)
        labels = np.random.default_rng(seed).integers(1, 400, source.shape_kji).astype(np.uint16)
        index = points_of(target) @ source.ras_to_ijk[:3, :3].T + source.ras_to_ijk[:3, 3]
        inside = ((index > -0.5) & (index < np.array(source.shape_ijk) - 0.5)).all(axis=-1)
        clear = (np.abs(index - np.floor(index) - 0.5) > 1e-3).all(axis=-1)  # not half way between two voxels
        i, j, k = np.moveaxis(np.clip(np.rint(index).astype(int), 0, np.array(source.shape_ijk) - 1), -1, 0)
        expected = np.where(inside, labels[k, j, i], 0)
        assert inside.any()
        assert np.array_equal(resample_labels(labels, source, target)[clear], expected[clear])


def test_the_48_storages_of_a_label_map_are_one():
    grid = grid_around((3.0, -2.0, 1.0), (5, 6, 7), (2.0, 3.0, 4.0))
    labels = np.random.default_rng(0).integers(0, 60, grid.shape_kji)
    for stored in stored_otherwise(Volume(labels, grid, "labels")):
        again = resample_labels(stored.array.astype(np.uint8), stored.grid, grid)
        assert np.array_equal(again, labels)
