"""Labels onto another grid: the nearest voxel's value, nothing mixed, nothing made up outside."""

import numpy as np
import pytest

from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.resampling import even_labels, labels_at, resample_labels, samples_at
from CrossModalSegLib.imaging.volume import Volume
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


def centre_of(labels: np.ndarray, grid: Grid) -> np.ndarray:
    """Centre of mass of what is labelled, in RAS mm."""
    return points_of(grid)[labels > 0].mean(axis=0)


def test_labels_half_a_voxel_away_stay_where_they_are():
    source = Grid((20, 22, 24), np.diag([-1.0, 2.0, 1.0, 1.0]))
    labels = np.zeros(source.shape_kji, np.uint8)
    labels[5:12, 6:13, 7:16] = 1  # 7 x 7 x 9 voxels
    between = source.ijk_to_ras.copy()
    between[:3, 3] = between[:3, :3] @ (0.5, 0.5, 0.5)
    target = Grid(source.shape_kji, between)
    off = np.abs(centre_of(resample_labels(labels, source, target), target) - centre_of(labels, source))
    assert np.allclose(off, (0.5, 1.0, 0.5))  # the nearest voxel is the upper one each time
    even = even_labels(labels, source, target)
    assert np.abs(centre_of(even, target) - centre_of(labels, source)).max() < 0.05
    assert abs(int(even.sum()) - int(labels.sum())) <= 0.05 * labels.sum()


def test_labels_that_are_not_half_way_are_those_of_the_nearest_voxel():
    source, target = random_grid(3), random_grid(14)
    labels = np.random.default_rng(0).integers(1, 400, source.shape_kji).astype(np.uint16)
    index = points_of(target) @ source.ras_to_ijk[:3, :3].T + source.ras_to_ijk[:3, 3]
    clear = (np.abs(index - np.floor(index) - 0.5) > 0.01).all(axis=-1)
    even = even_labels(labels, source, target)
    assert even.dtype == np.uint16
    assert np.array_equal(even[clear], resample_labels(labels, source, target)[clear])


def test_eight_voxels_vote_with_their_trilinear_weights():
    labels = np.full((2, 2, 2), 5, np.uint16)
    labels[0, 0, 0], labels[0, 0, 1] = 1, 300
    # (i, j, k) = (0.4, 0.1, 0.2): label 1 weighs 0.6 * 0.9 * 0.8 = 0.432, 300 weighs 0.4 * 0.9 * 0.8 = 0.288, 5 the
    # rest
    assert labels_at(labels, np.array([0.4, 0.1, 0.2])) == 1
    assert labels_at(labels, np.array([0.6, 0.1, 0.2])) == 300
    assert labels_at(labels, np.array([0.4, 0.3, 0.4])) == 5  # 1 - 0.7 * 0.6 = 0.58
    assert labels_at(labels, np.array([0.4, 0.1, 0.2])).dtype == np.uint16


def test_many_small_shares_of_one_label_outweigh_a_larger_single_one():
    labels = np.array([[[1, 2], [3, 4]], [[5, 6], [7, 7]]], np.uint8)
    # At (0.4, 0.55, 0.5) no voxel weighs more than 0.6 * 0.55 * 0.5 = 0.165, but both 7s together 0.275.
    assert labels_at(labels, np.array([0.4, 0.55, 0.5])) == 7


def test_labels_beyond_the_outer_edges_are_background_and_up_to_them_the_outer_voxel_s():
    labels = np.full((2, 3, 4), 9, np.uint8)
    inside = np.array([[-0.5, 0, 0], [3.5, 2.5, 1.5], [1, 1, -0.49]])
    outside = np.array([[-0.51, 0, 0], [3.51, 2, 1], [0, 2.6, 0], [0, 0, 1e9]])
    assert labels_at(labels, inside).tolist() == [9, 9, 9]
    assert labels_at(labels, outside).tolist() == [0, 0, 0, 0]


def test_at_voxel_centres_the_labels_are_those_of_the_voxels():
    labels = np.random.default_rng(0).integers(0, 50, (4, 5, 6)).astype(np.uint8)
    k, j, i = np.indices(labels.shape)
    assert np.array_equal(labels_at(labels, np.stack([i, j, k], axis=-1)), labels)


def test_a_smooth_boundary_stays_smooth_where_nearest_voxels_make_steps():
    coarse = grid_around((0, 0, 0), (30, 30, 30), (3.0, 3.0, 3.0))
    fine = grid_around((0, 0, 0), (80, 80, 80), (1.0, 1.0, 1.0))
    ball = (np.linalg.norm(points_of(coarse), axis=-1) < 20).astype(np.uint8)
    truth = np.linalg.norm(points_of(fine), axis=-1) < 20
    index = points_of(fine) @ coarse.ras_to_ijk[:3, :3].T + coarse.ras_to_ijk[:3, 3]
    wrong = (labels_at(ball, index) > 0) != truth
    wrong_by_nearest = (resample_labels(ball, coarse, fine) > 0) != truth
    assert wrong.sum() < 0.8 * wrong_by_nearest.sum()


def test_a_ramp_is_sampled_exactly_and_integers_are_rounded():
    k, j, i = np.indices((5, 6, 7))
    ramp = 2.0 * i - 3.0 * j + 5.0 * k
    points = np.random.default_rng(0).uniform(0, 4, (3, 4, 3))
    expected = points @ np.array([2.0, -3.0, 5.0])
    assert samples_at(ramp, points) == pytest.approx(expected)
    assert np.array_equal(samples_at(ramp.astype(np.int16), points), np.rint(expected))


def test_samples_beyond_the_outer_edges_are_zero():
    assert samples_at(np.full((2, 2, 2), 7.0), np.array([[1.4, 0, 0], [1.6, 0, 0]])).tolist() == [7.0, 0.0]
