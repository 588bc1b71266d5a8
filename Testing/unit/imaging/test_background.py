"""A background that tissue is darker than is found and made dark; ordinary scans stay as they are, bit for bit."""

import numpy as np
import pytest

from CrossModalSegLib.imaging.background import percent_below_air, raised_background, with_dark_background
from CrossModalSegLib.imaging.geometry import body_box
from CrossModalSegLib.imaging.preflight import examine
from CrossModalSegLib.imaging.volume import Volume, read_volume
from Testing.volumes import grid_around, head, sampled

GRID = grid_around((5, -10, 15), (50, 56, 56), (4, 4, 4))


@pytest.fixture
def brain() -> Volume:
    """Tissue of 200 to 1000, exactly 0 around it."""
    smooth = sampled(head, GRID).array
    tissue = 200 + 800 * np.random.default_rng(1).random(smooth.shape)
    return Volume(np.where(smooth > 500, tissue, 0), GRID, "T1w")


def z_scored(volume: Volume) -> Volume:
    """Within the tissue, and 0 around it."""
    inside = volume.array != 0
    values = volume.array[inside]
    return Volume(np.where(inside, (volume.array - values.mean()) / values.std(), 0), volume.grid, volume.modality)


def codes(volume: Volume) -> list[str]:
    return [finding.code for finding in examine([volume]).findings]


def test_a_background_amid_the_tissue_goes_a_little_below_the_darkest(brain):
    scored = z_scored(brain)
    found = raised_background(scored)
    # Of tissue spread evenly from 200 to 1000, z-scores run from -1.73 to 1.73; those below 0 by more than a tenth of
    # the range of 3.39 from percentile 1 to 99 are (1.732 - 0.339) / 3.464 of all; 5 % of the range lie below -1.73.
    assert found.value == 0.0
    assert found.percent_darker == pytest.approx(40.2, abs=1.0)
    assert found.darkest == pytest.approx(-1.73 - 0.05 * 3.43, abs=0.02)
    dark = with_dark_background(scored)
    outside = brain.array == 0
    assert (dark.array[outside] == np.float32(found.darkest)).all()
    assert (dark.array[~outside] == scored.array[~outside]).all()
    np.testing.assert_array_equal(body_box(dark), body_box(brain))


def test_values_of_the_background_within_the_tissue_stay(brain):
    whole = np.rint(100 * z_scored(brain).array)  # whole numbers, so that some tissue has the background's value
    volume = Volume(whole, GRID, "T1w")
    inside = brain.array != 0
    deep = inside & np.roll(inside, 3, 0) & np.roll(inside, -3, 0) & np.roll(inside, 3, 1) & np.roll(inside, -3, 2)
    assert (whole[deep] == 0).any()
    assert (with_dark_background(volume).array[deep] == whole[deep]).all()


def test_a_large_hole_is_background_too(brain):
    brain.array[25:31, 25:31, 22:28] = 0  # 216 voxels, such as ventricles that were masked
    assert with_dark_background(z_scored(brain)).array[28, 28, 25] < -1.7


def test_padding_brighter_than_the_air_is_made_dark():
    # A whole head with air of -1 +- 0.05, resampled with 0 for what lies outside: a wedge along one side.
    volume = sampled(head, GRID)
    noise = np.random.default_rng(0).normal(0, 0.05, volume.array.shape)
    padded = volume.array / 500 - 1 + noise
    padded[:9] = 0.0
    dark = with_dark_background(Volume(padded, GRID, "T1w"))
    assert (dark.array[:9] < -1.0).all()
    assert (dark.array[9:] == np.float32(padded[9:])).all()


@pytest.mark.parametrize("amount", [0.0, 0.01, 0.04])
def test_a_few_values_below_the_background_are_ordinary(brain, amount):
    inside = np.flatnonzero(brain.array)
    brain.array.flat[inside[: int(amount * len(inside))]] = -200  # ringing of interpolation
    assert with_dark_background(brain) is brain
    assert codes(brain) == []


def test_whole_numbers_of_noise_around_a_head_are_ordinary():
    noise = np.abs(np.rint(np.random.default_rng(0).normal(1, 1, GRID.shape_kji)))
    volume = Volume(np.rint(sampled(head, GRID).array) + noise, GRID, "T1w")
    volume.array[np.ix_(*[(0, -1)] * 3)] = 2  # as if the corners agreed by chance
    assert with_dark_background(volume) is volume


def test_a_raised_background_is_told_with_its_value(brain):
    (finding,) = examine([z_scored(brain)]).findings
    assert (finding.severity, finding.code) == ("info", "raised-background")
    assert "background is 0" in finding.message
    assert "40 %" in finding.message


@pytest.mark.parametrize("noise", [0, 10])
def test_an_inverted_scan_is_warned_of(noise):
    volume = sampled(head, GRID)
    array = 1000 - volume.array + np.random.default_rng(0).normal(0, 1, GRID.shape_kji) * noise
    (finding,) = examine([Volume(array, GRID, "T1w")]).findings
    assert (finding.severity, finding.code) == ("warning", "looks-inverted")
    assert "100 %" in finding.message
    assert finding.remedy


def test_a_crop_inside_the_body_has_no_air_to_compare_with():
    array = np.random.default_rng(0).normal(500, 100, (30, 30, 30))
    array[:4, :4, :4] = 900
    assert percent_below_air(Volume(array, grid_around((0, 0, 0), (30, 30, 30), (1, 1, 1)), "T1w")) == 0.0


def test_real_scans_keep_every_bit_and_are_not_taken_for_inverted(data_folder):
    paths = [path for pattern in ("oasis-t1/*/T1w.nii.gz", "open-ms/*/[TF]*.nii.gz", "glioma/*/[TF]*.nii.gz")
             for path in sorted(data_folder.glob(pattern))]  # fmt: skip
    assert len(paths) == 25
    for path in paths[::4]:
        volume = read_volume(path, "T1w")
        assert with_dark_background(volume) is volume
        assert percent_below_air(volume) < 1.0
