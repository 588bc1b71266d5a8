"""Copy-paste: one box, in all that belongs to a patch, both ways."""

import pytest
import torch

from CrossModalSegLib.synthesis.samples import Sample, UnlabelledSample
from CrossModalSegLib.training.cell_subset import CellSubset
from CrossModalSegLib.training.copy_paste import exchange, exchange_targets, may_exchange, random_box, side_by_side
from CrossModalSegLib.training.teacher import Target
from Testing.halves import PATCH, LabelledHalves, UnlabelledHalves

EVERYTHING = CellSubset(1, (0, 0, 0))


def labelled(count: int = 2, **options) -> Sample:
    return Sample.stack([LabelledHalves(**options).sample(n) for n in range(count)])


def unlabelled(count: int = 2, **options) -> UnlabelledSample:
    return UnlabelledSample.stack([UnlabelledHalves(**options).sample(10 + n) for n in range(count)])


def box_of(seed: int = 0) -> torch.Tensor:
    return random_box(PATCH, torch.Generator().manual_seed(seed))


def test_a_box_is_two_thirds_of_the_patch_per_axis_and_lies_anywhere():
    boxes = torch.stack([random_box((9, 12, 6), torch.Generator().manual_seed(seed)) for seed in range(40)])
    assert (boxes.sum((1, 2, 3)) == 6 * 8 * 4).all()
    assert all(boxes.any(0).flatten(1).any(1).all() for boxes in (boxes, boxes.movedim(2, 1), boxes.movedim(3, 1)))
    assert len({tuple(box.nonzero()[0].tolist()) for box in boxes}) > 10
    for box in boxes:
        corner, size = box.nonzero()[0], torch.tensor([6, 8, 4])
        assert torch.equal(box.nonzero()[-1], corner + size - 1)


def test_side_by_side_puts_labelled_samples_first_and_shows_the_strong_view():
    known, unknown = labelled(1), unlabelled(2, shown=(True, False))
    batch = side_by_side(known, unknown)
    assert torch.equal(batch.volumes, torch.cat([known.volumes, unknown.strong]))
    assert batch.presence.tolist() == [[True, True], [True, False], [True, False]]
    assert side_by_side(known, None).volumes is known.volumes


def test_all_that_belongs_to_a_patch_is_exchanged_with_the_same_box():
    known, unknown, box = labelled(), unlabelled(), box_of()
    known.position.fill_(1.0)
    batch = exchange(known, unknown, box)
    for values, inside, outside in (
        (batch.volumes[:2], known.volumes, unknown.strong),
        (batch.volumes[2:], unknown.strong, known.volumes),
        (batch.position[:2], known.position, unknown.position),
        (batch.position[2:], unknown.position, known.position),
    ):
        assert torch.equal(values[..., box], inside[..., box])
        assert torch.equal(values[..., ~box], outside[..., ~box])


def test_what_one_partner_lacks_the_mixture_lacks():
    batch = exchange(labelled(), unlabelled(shown=(False, True), aligned=False, registered=True), box_of())
    assert batch.presence.tolist() == [[False, True]] * 4
    assert batch.aligned.tolist() == [False] * 4
    assert batch.registered.tolist() == [True] * 4  # what is seen on each grid belongs there
    assert exchange(labelled(aligned=False), unlabelled(), box_of()).aligned.tolist() == [False] * 4


@pytest.mark.parametrize(
    ("count", "presence", "possible"),
    [(2, (True, True), True), (2, (True, False), True), (2, (False, True), False), (1, (True, True), False)],
)
def test_partners_must_be_as_many_and_have_a_modality_in_common(count, presence, possible):
    assert may_exchange(labelled(presence=(True, False)), unlabelled(count, presence=presence)) == possible


@pytest.mark.parametrize("stem", [1, 2])
def test_labels_come_along_and_the_teachers_opinion_fills_the_rest(stem):
    known, box = labelled(), box_of(1)
    subset = CellSubset.draw(2, 0)
    shape = subset.voxels(known.labels[:, 0], stem).shape
    opinion = Target(torch.full((2, 3, *shape[1:]), 0.25), torch.full(shape, 0.5), torch.zeros(shape, dtype=torch.bool))
    (mixed, nothing), (of_other_grid, _) = exchange_targets(known, [[opinion, None]] * 2, box, subset, stem)
    assert nothing is None
    truth = subset.voxels(known.labels[:, 1], stem).long()
    assert torch.equal(of_other_grid.labels[of_other_grid.known], torch.cat([truth, truth])[of_other_grid.known])
    thin = subset.voxels(box, stem)
    truth = subset.voxels(known.labels[:, 0], stem).long()
    for half, where in ((slice(0, 2), thin), (slice(2, 4), ~thin)):
        assert torch.equal(mixed.known[half], where.expand(shape))
        assert torch.equal(mixed.labels[half][..., where], truth[..., where])
        assert (mixed.probabilities[half].amax(1)[..., where] == 1).all()
        assert (mixed.probabilities[half][..., ~where] == 0.25).all()
        assert (mixed.weights[half][..., ~where] == 0.5).all()
        assert (mixed.weights[half][..., where] == 1).all()


def test_labels_do_not_count_where_their_scan_does_not_cover():
    known = labelled()
    known.volumes[:, 0, 1] = 0
    shape = (2, *PATCH)
    opinion = Target(torch.full((2, 2, *PATCH), 0.5), torch.ones(shape), torch.zeros(shape, dtype=torch.bool))
    ((mixed,),) = exchange_targets(known, [[opinion]], box_of(), EVERYTHING, 1)
    assert (mixed.weights[mixed.known] == 0).all()
    assert (mixed.weights[~mixed.known] == 1).all()
