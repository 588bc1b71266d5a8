"""The same scan has one fingerprint however it is stored, and another scan has another one."""

from itertools import permutations, product

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from CrossModalSegLib.imaging.fingerprint import fingerprint

SCAN = np.random.default_rng(5).integers(0, 900, (7, 9, 11)).astype(np.int16)
PRINT = fingerprint(SCAN)


def test_all_48_storage_orders_have_one_fingerprint():
    for axes, flips in product(permutations(range(3)), product((1, -1), repeat=3)):
        stored = SCAN.transpose(axes)[tuple(slice(None, None, step) for step in flips)]
        assert fingerprint(stored) == PRINT


@given(st.sampled_from([0.5, 2.0, 0.1, 1 / 3, 7.0]), st.sampled_from([-1024.0, 0.0, 0.25, 1000.0]))
def test_slope_intercept_and_type_of_number_do_not_matter(slope, intercept):
    assert fingerprint((SCAN * slope + intercept).astype(np.float32)) == PRINT
    assert fingerprint(SCAN.astype(np.float64) * slope + intercept) == PRINT


def test_a_larger_box_of_background_does_not_matter():
    inner = SCAN.copy()
    inner[0, 0, 0] = 0
    assert fingerprint(np.pad(inner, ((1, 2), (0, 3), (4, 0)))) == fingerprint(inner)


@given(st.tuples(*(st.integers(0, size - 1) for size in SCAN.shape)), st.integers(10, 800))
def test_one_voxel_more_or_less_is_another_scan(place, change):
    other = SCAN.copy()
    other[place] = (other[place] + change) % 900
    assert fingerprint(other) != PRINT


def test_the_same_values_at_other_places_are_another_scan():
    other = np.random.default_rng(6).permutation(SCAN.ravel()).reshape(SCAN.shape)
    assert fingerprint(other) != PRINT


def test_a_constant_image_has_a_fingerprint():
    assert fingerprint(np.zeros((2, 2, 2))) == fingerprint(np.full((3, 3, 3), 7))
