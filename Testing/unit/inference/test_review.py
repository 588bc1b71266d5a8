"""The places to check: planted errors come first, at their place; what every result has is not listed."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.volume import Volume
from CrossModalSegLib.inference.inference import ModalityResult, SegmentationResult
from CrossModalSegLib.inference.review import review_places
from CrossModalSegLib.labels import LabelMap, Structure
from Testing.volumes import grid_around, points_of

LABELS = LabelMap((Structure(10, "core", (255, 0, 0)), Structure(49, "shell", (0, 255, 0))))
GRID = grid_around((7.0, -20.0, 30.0), (44, 40, 42), (1.5, 1.5, 1.5))
CENTRE = np.array([7.0, -20.0, 30.0])
SPOT = CENTRE + np.array([0.0, 14.0, 0.0])  # in the shell


def spheres(points):
    """Channels of a sphere of 9 mm within one of 21 mm."""
    radius = np.linalg.norm(points - CENTRE, axis=-1)
    return np.select([radius < 9, radius < 21], [1, 2], 0)


def ball(points, centre, radius):
    return np.linalg.norm(points - centre, axis=-1) < radius


def modality(channels, confidence=0.95, grid=GRID):
    """A result that gives ``channels`` the probability ``confidence`` (a number or an array), the rest evenly."""
    confidence = np.broadcast_to(confidence, channels.shape)
    probabilities = np.stack([np.where(channels == one, confidence, (1 - confidence) / 2) for one in range(3)])
    labels = np.zeros(grid.shape_kji, np.uint16)
    volume = Volume(np.arange(labels.size, dtype=np.float32).reshape(labels.shape), grid, "T1w")
    return ModalityResult(volume, labels, labels.astype(np.float32), torch.tensor(probabilities, dtype=torch.float16))


def result(**modalities):
    return SegmentationResult(modalities, GRID, "cpu", ())


POINTS = points_of(GRID)


def test_a_planted_disagreement_is_the_first_place_and_lies_where_it_was_planted():
    changed = np.where(ball(POINTS, SPOT, 6.0), 1, spheres(POINTS))
    places = review_places(result(T1w=modality(spheres(POINTS)), T2w=modality(changed)), LABELS)
    assert (places[0].number, places[0].reason, places[0].modalities) == (1, "disagreement", ("T1w", "T2w"))
    assert np.linalg.norm(np.array(places[0].ras_mm) - SPOT) < 3.0
    assert places[0].volume_ml == pytest.approx(4 / 3 * np.pi * 0.6**3, rel=0.25)
    assert len(places) == 1, "the same place is not listed again as the other structure"


@pytest.mark.parametrize("spacing", [(1.5, 1.5, 1.5), (1.0, 1.0, 1.0), (2.0, 2.0, 2.0), (2.0, 1.2, 2.5)])
def test_a_disagreement_of_6_mm_is_found_at_its_place_on_any_grid(spacing):
    grid = grid_around((7.0, -20.0, 30.0), tuple(round(60 / step) for step in spacing), spacing)
    points = points_of(grid)
    changed = np.where(ball(points, SPOT, 3.0), 1, spheres(points))
    pair = result(T1w=modality(spheres(points), grid=grid), T2w=modality(changed, grid=grid))
    (place,) = review_places(replace(pair, model_grid=grid), LABELS)
    assert np.linalg.norm(np.array(place.ras_mm) - SPOT) < max(spacing)
    planted = (changed != spheres(points)).sum() * grid.voxel_volume_ml
    assert place.volume_ml == pytest.approx(planted, rel=0.15)  # what touches the core counts as its rim


def test_an_uncertain_region_is_listed_in_its_own_modality():
    confidence = np.where(ball(POINTS, SPOT, 6.0), 0.45, 0.95)
    places = review_places(result(T1w=modality(spheres(POINTS)), T2w=modality(spheres(POINTS), confidence)), LABELS)
    assert [(p.reason, p.structure, p.modalities) for p in places] == [("uncertain", "shell", ("T2w",))]
    assert np.linalg.norm(np.array(places[0].ras_mm) - SPOT) < 3.0


def test_borders_that_are_uncertain_and_differ_by_a_voxel_are_not_listed():
    channels = spheres(POINTS)
    shifted = np.roll(channels, 1, axis=2)
    radius = np.linalg.norm(POINTS - CENTRE, axis=-1)
    confidence = np.where((np.abs(radius - 9) < 1.5) | (np.abs(radius - 21) < 1.5), 0.5, 0.95)
    assert review_places(result(T1w=modality(channels, confidence), T2w=modality(shifted, confidence)), LABELS) == []


def test_a_structure_that_only_one_modality_found_is_listed_however_thin_it_is():
    channels = np.where(spheres(POINTS) > 0, 2, 0)
    thin = channels.copy()
    thin[10:30, 20, 15:25] = 1  # a sheet of one voxel
    (place,) = review_places(result(T1w=modality(thin), T2w=modality(channels)), LABELS)
    assert (place.structure, place.reason) == ("core", "disagreement")


def test_a_structure_that_only_one_modality_found_is_listed_however_small_it_is():
    channels = np.where(spheres(POINTS) > 0, 2, 0)
    speck = channels.copy()
    speck[20, 20, 20] = 1
    (place,) = review_places(result(T1w=modality(speck), T2w=modality(channels)), LABELS)
    assert place.structure == "core"
    np.testing.assert_allclose(place.ras_mm, POINTS[20, 20, 20], atol=0.01)


def test_specks_of_a_structure_that_both_found_are_not_listed():
    speck = spheres(POINTS).copy()
    speck[20, 30, 22] = 1  # in the shell
    assert review_places(result(T1w=modality(speck), T2w=modality(spheres(POINTS))), LABELS) == []


def test_a_sheet_that_differs_far_from_any_border_is_too_thin_to_be_listed():
    sheet = spheres(POINTS).copy()
    sheet[15:30, 31, 15:30] = 1  # 4 mm and more from the core
    assert review_places(result(T1w=modality(sheet), T2w=modality(spheres(POINTS))), LABELS) == []


FINE = grid_around((7.0, -20.0, 30.0), (50, 50, 50), (1.0, 1.0, 1.0))
FINE_POINTS = points_of(FINE)


def fine_places(first, second):
    pair = result(T1w=modality(first, grid=FINE), T2w=modality(second, grid=FINE))
    return review_places(replace(pair, model_grid=FINE), LABELS)


def test_a_border_that_is_off_by_three_voxels_of_one_mm_is_a_rim_still():
    radius = np.linalg.norm(FINE_POINTS - CENTRE, axis=-1)
    larger = np.select([radius < 11.9, radius < 21], [1, 2], 0)
    assert fine_places(spheres(FINE_POINTS), larger) == []


def test_a_region_of_a_few_voxels_is_not_listed():
    spot = FINE_POINTS[25, 39, 25]
    assert fine_places(spheres(FINE_POINTS), np.where(ball(FINE_POINTS, spot, 1.6), 1, spheres(FINE_POINTS))) == []
    assert len(fine_places(spheres(FINE_POINTS), np.where(ball(FINE_POINTS, spot, 2.6), 1, spheres(FINE_POINTS)))) == 1


def test_two_regions_of_one_structure_a_few_mm_apart_are_one_place():
    spot = FINE_POINTS[25, 39, 25]
    changed = spheres(FINE_POINTS)
    for along, size in ((-3.5, 2.9), (3.5, 2.6)):
        changed = np.where(ball(FINE_POINTS, spot + np.array([along, 0.0, 0.0]), size), 1, changed)
    (place,) = fine_places(spheres(FINE_POINTS), changed)
    assert place.ras_mm[0] < spot[0], "the larger one"


def test_a_region_is_named_after_the_structure_that_only_one_modality_found():
    """One result has a small core alone, the other a large ball of shell over half of it and much around it."""
    core = np.where(ball(POINTS, CENTRE, 6.0), 1, 0)
    upper = ball(POINTS, CENTRE + np.array([0.0, 0.0, 9.0]), 9.0)
    (place,) = review_places(result(T1w=modality(core), T2w=modality(np.where(upper, 2, core))), LABELS)
    assert place.structure == "shell"
    assert place.volume_ml == pytest.approx(upper.sum() * GRID.voxel_volume_ml, abs=1e-3)


def test_a_border_that_is_off_by_more_than_a_rim_counts_as_a_whole():
    """The core's radius is 9 mm in one result and 16 mm in the other."""
    radius = np.linalg.norm(POINTS - CENTRE, axis=-1)
    larger = np.select([radius < 16, radius < 21], [1, 2], 0)
    places = review_places(result(T1w=modality(spheres(POINTS)), T2w=modality(larger)), LABELS)
    assert (places[0].structure, places[0].reason) == ("core", "disagreement")
    assert places[0].volume_ml == pytest.approx(4 / 3 * np.pi * (1.6**3 - 0.9**3), rel=0.1)
    assert 9 < np.linalg.norm(np.array(places[0].ras_mm) - CENTRE) < 16


def test_a_region_that_may_be_a_structure_is_listed_under_it_though_background_is_more_likely():
    channels = np.where(ball(POINTS, SPOT, 6.0), 0, spheres(POINTS))
    one = modality(channels, np.where(ball(POINTS, SPOT, 6.0), 0.5, 0.95))
    one.probabilities[1] += torch.from_numpy(np.where(ball(POINTS, SPOT, 6.0), 0.1, 0.0)).half()
    (place,) = review_places(result(T1w=one), LABELS)
    assert (place.structure, place.reason) == ("core", "uncertain")


def test_places_of_one_structure_lie_apart_and_the_same_look_is_not_listed_twice():
    """Both results are uncertain, and disagree, in the same ball; a second ball is 7 mm away, a third one far."""
    balls = [SPOT, SPOT + np.array([7.0, 0.0, 0.0]), CENTRE - [0.0, 14.0, 0.0]]
    doubtful = np.logical_or.reduce([ball(POINTS, centre, 3.4) for centre in balls])
    changed = np.where(doubtful, 1, spheres(POINTS))
    confidence = np.where(doubtful, 0.45, 0.95)
    pair = result(T1w=modality(spheres(POINTS), confidence), T2w=modality(changed, confidence))
    places = review_places(pair, LABELS)
    assert [np.linalg.norm(np.subtract(place.ras_mm, balls[1:]), axis=1).argmin() for place in places] == [0, 1]
    assert review_places(pair, LABELS) == places


def test_a_region_too_long_for_one_look_is_divided():
    grid = grid_around((0.0, 0.0, 0.0), (80, 24, 24), (2.0, 2.0, 2.0))
    points = points_of(grid)
    body = np.where(np.abs(points).max(axis=-1) < 100, 2, 0)
    bar = np.where((np.abs(points[..., 0]) < 60) & (np.hypot(points[..., 1], points[..., 2]) < 6), 1, body)
    pair = replace(result(T1w=modality(body, grid=grid), T2w=modality(bar, grid=grid)), model_grid=grid)
    places = review_places(pair, LABELS)
    assert sorted(round(place.ras_mm[0] / 40) for place in places) == [-1, 0, 1]
    total = (bar == 1).sum() * 0.008
    assert sum(place.volume_ml for place in places) == pytest.approx(total)


def test_larger_errors_come_first_and_no_more_than_the_limit_are_given():
    small, large = CENTRE - np.array([0, 14, 0]), SPOT
    changed = np.where(ball(POINTS, small, 4.5) | ball(POINTS, large, 6.5), 1, spheres(POINTS))
    both = result(T1w=modality(spheres(POINTS)), T2w=modality(changed))
    places = review_places(both, LABELS)
    for place, spot in zip(places, (large, small), strict=True):
        assert np.linalg.norm(np.array(place.ras_mm) - spot) < 3.0
    assert places[0].severity > places[1].severity
    assert review_places(both, LABELS, limit=1) == places[:1]


def test_a_place_lies_inside_its_region_also_where_the_region_is_bent():
    ring = np.abs(np.hypot(POINTS[..., 0] - CENTRE[0], POINTS[..., 1] - CENTRE[1]) - 15) < 4
    ring &= np.abs(POINTS[..., 2] - CENTRE[2]) < 5
    changed = np.where(ring, 0, spheres(POINTS))
    places = review_places(result(T1w=modality(spheres(POINTS)), T2w=modality(changed)), LABELS)
    index = GRID.ras_to_ijk @ [*places[0].ras_mm, 1.0]
    i, j, k = np.rint(index[:3]).astype(int)
    assert ring[k, j, i]


def test_what_only_one_scan_covers_is_no_disagreement():
    half = Grid((42, 40, 22), GRID.ijk_to_ras)  # the second scan covers the left half only
    changed = np.where(POINTS[..., 0] > CENTRE[0] + 3, 0, spheres(POINTS))
    places = review_places(result(T1w=modality(spheres(POINTS)), T2w=modality(changed, grid=half)), LABELS)
    assert places == []


def test_one_modality_alone_has_uncertain_places_only():
    confidence = np.where(ball(POINTS, SPOT, 6.0), 0.45, 0.95)
    (place,) = review_places(result(T2w=modality(spheres(POINTS), confidence)), LABELS)
    assert place.to_json() | {"ras_mm": None} == {
        "number": 1,
        "ras_mm": None,
        "structure": "shell",
        "modalities": ("T2w",),
        "reason": "uncertain",
        "severity": place.severity,
        "volume_ml": place.volume_ml,
    }
    assert 0 < place.severity < 1


def test_certain_results_that_agree_have_no_place_to_check():
    assert review_places(result(T1w=modality(spheres(POINTS)), T2w=modality(spheres(POINTS))), LABELS) == []
