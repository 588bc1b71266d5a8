"""Volumes without bias: one number per structure, added to its logit, so that on average as much is labelled as is
true.

A network that is unsure at borders gives the larger neighbour too much, or small structures too much where its loss is
a Dice. The numbers are fitted to labelled samples and become part of the heads' biases: nothing is done differently
later.
"""

import torch
from torch import Tensor

from CrossModalSegLib.network import MODALITIES, CrossModalNetwork
from CrossModalSegLib.synthesis.samples import Sample
from CrossModalSegLib.training.cell_subset import CellSubset
from CrossModalSegLib.training.sources import SampleSource
from CrossModalSegLib.training.teacher import autocast

STRIDE = 2  # every second feature cell per axis is looked at, another in each sample
ROUNDS = 150
FARTHEST = 2.0  # a logit is moved no further: more is no calibration


def calibrate(network: CrossModalNetwork, source: SampleSource, samples: int) -> list[list[float]]:
    """Adds to the bias of each head, in place, what makes the volumes of ``samples`` right; returns it, per head and
    class.

    A class that no sample shows is left alone. ``network`` is on the device of ``source``.
    """
    logits: list[list[Tensor]] = [[] for _ in range(MODALITIES)]
    labels: list[list[Tensor]] = [[] for _ in range(MODALITIES)]
    network.eval()
    for number in range(samples):
        sample = Sample.stack([source.sample(number)])
        subset = CellSubset.draw(STRIDE, number)
        with torch.inference_mode(), autocast(sample.volumes.device):
            for m, features in enumerate(network.features(sample.volumes, sample.position, sample.presence)):
                if features is not None:
                    found = network.classify(features, m, subset.stride, subset.offsets)
                    logits[m].append(found[0].flatten(1).half())  # (K, n)
                    labels[m].append(subset.voxels(sample.labels[:, m], network.cell)[0].flatten().long())
    added = []
    for m in range(MODALITIES):
        head = network.head(m)
        assert head.bias is not None
        offsets = volume_offsets(logits[m], labels[m]) if logits[m] else torch.zeros_like(head.bias)
        with torch.no_grad():
            head.bias += offsets.to(head.bias)
        added.append(offsets.tolist())
    return added


def volume_offsets(logits: list[Tensor], labels: list[Tensor]) -> Tensor:
    """(K,) what is to be added to the logits (K, n) of all samples so that each class is the most likely one in as many
    voxels as have its label (n,); 0 for classes without any, and 0 for the background."""
    classes = len(logits[0])
    true = torch.stack([torch.bincount(one, minlength=classes) for one in labels]).sum(0)
    offsets = torch.zeros(classes)
    certain = torch.zeros(classes, dtype=torch.int64)  # voxels by class that no offsets can change
    open_rows = []
    for one in logits:
        rows = one.T.float().contiguous()  # (n, K)
        highest, likely = rows.max(dim=1)
        is_open = highest - rows.scatter(1, likely[:, None], -torch.inf).amax(dim=1) <= 2 * FARTHEST
        certain += torch.bincount(likely[~is_open], minlength=classes)
        open_rows.append(rows[is_open])
    contested = torch.cat(open_rows)
    for step in range(ROUNDS):
        given = certain + torch.bincount((contested + offsets).max(dim=1).indices, minlength=classes)
        wanted = torch.log((true + 1.0) / (given + 1.0)).clamp(-1, 1)
        offsets = (offsets + 0.5 * (1 - step / ROUNDS) * wanted * (true > 0)).clamp(-FARTHEST, FARTHEST)
        offsets = (offsets - offsets[0]) * (true > 0)
    return offsets.clamp(-FARTHEST, FARTHEST)
