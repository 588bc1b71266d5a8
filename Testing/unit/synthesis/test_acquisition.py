"""What a scanner does to an image: each effect does what it is named for and nothing else."""

import math

import pytest
import torch

from CrossModalSegLib.synthesis import acquisition


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise_image(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=generator(42))


# blur


def test_a_blur_below_a_fifth_of_a_voxel_changes_nothing():
    image = noise_image(4, 5, 6)
    assert acquisition.blur(image, 0.19) is image


def test_a_blurred_point_is_a_gaussian_along_every_axis():
    image = torch.zeros(9, 9, 9)
    image[4, 4, 4] = 1
    blurred = acquisition.blur(image, 0.8)
    assert blurred.sum().item() == pytest.approx(1, abs=1e-5)
    for neighbour in (blurred[5, 4, 4], blurred[4, 3, 4], blurred[4, 4, 5]):
        assert (neighbour / blurred[4, 4, 4]).item() == pytest.approx(math.exp(-0.5 / 0.8**2), rel=1e-4)


def test_blurring_keeps_a_constant_up_to_the_border_and_the_shape():
    blurred = acquisition.blur(torch.full((4, 6, 8), 0.7), 1.5)
    assert blurred.shape == (4, 6, 8)
    assert torch.allclose(blurred, torch.tensor(0.7), atol=1e-6)


# slices


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("thickness", [2.0, 4.0])
def test_thick_slices_keep_the_mean(axis, thickness):
    image = noise_image(8, 8, 8)
    thick = acquisition.thick_slices(image, axis, thickness)
    assert thick.shape == image.shape
    assert thick.mean().item() == pytest.approx(image.mean().item(), abs=1e-6)


def test_thick_slices_by_hand():
    image = torch.tensor([0.0, 2, 4, 8]).view(4, 1, 1)  # slices of 1 and 6, at 0.5 and 2.5
    assert acquisition.thick_slices(image, 0, 2.0).flatten().tolist() == [1, 2.25, 4.75, 6]


@pytest.mark.parametrize("axis", range(3))
def test_thick_slices_change_one_axis_only(axis):
    image = torch.linspace(0, 1, 8).view([8 if a == axis else 1 for a in range(3)]).expand(8, 8, 8)
    for other in range(3):
        same = torch.allclose(acquisition.thick_slices(image, other, 4.0), image, atol=1e-6)
        assert same == (other != axis)


def test_there_are_never_less_than_two_slices():
    thick = acquisition.thick_slices(noise_image(6, 4, 4), 0, 100.0)
    assert not torch.allclose(thick[0], thick[-1])


# bias field, noise


def test_a_bias_field_of_no_strength_is_one():
    assert torch.equal(acquisition.bias_field((3, 4, 5), 0.0, generator()), torch.ones(3, 4, 5))


def test_a_bias_field_is_positive_smooth_and_of_the_strength_asked_for():
    logarithms = torch.cat([acquisition.bias_field((4, 4, 4), 0.5, generator(s)).log().flatten() for s in range(40)])
    assert logarithms.std().item() == pytest.approx(0.5, rel=0.1)
    field = acquisition.bias_field((40, 40, 40), 0.5, generator())
    assert (field > 0).all()
    steps = torch.cat([field.log().diff(dim=axis).abs().flatten() for axis in range(3)])
    assert steps.max() < 0.5 * 8 / 13  # the 40 voxels span 3 knot distances; knots differ by some 5 deviations at most


def test_noise_has_the_deviation_asked_for_and_no_mean():
    difference = acquisition.add_noise(torch.full((20, 20, 20), 5.0), 0.3, generator()) - 5
    assert difference.std().item() == pytest.approx(0.3, rel=0.05)
    assert difference.mean().item() == pytest.approx(0, abs=0.02)


# field of view


def test_a_field_of_view_is_a_slab_along_one_axis_of_at_least_the_fraction():
    shape, axes, fractions = (10, 12, 14), set(), []
    for seed in range(60):
        covered = acquisition.random_field_of_view(shape, 0.4, generator(seed))
        profiles = [covered.any(dim=tuple(a for a in range(3) if a != axis)) for axis in range(3)]
        cropped = [axis for axis, profile in enumerate(profiles) if not profile.all()]
        assert len(cropped) <= 1
        fraction = covered.float().mean().item()
        assert fraction >= 0.4 - 1 / 20  # a rounded number of slices
        if cropped:
            profile = profiles[cropped[0]].nonzero().flatten()
            assert profile[-1] - profile[0] + 1 == len(profile)  # in one piece
            assert len(profile) / shape[cropped[0]] == pytest.approx(fraction)
        axes.update(cropped)
        fractions.append(fraction)
    assert axes == {0, 1, 2}
    assert min(fractions) < 0.55
    assert max(fractions) > 0.9
