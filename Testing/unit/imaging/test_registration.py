"""A known displacement is found again to about a millimetre; what does not belong together is not moved about."""

import contextlib
import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import CrossModalSegLib
from CrossModalSegLib.errors import GeometryError
from CrossModalSegLib.imaging import registration
from CrossModalSegLib.imaging.geometry import body_box, resample_to
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.registration import RigidRefinement, rigid_refine
from CrossModalSegLib.imaging.volume import Volume, read_volume
from Testing.volumes import grid_around, head, rotation, sampled

SAMPLES = Path(CrossModalSegLib.__file__).parents[1] / "CrossModalSeg" / "Resources" / "SampleData"
MIDDLE_OF_THE_BRAIN = np.array([7.7, 13.5, 4.9])  # RAS mm, of the phantom
FIVE = ((3.0, -3.0, 2.65), (2.9, 2.9, -2.9))  # 5 degrees and 5 mm in all
WIDE = grid_around((5.0, -10.0, 15.0), (76, 76, 76), (4.5, 4.5, 4.5))
TWELVE = ((-5.0, 4.0, 4.8), (6.9, -6.9, 6.9))  # 8 degrees and 12 mm


def motion(degrees, translation, centre) -> np.ndarray:
    """(4, 4): a turn about ``centre`` and a translation, RAS mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(degrees)
    matrix[:3, 3] = centre + np.array(translation) - matrix[:3, :3] @ centre
    return matrix


# Between the phantom's scans the head moved, as its README says; this takes the T2w's points to the T1w's.
HEAD_MOVED = motion((0.0, 0.0, 1.0), (-0.6, 0.5, 0.7), MIDDLE_OF_THE_BRAIN)


def displaced(volume: Volume, by: np.ndarray) -> Volume:
    return Volume(volume.array, Grid(volume.grid.shape_kji, by @ volume.grid.ijk_to_ras), volume.modality)


def mean_distance(a: np.ndarray, b: np.ndarray, volume: Volume) -> float:
    """How far apart two motions take the corners of the body's box in ``volume``, mm."""
    corners = np.array([(*corner, 1.0) for corner in product(*body_box(volume).T)])
    return float(np.linalg.norm(((a - b) @ corners.T)[:3], axis=0).mean())


def noise(seed: int) -> Volume:
    grid = grid_around((0, 0, 0), (40, 44, 42), (4.0, 4.0, 4.0))
    return Volume(np.random.default_rng(seed).normal(500, 100, grid.shape_kji), grid, "T1w")


@pytest.fixture(scope="module")
def first():
    return read_volume(SAMPLES / "phantom_T1w.nrrd", "T1w")


@pytest.fixture(scope="module")
def second():
    return read_volume(SAMPLES / "phantom_T2w.nrrd", "T2w")


def test_scans_of_one_session_are_moved_by_what_the_patient_did_and_no_more(first, second):
    found = rigid_refine(first, second)
    assert mean_distance(found.moving_to_fixed, HEAD_MOVED, second) < 1.0
    assert found.rotation_degrees == pytest.approx(1.0, abs=0.5)
    assert found.translation_mm == pytest.approx(1.1, abs=0.5)


@pytest.mark.parametrize("degrees_and_mm", [FIVE, TWELVE], ids=["5 mm", "12 mm"])
def test_a_known_displacement_is_found_again(first, second, degrees_and_mm):
    by = motion(*degrees_and_mm, body_box(second).mean(axis=0))
    moved = displaced(second, by)
    found = rigid_refine(first, moved)
    undone = HEAD_MOVED @ np.linalg.inv(by)
    assert mean_distance(found.moving_to_fixed, undone, moved) < 1.0
    assert found.displacement_mm == pytest.approx(mean_distance(undone, np.eye(4), moved), abs=1.0)
    assert found.metric_after > found.metric_before + 0.3
    assert found.is_improvement


def test_it_does_not_matter_how_the_scans_are_stored(first, second):
    """The other way round, on thick oblique left-handed slices over a part of the head."""
    by = motion(*FIVE, body_box(first).mean(axis=0))
    whole = displaced(first, by)
    direction = rotation((14.0, -8.0, 5.0)) @ np.diag([1.0, 1.0, -1.0])
    slab = grid_around((10.0, 20.0, 25.0), (170, 190, 20), (1.2, 1.2, 5.0), direction)
    moved = Volume(resample_to(whole, slab)[0], slab, "T1w")
    found = rigid_refine(second, moved)
    assert slab.is_left_handed
    assert mean_distance(found.moving_to_fixed, np.linalg.inv(by @ HEAD_MOVED), moved) < 1.5


def test_the_same_scans_always_give_the_same_motion_and_progress_goes_from_the_start_to_one():
    scan = sampled(lumpy_head, grid_around((5.0, -10.0, 15.0), (40, 48, 44), (4.5, 4.5, 4.5)))
    moved = displaced(scan, motion(*FIVE, np.zeros(3)))
    told = []
    once = rigid_refine(scan, moved)
    again = rigid_refine(scan, moved, lambda stage, fraction: told.append((stage, fraction)))
    # Up to rounding: threads add up in any order.
    np.testing.assert_allclose(once.moving_to_fixed, again.moving_to_fixed, rtol=0, atol=1e-8)
    fractions = [fraction for _, fraction in told]
    assert {stage for stage, _ in told} == {"registration"}
    assert fractions == sorted(fractions)
    assert (fractions[0] < 0.1, fractions[-1]) == (True, 1.0)


@pytest.mark.slow
def test_a_scan_that_has_lost_its_position_is_brought_back():
    """The fields of view are wide, the heads in them lie 120 mm apart."""
    by = motion((0.0, 0.0, 4.0), (115.0, 30.0, 0.0), np.array([5.0, -10.0, 15.0]))
    moving = displaced(sampled(lambda points: 900.0 - 0.8 * lumpy_head(points), WIDE, "T2w"), by)
    found = rigid_refine(sampled(lumpy_head, WIDE), moving)
    assert mean_distance(found.moving_to_fixed, np.linalg.inv(by), moving) < 2.0


def lumpy_head(points: np.ndarray) -> np.ndarray:
    """A head with three balls in it, so that every turn shows."""
    intensity = head(points)
    for x, y, z, level in ((35, 20, 40, 300.0), (-25, -50, 20, 150.0), (0, 10, -25, 450.0)):
        intensity = np.where(np.linalg.norm(points - [x, y, z], axis=-1) < 16, level, intensity)
    return intensity


# --- what does not belong together


def test_scans_that_do_not_overlap_are_refused(first):
    far = displaced(first, motion((0, 0, 0), (500.0, 0.0, 0.0), np.zeros(3)))
    with pytest.raises(GeometryError, match=r"no-overlap.*T1w and T1w"):
        rigid_refine(first, far)


@pytest.mark.parametrize(
    "which", ["noise", *(pytest.param(name, marks=pytest.mark.slow) for name in ("head and noise", "apart"))]
)
def test_two_scans_that_share_nothing_are_refused_or_no_improvement(which):
    a, b = {
        "noise": lambda: (noise(1), noise(2)),
        "head and noise": lambda: (sampled(lumpy_head, WIDE), noise(2)),
        "apart": lambda: (
            sampled(lumpy_head, WIDE),
            displaced(noise(1), motion((0, 0, 0), (165, 165, 150), np.zeros(3))),
        ),
    }[which]()
    found = None
    with contextlib.suppress(GeometryError):
        found = rigid_refine(a, b)
    assert found is None or not found.is_improvement
    assert found is None or found.metric_after >= found.metric_before


@pytest.mark.parametrize(("limit", "value"), [("_LARGEST_ROTATION_DEGREES", 2.0), ("_LEAST_OVERLAP_KEPT", 1.1)])
def test_a_motion_that_no_patient_makes_or_that_parts_the_scans_is_refused(monkeypatch, limit, value):
    """The limits are moved to where a common motion lies."""
    monkeypatch.setattr(registration, limit, value)
    scan = sampled(lumpy_head, grid_around((5.0, -10.0, 15.0), (40, 48, 44), (4.5, 4.5, 4.5)))
    with pytest.raises(GeometryError, match=r"no-match.* of \d+ mm and 5 degrees"):
        rigid_refine(scan, displaced(scan, motion(*FIVE, np.zeros(3))))


# --- the result


def refinement(displacement: float = 5.0, before: float = 0.5, after: float = 0.8) -> RigidRefinement:
    return RigidRefinement(motion(*FIVE, np.zeros(3)), displacement, 5.0, 5.0, before, after)


@pytest.mark.parametrize(
    ("displacement", "before", "after", "is_one"),
    [
        (5.0, 0.5, 0.8, True),
        (0.4, 0.5, 0.8, False),  # nobody would see it
        (5.0, 0.5, 0.52, False),  # less than 0.03 nats
        (5.0, 2.0, 2.05, False),  # less than 3 %
        (5.0, 0.5, 0.3, False),
    ],
)
def test_an_improvement_is_a_clear_gain_by_a_motion_that_matters(displacement, before, after, is_one):
    assert refinement(displacement, before, after).is_improvement is is_one


def test_a_refinement_comes_back_from_json():
    given = refinement()
    text = json.dumps(given.to_json())
    back = RigidRefinement.from_json(json.loads(text))
    assert np.array_equal(back.moving_to_fixed, given.moving_to_fixed)
    assert vars(back) | {"moving_to_fixed": 0} == vars(given) | {"moving_to_fixed": 0}
    assert json.loads(text)["is_improvement"] is True


# --- real scans


@pytest.mark.slow
@pytest.mark.parametrize("modality", ["T2", "FLAIR"])
@pytest.mark.parametrize("patient", ["patient07", "patient19"])
def test_real_scans_are_brought_back_from_a_known_displacement(data_folder, patient, modality):
    fixed, moving = (read_volume(data_folder / "open-ms" / patient / f"{m}.nii.gz", m) for m in ("T1", modality))
    by = motion(*TWELVE, body_box(moving).mean(axis=0))
    found = rigid_refine(fixed, displaced(moving, by))
    assert found.is_improvement
    assert mean_distance(found.moving_to_fixed, np.linalg.inv(by), displaced(moving, by)) < 1.5
    aligned = rigid_refine(fixed, moving)
    assert not aligned.is_improvement
    assert aligned.displacement_mm < 1.0
