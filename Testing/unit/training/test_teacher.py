"""The teacher follows the student, says how sure it is, and is never taught."""

import math

import pytest
import torch

from CrossModalSegLib.network import CrossModalNetwork
from CrossModalSegLib.synthesis.samples import UnlabelledSample
from CrossModalSegLib.training.cell_subset import CellSubset
from CrossModalSegLib.training.teacher import Teacher, update_average
from Testing.halves import UnlabelledHalves

EVERYTHING = CellSubset(1, (0, 0, 0))


def network(seed: int = 0, stem: int = 1) -> CrossModalNetwork:
    torch.manual_seed(seed)
    return CrossModalNetwork(3, (4, 8), stem)


def batch(*samples: UnlabelledSample) -> UnlabelledSample:
    return UnlabelledSample.stack(samples or [UnlabelledHalves().sample(n) for n in range(2)])


def test_a_teacher_starts_as_its_student_and_follows_by_the_decay_of_the_step():
    student, other = network(0), network(1)
    teacher = Teacher(student, 0.9)
    assert all(torch.equal(a, b) for a, b in zip(student.parameters(), teacher.network.parameters(), strict=True))
    before = teacher.network.heads[0].weight.clone()
    teacher.follow(other, step=3)  # decay 1 - 1/4
    expected = 0.75 * before + 0.25 * other.heads[0].weight
    assert torch.allclose(teacher.network.heads[0].weight, expected, atol=1e-7)
    teacher.follow(other, step=0)  # decay 0
    assert torch.allclose(teacher.network.heads[0].weight, other.heads[0].weight, atol=1e-7)


def test_a_teacher_leaves_its_student_as_it_is():
    student, other = network(0), network(1)
    before = [net.heads[0].weight.clone() for net in (student, other)]
    Teacher(student, 0.9).follow(other, step=5)
    assert torch.equal(student.heads[0].weight, before[0])
    assert torch.equal(other.heads[0].weight, before[1])
    assert all(parameter.requires_grad for parameter in student.parameters())


def test_the_average_follows_its_formula():
    linear = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        linear.weight.fill_(8.0)
    average = {"weight": torch.tensor([[4.0]])}
    update_average(average, linear, 0.75)
    assert average["weight"].item() == 0.75 * 4 + 0.25 * 8
    assert linear.weight.item() == 8.0
    update_average(average, linear, 0.0)
    assert average["weight"].item() == 8.0


def test_what_a_teacher_sees_has_no_gradient_and_is_the_probability_of_its_network():
    teacher, given = Teacher(network(), 0.9), batch()
    seen = teacher.look(given, EVERYTHING, 0.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = teacher.network(given.weak[:, 0], given.position, given.presence)
    for of_m, expected in zip(seen[0], logits, strict=True):
        assert not of_m.probabilities.requires_grad
        assert torch.allclose(of_m.probabilities, expected.float().softmax(1), atol=1e-6)
        assert torch.equal(of_m.labels, expected.argmax(1))
        assert not of_m.known.any()


def test_only_what_is_covered_and_probable_enough_counts():
    teacher, given = Teacher(network(), 0.9), batch()
    given.weak[0, :, 1, 1, :, :, :3] = 0  # the second modality of the first sample does not cover this
    seen = teacher.look(given, EVERYTHING, 0.4)[1]
    highest = seen[1].probabilities.amax(1)
    assert 0.1 < (highest >= 0.4).float().mean() < 0.9
    expected = (highest >= 0.4).float()
    expected[0, :, :, :3] = 0
    assert torch.equal(seen[1].weights, expected)


@pytest.mark.parametrize("stem", [1, 2])
def test_a_thinned_out_look_is_a_part_of_the_whole_one(stem):
    teacher, given = Teacher(network(stem=stem), 0.9), batch()
    subset = CellSubset(2, (1, 0, 1))
    whole, part = (teacher.look(given, chosen, 0.4)[0][0] for chosen in (EVERYTHING, subset))
    assert torch.allclose(part.probabilities, subset.voxels(whole.probabilities, stem), atol=1e-6)
    assert torch.equal(part.weights, subset.voxels(whole.weights, stem))


def test_a_modality_that_no_sample_has_is_not_seen():
    seen = Teacher(network(), 0.9).look(batch(UnlabelledHalves((False, True)).sample(0)), EVERYTHING, 0.5)
    assert [of_m is None for on_grid in seen for of_m in on_grid] == [True, False, True, False]


def test_a_look_at_one_sample_does_not_depend_on_the_others():
    teacher, samples = Teacher(network(), 0.9), [UnlabelledHalves().sample(n) for n in range(3)]
    together = teacher.look(batch(*samples), EVERYTHING, 0.0)[0][0].probabilities
    alone = torch.cat([teacher.look(batch(sample), EVERYTHING, 0.0)[0][0].probabilities for sample in samples])
    assert torch.allclose(together, alone, atol=1e-2)  # bfloat16


def test_a_displaced_pair_is_looked_at_on_each_grid_as_it_was_acquired():
    """Three samples, of which the second has another pair on its second grid."""
    samples = [UnlabelledHalves(aligned=aligned, registered=True).sample(n) for n, aligned in enumerate((1, 0, 1))]
    given = batch(*samples)
    on_second = given.weak[:, 0].flip(-1)
    given.weak[:, 1] = on_second  # of the aligned ones, it is never looked at
    teacher = Teacher(network(), 0.9)
    seen = teacher.look(given, EVERYTHING, 0.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = [teacher.network(pair, given.position, given.presence) for pair in (given.weak[:, 0], on_second)]
    for m in range(2):
        first, second = (logits[m].float().softmax(1) for logits in expected)
        assert torch.allclose(seen[0][m].probabilities, first, atol=1e-2)  # bfloat16
        assert torch.allclose(seen[1][m].probabilities[1], second[1], atol=1e-2)
        assert torch.allclose(seen[1][m].probabilities[[0, 2]], first[[0, 2]], atol=1e-2)
        assert not torch.allclose(first[1], second[1], atol=5e-2)


def test_nan_is_not_taken_for_a_doubt():
    given = batch()
    given.weak[0, :, 0, 0] = math.nan  # the intensities alone
    weights = Teacher(network(), 0.9).look(given, EVERYTHING, 0.9)[0][0].weights
    assert weights[0].isnan().any()
    assert not weights[1].isnan().any()
