"""Anatomies that the label maps do not have: structures that are larger or smaller, and lesions.

Seventeen heads are few. A structure's border is moved along the gradient of its own blurred mask, so that ventricles
open, sulci widen and a hippocampus shrinks while all that lies further away stays. Lesions are blobs of a smooth random
field within one tissue. Fields are kept on coarse grids whose voxel (0, 0, 0) has its centre at ``offset`` millimetres
from the centre of the map's first voxel along each axis; (k, j, i) order throughout.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor
from torch.nn import functional as F

from CrossModalSegLib.synthesis.acquisition import blur
from CrossModalSegLib.synthesis.deformation import chance, sample_linear, uniform
from CrossModalSegLib.tables import FRACTION, Number, Whole, table, within, wrong

CELL_MM = 3.0  # of the fields that move borders
BLUR_MM = 3.3  # of the masks, about: borders are moved up to 1.6 times this without folding
KNOT_MM = 8.0  # of the random field of lesions: their size
NEAR_MM = 8.0  # how far around a ventricle lesions are more frequent
FOLDING = 1.6
GROWTH = within("0 to 5 mm", lambda mm: 0 <= mm <= 5)


@table()
class Growth:
    """A structure, in the maps' ``labels``, whose border is pulled by a random a of up to ``outwards`` or ``inwards``
    mm with ``probability``. It moves by d = a · exp(−d² / 2σ²), σ = ``BLUR_MM``: by 1.4 mm of 1.5, 2.3 of 3, 3 of 5."""

    labels: tuple[Whole, ...]
    outwards: Annotated[Number, GROWTH]
    inwards: Annotated[Number, GROWTH]
    probability: Annotated[Number, FRACTION] = 0.5


@table()
class LesionConfig:
    """Lesions, drawn with ``probability``: ``within`` says which label of the map they lie in and which label
    they have then. ``around`` are labels near which they are more frequent."""

    probability: Annotated[Number, FRACTION] = 0.0
    within: Annotated[Mapping[int, Whole], Field(validate_default=True)] = field(default_factory=dict)
    around: tuple[Whole, ...] = ()

    @field_validator("within")
    @classmethod
    def _says_where(cls, within: Mapping[int, int], info: ValidationInfo) -> Mapping[int, int]:
        if info.data.get("probability", 0.0) > 0 and not within:
            raise wrong("say which label they lie in and which they have")
        return within


@dataclass(frozen=True)
class CoarseField:
    """Values (C, d, h, w) on cells of ``cell`` voxels of the map."""

    values: Tensor
    cell: float

    def at(self, coordinates: Tensor) -> Tensor:
        """(C, D, H, W) trilinear values at ``coordinates`` (3, D, H, W) in voxels of the map; 0 well outside of it."""
        return sample_linear(self.values.float(), (coordinates + 0.5) / self.cell - 0.5)


def growth_fields(labels: Tensor, spacing_mm: float, groups: Sequence[Sequence[int]]) -> Tensor:
    """(G, 3, d, h, w) float16: for each group of label values, vectors towards its inside, of length 1 at a flat
    border.

    ``labels`` (K, J, I) is the map. A structure that is thinner than the blur has shorter ones: it is moved less.
    """
    cell = CELL_MM / spacing_mm
    fields = []
    for group in groups:
        mask = blur(_coarse_mask(labels, group, cell), math.sqrt(BLUR_MM**2 - CELL_MM**2 / 6) / CELL_MM)
        slopes = torch.stack(torch.gradient(mask, spacing=CELL_MM))  # per mm
        fields.append(slopes * BLUR_MM * math.sqrt(2 * math.pi))
    return torch.stack(fields).half()


def nearness(labels: Tensor, spacing_mm: float, values: Sequence[int]) -> Tensor:
    """(d, h, w) about 1 inside and close to the labels ``values``, falling to 0 within some ``NEAR_MM``, on cells of
    ``KNOT_MM``."""
    mask = _coarse_mask(labels, values, CELL_MM / spacing_mm)
    near = (blur(mask, NEAR_MM / CELL_MM) * 4).clamp_max(1)
    size = [max(2, math.ceil(n * spacing_mm / KNOT_MM)) for n in labels.shape]
    return F.interpolate(near[None, None], size=size, mode="trilinear", align_corners=False)[0, 0]


def draw_growth(
    fields: Tensor, growths: Sequence[Growth], spacing_mm: float, generator: torch.Generator
) -> CoarseField:
    """The displacement in voxels of the map, of all structures together, by which coordinates are to be moved."""
    amounts = []
    for growth in growths:
        amount = uniform(-growth.inwards, growth.outwards, (), generator)
        amounts.append(amount if chance(growth.probability, generator) else torch.zeros_like(amount))
    limit = FOLDING * BLUR_MM
    weights = torch.stack(amounts).clamp(-limit, limit) / spacing_mm
    total = torch.einsum("g,gckji->ckji", weights, fields.to(weights.dtype))
    return CoarseField(total, CELL_MM / spacing_mm)


def draw_lesions(near: Tensor, spacing_mm: float, generator: torch.Generator) -> CoarseField:
    """A random field (1, d, h, w) that is above 0 where lesions are: few or many, mostly near what ``near`` marks."""
    knots = torch.randn(near.shape, generator=generator, device=near.device)
    threshold = uniform(1.2, 2.4, (), generator)
    nearer = uniform(0.0, 1.2, (), generator)
    return CoarseField((knots + nearer * near - threshold)[None], KNOT_MM / spacing_mm)


def _coarse_mask(labels: Tensor, values: Sequence[int], cell: float) -> Tensor:
    """(d, h, w) share of each cell that has one of the ``values``."""
    mask = torch.isin(labels, torch.tensor(list(values), device=labels.device)).float()
    size = [max(2, math.ceil(n / cell)) for n in labels.shape]
    padded = F.pad(
        mask, [p for n, d in reversed(list(zip(labels.shape, size, strict=True))) for p in (0, math.ceil(d * cell) - n)]
    )
    return F.interpolate(padded[None, None], size=size, mode="area")[0, 0]
