"""Back to the native grid: probabilities are interpolated and the best class wins, as if all classes were resampled."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates, zoom

from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.inference import native_grid
from CrossModalSegLib.inference.native_grid import restore
from Testing.volumes import grid_around, points_of, random_grid, rotation

CHANNELS = (0, 7, 3, 300)
MODEL = grid_around((2.0, -3.0, 5.0), (22, 20, 18), (4.0, 4.0, 4.0))


def random_probabilities(seed: int, blocks: bool) -> np.ndarray:
    """(4, 18, 20, 22) float16: another class at every voxel, or smooth blobs with plain regions between boundaries."""
    random = np.random.default_rng(seed)
    if blocks:
        logits = np.stack([zoom(random.normal(0, 25, (4, 4, 4)), (4.5, 5, 5.5), order=1) for _ in CHANNELS])
    else:
        logits = random.normal(0, 3, (4, *MODEL.shape_kji))
    exponentials = np.exp(logits - logits.max(axis=0))
    return (exponentials / exponentials.sum(axis=0)).astype(np.float16)


def brute_force(probabilities: np.ndarray, native: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(labels, confidence, inside, clear): every class by SciPy; ``clear`` where rounding cannot change the winner."""
    ijk = (points_of(native) - MODEL.ijk_to_ras[:3, 3]) @ np.linalg.inv(MODEL.ijk_to_ras[:3, :3]).T
    kji = np.moveaxis(ijk[..., ::-1], -1, 0)
    size = np.array(MODEL.shape_kji)[:, None, None, None]
    inside = ((kji > -0.5) & (kji < size - 0.5)).all(axis=0)
    whole = probabilities.astype(np.float64)
    sampled = np.stack([map_coordinates(one, kji, order=1, mode="nearest") for one in whole])
    second, first = np.sort(sampled, axis=0)[-2:]
    labels = np.where(inside, np.array(CHANNELS)[sampled.argmax(axis=0)], 0)
    confidence = np.where(inside, map_coordinates(whole.max(axis=0), kji, order=1, mode="nearest"), 1.0)
    return labels, confidence, inside, ~inside | (first - second > 1e-4)


@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_restoring_equals_resampling_every_class_on_oblique_and_left_handed_grids(seed, blocks):
    probabilities, native = random_probabilities(seed, blocks), random_grid(seed)
    labels, confidence = restore(torch.from_numpy(probabilities), MODEL, native, CHANNELS)
    expected, expected_confidence, inside, clear = brute_force(probabilities, native)
    assert inside.any()
    assert not inside.all()
    assert clear.mean() > 0.99
    assert np.array_equal(labels[clear], expected[clear])
    assert np.abs(confidence - expected_confidence).max() < 1e-3


def test_blobs_have_both_plain_regions_and_boundaries():
    winner = torch.from_numpy(random_probabilities(0, blocks=True)).max(dim=0).indices
    lowest, greatest = (native_grid._spread(winner, best) for best in (torch.minimum, torch.maximum))
    share = float((lowest == greatest).float().mean())
    assert 0.1 < share < 0.9


def test_slabs_and_chunks_do_not_show(monkeypatch):
    probabilities, native = random_probabilities(1, blocks=True), random_grid(3)
    *_, clear = brute_force(probabilities, native)
    labels, confidence = restore(torch.from_numpy(probabilities), MODEL, native, CHANNELS)
    monkeypatch.setattr(native_grid, "SLAB_VOXELS", 1)
    monkeypatch.setattr(native_grid, "CHUNK_POINTS", 97)
    in_slabs, confidence_in_slabs = restore(torch.from_numpy(probabilities), MODEL, native, CHANNELS)
    assert np.array_equal(labels[clear], in_slabs[clear])
    assert np.abs(confidence - confidence_in_slabs).max() < 1e-4


def test_on_the_model_grid_itself_every_voxel_keeps_its_best_class():
    probabilities = random_probabilities(2, blocks=False)
    labels, confidence = restore(torch.from_numpy(probabilities), MODEL, MODEL, CHANNELS)
    of_label = sum(np.where(labels == value, one, 0) for value, one in zip(CHANNELS, probabilities, strict=True))
    assert np.array_equal(of_label, probabilities.max(axis=0))  # of classes that are equally probable, any
    assert np.allclose(confidence, probabilities.max(axis=0))
    assert labels.dtype == np.uint16
    assert confidence.dtype == np.float32


def test_half_way_between_two_classes_the_surer_one_wins():
    probabilities = np.zeros((4, *MODEL.shape_kji), dtype=np.float16)
    probabilities[1, :, :, :11], probabilities[0, :, :, :11] = 0.6, 0.4
    probabilities[2, :, :, 11:], probabilities[0, :, :, 11:] = 0.9, 0.1
    start = MODEL.ijk_to_ras[:3, 3]
    finer = np.diag([1.0, 4.0, 4.0, 1.0])  # four voxels for one along i: quarters of the way from 0.6 to 0.9
    finer[:3, 3] = start
    labels, _ = restore(torch.from_numpy(probabilities), MODEL, Grid((18, 20, 88), finer), CHANNELS)
    # class 7 has 0.6 (1 - t), class 3 has 0.9 t: they meet at t = 0.4, between the first and the second quarter
    assert labels[5, 5, 40:46].tolist() == [7, 7, 3, 3, 3, 3]


def test_outside_the_model_grid_is_sure_background():
    probabilities = torch.zeros((4, *MODEL.shape_kji), dtype=torch.float16)
    probabilities[3] = 0.75
    native = grid_around((2.0, -3.0, 5.0), (60, 60, 60), (2.5, 2.5, 2.5), rotation((20, 30, 40)))
    labels, confidence = restore(probabilities, MODEL, native, CHANNELS)
    offset = np.abs(points_of(native) - [2.0, -3.0, 5.0])
    within = (offset < np.array([44.0, 40.0, 36.0])).all(axis=-1)
    assert np.array_equal(labels, np.where(within, 300, 0))
    assert np.allclose(confidence, np.where(within, 0.75, 1.0))


def test_confidence_is_not_above_one_where_rounding_made_the_windows_sum_to_more():
    probabilities = torch.full((4, *MODEL.shape_kji), 1e-3, dtype=torch.float16)
    probabilities[2] = 1.006
    _, confidence = restore(probabilities, MODEL, MODEL, CHANNELS)
    assert confidence.max() == 1.0


def test_a_grid_that_the_model_s_does_not_reach_is_background():
    probabilities = torch.zeros((4, *MODEL.shape_kji), dtype=torch.float16)
    probabilities[3] = 0.75
    labels, confidence = restore(probabilities, MODEL, grid_around((500.0, 0.0, 0.0), (6, 6, 6), (2.0,) * 3), CHANNELS)
    assert not labels.any()
    assert confidence.min() == 1.0


def test_a_model_grid_of_a_single_slice_ends_at_its_edges():
    model = Grid((1, *MODEL.shape_kji[1:]), MODEL.ijk_to_ras)
    probabilities = torch.zeros((4, *model.shape_kji), dtype=torch.float16)
    probabilities[3] = 0.75
    middle = (model.ijk_to_ras @ [11.0, 10.0, 0.0, 1.0])[:3]
    native = grid_around(tuple(middle), (16, 16, 16), (2.0, 2.0, 2.0), rotation((20, 30, 40)))
    labels, confidence = restore(probabilities, model, native, CHANNELS)
    points = (points_of(native) - model.ijk_to_ras[:3, 3]) @ np.linalg.inv(model.ijk_to_ras[:3, :3]).T  # (i, j, k)
    beyond = np.abs(points - (np.array(model.shape_ijk) - 1) / 2) - np.array(model.shape_ijk) / 2
    clear = np.abs(beyond).min(axis=-1) > 1e-4
    inside = (beyond < 0).all(axis=-1)
    assert 0 < inside[clear].mean() < 1
    assert np.array_equal(labels[clear], np.where(inside, 300, 0)[clear])
    assert np.allclose(confidence[clear], np.where(inside, 0.75, 1.0)[clear])
