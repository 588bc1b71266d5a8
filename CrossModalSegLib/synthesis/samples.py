"""What a training step is given: patches of cases with labels, and patches of cases without.

Shapes of one sample: M = 2 modalities, (D, H, W) the patch; ``stack`` puts a batch dimension B before them.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

ALIGNED = torch.tensor(True)


class _Tensors:
    """Several tensors that are stacked and moved together."""

    @classmethod
    def stack(cls, samples: Sequence[Self]) -> Self:
        """One batch: every tensor gets a leading dimension B."""
        return cls(*(torch.stack(tensors) for tensors in zip(*(s.tensors for s in samples), strict=True)))

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All of them, in the order of their declaration."""
        return tuple(getattr(self, field.name) for field in dataclasses.fields(self))  # type: ignore[arg-type]

    def to(self, device: torch.device) -> Self:
        """The same sample on another device."""
        return type(self)(*(tensor.to(device) for tensor in self.tensors))


@dataclass(frozen=True)
class Sample(_Tensors):
    """One training pair: ``volumes`` (M, 2, D, H, W) normalised intensity and coverage, ``position`` (3, D, H, W),
    ``labels`` (M, D, H, W) channels, ``presence`` (M,) bool, ``aligned`` () bool: both modalities lie on each other."""

    volumes: Tensor
    position: Tensor
    labels: Tensor
    presence: Tensor
    aligned: Tensor = ALIGNED


@dataclass(frozen=True)
class UnlabelledSample(_Tensors):
    """Two views of one patch without labels. ``strong`` is for the student, like ``Sample.volumes``: each modality on a
    grid of its own, where a displacement was drawn. ``weak`` (M, M, 2, D, H, W) is for the teacher: entry m is the pair
    as it was acquired, both modalities on the grid of m. ``presence`` (M,) says what the teacher sees, ``shown`` (M,)
    what the student does; ``aligned`` as in ``Sample``; ``registered`` () bool: aligned as they were acquired."""

    weak: Tensor
    strong: Tensor
    position: Tensor
    presence: Tensor
    shown: Tensor
    aligned: Tensor = ALIGNED
    registered: Tensor = ALIGNED
