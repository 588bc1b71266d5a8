"""Which samples and modalities are compared: those that belong together, and no others."""

from dataclasses import replace

import pytest
import torch

from CrossModalSegLib.losses import (
    channel_affinity_consistency,
    channel_semantic_consistency,
    contrastive_anatomical_consistency,
    pseudo_label_loss,
)
from CrossModalSegLib.training.config import SemiSupervisedConfig
from CrossModalSegLib.training.consistency import anatomical_term, channel_term, loose_partners, pseudo_label_term
from CrossModalSegLib.training.teacher import Target

BOTH, A, B = (True, True), (True, False), (False, True)
CLASSES, PATCH = 3, (3, 4, 2)
A_GRID, B_SCAN = 0, 1
PAPER = SemiSupervisedConfig(cac_from="other", cac_inside=False)


def random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def logits(samples: int, seed: int = 0) -> list[torch.Tensor]:
    return [random(samples, CLASSES, *PATCH, seed=seed + m).requires_grad_() for m in range(2)]


def seen(samples: int, seed: int = 5) -> list[list[Target]]:
    """Entry [m][o]: modality o on the grid of m; all four differ."""
    shape = (samples, *PATCH)
    return [
        [
            Target(random(samples, CLASSES, *PATCH, seed=n).softmax(1), torch.ones(shape), torch.zeros(shape).bool())
            for n in (seed + 2 * m, seed + 2 * m + 1)
        ]
        for m in range(2)
    ]


def everywhere(samples: int) -> torch.Tensor:
    return torch.ones(samples, 2, *PATCH)


def samples_with_gradient(values: torch.Tensor) -> list[bool]:
    if values.grad is None:
        return [False] * len(values)
    return [bool(of_sample.any()) for of_sample in values.grad]


# pseudo labels


def test_each_modality_is_taught_by_its_own_pseudo_labels_where_the_student_was_given_it():
    of_student, of_teacher = logits(3), seen(3)
    term = pseudo_label_term(of_student, of_teacher, torch.tensor([BOTH, A, B]))
    rows = [[0, 1], [0, 2]]
    expected = [
        pseudo_label_loss(of_student[m][rows[m]], of_teacher[m][m].labels[rows[m]], torch.ones(2, *PATCH))
        for m in range(2)
    ]
    assert term.item() == pytest.approx(torch.stack(expected).mean().item())
    term.backward()
    assert samples_with_gradient(of_student[0]) == [True, True, False]
    assert samples_with_gradient(of_student[1]) == [True, False, True]


def test_experts_labels_count_in_full_and_the_teachers_opinion_by_trust():
    of_student, of_teacher = logits(1), seen(1)
    known = torch.zeros(1, *PATCH, dtype=torch.bool)
    known[:, :1] = True
    mixed = [[Target(s.probabilities, s.weights, known) for s in on_grid] for on_grid in of_teacher]
    term = pseudo_label_term(of_student, mixed, torch.tensor([A]), trust=0.25)
    weights = torch.where(known, 1.0, 0.25)
    assert term.item() == pytest.approx(pseudo_label_loss(of_student[0], of_teacher[0][0].labels, weights).item())


def test_nothing_shown_gives_no_pseudo_label_term():
    assert pseudo_label_term([None, logits(1)[1]], [[seen(1)[0][0], None]] * 2, torch.tensor([BOTH])) is None


# anatomy


def test_each_modality_is_compared_with_what_the_teacher_sees_in_the_other_on_the_same_grid():
    of_student, of_teacher = logits(2), seen(2)
    term = anatomical_term(
        of_student, of_teacher, torch.tensor([BOTH, BOTH]), torch.tensor([True, True]), everywhere(2), PAPER
    )
    directions = [(of_student[m], of_teacher[m][1 - m].probabilities, torch.ones(2, *PATCH)) for m in range(2)]
    assert term.item() == pytest.approx(contrastive_anatomical_consistency(directions).item())


def test_unregistered_pairs_and_modalities_that_were_not_given_are_left_out_of_the_anatomy():
    of_student, of_teacher = logits(4), seen(4)
    of_teacher[1][0].weights[3] = 0  # the teacher has no first scan of the fourth sample
    shown, registered = torch.tensor([BOTH, BOTH, A, B]), torch.tensor([True, False, True, True])
    anatomical_term(of_student, of_teacher, shown, registered, everywhere(4), PAPER).backward()
    assert samples_with_gradient(of_student[0]) == [True, False, True, False]  # the third learns from the scan it lacks
    assert samples_with_gradient(of_student[1]) == [True, False, False, False]


def test_only_what_both_modalities_cover_is_compared():
    of_student, of_teacher, covered = logits(1), seen(1), everywhere(1)
    covered[:, 0, :, :, 0] = 0
    of_teacher[0][1].weights[:, :, 0] = 0
    anatomical_term(of_student, of_teacher, torch.tensor([A]), torch.tensor([True]), covered, PAPER).backward()
    gradient = of_student[0].grad.abs().sum(1)[0]
    assert (gradient[:, :, 0] == 0).all()
    assert (gradient[:, 0] == 0).all()
    assert (gradient[:, 1:, 1] > 0).all()


def test_the_other_modality_is_asked_only_where_the_teacher_is_surer_of_it():
    of_student, of_teacher = logits(1), seen(1)
    shown, registered = torch.tensor([BOTH]), torch.tensor([True])
    anatomical_term(
        of_student, of_teacher, shown, registered, everywhere(1), replace(PAPER, cac_from="surer")
    ).backward()
    for m in range(2):
        own, other = of_teacher[m][m].probabilities.amax(1), of_teacher[m][1 - m].probabilities.amax(1)
        assert 0 < (other >= own).sum() < own.numel()
        assert torch.equal(of_student[m].grad.abs().sum(1) > 0, other >= own)


def test_inside_of_structures_lie_the_voxels_whose_neighbours_are_all_of_one_class():
    labels = torch.zeros(1, 5, 5, 6).long()
    labels[:, :, :, 3:] = 1  # a border between columns 2 and 3
    labels[0, 0, 0, 5] = 2  # and a corner of another class
    probabilities = torch.nn.functional.one_hot(labels, 3).movedim(-1, 1).float()
    inside = Target(probabilities, torch.ones(1, 5, 5, 6), torch.zeros(1, 5, 5, 6).bool()).inside
    expected = torch.tensor([True, True, False, False, True, True]).expand(1, 5, 5, 6).clone()
    expected[0, :2, :2, 4:] = False
    assert torch.equal(inside, expected)


def test_at_the_borders_that_the_other_modality_shows_it_is_not_asked():
    of_student, of_teacher = logits(1), seen(1)
    half = torch.zeros(1, *PATCH).long()
    half[:, :, 2:] = 1  # rows 0 and 3 have no neighbour of the other class
    split = torch.nn.functional.one_hot(half, CLASSES).movedim(-1, 1).float()
    of_teacher[A_GRID][B_SCAN] = Target(split, torch.ones(1, *PATCH), torch.zeros(1, *PATCH).bool())
    shown, registered = torch.tensor([BOTH]), torch.tensor([True])
    anatomical_term(
        of_student, of_teacher, shown, registered, everywhere(1), replace(PAPER, cac_inside=True)
    ).backward()
    taught = of_student[A_GRID].grad.abs().sum(1) > 0  # (1, 3, 4, 2)
    assert taught[:, :, [0, 3]].all()
    assert not taught[:, :, [1, 2]].any()


def test_no_registered_pair_gives_no_anatomical_term():
    args = logits(1), seen(1), torch.tensor([BOTH])
    assert anatomical_term(*args, torch.tensor([False]), everywhere(1), PAPER) is None
    alone = [[args[1][0][0], None]] * 2
    assert (
        anatomical_term([args[0][0], None], alone, torch.tensor([A]), torch.tensor([True]), everywhere(1), PAPER)
        is None
    )


# channels


def features(samples: int) -> dict[int, torch.Tensor]:
    return {m: random(samples, 4, 2, 3, 2, seed=20 + m).requires_grad_() for m in range(2)}


def test_aligned_pairs_are_compared_channel_by_channel_and_all_others_by_affinity():
    aware = features(4)
    presence, aligned = torch.tensor([BOTH, BOTH, A, B]), torch.tensor([True, False, True, True])
    expected = channel_semantic_consistency(aware[0][:1], aware[1][:1]) + channel_affinity_consistency(
        aware[0][[1, 2]], aware[1][[1, 3]]
    )
    assert channel_term(aware, presence, aligned).item() == pytest.approx(expected.item())


def test_without_alignment_every_pair_is_compared_by_affinity():
    aware = features(2)
    term = channel_term(aware, torch.tensor([BOTH, BOTH]), torch.tensor([False, False]))
    assert term.item() == pytest.approx(channel_affinity_consistency(aware[0], aware[1]).item())


@pytest.mark.parametrize("aligned", [True, False])
def test_both_encoders_learn_from_the_channels(aligned):
    aware = features(1)
    channel_term(aware, torch.tensor([BOTH]), torch.tensor([aligned])).backward()
    assert samples_with_gradient(aware[0]) == samples_with_gradient(aware[1]) == [True]


def test_one_modality_alone_has_no_channels_to_be_compared_with():
    aware = features(2)
    assert channel_term({0: aware[0]}, torch.tensor([A, A]), torch.tensor([True, True])) is None


@pytest.mark.parametrize(
    ("presence", "matched", "partners"),
    [
        ([BOTH, A, B], [True, False, False], [(1, 2)]),
        ([BOTH, BOTH], [False, False], [(0, 0), (1, 1)]),
        ([A, A, A, B, B], [False] * 5, [(0, 3), (1, 4), (2, 3)]),
        ([BOTH, A, A], [True, False, False], [(1, 0), (2, 0)]),  # the matched pair's second scan serves again
        ([BOTH], [True], []),
        ([A, A], [False, False], []),
    ],
)
def test_scans_without_an_aligned_partner_find_one(presence, matched, partners):
    of_a, of_b = loose_partners(torch.tensor(presence), torch.tensor(matched))
    assert list(zip(of_a.tolist(), of_b.tolist(), strict=True)) == partners
