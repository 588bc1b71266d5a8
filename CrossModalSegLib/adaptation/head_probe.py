"""Heads of new structures begin as a linear classifier of what the network sees already.

Linear probing, then fine-tuning (Kumar et al., Fine-tuning can distort pretrained features and underperform
out-of-distribution, ICLR 2022): while a head still knows nothing, its gradients would only spoil the features. The
outputs of the other structures are not touched, so that these change only where a new structure wins.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from CrossModalSegLib.losses import supervised_loss
from CrossModalSegLib.network import MODALITIES, CrossModalNetwork
from CrossModalSegLib.synthesis.samples import Sample
from CrossModalSegLib.training.cell_subset import CellSubset
from CrossModalSegLib.training.sources import SampleSource
from CrossModalSegLib.training.teacher import autocast

SAMPLES = 16
DRAWN = 128  # at most; those that show nothing new are passed over once there are a few of them
CELLS = 20_000  # feature cells of a sample that are looked at, about
STEPS = 200
LEARNING_RATE = 0.1  # falls linearly to 0


@dataclass(frozen=True)
class _Example:
    """One modality of a sample: its ``features`` (1, C, d, h, w) and, at the cells that ``subset`` chooses, per voxel
    ``others`` (1, 1, ...), the logit of being none of the new structures, and ``labels`` (1, ...): 0, or the number of
    the new structure."""

    features: Tensor
    subset: CellSubset
    others: Tensor
    labels: Tensor


def probe_heads(network: CrossModalNetwork, new: int, source: SampleSource, device: torch.device) -> None:
    """Fit the last ``new`` outputs of each head, in place, to labelled samples; all other weights stay what they are.

    The network is on ``device``. An output whose structure no sample shows in its modality is left alone, too. The same
    samples give the same weights.
    """
    known = network.head(0).out_channels - new
    examples: list[list[_Example]] = [[] for _ in range(MODALITIES)]
    for number, drawn in enumerate(_telling(source, known)):
        sample = Sample.stack([drawn]).to(device)
        with torch.no_grad(), autocast(device):
            for modality, features in enumerate(network.features(sample.volumes, sample.position, sample.presence)):
                if features is not None:
                    labels = sample.labels[:, modality]
                    examples[modality].append(_example(network, modality, features, labels, new, number))
    for modality, seen in enumerate(examples):
        if any(bool(one.labels.any()) for one in seen):
            _fit(network, modality, seen, new)


def _telling(source: SampleSource, known: int) -> list[Sample]:
    """Samples that show a channel from ``known`` on, and a few others."""
    chosen: list[Sample] = []
    others = 0
    for number in range(DRAWN):
        sample = source.sample(number)
        if not bool((sample.labels >= known).any()):
            others += 1
            if others > SAMPLES // 4:
                continue
        chosen.append(sample)
        if len(chosen) == SAMPLES:
            break
    return chosen


def _example(
    network: CrossModalNetwork, modality: int, features: Tensor, labels: Tensor, new: int, number: int
) -> _Example:
    """``features`` (1, C, d, h, w), ``labels`` (1, D, H, W) channels of which the new ones are the last."""
    stride = max(1, math.ceil((math.prod(features.shape[2:]) / CELLS) ** (1 / 3)))
    subset = CellSubset.draw(stride, number)
    logits = network.classify(features, modality, subset.stride, subset.offsets).float()  # (1, K, ...)
    known = logits.shape[1] - new
    others = logits[:, :known].logsumexp(dim=1, keepdim=True)
    numbers = (subset.voxels(labels, network.cell).long() - known + 1).clamp_min(0)
    return _Example(features.float(), subset, others, numbers)


def _fit(network: CrossModalNetwork, modality: int, examples: list[_Example], new: int) -> None:
    head = network.head(modality)
    assert head.bias is not None
    weight = head.weight[:, -new:].detach().clone().requires_grad_()  # (C, new, s, s, s)
    bias = head.bias[-new:].detach().clone().requires_grad_()
    optimiser = torch.optim.Adam([weight, bias], lr=LEARNING_RATE)
    for step in range(STEPS):
        optimiser.param_groups[0]["lr"] = LEARNING_RATE * (1 - step / STEPS)
        example = examples[step % len(examples)]
        subset = example.subset
        logits = head.classify(example.features, weight, bias, subset.stride, subset.offsets)
        loss = supervised_loss(torch.cat([example.others, logits], dim=1), example.labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    shown = {number for example in examples for number in example.labels.unique().tolist() if number}
    with torch.no_grad():
        for number in shown:  # from 1 on
            head.weight[:, number - 1 - new] = weight[:, number - 1]
            head.bias[number - 1 - new] = bias[number - 1]
