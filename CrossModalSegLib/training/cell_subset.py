"""The loss may look at the voxels of a part of the feature cells, and another part has its turn in each step. With many
classes, a large part of a step on a CPU would otherwise go into the loss."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from CrossModalSegLib.training.config import OptimisationConfig
from CrossModalSegLib.training.seeds import CELL_SUBSET, seed_of


@dataclass(frozen=True)
class CellSubset:
    """Every ``stride``-th feature cell per axis, from ``offsets`` on."""

    stride: int
    offsets: tuple[int, ...]

    @classmethod
    def of_step(cls, options: OptimisationConfig, step: int) -> Self:
        """The one of this step of a training: the same for student and teacher, and in all processes."""
        return cls.draw(options.loss_stride, seed_of(options.seed, CELL_SUBSET, step))

    @classmethod
    def draw(cls, stride: int, seed: int) -> Self:
        """Random offsets that belong to ``seed``."""
        generator = torch.Generator().manual_seed(seed)
        return cls(stride, tuple(torch.randint(0, stride, (3,), generator=generator).tolist()))

    def cells(self, features: Tensor) -> Tensor:
        """The chosen cells of ``features`` (..., d, h, w)."""
        for axis, offset in zip((-3, -2, -1), self.offsets, strict=True):
            features = _every(features, axis, offset, self.stride)
        return features

    def voxels(self, values: Tensor, block: int) -> Tensor:
        """The voxels that belong to the chosen cells, of ``values`` (..., d · block, h · block, w · block)."""
        if self.stride == 1:
            return values
        for axis, offset in zip((-3, -2, -1), self.offsets, strict=True):
            blocks = values.unflatten(axis, (-1, block))  # the cells on dimension axis − 1 now
            values = _every(blocks, axis - 1, offset, self.stride).flatten(axis - 1, axis)
        return values


def _every(values: Tensor, axis: int, offset: int, stride: int) -> Tensor:
    return values.movedim(axis, 0)[offset::stride].movedim(0, axis)
