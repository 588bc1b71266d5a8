"""Which samples and modalities each consistency loss compares. None where there is nothing to compare.

M = 2 modalities, R samples; lists have an entry per modality, None for one that no sample has.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from CrossModalSegLib.losses import (
    channel_affinity_consistency,
    channel_semantic_consistency,
    contrastive_anatomical_consistency,
    pseudo_label_loss,
    soft_pseudo_label_loss,
)
from CrossModalSegLib.training.config import SemiSupervisedConfig
from CrossModalSegLib.training.teacher import Targets


def pseudo_label_term(
    logits: Sequence[Tensor | None], targets: Targets, shown: Tensor, trust: float = 1.0, soft: bool = False
) -> Tensor | None:
    """L_pseudo, the mean over modalities: each against what is seen in the same modality.

    ``shown`` (R, M) says which modalities the student was given. The teacher's opinion weighs ``trust`` times what an
    expert's label does; with ``soft`` it is learnt with its doubts.
    """
    losses = []
    for modality, of_m in enumerate(logits):
        target, rows = targets[modality][modality], shown[:, modality]
        if of_m is not None and target is not None and bool(rows.any()):
            weights = torch.where(target.known, 1.0, trust) * target.weights  # (R, ...)
            if soft:
                losses.append(soft_pseudo_label_loss(of_m[rows], target.probabilities[rows], weights[rows]))
            else:
                losses.append(pseudo_label_loss(of_m[rows], target.labels[rows], weights[rows]))
    return torch.stack(losses).mean() if losses else None


def anatomical_term(
    logits: Sequence[Tensor | None],
    targets: Targets,
    shown: Tensor,
    registered: Tensor,
    covered: Tensor,
    options: SemiSupervisedConfig,
) -> Tensor | None:
    """L_CAC of the registered pairs: each modality against what the teacher sees in the other, on the same grid.

    ``registered`` (R,) says where both were acquired in one place; ``covered`` (R, M, ...) which voxels the modality
    covers. A modality that the student was not given is still taught from, as the teacher has seen it. With ``cac_from
    = "surer"`` the other one is asked only where the teacher is at least as certain of it: the better modality is not
    taught by the worse. With ``cac_inside`` it is not asked at the borders that it sees: two scans never lie on each
    other to the voxel, and thick slices know less of where a border is.
    """
    directions = []
    for modality, of_m in enumerate(logits):
        own, other = targets[modality][modality], targets[modality][1 - modality]
        if of_m is None or other is None:
            continue
        both = other.weights * covered[:, modality]  # (R, ...)
        if options.cac_from == "surer" and own is not None:
            both = both * (other.certainty >= own.certainty)
        if options.cac_inside:
            both = both * other.inside
        rows = shown[:, modality] & registered & (both != 0).flatten(1).any(dim=1)
        if bool(rows.any()):
            directions.append((of_m[rows], other.probabilities[rows], both[rows]))
    return contrastive_anatomical_consistency(directions) if directions else None


def channel_term(aware: Mapping[int, Tensor], presence: Tensor, aligned: Tensor) -> Tensor | None:
    """L_CSC of the aligned pairs, plus its affinity form for all that have no aligned partner.

    ``aware`` holds F_mia (R, C, d, h, w) per modality, ``presence`` is (R, M), ``aligned`` (R,). Displaced pairs are
    compared with themselves, single scans with scans of the other modality, whoever's they are.
    """
    if len(aware) < 2:
        return None
    matched = presence.all(dim=1) & aligned  # (R,)
    terms = []
    if bool(matched.any()):
        terms.append(channel_semantic_consistency(aware[0][matched], aware[1][matched]))
    of_a, of_b = loose_partners(presence, matched)
    if len(of_a):
        terms.append(channel_affinity_consistency(aware[0][of_a], aware[1][of_b]))
    return torch.stack(terms).sum() if terms else None


def loose_partners(presence: Tensor, matched: Tensor) -> tuple[Tensor, Tensor]:
    """Sample numbers (n,) of the first and of the second modality: those not ``matched``, each with one of the other.

    Where one modality has more of them, the other's take turns; where it has none, all its samples do.
    """
    sides = []
    for modality in range(2):
        here = presence[:, modality]
        loose = (here & ~matched).nonzero().flatten()
        sides.append((loose, here.nonzero().flatten()))
    count = max(len(loose) for loose, _ in sides)
    chosen = [loose if len(loose) else everyone for loose, everyone in sides]
    if count == 0 or min(len(side) for side in chosen) == 0:
        nobody = presence.new_zeros(0, dtype=torch.long)
        return nobody, nobody
    turn = torch.arange(count, device=presence.device)
    return chosen[0][turn % len(chosen[0])], chosen[1][turn % len(chosen[1])]
