"""Every loss against values worked by hand, at identity, and by what must not change it."""

import math

import pytest
import torch

from CrossModalSegLib.losses import (
    channel_affinity_consistency,
    channel_semantic_consistency,
    contrastive_anatomical_consistency,
    ema_decay,
    pseudo_label_loss,
    ramp,
    soft_pseudo_label_loss,
    supervised_loss,
)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def two_voxels(*probabilities: float) -> torch.Tensor:
    """Logits (1, 2, 2, 1, 1) that give these probabilities of class 1 to the two voxels."""
    p = torch.tensor(probabilities)
    return torch.stack([(1 - p).log(), p.log()]).view(1, 2, 2, 1, 1)


FIRST_0_SECOND_1 = torch.tensor([0, 1]).view(1, 2, 1, 1)


def test_two_voxels_by_hand():
    # Dice of class 0: 2 * 3/4 / (5/4 + 1) = 2/3; of class 1: 2 * 1/2 / (3/4 + 1) = 4/7. 1 - their mean is 8/21.
    cross_entropy = (math.log(4 / 3) + math.log(2)) / 2
    loss = supervised_loss(two_voxels(1 / 4, 1 / 2), FIRST_0_SECOND_1)
    assert loss.item() == pytest.approx(8 / 21 + cross_entropy, abs=1e-4)


def test_an_undecided_prediction_of_two_voxels_costs_a_half_and_the_logarithm_of_two():
    assert supervised_loss(two_voxels(0.5, 0.5), FIRST_0_SECOND_1).item() == pytest.approx(0.5 + math.log(2), abs=1e-4)


def test_a_confident_and_right_prediction_costs_nothing():
    labels = torch.randint(0, 4, (2, 3, 4, 5), generator=torch.Generator().manual_seed(0))
    logits = 200.0 * torch.nn.functional.one_hot(labels, 5).permute(0, 4, 1, 2, 3)  # class 4 does not occur
    assert supervised_loss(logits, labels).item() == pytest.approx(0, abs=1e-6)


def test_dice_counts_over_the_batch_and_not_per_sample():
    # In the second sample class 1 does not occur, and 1 of its 2 voxels is given to it with certainty. Over the batch:
    # Dice of class 0 is 2 * 2 / (2 + 3), of class 1 it is 2 * 1 / (2 + 1).
    confident = 30.0
    predicted, labels = torch.tensor([[0, 1], [0, 1]]), torch.tensor([[0, 1], [0, 0]])
    logits = confident * torch.nn.functional.one_hot(predicted, 2).permute(0, 2, 1).float()
    loss = supervised_loss(logits.view(2, 2, 2, 1, 1), labels.view(2, 2, 1, 1))
    assert loss.item() == pytest.approx(1 - (4 / 5 + 2 / 3) / 2 + confident / 4, abs=1e-4)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_computed_in_single_precision(kind):
    logits = (20 * torch.randn(1, 3, 6, 6, 6, generator=torch.Generator().manual_seed(1))).to(kind)
    labels = torch.randint(0, 3, (1, 6, 6, 6), generator=torch.Generator().manual_seed(2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = supervised_loss(logits, labels)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, supervised_loss(logits.float(), labels))


def test_labels_may_be_of_any_integer_type():
    logits = torch.randn(1, 3, 4, 4, 4, generator=torch.Generator().manual_seed(1))
    labels = torch.randint(0, 3, (1, 4, 4, 4), generator=torch.Generator().manual_seed(2))
    assert supervised_loss(logits, labels.to(torch.uint8)) == supervised_loss(logits, labels)


def test_a_step_against_the_gradient_lowers_the_loss():
    logits = torch.randn(1, 3, 4, 4, 4, generator=torch.Generator().manual_seed(1)).requires_grad_()
    labels = torch.randint(0, 3, (1, 4, 4, 4), generator=torch.Generator().manual_seed(2))
    loss = supervised_loss(logits, labels)
    loss.backward()
    assert supervised_loss(logits.detach() - 0.5 * logits.grad, labels) < loss


# channel-wise semantic consistency, aligned


def channels(*rows: tuple[float, ...]) -> torch.Tensor:
    """Features (1, C, 1, 1, N), one row per channel."""
    return torch.tensor(rows).view(1, len(rows), 1, 1, -1)


def test_orthogonal_channels_that_match_give_the_least_value():
    # Unit rows (1, 0) and (0, 1): S = 2 I, so each channel costs log((e^2 + 1) / e^2).
    same = channels((3.0, 0.0), (0.0, 2.0))
    assert channel_semantic_consistency(same, same).item() == pytest.approx(math.log(1 + math.exp(-2)))
    eight = torch.eye(8).view(1, 8, 2, 2, 2)
    assert channel_semantic_consistency(eight, eight).item() == pytest.approx(math.log(1 + 7 * math.exp(-2)))


def test_channels_that_are_exchanged_cost_the_most():
    exchanged = channel_semantic_consistency(channels((1.0, 0.0), (0.0, 1.0)), channels((0.0, 1.0), (1.0, 0.0)))
    assert exchanged.item() == pytest.approx(math.log(1 + math.exp(2)))


def test_a_half_matching_pair_by_hand():
    # V_a = I, V_b = [[1, 0], [0.6, 0.8]], tau = 1: S = [[1, 0.6], [0, 0.8]]. Rows cost log(1 + e^-0.4) and
    # log(1 + e^-0.8), columns log(1 + e^-1) and log(1 + e^-0.2).
    loss = channel_semantic_consistency(
        channels((1.0, 0.0), (0.0, 1.0)), channels((2.0, 0.0), (3.0, 4.0)), temperature=1
    )
    assert loss.item() == pytest.approx(sum(math.log(1 + math.exp(-d)) for d in (0.4, 0.8, 1.0, 0.2)) / 4)


@pytest.mark.parametrize("loss", [channel_semantic_consistency, channel_affinity_consistency])
def test_each_sample_is_compared_with_its_own_partner_only(loss):
    a, b = random(3, 4, 4, 4, 4), random(3, 4, 4, 4, 4, seed=1)
    alone = [loss(a[n : n + 1], b[n : n + 1]) for n in range(3)]
    assert loss(a, b).item() == pytest.approx(torch.stack(alone).mean().item(), rel=1e-5)


def test_the_semantic_loss_does_not_know_which_is_a_which_channel_comes_first_or_how_strong_a_channel_is():
    a, b = random(2, 6, 5, 7, 5), random(2, 6, 5, 7, 5, seed=1)
    loss = channel_semantic_consistency(a, b)
    order, gain = torch.randperm(6, generator=torch.Generator().manual_seed(2)), torch.rand(6).add(0.1).view(6, 1, 1, 1)
    for x, y in ((b, a), (a[:, order], b[:, order]), (a * gain, 7 * b)):
        assert channel_semantic_consistency(x, y).item() == pytest.approx(loss.item(), rel=1e-5)
    assert channel_semantic_consistency(a, b[:, order]).item() != pytest.approx(loss.item(), rel=1e-3)


def test_channels_are_pooled_to_four_cells_per_axis():
    coarse = random(1, 5, 4, 4, 4)
    fine = coarse.repeat_interleave(3, 2).repeat_interleave(3, 3).repeat_interleave(3, 4)
    texture = random(1, 5, 12, 12, 12, seed=3)
    texture = texture - torch.nn.functional.adaptive_avg_pool3d(texture, 4).repeat_interleave(3, 2).repeat_interleave(
        3, 3
    ).repeat_interleave(3, 4)  # has no mean in any cell
    expected = channel_semantic_consistency(coarse, coarse).item()
    assert channel_semantic_consistency(fine + texture, fine).item() == pytest.approx(expected, rel=1e-4)


# channel affinities


def test_two_channels_by_hand_for_the_affinities():
    # a's channels are orthogonal, b's have the cosine 0.6: the two entries off the diagonal differ by 0.6.
    loss = channel_affinity_consistency(channels((1.0, 0.0), (0.0, 5.0)), channels((2.0, 0.0), (3.0, 4.0)))
    assert loss.item() == pytest.approx(0.36)


def test_equal_affinities_cost_nothing_wherever_the_voxels_lie():
    a = random(2, 6, 3, 4, 5)
    shuffled = a.flatten(2)[:, :, torch.randperm(60, generator=torch.Generator().manual_seed(0))].view(2, 6, 5, 4, 3)
    for b in (a, 3 * a, shuffled, a.repeat(1, 1, 2, 1, 1)):  # the same, brighter, elsewhere, twice the voxels
        assert channel_affinity_consistency(a, b).item() == pytest.approx(0, abs=1e-9)
    assert channel_affinity_consistency(a, a.flip(1)).item() > 1e-3


def test_a_single_channel_has_no_affinity_to_compare():
    assert channel_affinity_consistency(random(1, 1, 2, 2, 2), random(1, 1, 2, 2, 2)).item() == 0


# contrastive anatomical consistency


def probabilities(*values: float) -> torch.Tensor:
    """(1, 2, N, 1, 1) with these probabilities of class 1."""
    p = torch.tensor(values)
    return torch.stack([1 - p, p]).view(1, 2, -1, 1, 1)


def everywhere(like: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(like[:, 0])


def anatomy(*pairs: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """L_CAC where every voxel counts."""
    return contrastive_anatomical_consistency([(student, other, everywhere(other)) for student, other in pairs])


def test_two_voxels_by_hand_for_the_anatomy():
    # 2 * (1/4 * 1) / (1/16 + 1/4 + 1) = 8/21. The other direction agrees and costs nothing.
    one = (two_voxels(1 / 4, 1 / 2), probabilities(1.0, 0.0))
    other = (two_voxels(1 / 4, 3 / 4), probabilities(1 / 4, 3 / 4))
    assert anatomy(one).item() == pytest.approx(13 / 21)
    assert anatomy(one, other).item() == pytest.approx(13 / 42, abs=1e-6)


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_equal_predictions_cost_nothing_however_uncertain_and_wherever_they_count(share):
    logits = random(2, 4, 3, 3, 3)
    weights = torch.rand((2, 3, 3, 3), generator=torch.Generator().manual_seed(1)) < share
    direction = (logits, logits.softmax(1), weights)
    assert contrastive_anatomical_consistency([direction, direction]).item() == pytest.approx(0, abs=1e-6)


def test_voxels_without_weight_do_not_count():
    # The first voxel contradicts. The second agrees: 2 * 0.9 * 1 / (0.81 + 1).
    pair = (two_voxels(0.01, 0.9), probabilities(0.6, 1.0))
    second = torch.tensor([False, True]).view(1, 2, 1, 1)
    assert contrastive_anatomical_consistency([(*pair, second)]).item() == pytest.approx(1 - 1.8 / 1.81, abs=1e-6)
    assert anatomy(pair).item() > 0.1


def test_a_class_that_is_in_neither_is_skipped_and_one_that_is_in_either_is_not():
    def one_hot(*labels: int) -> torch.Tensor:
        return torch.nn.functional.one_hot(torch.tensor(labels), 4).T.view(1, 4, -1, 1, 1).float()

    student, teacher = 50 * one_hot(1, 1, 0, 0), one_hot(1, 1, 2, 0)  # class 1 agrees, 2 is the teacher's, 3 nobody's
    assert anatomy((student, teacher)).item() == pytest.approx(0.5, abs=1e-4)


def test_nothing_to_compare_gives_zero_that_can_be_derived():
    logits = (random(1, 3, 2, 2, 2)).requires_grad_()
    loss = contrastive_anatomical_consistency([(logits, torch.full((1, 3, 2, 2, 2), 1 / 3), torch.zeros(1, 2, 2, 2))])
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


def test_no_gradient_goes_into_the_teacher():
    student, teacher = random(1, 3, 2, 2, 2).requires_grad_(), random(1, 3, 2, 2, 2, seed=1).requires_grad_()
    anatomy((student, teacher.softmax(1))).backward()
    assert student.grad.abs().max() > 0
    assert teacher.grad is None


def test_each_sample_counts_by_itself_for_the_anatomy():
    student, teacher = 3 * random(3, 3, 4, 4, 4), (3 * random(3, 3, 4, 4, 4, seed=1)).softmax(1)
    alone = [anatomy((student[n : n + 1], teacher[n : n + 1])) for n in range(3)]
    together = anatomy((student, teacher))
    assert together.item() == pytest.approx(torch.stack(alone).mean().item(), rel=1e-5)


# pseudo labels


def test_pseudo_labels_that_are_all_trusted_by_hand():
    # Dice of class 0: 2 * 3/4 / (5/4 + 1) = 2/3; of class 1: 2 * 1/2 / (3/4 + 1) = 4/7.
    loss = pseudo_label_loss(two_voxels(1 / 4, 1 / 2), FIRST_0_SECOND_1, torch.ones(1, 2, 1, 1))
    assert loss.item() == pytest.approx(8 / 21 + (math.log(4 / 3) + math.log(2)) / 2)


def test_a_pseudo_label_that_is_not_trusted_does_not_count():
    # Only the first voxel: cross-entropy log(4/3), Dice of class 0 2 * 3/4 / (3/4 + 1) = 6/7, class 1 is not met.
    trusted = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
    logits = two_voxels(1 / 4, 1 / 2).requires_grad_()
    loss = pseudo_label_loss(logits, FIRST_0_SECOND_1, trusted)
    assert loss.item() == pytest.approx(1 / 7 + math.log(4 / 3))
    loss.backward()
    assert (logits.grad[0, :, 1] == 0).all()
    assert (logits.grad[0, :, 0] != 0).all()


def test_no_trusted_pseudo_label_gives_zero():
    assert pseudo_label_loss(two_voxels(0.2, 0.5), FIRST_0_SECOND_1, torch.zeros(1, 2, 1, 1)).item() == 0


def test_soft_pseudo_labels_by_hand():
    # First voxel: Q = (1/2, 1/2), P = (3/4, 1/4): 1/2 log(2/3) + 1/2 log 2. Second voxel: equal, 0.
    teacher = two_voxels(1 / 2, 1 / 2).softmax(1)
    loss = soft_pseudo_label_loss(two_voxels(1 / 4, 1 / 2), teacher, torch.ones(1, 2, 1, 1))
    assert loss.item() == pytest.approx((math.log(2 / 3) + math.log(2)) / 4)


def test_soft_pseudo_labels_that_are_certain_give_the_cross_entropy_where_they_count():
    certain = torch.nn.functional.one_hot(FIRST_0_SECOND_1, 2).movedim(-1, 1).float()
    second = torch.tensor([0.0, 1.0]).view(1, 2, 1, 1)
    logits = two_voxels(1 / 4, 1 / 2).requires_grad_()
    loss = soft_pseudo_label_loss(logits, certain, second)
    assert loss.item() == pytest.approx(math.log(2))
    loss.backward()
    assert (logits.grad[0, :, 0] == 0).all()


def test_no_gradient_of_soft_pseudo_labels_goes_into_the_teacher():
    student, teacher = two_voxels(0.3, 0.8).requires_grad_(), two_voxels(0.6, 0.6).requires_grad_()
    soft_pseudo_label_loss(student, teacher.softmax(1), torch.ones(1, 2, 1, 1)).backward()
    assert teacher.grad is None
    assert student.grad.abs().sum() > 0


def test_a_student_that_shares_the_teachers_doubts_is_not_moved_by_soft_pseudo_labels_but_by_hard_ones():
    doubts, everywhere = two_voxels(0.4, 0.45), torch.ones(1, 2, 1, 1)
    for loss, moved in ((soft_pseudo_label_loss, False), (pseudo_label_loss, True)):
        logits = doubts.clone().requires_grad_()
        opinion = doubts.softmax(1)
        loss(logits, opinion if loss is soft_pseudo_label_loss else opinion.argmax(1), everywhere).backward()
        assert bool((logits.grad.abs() > 1e-6).any()) == moved


# what all have in common

EVERY_LOSS = {
    "supervised": lambda a, _: supervised_loss(a, a.argmax(1)),
    "semantic": channel_semantic_consistency,
    "affinity": channel_affinity_consistency,
    "anatomy": lambda a, b: anatomy((a, b.softmax(1))),
    "pseudo": lambda a, b: pseudo_label_loss(a, b.argmax(1), torch.ones_like(b[:, 0])),
    "soft pseudo": lambda a, b: soft_pseudo_label_loss(a, b.softmax(1), torch.ones_like(b[:, 0])),
}


@pytest.mark.parametrize("loss", EVERY_LOSS.values(), ids=EVERY_LOSS)
def test_nan_is_never_replaced_by_a_number(loss):
    a, b = random(1, 3, 4, 4, 4), random(1, 3, 4, 4, 4, seed=1)
    a[0, 0, 1, 1, 1] = math.nan
    assert loss(a, b).isnan()


def test_nan_of_the_teacher_is_not_hidden_by_a_weight_of_zero():
    a, b = random(1, 3, 4, 4, 4), random(1, 3, 4, 4, 4, seed=1)
    b[0, 0, 1, 1, 1] = math.nan
    assert contrastive_anatomical_consistency([(a, b.softmax(1), torch.zeros(1, 4, 4, 4))]).isnan()


@pytest.mark.parametrize("loss", EVERY_LOSS.values(), ids=EVERY_LOSS)
def test_half_precision_is_computed_in_single_precision(loss):
    a, b = random(1, 8, 4, 4, 4).bfloat16(), random(1, 8, 4, 4, 4, seed=1).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(a, b)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(loss(a.float(), b.float()).item(), abs=2e-3)


@pytest.mark.parametrize("loss", EVERY_LOSS.values(), ids=EVERY_LOSS)
def test_a_small_step_against_the_gradient_lowers_every_loss(loss):
    a, b = random(2, 6, 4, 4, 4).requires_grad_(), random(2, 6, 4, 4, 4, seed=1)
    before = loss(a, b)
    before.backward()
    assert loss(a.detach() - 0.1 * a.grad / a.grad.norm(), b) < before


@pytest.mark.parametrize("loss", [channel_semantic_consistency, channel_affinity_consistency])
def test_features_of_both_modalities_get_a_gradient(loss):
    a, b = random(1, 6, 4, 4, 4).requires_grad_(), random(1, 6, 4, 4, 4, seed=1).requires_grad_()
    loss(a, b).backward()
    assert a.grad.abs().max() > 0
    assert b.grad.abs().max() > 0


# schedules


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 2 * math.exp(-5)), (50, 2 * math.exp(-1.25)), (100, 2.0), (1000, 2.0)]
)
def test_the_ramp_rises_from_nearly_nothing_to_its_maximum_and_stays(step, expected):
    assert ramp(step, 100, 2.0) == pytest.approx(expected)


def test_a_ramp_without_steps_is_at_its_maximum_at_once():
    assert ramp(0, 0, 0.3) == 0.3


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 0.0), (1, 0.5), (9, 0.9), (98, 1 - 1 / 99), (99, 0.99), (5000, 0.99)]
)
def test_the_teachers_decay_grows_up_to_its_highest(step, expected):
    assert ema_decay(step) == pytest.approx(expected)
    assert ema_decay(step, 0.5) == pytest.approx(min(expected, 0.5))
