"""What the site experiments simulate: labels that are drawn otherwise, always in the same way, and three other
scanners."""

import numpy as np
import pytest

from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.volume import Volume
from Testing.Benchmarks.method.patients import Scan
from Testing.Benchmarks.site.protocol import drawn
from Testing.Benchmarks.site.shift import SHIFTS, shifted


def scan() -> Scan:
    """A box of 4 x 4 x 6 voxels, the front half anterior (1), the other posterior (2)."""
    labels = np.zeros((10, 10, 12), np.uint16)
    labels[3:7, 3:7, 3:6], labels[3:7, 3:7, 6:9] = 1, 2
    grid = Grid(labels.shape, np.eye(4))
    noise = np.random.default_rng(0).uniform(100, 200, labels.shape)
    return Scan(Volume((noise + 100 * labels).astype(np.float32), grid, "T1w"), labels, grid)


@pytest.mark.parametrize(
    ("protocol", "anterior", "posterior"),
    [
        ("dilated", 48 + 16 + 4 * 12, 48 + 16 + 4 * 12),  # one face of 16, four faces of 12 each; no corners
        ("eroded", 2 * 2 * 2, 2 * 2 * 2),
        ("merged", 96, 0),
        ("left-out", 48, 0),
    ],
)
def test_a_protocol_draws_otherwise_what_it_says_and_leaves_the_scan_alone(protocol, anterior, posterior):
    before = scan()
    after = drawn(before, protocol)
    assert ((after.labels == 1).sum(), (after.labels == 2).sum()) == (anterior, posterior)
    assert np.array_equal(after.volume.array, before.volume.array)
    assert np.array_equal(before.labels, scan().labels)


def test_the_three_scanners_differ_and_one_patient_is_always_the_same():
    found = {name: shifted(scan(), "T1w", 7, shift=name).volume.array for name in SHIFTS}
    assert len(found) == 3
    assert {array.shape for array in found.values()} == {(5, 10, 12), (10, 10, 12), (10, 3, 12)}
    assert np.array_equal(found["last"], shifted(scan(), "T1w", 7, shift="last").volume.array)
