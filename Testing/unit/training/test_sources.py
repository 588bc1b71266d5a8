"""Where samples come from: the views of samples without labels, and several sources in turn."""

from dataclasses import replace

import torch

from CrossModalSegLib.training.config import SemiSupervisedConfig
from CrossModalSegLib.training.sources import MixedSource, UnlabelledSource
from Testing.ball_case import ball_case, with_semi, with_synthesis

SEEDS = range(10)
NO_CUT_OUT = SemiSupervisedConfig(cut_out=0)


def test_both_views_of_an_unlabelled_sample_have_one_geometry():
    source = UnlabelledSource([ball_case()], with_semi(cut_out=0))
    for seed in SEEDS:
        sample = source.sample(seed)
        assert all(torch.equal(weak, sample.strong) for weak in sample.weak)  # nothing varies here but the geometry
        assert torch.equal(sample.strong[0], sample.strong[1])
        assert sample.aligned


def test_the_teacher_is_given_a_displaced_pair_as_it_was_acquired_on_both_grids():
    """The ball looks alike in both modalities: on one grid both are equal, although the student sees them displaced."""
    source = UnlabelledSource([ball_case()], with_synthesis(displacement_probability=1.0))
    for seed in SEEDS:
        sample = source.sample(seed)
        assert torch.equal(sample.weak[:, 0], sample.weak[:, 1])
        assert not torch.allclose(sample.weak[0, 0], sample.weak[1, 0], atol=1e-2)
        assert (bool(sample.aligned), bool(sample.registered)) == (False, True)
        for m in range(2):
            assert torch.equal(sample.weak[m, m, 1], sample.strong[m, 1])


def test_a_pair_that_was_acquired_displaced_is_not_registered():
    source = UnlabelledSource([replace(ball_case(), aligned=False)], with_synthesis(displacement_probability=0.0))
    assert not source.sample(0).registered


def test_intensities_vary_in_the_strong_view_only():
    quiet, loud = (
        UnlabelledSource([ball_case()], replace(with_synthesis(noise=n, bias=n, gamma=n), semi_supervised=NO_CUT_OUT))
        for n in (0.0, 0.3)
    )
    for seed in SEEDS:
        assert torch.equal(quiet.sample(seed).weak, loud.sample(seed).weak)
        assert torch.equal(loud.sample(seed).strong[:, 1], loud.sample(seed).weak[0, :, 1])
        assert not torch.allclose(loud.sample(seed).strong[:, 0], loud.sample(seed).weak[0, :, 0], atol=1e-3)


def test_boxes_are_cut_out_of_the_strong_view_and_differ_between_modalities():
    source = UnlabelledSource([ball_case()], with_semi(cut_out=1.0))
    for seed in SEEDS:
        sample = source.sample(seed)
        changed = sample.strong[:, 0] != sample.weak[0, :, 0]
        assert (changed.float().mean((1, 2, 3)) < 0.25).all()
        assert changed.any()
        assert not torch.equal(changed[0], changed[1])
        assert torch.equal(sample.strong[:, 1], sample.weak[0, :, 1])


def test_the_labels_of_an_unlabelled_case_make_no_difference():
    case = ball_case()
    other = replace(case, labels=torch.randint(0, 9, case.labels.shape, dtype=torch.uint8))
    for seed in SEEDS:
        one, two = (UnlabelledSource([c], with_synthesis(noise=0.1)).sample(seed) for c in (case, other))
        assert all(torch.equal(a, b) for a, b in zip(one.tensors, two.tensors, strict=True))


def test_the_teacher_sees_what_the_case_has_and_the_student_now_and_then_less():
    source = UnlabelledSource([ball_case()], with_synthesis(single_probability=0.5))
    samples = [source.sample(seed) for seed in range(30)]
    assert all(sample.presence.tolist() == [True, True] for sample in samples)
    assert {tuple(sample.shown.tolist()) for sample in samples} == {(True, True), (True, False), (False, True)}
    single = UnlabelledSource([ball_case((False, True))], with_synthesis(single_probability=0.5)).sample(0)
    assert single.presence.tolist() == single.shown.tolist() == [False, True]


def test_unlabelled_patches_lie_inside_the_case():
    # 28 voxels and a patch of 16 leave room for 12; nothing is bent, and an eighth of the patch may stick out.
    config = with_synthesis(rotation=0, scaling=0, shear=0, elastic=0)
    source = UnlabelledSource([ball_case()], config)
    outside = [1 - source.sample(seed).weak[0, 0, 1].mean().item() for seed in range(30)]
    assert max(outside) <= 1 - (14 / 16) ** 3 + 1e-6
    large = UnlabelledSource([ball_case()], replace(config, patch=(40, 40, 40))).sample(0).weak[0, 0, 1]
    assert large.sum() == 28**3  # a small case is whole in a large patch


class Numbers:
    """A source whose samples say who gave them and for which seed."""

    def __init__(self, name: int):
        self.name = name

    device = torch.device("cpu")

    def sample(self, seed: int) -> tuple[int, int]:
        return self.name, seed


def test_mixed_sources_take_turns_and_each_meets_every_seed():
    mixed = MixedSource([Numbers(0), Numbers(1)])
    assert [mixed.sample(seed) for seed in range(6)] == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2)]
