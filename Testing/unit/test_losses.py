"""The supervised loss against values worked by hand."""

import math

import pytest
import torch

from CrossModalSegLib.losses import supervised_loss


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
