"""Where corrections differ from the parent alike in all patients: numbers worked out by hand on cubes."""

import math

import numpy as np
import pytest

from CrossModalSegLib.adaptation.protocol_difference import StructureShift, consistent_differences, structure_shifts
from CrossModalSegLib.imaging.grid import Grid

NAMES = {1: "cube", 2: "other"}


def cube(side: int, value: int = 1, size: int = 20) -> np.ndarray:
    labels = np.zeros((size,) * 3, np.uint16)
    low = (size - side) // 2
    labels[(slice(low, low + side),) * 3] = value
    return labels


def grid(spacing: float = 1.0) -> Grid:
    return Grid((20, 20, 20), np.diag([spacing, spacing, spacing, 1.0]))


def shift(ratio: float, border: float) -> dict[int, StructureShift]:
    return {1: StructureShift(10 * ratio, 10.0, border)}


@pytest.mark.parametrize("spacing", [1.0, 0.5])
def test_a_cube_that_is_drawn_a_voxel_further_out_has_its_volume_and_its_border_shifted(spacing):
    (found,) = structure_shifts((cube(8), grid(spacing)), (cube(6), grid(spacing)), [1, 2]).values()
    assert found.corrected_ml == pytest.approx(8**3 * spacing**3 / 1000)
    assert found.parent_ml == pytest.approx(6**3 * spacing**3 / 1000)
    assert spacing <= found.border_mm < 1.2 * spacing  # edges and corners are a little further away
    (back,) = structure_shifts((cube(6), grid(spacing)), (cube(8), grid(spacing)), [1]).values()
    assert back.border_mm == pytest.approx(-spacing)
    (same,) = structure_shifts((cube(6), grid(spacing)), (cube(6), grid(spacing)), [1]).values()
    assert same.border_mm == 0


def test_a_structure_that_only_one_side_shows_has_no_shift():
    assert structure_shifts((cube(6), grid()), (cube(6, value=2), grid()), [1, 2]) == {}


def test_a_structure_at_the_edge_of_the_scan_is_not_taken_for_one_that_was_drawn_further_in():
    whole = np.ones((20, 20, 20), np.uint16)
    assert structure_shifts((whole, grid()), (whole, grid()), [1])[1].border_mm == 0


def test_what_is_larger_and_further_out_in_all_patients_is_another_protocol():
    shifts = {"a": [shift(1.3, 0.5)], "b": [shift(1.32, 0.55), shift(1.3, 0.5)], "c": [shift(1.28, 0.48)]}
    (found,) = consistent_differences(shifts, NAMES)
    assert (found.name, found.patients) == ("cube", 3)
    assert found.ratio == pytest.approx((1.3 * math.sqrt(1.32 * 1.3) * 1.28) ** (1 / 3))
    assert found.in_words() == "cube: 30% larger, border 0.5 mm further out, in all 3 corrected patients"
    (smaller,) = consistent_differences({"a": [shift(0.7, -0.5)], "b": [shift(0.71, -0.51)]}, NAMES)
    assert "30% smaller, border 0.5 mm further in" in smaller.in_words()


@pytest.mark.parametrize(
    "shifts",
    [
        [(1.3, 0.5)],  # one patient
        [(1.3, 0.5), (1.3, 0.5), (0.9, -0.1)],  # one is otherwise
        [(1.05, 0.5)] * 3,  # hardly larger
        [(1.3, 0.1)] * 3,  # hardly further out
        [(1.3, -0.5)] * 3,  # larger, but further in: another shape, no border
        [(1.02, 0.5), (1.7, 0.5)],  # may be chance
    ],
)
def test_what_is_not_alike_in_all_patients_is_none(shifts):
    assert consistent_differences({str(n): [shift(*one)] for n, one in enumerate(shifts)}, NAMES) == []
