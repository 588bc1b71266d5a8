"""Losses of CMC, one function per equation."""

import torch
from monai.losses import DiceCELoss
from torch import Tensor


def supervised_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """L_sup: soft Dice plus cross-entropy, averaged over classes (MONAI ``DiceCELoss``, batch Dice).

    Parameters
    ----------
    logits
        (B, C, ...) of any float type; computed in float32.
    labels
        (B, ...) integer channel of each voxel, 0 = background.
    """
    loss = DiceCELoss(to_onehot_y=True, softmax=True, batch=True)
    with torch.autocast(logits.device.type, enabled=False):
        return loss(logits.float(), labels.long().unsqueeze(1))
