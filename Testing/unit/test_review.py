"""The places to check: planted errors come first, at their place; what every result has is not listed."""

import numpy as np
import pytest
import torch

from CrossModalSegLib.grid import Grid
from CrossModalSegLib.inference import ModalityResult, SegmentationResult
from CrossModalSegLib.labels import LabelMap, Structure
from CrossModalSegLib.review import review_places
from CrossModalSegLib.volume import Volume
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
