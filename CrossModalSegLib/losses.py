"""Losses of CMC (Zhou et al., MICCAI 2024, arXiv 2408.07341), one function per equation, and their schedules.

Symbols: F_a, F_b features of the deepest level after MIA, (B, C, D, H, W); P_m the student's class probabilities for
modality m, Q_m the teacher's, (B, K, D, H, W) with K classes, class 0 the background; w a voxel's weight, 1 where the
teacher is confident and the modalities cover, 0 elsewhere; t the step. Equations, numbered for this project:

1.  L_sup     = Dice + cross-entropy of P_m against the labels of m
2.  L_CSC     = ½ [CE(S, I) + CE(Sᵀ, I)],  S = V_a V_bᵀ / τ,  V_m = rows of pool(F_m) of length 1
3.  L_CSC'    = mean over channels i of |row i of E_a − E_b|²,  E_m = U_m U_mᵀ,  U_m = rows of F_m of length 1
4.  L_CAC     = mean over m of 1 − mean over samples and foreground classes of 2 Σ w P_m Q_o / Σ w (P_m² + Q_o²), o ≠ m
5.  L_pseudo  = Dice + cross-entropy of P_m against argmax Q_m where w = 1
5'. L_pseudo' = Σ w Σ_k Q_m log(Q_m / P_m) / Σ w
6.  λ(t)      = λ_max · exp(−5 (1 − t / T)²)
7.  α(t)      = min(1 − 1 / (t + 1), α_max), the decay of the teacher's moving average

All are computed in float32 whatever autocast says. NaN stays NaN: training stops on it.
"""

import math
from collections.abc import Sequence

import torch
from monai.losses import DiceCELoss
from torch import Tensor
from torch.nn import functional as F

TEMPERATURE = 0.5  # τ of equation 2
POOLED_CELLS = 4  # per axis, equation 2


def supervised_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """L_sup (equation 1): soft Dice plus cross-entropy, averaged over classes (MONAI ``DiceCELoss``, batch Dice).

    Parameters
    ----------
    logits
        (B, K, ...) of any float type; computed in float32.
    labels
        (B, ...) integer channel of each voxel, 0 = background.
    """
    loss = DiceCELoss(to_onehot_y=True, softmax=True, batch=True)
    with torch.autocast(logits.device.type, enabled=False):
        return loss(logits.float(), labels.long().unsqueeze(1))


def channel_semantic_consistency(
    features_a: Tensor, features_b: Tensor, temperature: float = TEMPERATURE, cells: int = POOLED_CELLS
) -> Tensor:
    """L_CSC (equation 2) of pairs that show the same anatomy at the same place: channel i of a is to match channel i of
    b.

    Parameters
    ----------
    features_a, features_b
        F_a and F_b, (B, C, D, H, W). Only the direction of each pooled channel counts, not its length.
    temperature
        τ. Orthogonal channels that match exactly give the least value, log(1 + (C − 1) exp(−1 / τ)), which is not 0.
    cells
        Each channel is pooled to at most this many cells per axis, which forgives a small displacement.
    """
    with torch.autocast(features_a.device.type, enabled=False):
        rows_a, rows_b = _pooled_rows(features_a, cells), _pooled_rows(features_b, cells)  # (B, C, cells³)
        similarity = rows_a @ rows_b.transpose(1, 2) / temperature  # S (B, C, C)
        batch, channels = similarity.shape[:2]
        positive = torch.arange(channels, device=similarity.device).expand(batch, -1)  # (B, C)
        a_to_b = F.cross_entropy(similarity.transpose(1, 2), positive)  # classes, the channels of b, on dimension 1
        b_to_a = F.cross_entropy(similarity, positive)
    return (a_to_b + b_to_a) / 2


def channel_affinity_consistency(features_a: Tensor, features_b: Tensor) -> Tensor:
    """L_CSC' (equation 3), for pairs that are displaced or of two patients: channels relate to each other alike.

    ``features_a`` and ``features_b`` are (B, C, ...) on grids that may differ: a channel is compared with the others of
    its own modality only, so neither place nor patient need agree. 0 where both affinities are the same.
    """
    with torch.autocast(features_a.device.type, enabled=False):
        difference = _affinity(features_a) - _affinity(features_b)  # (B, C, C), 0 on the diagonal
    return difference.square().sum(dim=2).mean()


def contrastive_anatomical_consistency(directions: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """L_CAC (equation 4): what the student sees in one modality is what the teacher sees in the other.

    Parameters
    ----------
    directions
        For each direction (student's logits for modality m, teacher's probabilities Q_o for the other, weights w): the
        first two (B, K, ...), the last (B, ...), on one grid, of one patient and with one geometric augmentation. No
        gradient goes into Q_o.

    The mean is over all samples and foreground classes; a class that is the most likely one nowhere in either of the
    two is skipped. With squares below the fraction line, equal probabilities give 0, certain or not. Nothing to compare
    gives 0.
    """
    distances = []
    for logits, other, weights in directions:
        dice, counted = _soft_dice(logits, other, weights)
        distances.append(_mean_where(1 - dice, counted))
    return torch.stack(distances).mean()


def pseudo_label_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """L_pseudo (equation 5): cross-entropy and soft Dice (over the batch, of the classes in the labels) where trusted.

    ``logits`` (B, K, ...), ``labels`` (B, ...) most likely class by the teacher, ``weights`` (B, ...) 1 where it counts
    and 0 elsewhere. 0 where nothing counts.
    """
    classes = logits.shape[1]
    with torch.autocast(logits.device.type, enabled=False):
        logits, weights = logits.float(), weights.float()
        cross_entropy = F.cross_entropy(logits, labels.long(), reduction="none") * weights  # (B, ...)
        target = F.one_hot(labels.long(), classes).movedim(-1, 1)  # (B, K, ...)
        mask = weights.unsqueeze(1)  # (B, 1, ...)
        voxels = [0, *range(2, logits.ndim)]
        predicted = logits.softmax(dim=1) * mask
        overlap, size = (predicted * target).sum(voxels), (predicted + target * mask).sum(voxels)  # (K,)
        dice = 2 * overlap / size.clamp_min(1e-6)
        present = (target * mask).sum(voxels) > 0
    return cross_entropy.sum() / weights.sum().clamp_min(1) + _mean_where(1 - dice, present)


def soft_pseudo_label_loss(logits: Tensor, probabilities: Tensor, weights: Tensor) -> Tensor:
    """L_pseudo' (equation 5'): the divergence of the student's probabilities from the teacher's, voxel by voxel.

    ``logits`` and ``probabilities`` (no gradient goes into them) are (B, K, ...), ``weights`` (B, ...). 0 where both
    are the same, certain or not, and where nothing counts. Doubt at a border stays doubt: unlike a Dice, it rewards no
    larger structure.
    """
    with torch.autocast(logits.device.type, enabled=False):
        log_student, teacher = logits.float().log_softmax(dim=1), probabilities.detach().float()
        divergence = F.kl_div(log_student, teacher, reduction="none").sum(dim=1)  # (B, ...)
        weights = weights.float()
    return (divergence * weights).sum() / weights.sum().clamp_min(1)


def ramp(step: float, steps: float, maximum: float) -> float:
    """λ(t) (equation 6): from nearly 0 up to ``maximum`` at ``steps``, where it stays; ``maximum`` where ``steps`` is
    0."""
    progress = min(1.0, max(0.0, step / steps)) if steps > 0 else 1.0
    return maximum * math.exp(-5 * (1 - progress) ** 2)


def ema_decay(step: int, highest: float = 0.99) -> float:
    """α(t) (equation 7): the plain mean of the weights while it is young, then a moving average."""
    return min(1 - 1 / (step + 1), highest)


def _pooled_rows(features: Tensor, cells: int) -> Tensor:
    """V (B, C, cells³): each channel averaged to a coarse grid, length 1."""
    size = (min(cells, features.shape[2]), min(cells, features.shape[3]), min(cells, features.shape[4]))
    return F.normalize(F.adaptive_avg_pool3d(features.float(), size).flatten(2), dim=2)


def _affinity(features: Tensor) -> Tensor:
    """E (B, C, C): cosine between every two channels."""
    rows = F.normalize(features.float().flatten(2), dim=2)  # (B, C, N)
    return rows @ rows.transpose(1, 2)


def _soft_dice(logits: Tensor, other: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Dice (B, K − 1) of every sample and foreground class, and which of them occur."""
    with torch.autocast(logits.device.type, enabled=False):
        student = logits.float().softmax(dim=1).flatten(2)  # P (B, K, N)
        teacher = other.detach().float().flatten(2)  # Q (B, K, N)
        weights = weights.float().flatten(1).unsqueeze(1)  # w (B, 1, N)
        overlap = (weights * student * teacher).sum(dim=2)  # (B, K)
        size = (weights * (student.square() + teacher.square())).sum(dim=2)  # (B, K)
        met = (_most_likely(student) | _most_likely(teacher)) & weights.bool()  # (B, K, N)
    return (2 * overlap / size.clamp_min(1e-6))[:, 1:], met.any(dim=2)[:, 1:]


def _most_likely(probabilities: Tensor) -> Tensor:
    return probabilities == probabilities.amax(dim=1, keepdim=True)


def _mean_where(values: Tensor, counted: Tensor) -> Tensor:
    """Mean of the values that count; 0, and still part of the graph, where none does. NaN stays NaN."""
    return (values * counted).sum() / counted.sum().clamp_min(1)
