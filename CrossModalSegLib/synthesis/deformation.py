"""Random spatial transforms as coordinate fields, and sampling of label maps through them.

A coordinate field is a (3, D, H, W) float tensor: for each voxel of a patch the (k, j, i) position, in voxels, at which
a source array is read. Millimetres divided by the source's spacing give voxels.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def uniform(low: float, high: float, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Uniform random numbers on the generator's device."""
    return low + (high - low) * torch.rand(shape, generator=generator, device=generator.device)


def chance(probability: float, generator: torch.Generator) -> bool:
    """True with the given probability."""
    return bool(uniform(0, 1, (), generator) < probability)


def rotation_matrix(degrees: Tensor) -> Tensor:
    """(3, 3) rotation about the k, j and i axis by three angles in degrees."""
    matrix = torch.eye(3, device=degrees.device)
    for axis, angle in enumerate(torch.deg2rad(degrees)):
        cos, sin = torch.cos(angle), torch.sin(angle)
        one = torch.eye(3, device=degrees.device)
        first, second = [a for a in range(3) if a != axis]
        one[first, first], one[first, second], one[second, first], one[second, second] = cos, -sin, sin, cos
        matrix = matrix @ one
    return matrix


def random_affine(rotation_degrees: float, scaling: float, shear: float, generator: torch.Generator) -> Tensor:
    """(3, 3) random rotation, anisotropic scaling in 1 ± ``scaling`` and shear."""
    matrix = rotation_matrix(uniform(-rotation_degrees, rotation_degrees, (3,), generator))
    shears = torch.eye(3, device=generator.device) + uniform(-shear, shear, (3, 3), generator).triu(1)
    return matrix @ shears @ torch.diag(uniform(1 - scaling, 1 + scaling, (3,), generator))


def patch_positions(shape: tuple[int, ...], spacing_mm: float, device: torch.device) -> Tensor:
    """(3, D, H, W) position of each patch voxel in millimetres from the patch centre."""
    axes = [(torch.arange(n, device=device) - (n - 1) / 2) * spacing_mm for n in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def apply_affine(matrix: Tensor, positions: Tensor, offset: Tensor) -> Tensor:
    """matrix @ position + offset for every position of a (3, D, H, W) field."""
    return (matrix @ positions.flatten(1) + offset[:, None]).view_as(positions)


def random_elastic(shape: tuple[int, ...], knots: int, amplitude: float, generator: torch.Generator) -> Tensor:
    """(3, D, H, W) smooth displacement: normal values of standard deviation ``amplitude`` at ``knots`` per axis."""
    values = amplitude * torch.randn((1, 3, knots, knots, knots), generator=generator, device=generator.device)
    return F.interpolate(values, size=shape, mode="trilinear", align_corners=True)[0]


def refine(coordinates: Tensor, factor: float) -> Tensor:
    """The same coordinate field on a grid ``factor`` times finer over the same extent."""
    if factor == 1:
        return coordinates
    size = [math.ceil(n * factor) for n in coordinates.shape[1:]]
    return F.interpolate(coordinates[None], size=size, mode="trilinear", align_corners=False)[0]


def sample_linear(values: Tensor, coordinates: Tensor) -> Tensor:
    """(C, D, H, W) trilinear values of ``values`` (C, K, J, I) at ``coordinates`` (3, D, H, W); 0 well outside."""
    size = torch.tensor(values.shape[1:], device=coordinates.device).view(3, 1, 1, 1)
    place = (2 * coordinates + 1) / size - 1  # -1 and 1 at the outer edges of the outer voxels
    return F.grid_sample(values[None], place.flip(0).movedim(0, -1)[None], align_corners=False)[0]


def sample_nearest(array: Tensor, coordinates: Tensor) -> Tensor:
    """``array`` (K, J, I) at the nearest voxel of each coordinate; 0 outside the array."""
    index = coordinates.round().long()  # (3, D, H, W)
    size = torch.tensor(array.shape, device=array.device).view(3, 1, 1, 1)
    inside = ((index >= 0) & (index < size)).all(0)
    index = torch.minimum(index.clamp_min(0), size - 1)
    flat = (index[0] * array.shape[1] + index[1]) * array.shape[2] + index[2]
    return array.flatten()[flat] * inside
