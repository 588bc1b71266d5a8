"""What a scanner does to an image: partial volume, slice thickness, bias field, noise, field of view.

Every function takes and returns one image (D, H, W) float on the generator's device.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from CrossModalSegLib.synthesis.deformation import uniform


def blur(image: Tensor, sigma_voxels: float) -> Tensor:
    """Separable Gaussian smoothing with the borders replicated."""
    if sigma_voxels < 0.2:
        return image
    radius = max(1, round(3 * sigma_voxels))
    taps = torch.arange(-radius, radius + 1, device=image.device)
    kernel = torch.exp(-0.5 * (taps / sigma_voxels) ** 2)
    kernel = kernel / kernel.sum()
    smoothed = image[None, None]
    for axis in range(3):
        shape, padding = [1, 1, 1, 1, 1], [0] * 6
        shape[2 + axis] = len(taps)
        padding[4 - 2 * axis] = padding[5 - 2 * axis] = radius
        smoothed = F.conv3d(F.pad(smoothed, padding, mode="replicate"), kernel.view(shape))
    return smoothed[0, 0]


def thick_slices(image: Tensor, axis: int, thickness_voxels: float) -> Tensor:
    """Averages along one axis to slices of the given thickness, then interpolates back: an anisotropic scan."""
    size = list(image.shape)
    size[axis] = max(2, round(image.shape[axis] / thickness_voxels))
    slices = F.interpolate(image[None, None], size=size, mode="area")
    return F.interpolate(slices, size=image.shape, mode="trilinear", align_corners=False)[0, 0]


def bias_field(shape: tuple[int, ...], strength: float, generator: torch.Generator) -> Tensor:
    """Smooth positive field exp(b), b normal of standard deviation ``strength`` at 4 knots per axis."""
    knots = strength * torch.randn((1, 1, 4, 4, 4), generator=generator, device=generator.device)
    return F.interpolate(knots, size=shape, mode="trilinear", align_corners=True)[0, 0].exp()


def add_noise(image: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    """Gaussian noise of the given standard deviation."""
    return image + deviation * torch.randn(image.shape, generator=generator, device=image.device)


def random_field_of_view(shape: tuple[int, ...], lowest: float, generator: torch.Generator) -> Tensor:
    """Bool (D, H, W): a random slab along one axis that keeps at least the fraction ``lowest``."""
    coverage = torch.zeros(shape, dtype=torch.bool, device=generator.device)
    axis = int(torch.randint(0, 3, (), generator=generator, device=generator.device))
    length = round(float(uniform(lowest, 1.0, (), generator)) * shape[axis])
    start = int(torch.randint(0, shape[axis] - length + 1, (), generator=generator, device=generator.device))
    coverage.narrow(axis, start, length).fill_(True)
    return coverage


def cut_out(image: Tensor, generator: torch.Generator) -> Tensor:
    """One to three boxes, each 15 to 40 % of the image per axis, filled with one intensity (0 to 1) of their own."""
    image = image.clone()
    shape = torch.tensor(image.shape, device=generator.device)
    for _ in range(1 + int(torch.randint(0, 3, (), generator=generator, device=generator.device))):
        size = (uniform(0.15, 0.4, (3,), generator) * shape).long().clamp_min(1)
        first = (uniform(0, 1, (3,), generator) * (shape - size)).long()
        k, j, i = (slice(a, a + n) for a, n in zip(first.tolist(), size.tolist(), strict=True))
        image[k, j, i] = uniform(0, 1, (), generator)
    return image
