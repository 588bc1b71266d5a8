"""Patches of cases: labels stay with their image, modalities with their grids, sides with their names."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from CrossModalSegLib.preprocess import IntensityRule, normalise
from CrossModalSegLib.synthesis.deformation import sample_linear
from CrossModalSegLib.training.case_patch import inner_centre, labelled_centre
from CrossModalSegLib.training.sources import CaseSource, UnlabelledSource
from CrossModalSegLib.training.training_case import TrainingCase
from Testing.ball_case import CONFIG, ball_case, equal, overlap, with_synthesis

SEEDS = range(10)


def test_a_label_stays_with_its_image_under_deformation():
    source = CaseSource([ball_case()], CONFIG)
    bright_voxels = dark_voxels = 0
    for seed in SEEDS:
        sample = source.sample(seed)
        for (image, covered), labels in zip(sample.volumes, sample.labels, strict=True):
            # An interpolated 1 lies among voxels of 1 alone, so that the nearest is one of them; likewise 0.
            assert (labels[image > 0.999] == 1).all()
            assert (labels[(image < 0.001) & (covered > 0)] == 0).all()
            assert ((image > 0.5) == (labels == 1)).float().mean() > 0.97
            bright_voxels += int((image > 0.999).sum())
            dark_voxels += int((image < 0.001).sum())
    assert bright_voxels > 2000
    assert dark_voxels > 2000


def test_both_modalities_of_a_case_get_one_deformation_and_intensities_of_their_own():
    for seed in SEEDS:
        plain = CaseSource([ball_case()], CONFIG).sample(seed)
        assert torch.equal(plain.volumes[0], plain.volumes[1])
        varied = CaseSource([ball_case()], with_synthesis(noise=0.1, bias=0.3, gamma=0.4)).sample(seed)
        assert torch.equal(varied.labels[0], varied.labels[1])
        assert not torch.allclose(varied.volumes[0, 0], varied.volumes[1, 0], atol=1e-3)


def test_intensities_vary_and_stay_with_the_label():
    for seed in SEEDS:
        sample = CaseSource([ball_case()], with_synthesis(noise=0.1, bias=0.3, gamma=0.4)).sample(seed)
        inside, outside = (sample.volumes[0, 0][sample.labels[0] == label] for label in (1, 0))
        if len(inside) > 50 and len(outside) > 50:
            assert inside.mean() > outside.mean() + 0.3


def test_a_patch_holds_a_labelled_voxel_at_least_two_times_out_of_three():
    source = CaseSource([ball_case()], CONFIG)
    assert sum(bool((source.sample(seed).labels == 1).any()) for seed in range(60)) >= 36


def test_a_case_without_any_label_still_gives_samples():
    case = ball_case()
    sample = CaseSource([replace(case, labels=torch.zeros_like(case.labels))], CONFIG).sample(0)
    assert (sample.labels == 0).all()


def test_the_same_seed_gives_the_same_sample_and_seeds_go_round_the_cases():
    other = ball_case()
    source = CaseSource([ball_case(), replace(other, images=other.images * 0.5)], CONFIG)
    assert equal(source.sample(7), source.sample(7))
    assert not equal(source.sample(7), source.sample(9))
    assert max(source.sample(seed).volumes[:, 0].max() for seed in (1, 3, 5)) == pytest.approx(0.5)
    assert max(source.sample(seed).volumes[:, 0].max() for seed in (0, 2, 4)) == pytest.approx(1.0)


def test_what_a_modality_does_not_cover_is_marked_and_has_neither_intensity_nor_label():
    case = ball_case()
    case.covered[1, :, :, 14:] = False
    met = 0
    for seed in SEEDS:
        sample = CaseSource([case], CONFIG).sample(seed)
        outside = sample.volumes[1, 1] == 0
        met += int(outside.any() and (~outside).any())
        assert (sample.volumes[1, 0][outside] == 0).all()
        assert (sample.labels[1][outside] == 0).all()
    assert met > 3


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_a_case_with_one_modality_keeps_it(probability):
    for seed in SEEDS:
        sample = CaseSource([ball_case((False, True))], with_synthesis(single_probability=probability)).sample(seed)
        assert sample.presence.tolist() == [False, True]
        assert (sample.volumes[0] == 0).all()
        assert (sample.labels[0] == 0).all()


def test_a_single_probability_of_one_leaves_either_modality_of_a_pair():
    source = CaseSource([ball_case()], with_synthesis(single_probability=1))
    assert {tuple(source.sample(seed).presence.tolist()) for seed in range(12)} == {(True, False), (False, True)}


def test_position_channels_say_where_a_voxel_lies_in_the_case():
    """The ball lies 6 mm to the right, 4 mm behind and 2 mm above the centre, whatever the patch and its turn."""
    config = with_synthesis(elastic=0, position_error=0, rotation=10, scaling=0, shear=0)
    source = CaseSource([ball_case()], replace(config, patch=(32, 32, 32)))
    places = []
    for seed in range(12):
        sample = source.sample(seed)
        labels = sample.labels[0] == 1
        rim = torch.ones_like(labels)
        rim[1:-1, 1:-1, 1:-1] = False
        if labels.any() and not (labels & rim).any():  # the whole ball
            place = 100 * sample.position[:, labels].mean(1)
            turn = np.linalg.norm([6, 4, 2]) * np.radians(20)  # a turn by up to 10 degrees about each of three axes
            assert np.allclose(place, [2, -4, 6], atol=turn)
            places.append(place)
    assert len(places) > 2
    assert torch.allclose(torch.stack(places).mean(0), torch.tensor([2.0, -4.0, 6.0]), atol=1.5)


def test_a_displaced_second_modality_keeps_its_labels_and_the_pair_is_not_aligned():
    source = CaseSource([ball_case()], with_synthesis(displacement_probability=1))
    overlaps = []
    for seed in SEEDS:
        sample = source.sample(seed)
        assert not sample.aligned
        first, second = sample.labels == 1
        overlaps.append(overlap(first, second))
        for (image, _), labels in zip(sample.volumes, sample.labels, strict=True):
            assert (labels[image > 0.999] == 1).all()
            assert ((image > 0.5) == (labels == 1)).float().mean() > 0.97
    assert min(overlaps) < 0.8


def test_a_displacement_lies_within_its_bounds():
    config = with_synthesis(
        displacement_probability=1, displacement=4, displacement_rotation=0, displacement_elastic=0, rotation=0,
        shear=0,         scaling=0, elastic=0
    )  # fmt: skip
    source = CaseSource([ball_case()], replace(config, patch=(32, 32, 32)))
    shifts = []
    for seed in range(20):
        first, second = source.sample(seed).labels == 1
        if min(first.sum(), second.sum()) > 800:  # nearly the whole ball of 12 mm
            centres = [mask.nonzero().float().mean(0) * config.spacing for mask in (first, second)]
            shifts.append(centres[0] - centres[1])
    shifts = torch.stack(shifts)
    assert len(shifts) > 5
    assert shifts.abs().max() < 5
    assert (shifts.abs().amax(0) > 1).all()


def test_a_pair_is_aligned_where_the_case_is_and_no_displacement_is_drawn():
    assert CaseSource([ball_case()], CONFIG).sample(0).aligned
    assert not CaseSource([replace(ball_case(), aligned=False)], CONFIG).sample(0).aligned
    assert {
        bool(CaseSource([ball_case()], with_synthesis(displacement_probability=0.5)).sample(n).aligned) for n in SEEDS
    } == {
        True,
        False,
    }


def sided_case() -> TrainingCase:
    """Left of the middle labelled 1, right of it 2; brighter towards the right."""
    case = ball_case()
    labels = torch.ones_like(case.labels)
    labels[..., 14:] = 2
    return replace(case, labels=labels, images=torch.linspace(0, 1, 28).expand(2, 28, 28, 28).contiguous())


@pytest.mark.parametrize("displaced", [0.0, 1.0])
def test_left_stays_left_in_every_sample(displaced):
    config = with_synthesis(displacement_probability=displaced, rotation=15, scaling=0.3, shear=0.05)
    labelled, unlabelled = CaseSource([sided_case()], config), UnlabelledSource([sided_case()], config)
    met = 0
    for seed in range(30):
        sample, views = labelled.sample(seed), unlabelled.sample(seed)
        for labels in sample.labels:
            left, right = ((labels == value).nonzero().float() for value in (1, 2))
            if min(len(left), len(right)) > 200:
                met += 1
                assert left[:, 2].mean() < right[:, 2].mean()
        for image, covered in (*views.weak.flatten(0, 1), *views.strong):
            place = covered.nonzero().float()[:, 2]
            assert torch.corrcoef(torch.stack([image[covered > 0], place]))[0, 1] > 0.5
    assert met > 20


def test_intensities_are_normalised_by_the_whole_scan_as_in_inference():
    """A patch of a dim part stays dim: its own percentiles do not stretch it."""
    case = ball_case()
    ramp = torch.linspace(0, 100, 28).expand(2, 28, 28, 28).contiguous()
    dim = torch.zeros_like(case.labels)
    dim[:, 5, 5, 5] = 1
    config = replace(CONFIG, intensity={}, patch=(8, 8, 8))
    whole = normalise(ramp[0], torch.ones(28, 28, 28, dtype=torch.bool), IntensityRule())
    source = CaseSource([replace(case, images=ramp, labels=dim)], config)
    for seed in SEEDS:
        sample = source.sample(seed)
        if sample.labels.any():
            assert sample.volumes[0, 0].max() < whole[0, 0, 20]


def test_linear_sampling_by_hand():
    image = torch.arange(24.0).view(2, 3, 4)  # 12 k + 4 j + i
    at = torch.tensor([[0.5, 1.5, 2.25], [1, 0, 3], [0.75, 2, 0]]).T.reshape(3, 3, 1, 1)
    assert sample_linear(image[None], at).flatten().tolist() == pytest.approx([6 + 6 + 2.25, 12 + 3, 9 + 8])


def test_linear_sampling_is_zero_outside():
    image = torch.ones(4, 4, 4)
    at = torch.tensor([[-1.5, 1, 1], [1, 5, 1], [1, 1, 1]]).T.reshape(3, 3, 1, 1)
    assert sample_linear(image[None], at).flatten().tolist() == pytest.approx([0, 0, 1])


def corner_case(size: int) -> TrainingCase:
    """Label 1 in the first voxel of a cube."""
    labels = torch.zeros((2, size, size, size), dtype=torch.uint8)
    labels[:, 0, 0, 0] = 1
    return TrainingCase(torch.zeros(labels.shape), torch.ones(labels.shape, dtype=torch.bool), labels, (True, True))


@pytest.mark.parametrize("draw", [labelled_centre, inner_centre])
@pytest.mark.parametrize(("size", "lowest", "highest"), [(40, 7.5, 31.5), (12, 5.5, 5.5)])
def test_a_patch_leaves_its_case_by_an_eighth_at_most(draw, size, lowest, highest):
    case, generator = corner_case(size), torch.Generator().manual_seed(0)
    centres = torch.stack([draw(case, (16, 16, 16), generator) for _ in range(50)])
    assert centres.min() >= lowest - 2
    assert centres.max() <= highest + 2
    assert centres.max() - centres.min() > 2  # and is not always at the same place


def test_most_patches_are_as_near_to_a_label_as_the_border_lets_them():
    case, generator = corner_case(40), torch.Generator().manual_seed(0)
    centres = torch.stack([labelled_centre(case, (16, 16, 16), generator) for _ in range(60)])
    near = (centres <= 9.5).all(dim=1).sum()  # 7.5 is as near as it gets
    assert 30 <= near <= 50  # two out of three, and a few by chance
