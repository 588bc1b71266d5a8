"""Cases in main memory: scans and labels of different grids come onto one model grid."""

import numpy as np
import pytest
import torch

from CrossModalSegLib.errors import TrainingError
from CrossModalSegLib.imaging.geometry import cut_grid, model_grid
from CrossModalSegLib.imaging.volume import Volume
from CrossModalSegLib.preprocess import IntensityRule
from CrossModalSegLib.training.training_case import Focus, load_case, save_case, training_case
from Testing.ball_case import ball, ball_case, overlap, scans
from Testing.volumes import grid_around, points_of


def test_scans_on_different_grids_come_onto_one_grid_with_their_labels():
    both = scans()
    case = training_case({s: v for s, (v, _) in both.items()}, {s: l for s, (_, l) in both.items()}, (0, 3, 7), 2.0)
    assert case.presence == (True, True)
    assert case.labels.unique().tolist() == [0, 2]  # 7 is channel 2
    assert overlap(case.labels[0] == 2, case.labels[1] == 2) > 0.85
    for slot in range(2):
        assert overlap(case.images[slot] > 0.5, case.labels[slot] == 2) > 0.85
        assert (case.images[slot][~case.covered[slot]] == 0).all()


def test_labels_stay_in_place_in_scans_half_a_voxel_apart():
    grids = [grid_around(centre, (32, 30, 28), (2, 2, 2)) for centre in ((0, 0, 0), (1, 1, 1))]
    volumes = {slot: Volume(ball(points_of(grid)) + 0.05, grid, "AB"[slot]) for slot, grid in enumerate(grids)}
    labels = {slot: (ball(points_of(grid)).astype(np.int16), grid) for slot, grid in enumerate(grids)}
    case = training_case(volumes, labels, (0, 1), 2.0)
    places = points_of(model_grid(list(volumes.values()), (2.0, 2.0, 2.0)))
    for slot, (own, grid) in labels.items():
        moved = places[case.labels[slot].numpy() > 0].mean(axis=0) - points_of(grid)[own > 0].mean(axis=0)
        assert np.abs(moved).max() < 0.1  # mm; always rounded upwards, it would be 1 mm along each axis


def test_an_absent_modality_of_a_case_is_empty():
    volume, labels = scans()[1]
    case = training_case({1: volume}, {1: labels}, (0, 7), 2.0)
    assert case.presence == (False, True)
    assert not case.covered[0].any()
    assert not case.images[0].any()
    assert not case.labels[0].any()
    assert case.labels[1].any()


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.float32, np.float64])
def test_label_maps_of_any_number_type_are_read(kind):
    volume, (labels, grid) = scans()[0]
    case = training_case({0: volume}, {0: (labels.astype(kind), grid)}, (0, 7), 2.0)
    assert overlap(case.labels[0] == 1, case.images[0] > 0.5) > 0.9


@pytest.mark.parametrize("other", [-1, 3, 500])
def test_values_that_the_label_map_does_not_have_become_background(other):
    volume, (labels, grid) = scans()[0]
    expected = training_case({0: volume}, {0: (labels, grid)}, (0, 7), 2.0)
    labels = np.where(labels == 0, other, labels)
    assert torch.equal(training_case({0: volume}, {0: (labels, grid)}, (0, 7), 2.0).labels, expected.labels)


def test_a_case_is_normalised_as_a_whole_and_cut_to_a_box_afterwards():
    both = scans()
    given = {s: v for s, (v, _) in both.items()}, {s: l for s, (_, l) in both.items()}
    rules = (IntensityRule(), IntensityRule())
    whole = training_case(*given, (0, 3, 7), 2.0).normalised(rules)
    grid = model_grid(list(given[0].values()), (2.0, 2.0, 2.0))
    box = np.array([[-9.0, -7.0, -5.0], [11.0, 9.0, 7.0]])
    case = training_case(*given, (0, 3, 7), 2.0, focus=Focus(rules, box))
    part, place = cut_grid(grid, box)
    assert case.ready
    assert case.labels.shape[1:] == part.shape_kji
    assert np.prod(part.shape_kji) < np.prod(grid.shape_kji)
    for name in ("images", "covered", "labels"):
        assert torch.equal(getattr(case, name), getattr(whole, name)[(slice(None), *place)])


def test_a_case_that_was_kept_comes_back_and_a_damaged_one_is_named(tmp_path):
    case = ball_case()
    save_case(tmp_path / "case.pt", case)
    again = load_case(tmp_path / "case.pt")
    assert torch.equal(again.images, case.images)
    assert torch.equal(again.labels, case.labels)
    whole = (tmp_path / "case.pt").read_bytes()
    for damaged in (b"", whole[:5000], b"no case", whole.replace(b"images", b"imagex")):
        (tmp_path / "case.pt").write_bytes(damaged)
        with pytest.raises(TrainingError, match=r"checkpoint-unreadable.*case\.pt is damaged"):
            load_case(tmp_path / "case.pt")
