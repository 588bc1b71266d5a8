"""Where a scan is brighter than the air around the body."""

import numpy as np

from CrossModalSegLib.imaging.geometry import body_intensities

SHAPE = (40, 44, 48)


def body(air, tissue, noise, seed=0):
    values = np.random.default_rng(seed).normal(air, noise, SHAPE)
    values[8:-8, 8:-8, 8:-8] += tissue - air
    return values.astype(np.float32)


def test_the_range_lies_between_air_and_tissue_and_reaches_the_brightest():
    for air, tissue, noise in ((0, 100, 2), (-1000, 40, 10), (20, 500, 5)):
        scan = body(air, tissue, noise)
        lower, upper = body_intensities(scan)
        assert air + 3 * noise <= lower < tissue - 3 * noise
        assert upper == scan.max()


def test_padding_of_ct_is_air_as_well():
    scan = body(-1000, 40, 10)
    scan[:, :6] = -3024
    lower, _ = body_intensities(scan)
    assert -1000 < lower < 40


def test_a_crop_inside_the_body_has_no_air():
    assert body_intensities(np.random.default_rng(0).normal(100, 30, SHAPE)) is None
