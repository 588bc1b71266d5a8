"""Bidirectional copy-paste (Bai et al., CVPR 2023): a labelled and an unlabelled patch exchange a box.

Both modalities exchange the same box, so that they go on showing the same anatomy at the same place. The student then
meets, in one patch, anatomy whose labels are known beside anatomy that only the teacher has seen.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from CrossModalSegLib.synthesis.deformation import uniform
from CrossModalSegLib.synthesis.samples import Sample, UnlabelledSample
from CrossModalSegLib.training.cell_subset import CellSubset
from CrossModalSegLib.training.teacher import Target, Targets

BOX = 2 / 3  # of the patch per axis


@dataclass(frozen=True)
class StudentBatch:
    """What the student is given, R samples: ``volumes`` (R, M, 2, D, H, W), ``position`` (R, 3, D, H, W), ``presence``
    (R, M), ``aligned`` and ``registered`` (R,)."""

    volumes: Tensor
    position: Tensor
    presence: Tensor
    aligned: Tensor
    registered: Tensor


def side_by_side(labelled: Sample, unlabelled: UnlabelledSample | None) -> StudentBatch:
    """First the samples with labels, then those without, in their strong view."""
    if unlabelled is None:
        return StudentBatch(labelled.volumes, labelled.position, labelled.presence, labelled.aligned, labelled.aligned)
    return StudentBatch(
        torch.cat([labelled.volumes, unlabelled.strong]),
        torch.cat([labelled.position, unlabelled.position]),
        torch.cat([labelled.presence, unlabelled.shown]),
        torch.cat([labelled.aligned, unlabelled.aligned]),
        torch.cat([labelled.aligned, unlabelled.registered]),
    )


def may_exchange(labelled: Sample, unlabelled: UnlabelledSample) -> bool:
    """As many samples with as without labels, and every two partners have a modality in common."""
    if len(labelled.presence) != len(unlabelled.shown):
        return False
    return bool((labelled.presence & unlabelled.shown).any(dim=1).all())


def random_box(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Bool (D, H, W): a box of two thirds of the patch per axis, anywhere in it."""
    mask = torch.zeros(shape, dtype=torch.bool)
    size = [max(1, round(BOX * n)) for n in shape]
    room = torch.tensor([n - s + 1 for n, s in zip(shape, size, strict=True)])
    k, j, i = (uniform(0, 1, (3,), generator) * room).long().tolist()
    mask[k : k + size[0], j : j + size[1], i : i + size[2]] = True
    return mask


def exchange(labelled: Sample, unlabelled: UnlabelledSample, box: Tensor) -> StudentBatch:
    """First the unlabelled patches in which ``box`` is of the labelled ones, then the reverse.

    What is in neither of two partners is given up: a modality, and being aligned.
    """
    presence = labelled.presence & unlabelled.shown
    aligned = labelled.aligned & unlabelled.aligned
    volumes = _both_ways(labelled.volumes, unlabelled.strong, box)
    position = _both_ways(labelled.position, unlabelled.position, box)
    twice = [torch.cat([flags, flags]) for flags in (presence, aligned, unlabelled.registered)]
    return StudentBatch(volumes, position, *twice)


def exchange_targets(labelled: Sample, targets: Targets, box: Tensor, subset: CellSubset, block: int) -> Targets:
    """What is to be seen in the patches of ``exchange``: where they come from a labelled patch, the labels on that
    grid."""
    thin_box = subset.voxels(box, block)
    return [
        [
            None if of_o is None else _exchange_of(_known(labelled, m, of_o, subset, block), of_o, thin_box)
            for of_o in on_m
        ]
        for m, on_m in enumerate(targets)
    ]


def _known(labelled: Sample, modality: int, like: Target, subset: CellSubset, block: int) -> Target:
    """The labels of the labelled patches as a target that is certain."""
    labels = subset.voxels(labelled.labels[:, modality], block).long()  # (B, ...)
    probabilities = F.one_hot(labels, like.probabilities.shape[1]).movedim(-1, 1).to(like.probabilities.dtype)
    covered = subset.voxels(labelled.volumes[:, modality, 1], block)
    return Target(probabilities, covered, torch.ones_like(like.known))


def _exchange_of(known: Target, opinion: Target, box: Tensor) -> Target:
    return Target(
        _both_ways(known.probabilities, opinion.probabilities, box),
        _both_ways(known.weights, opinion.weights, box),
        _both_ways(known.known, opinion.known, box),
    )


def _both_ways(inside: Tensor, outside: Tensor, box: Tensor) -> Tensor:
    """(2B, ...): ``inside`` within the box and ``outside`` around it, then the reverse."""
    return torch.cat([torch.where(box, inside, outside), torch.where(box, outside, inside)])
