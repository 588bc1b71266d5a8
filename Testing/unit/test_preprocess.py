"""Intensities and positions as the network sees them, worked by hand."""

import pytest
import torch

from CrossModalSegLib import preprocess
from CrossModalSegLib.errors import ConfigError
from CrossModalSegLib.preprocess import IntensityRule, network_input, normalise, position_channels

PERCENTILE = IntensityRule()
WINDOW = IntensityRule("window", -100, 300)


def column(values) -> torch.Tensor:
    return torch.as_tensor(values).view(-1, 1, 1)


def everywhere(image: torch.Tensor) -> torch.Tensor:
    return torch.ones(image.shape, dtype=torch.bool)


# rules


def test_a_window_becomes_0_to_1_and_is_clipped():
    image = column([-2000.0, -100, 0, 100, 300, 3000])
    assert normalise(image, everywhere(image), WINDOW).flatten().tolist() == [0, 0, 0.25, 0.5, 1, 1]


def test_percentiles_by_hand():
    # Of 0 ... 100, percentile 1 is 1 and percentile 99 is 99. Foreground is above 1 + 0.1 * 98 = 10.8, that is 11 ...
    # 100, and its percentile 99 is 11 + 0.99 * 89 = 99.11.
    image = column(torch.arange(101))
    scaled = normalise(image, everywhere(image), PERCENTILE).flatten()
    assert scaled[0] == 0
    assert scaled[1] == 0
    assert scaled[50].item() == pytest.approx(49 / 98.11, abs=1e-5)
    assert scaled[100].item() == pytest.approx(99 / 98.11, abs=1e-5)


def test_percentile_results_are_clipped_to_one_and_a_half():
    image = column([*torch.arange(1000).tolist(), 1e6])
    assert normalise(image, everywhere(image), PERCENTILE).max() == 1.5


def test_air_does_not_count_for_the_upper_percentile():
    tissue = torch.linspace(500, 1000, 300)
    little_air = column(torch.cat([torch.zeros(100), tissue]))
    much_air = column(torch.cat([torch.zeros(20000), tissue]))
    small, large = (
        normalise(image, everywhere(image), PERCENTILE).flatten()[-300:] for image in (little_air, much_air)
    )
    assert torch.allclose(small, large, atol=1e-4)


@pytest.mark.parametrize("rule", [PERCENTILE, IntensityRule(lower=5, upper=95)])
def test_percentile_results_do_not_depend_on_the_units_of_the_scan(rule):
    image = torch.rand((8, 8, 8), generator=torch.Generator().manual_seed(0))
    scaled = normalise(image, everywhere(image), rule)
    assert torch.allclose(normalise(3000 * image - 500, everywhere(image), rule), scaled, atol=1e-4)
    assert torch.allclose(normalise(1e-9 * image, everywhere(image), rule), scaled, atol=1e-4)  # in SI units
    assert torch.allclose(normalise(1e-34 * image, everywhere(image), rule), scaled, atol=1e-3)


def test_voxels_that_are_not_covered_are_zero_and_do_not_count():
    image = torch.rand((8, 8, 8), generator=torch.Generator().manual_seed(0))
    covered = everywhere(image)
    covered[:3] = False
    part = normalise(image, covered, PERCENTILE)
    image[:3] = 1e9
    assert torch.equal(normalise(image, covered, PERCENTILE), part)
    assert (part[:3] == 0).all()
    assert (normalise(image, covered, WINDOW)[:3] == 0).all()


@pytest.mark.parametrize("rule", [PERCENTILE, WINDOW])
def test_nothing_covered_and_constant_images_give_finite_input(rule):
    image = torch.full((4, 4, 4), 7.0)
    assert (normalise(image, torch.zeros(image.shape, dtype=torch.bool), rule) == 0).all()
    assert normalise(image, everywhere(image), rule).isfinite().all()


def test_integers_are_accepted_and_give_single_precision():
    image = column(torch.tensor([-100, 100, 300], dtype=torch.int16))
    scaled = normalise(image, everywhere(image), WINDOW)
    assert scaled.dtype == torch.float32
    assert scaled.flatten().tolist() == [0, 0.5, 1]


def test_percentiles_of_a_large_volume_are_taken_from_a_sample(monkeypatch):
    image = torch.rand((20, 20, 20), generator=torch.Generator().manual_seed(0))
    exact = normalise(image, everywhere(image), PERCENTILE)
    monkeypatch.setattr(preprocess, "LARGEST_SAMPLE", 2000)
    sampled = normalise(image, everywhere(image), PERCENTILE)
    assert not torch.equal(sampled, exact)
    assert torch.allclose(sampled, exact, atol=0.02)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("minmax",), "minmax"),
        (("window", 5, 5), "5"),
        (("percentile", 99, 1), "99"),
        (("percentile", -1, 99), "-1"),
        (("percentile", 1, 101), "101"),
    ],
)
def test_an_impossible_rule_is_refused_and_named(arguments, named):
    with pytest.raises(ConfigError, match=named) as caught:
        IntensityRule(*arguments)
    assert caught.value.code == "intensity-rule"


# network input


def test_the_network_sees_intensity_and_coverage():
    image = column([-100.0, 100, 300])
    covered = column([True, True, False])
    channels = network_input(image, covered, WINDOW)
    assert channels.shape == (2, 3, 1, 1)
    assert channels.dtype == torch.float32
    assert channels.flatten().tolist() == [0, 0.5, 0, 1, 1, 0]


def test_position_channels_by_hand():
    # The first voxel lies 50 mm below, 20 mm in front and 5 mm to the right of the centre; in decimetres.
    channels = position_channels(torch.tensor([-50.0, 20, 5]), (3, 2, 2), torch.tensor([10.0, 2, 1]))
    assert channels.shape == (3, 3, 2, 2)
    assert channels[0, :, 0, 0].tolist() == pytest.approx([-0.5, -0.4, -0.3])
    assert channels[1, 0, :, 0].tolist() == pytest.approx([0.2, 0.22])
    assert channels[2, 0, 0, :].tolist() == pytest.approx([0.05, 0.06])
    assert (channels[0] == channels[0, :, :1, :1]).all()  # the same all over a slice
