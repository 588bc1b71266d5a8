"""Pairs made from label maps: what is drawn at random stays what the label map says."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.preprocess import IntensityRule
from CrossModalSegLib.synthesis.samples import Sample
from CrossModalSegLib.synthesis.synthesis import ContrastPrior, LabelSource, PairSynthesizer, SynthesisConfig
from CrossModalSegLib.training.training_data import world_aligned
from Testing.volumes import grid_around

PATCH = (16, 16, 16)
AIR, SKULL, LEFT, RIGHT, LESION = 0, 90, 2, 41, 77
VALUES = (AIR, LEFT, RIGHT, LESION, SKULL)
CHANNELS = (AIR, LEFT, RIGHT)  # of the network: left is 1, right is 2
SEEDS = range(12)

# Intensities as they are, in [0, 1]: what the synthesizer makes is what a test sees.
AS_IT_IS = (IntensityRule("window", 0, 1), IntensityRule("window", 0, 1))

PLAIN = SynthesisConfig(
    extraction_probability=0,
    displacement_probability=0,
    single_probability=0,
    thick_slice_probability=0,
    crop_probability=0,
    blur=0,
    bias=0,
    noise=0,
    gamma=0,
)

# A patch around the middle of the labelled anatomy, neither turned nor deformed.
STILL = {"rotation": 0, "scaling": 0, "shear": 0, "elastic": 0, "centre_spread": 0, "anywhere_probability": 0}

ALWAYS_EXTRACTED = {
    "extraction_probability": 1,
    "displacement_probability": 0,
    "single_probability": 0,
    "crop_probability": 0,
}


def head() -> torch.Tensor:
    """(24, 24, 24) label map: a skull around a brain whose low i is left, with a lesion in its left half; 2 mm."""
    labels = torch.full((24, 24, 24), AIR, dtype=torch.int32)
    labels[2:22, 2:22, 2:22] = SKULL
    labels[4:20, 4:20, 4:12] = LEFT
    labels[4:20, 4:20, 12:20] = RIGHT
    labels[8:14, 8:14, 7:11] = LESION
    return labels


def synthesizer(config: SynthesisConfig = PLAIN, **changes) -> PairSynthesizer:
    return PairSynthesizer(replace(config, **changes), VALUES, CHANNELS, ("T1w", "T2w"), AS_IT_IS)


def pairs(config: SynthesisConfig = PLAIN, seeds=SEEDS, **changes) -> list[Sample]:
    made = synthesizer(config, **changes)
    source = made.source(head(), 2.0)
    return [made.sample(source, PATCH, 2.0, seed) for seed in seeds]


def equal(one: Sample, other: Sample) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.tensors, other.tensors, strict=True))


def intensity(sample: Sample, modality: int) -> torch.Tensor:
    return sample.volumes[modality, 0]


def coverage(sample: Sample, modality: int) -> torch.Tensor:
    return sample.volumes[modality, 1] > 0


# what a sample is


def test_a_sample_has_the_shapes_and_types_that_training_expects():
    (sample,) = pairs(SynthesisConfig(), seeds=[3])
    assert sample.volumes.shape == (2, 2, *PATCH)
    assert sample.position.shape == (3, *PATCH)
    assert sample.labels.shape == (2, *PATCH)
    assert sample.labels.dtype == torch.uint8
    assert sample.presence.dtype == torch.bool
    assert sample.volumes.isfinite().all()


def test_the_same_seed_gives_the_same_pair_and_another_seed_another():
    config = SynthesisConfig()
    first, again = pairs(config), pairs(config)
    assert all(equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(equal(a, b) for a, b in pairwise(first))


def test_a_sample_does_not_depend_on_what_was_drawn_before_it_nor_on_the_global_seed():
    made = synthesizer(SynthesisConfig())
    source = made.source(head(), 2.0)
    expected = made.sample(source, PATCH, 2.0, 5)
    made.sample(source, PATCH, 2.0, 6)
    torch.manual_seed(99)
    assert equal(made.sample(source, PATCH, 2.0, 5), expected)


def test_a_batch_stacks_every_tensor():
    samples = pairs(seeds=[0, 1, 2])
    batch = Sample.stack(samples)
    assert batch.volumes.shape == (3, 2, 2, *PATCH)
    for stacked, own in zip(batch.tensors, samples[1].tensors, strict=True):
        assert torch.equal(stacked[1], own)


def test_a_source_knows_the_box_of_what_is_segmented_and_of_the_body():
    source = synthesizer().source(head(), 2.0)
    assert source.lowest.tolist() == [4, 4, 4]
    assert source.highest.tolist() == [19, 19, 19]
    assert [corner.tolist() for corner in source.body] == [[2, 2, 2], [21, 21, 21]]
    assert torch.equal(torch.tensor(VALUES)[source.array.long()], head())


# labels


def test_without_displacement_both_modalities_have_the_same_labels():
    for sample in pairs(blur=1.0, noise=0.1, bias=0.3, gamma=0.3, thick_slice_probability=0.5):
        assert torch.equal(sample.labels[0], sample.labels[1])


def test_a_displaced_modality_has_labels_of_its_own():
    for sample in pairs(displacement_probability=1):
        assert not torch.equal(sample.labels[0], sample.labels[1])


def test_each_modalitys_image_follows_its_own_labels_when_they_are_displaced():
    left_alone = {LEFT: 1.0, RIGHT: 0.0, LESION: 0.0, SKULL: 0.0, AIR: 0.0}
    priors = tuple(ContrastPrior(name, 1.0, left_alone, spread=0) for name in ("T1w", "T2w"))
    for sample in pairs(displacement_probability=1, contrast=priors):
        for modality in range(2):
            bright = intensity(sample, modality) > 0.5
            left = sample.labels[modality] == 1
            assert (bright == left).float().mean() > 0.99


def test_every_structure_is_met():
    assert set(torch.cat([sample.labels.flatten() for sample in pairs()]).tolist()) == {0, 1, 2}


def test_a_label_that_is_not_in_the_bundle_is_background_unless_it_is_merged():
    lesion_voxels = int((head() == LESION).sum())

    def left_voxels(**changes) -> int:
        made = synthesizer(**STILL, **changes)
        sample = made.sample(made.source(head(), 2.0), (24, 24, 24), 2.0, 0)
        return int((sample.labels[0] == 1).sum())

    half_brain = 16 * 16 * 8
    assert left_voxels() == half_brain - lesion_voxels
    assert left_voxels(merge={LESION: LEFT}) == half_brain


def test_an_undeformed_patch_around_the_middle_is_the_label_map_itself():
    still = synthesizer(**STILL)
    sample = still.sample(still.source(head(), 2.0), (24, 24, 24), 2.0, 0)
    expected = (head() == LEFT) * 1 + (head() == RIGHT) * 2
    assert torch.equal(sample.labels[0].int(), expected.int())


def stored_right_to_left(labels: torch.Tensor) -> tuple[torch.Tensor, float]:
    """The same head from a file whose first axis runs to the left, brought onto the world's axes."""
    i, j, k = labels.shape[::-1]
    affine = grid_around((0, 0, 0), (i, j, k), (2, 2, 2)).ijk_to_ras.copy()
    affine[0, 3] += affine[0, 0] * (i - 1)
    affine[0, 0] *= -1
    array, spacing = world_aligned(labels.flip(2).numpy(), Grid((k, j, i), affine))
    return torch.from_numpy(array), spacing


def test_a_left_label_stays_at_the_lower_index_however_the_map_was_stored():
    array, spacing = stored_right_to_left(head())
    assert spacing == 2.0
    assert torch.equal(array, head())
    made = synthesizer(SynthesisConfig(), single_probability=0)
    source = made.source(array, spacing)
    column = torch.arange(PATCH[2]).float().expand(PATCH)
    met = 0
    for seed in range(20):
        sample = made.sample(source, PATCH, 2.0, seed)
        for labels in sample.labels:
            if (labels == 1).any() and (labels == 2).any():
                met += 1
                assert column[labels == 1].mean() < column[labels == 2].mean()
    assert met > 20


# coverage, removal, presence


def test_labels_are_only_where_the_modality_covers():
    cropped = 0
    for sample in pairs(crop_probability=1):
        for modality in range(2):
            outside = ~coverage(sample, modality)
            cropped += int(outside.any())
            assert (sample.labels[modality][outside] == 0).all()
            assert (intensity(sample, modality)[outside] == 0).all()
    assert cropped > 12


def test_what_is_removed_has_intensity_zero_and_label_zero():
    """Brain extraction of an undeformed head, with the whole image chain on: the skull and the air are exactly zero."""
    made = synthesizer(SynthesisConfig(), **STILL, **ALWAYS_EXTRACTED, outside=(AIR, SKULL), border_fluid=(LEFT,))
    source = made.source(head(), 2.0)
    fluid_removed = set()
    for seed in SEEDS:
        sample = made.sample(source, (24, 24, 24), 2.0, seed)
        left = sample.labels[0] == 1
        fluid_removed.add(not left.any())
        removed = (head() == AIR) | (head() == SKULL)
        if not left.any():
            removed |= head() == LEFT
        for modality in range(2):
            assert (intensity(sample, modality)[removed] == 0).all()
            assert (sample.labels[modality][removed] == 0).all()
            assert (intensity(sample, modality)[head() == RIGHT] > 0).float().mean() > 0.9
            assert (sample.labels[modality][head() == RIGHT] == 2).all()
    assert fluid_removed == {True, False}  # the fluid at the border goes half of the time


def test_a_single_probability_of_one_gives_exactly_one_modality_each_in_turn():
    kept = set()
    for sample in pairs(single_probability=1):
        assert sample.presence.sum() == 1
        absent = int((~sample.presence).nonzero())
        assert (sample.volumes[absent] == 0).all()
        assert (sample.labels[absent] == 0).all()
        kept.add(1 - absent)
    assert kept == {0, 1}


def test_a_single_probability_of_zero_gives_both_modalities():
    assert all(sample.presence.all() for sample in pairs(single_probability=0))


# contrast


def label_means(sample: Sample, modality: int, label_of: torch.Tensor) -> dict[int, float]:
    image = intensity(sample, modality)
    return {value: image[label_of == value].mean().item() for value in VALUES if (label_of == value).sum() > 50}


def still_sample(config: SynthesisConfig, seed: int) -> Sample:
    made = synthesizer(config, **STILL)
    return made.sample(made.source(head(), 2.0), (24, 24, 24), 2.0, seed)


def test_each_labels_mean_follows_the_contrast_prior_of_its_modality():
    t1 = {LEFT: 0.8, RIGHT: 0.6, LESION: 0.2, SKULL: 0.4}
    t2 = {LEFT: 0.3, RIGHT: 0.5, LESION: 0.9, SKULL: 0.7}
    priors = (ContrastPrior("T1w", 1.0, t1, spread=0), ContrastPrior("T2w", 1.0, t2, spread=0))
    for seed in range(4):
        sample = still_sample(replace(PLAIN, contrast=priors), seed)
        for modality, means in enumerate((t1, t2)):
            found = label_means(sample, modality, head())
            for value, mean in means.items():
                assert found[value] == pytest.approx(mean, abs=0.03)


def test_the_spread_of_a_prior_moves_the_means_from_pair_to_pair():
    prior = ContrastPrior("T1w", 1.0, {LEFT: 0.5}, spread=0.05)
    means = [label_means(still_sample(replace(PLAIN, contrast=(prior,)), seed), 0, head())[LEFT] for seed in range(30)]
    assert torch.tensor(means).mean().item() == pytest.approx(0.5, abs=0.04)
    assert torch.tensor(means).std().item() == pytest.approx(0.05, rel=0.5)


def test_without_a_prior_any_contrast_occurs():
    found = [label_means(still_sample(PLAIN, seed), 0, head()) for seed in range(30)]
    darker = [means[LEFT] < means[RIGHT] for means in found]
    assert 5 < sum(darker) < 25
    levels = [means[LEFT] for means in found]
    assert min(levels) < 0.3
    assert max(levels) > 0.7


def test_labels_of_one_group_share_one_mean():
    for seed in range(6):
        means = label_means(still_sample(replace(PLAIN, groups=((LEFT, RIGHT),)), seed), 0, head())
        assert means[LEFT] == pytest.approx(means[RIGHT], abs=0.02)


def test_priors_are_drawn_as_often_as_they_say():
    bright, dark = (ContrastPrior("T1w", p, {LEFT: m}, spread=0) for p, m in ((0.3, 0.9), (0.7, 0.1)))
    levels = torch.tensor(
        [label_means(still_sample(replace(PLAIN, contrast=(bright, dark)), s), 0, head())[LEFT] for s in range(60)]
    )
    assert ((levels > 0.8) | (levels < 0.2)).all()
    assert (levels > 0.8).float().mean().item() == pytest.approx(0.3, abs=0.2)


@pytest.mark.parametrize("change", [{"blur": 3.0}, {"bias": 0.5}, {"noise": 0.2}, {"gamma": 1.0}])
def test_each_effect_of_the_scanner_changes_the_image_and_leaves_the_labels(change):
    plain, changed = still_sample(PLAIN, 1), still_sample(replace(PLAIN, **change), 1)
    assert not torch.allclose(intensity(plain, 0), intensity(changed, 0), atol=1e-3)
    assert torch.equal(plain.labels, changed.labels)


def test_oversampling_gives_partial_volume_at_borders_and_the_same_labels():
    prior = ContrastPrior("T1w", 1.0, {LEFT: 1.0, RIGHT: 0.0, LESION: 0.0, SKULL: 0.0, AIR: 0.0}, spread=0)
    config = replace(PLAIN, contrast=(prior,), rotation=30.0)
    (hard,), (soft,) = pairs(config, seeds=[2]), pairs(config, seeds=[2], oversampling=2.0)
    assert torch.equal(hard.labels, soft.labels)

    def between(sample: Sample) -> int:
        return int(((intensity(sample, 0) > 0.3) & (intensity(sample, 0) < 0.7)).sum())

    assert between(soft) > 5 * between(hard) + 20


# position


def test_position_channels_say_where_the_patch_lies_in_the_body():
    sample = still_sample(replace(PLAIN, position_error=0), 0)
    # The body's middle is that of the map: the first of 24 voxels of 2 mm lies 23 mm before it.
    assert torch.allclose(sample.position[0, :, 0, 0], (torch.arange(24) * 2.0 - 23) / 100, atol=1e-5)
    assert torch.allclose(sample.position[2, 0, 0], (torch.arange(24) * 2.0 - 23) / 100, atol=1e-5)


def test_position_channels_follow_a_patch_that_lies_elsewhere_and_is_turned():
    made = synthesizer(position_error=0, elastic=0, anywhere_probability=1)
    source: LabelSource = made.source(head(), 2.0)
    middle_of_left = torch.tensor([11.5, 11.5, 7.5]) * 2  # of the box of the left half, in mm from the first voxel
    body = torch.tensor([11.5, 11.5, 11.5]) * 2
    offsets = []
    for seed in range(20):
        sample = made.sample(source, (32, 32, 32), 2.0, seed)
        left = sample.labels[0] == 1
        offsets.append(100 * sample.position[:, left].mean(1))
    # Seen from the centre of the body, and whatever way the patch is turned by some degrees, left is at lower i.
    mean = torch.stack(offsets).mean(0)
    assert torch.allclose(mean, middle_of_left - body, atol=3.0)


def test_with_a_locator_positions_are_told_from_the_anatomy_however_far_the_body_reaches():
    labels = head()
    labels[:2, 2:22, 2:22] = SKULL  # 2 voxels of 2 mm more body at the low end of k alone: its centre moves by 2 mm
    given = {}
    for located in (False, True):
        made = synthesizer(replace(PLAIN, position_error=0, located=located, **STILL))
        given[located] = made.sample(made.source(labels, 2.0), PATCH, 2.0, 0).position
    anatomy = still_sample(replace(PLAIN, position_error=0), 0).position[
        :, 4:-4, 4:-4, 4:-4
    ]  # whose body lies around it
    assert torch.allclose(given[True], anatomy, atol=1e-5)
    assert torch.allclose(100 * (given[False] - given[True])[0], torch.tensor(2.0), atol=1e-4)


def test_the_position_is_wrong_by_no_more_than_three_times_the_error():
    exact = still_sample(replace(PLAIN, position_error=0), 0)
    errors = []
    for seed in range(20):
        wrong = still_sample(replace(PLAIN, position_error=4.0), seed).position - exact.position
        assert (wrong - wrong[:, :1, :1, :1]).abs().max() < 1e-5  # the same for the whole patch
        errors.append(100 * wrong[:, 0, 0, 0].abs().max().item())
    assert max(errors) <= 12 + 1e-3
    assert sum(error <= 4 for error in errors) > 10
