"""One random patch of a real case: where it lies, what is read there, and how its intensities vary.

No flips: left and right have labels of their own. Both modalities, and both views of an unlabelled case, get one
deformation; where a displacement is drawn, the second modality is moved against the first, with its labels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from CrossModalSegLib.preprocess import position_channels
from CrossModalSegLib.synthesis import acquisition, deformation
from CrossModalSegLib.synthesis.deformation import chance, uniform
from CrossModalSegLib.synthesis.synthesis import SynthesisConfig
from CrossModalSegLib.training.config import TrainingConfig
from CrossModalSegLib.training.training_case import TrainingCase

CPU = torch.device("cpu")


@dataclass(frozen=True)
class CasePatch:
    """A place in ``case``: ``coordinates`` of each modality (3, D, H, W) in voxels of the case, and what made them."""

    case: TrainingCase
    coordinates: tuple[Tensor, Tensor]
    centre: Tensor
    matrix: Tensor
    displaced: bool

    @property
    def aligned(self) -> bool:
        """Both modalities show the same place at the same voxel."""
        return self.case.aligned and not self.displaced

    def image(self, slot: int, place: int | None = None) -> tuple[Tensor, Tensor]:
        """Normalised intensity (D, H, W) of one modality, and the voxels that it covers: on its own grid, or on that of
        modality ``place``."""
        coordinates = self.coordinates[slot if place is None else place]
        covered = deformation.sample_nearest(self.case.covered[slot], coordinates).bool()
        return deformation.sample_linear(self.case.images[slot][None], coordinates)[0] * covered, covered

    def labels(self, slot: int, covered: Tensor) -> Tensor:
        """Label channels (D, H, W) uint8 of one modality; background where it does not cover."""
        labels = deformation.sample_nearest(self.case.labels[slot], self.coordinates[slot])
        return torch.where(covered, labels, 0).to(torch.uint8)


def draw_patch(case: TrainingCase, centre: Tensor, config: TrainingConfig, generator: torch.Generator) -> CasePatch:
    """A patch around ``centre`` (3,) in voxels of the case, turned, scaled and bent at random."""
    options, spacing = config.synthesis, config.spacing
    matrix = deformation.random_affine(options.rotation, options.scaling, options.shear, generator)
    offsets = deformation.patch_positions(config.patch, 1.0, CPU)
    elastic = deformation.random_elastic(config.patch, options.elastic_knots, options.elastic / spacing, generator)
    first = deformation.apply_affine(matrix, offsets, centre) + elastic
    if not (all(case.presence) and chance(options.displacement_probability, generator)):
        return CasePatch(case, (first, first), centre, matrix, displaced=False)
    moved = _moved(offsets, options, spacing, generator)
    own = deformation.random_elastic(
        config.patch, options.elastic_knots, options.displacement_elastic / spacing, generator
    )
    second = deformation.apply_affine(matrix, moved, centre) + elastic + own
    return CasePatch(case, (first, second), centre, matrix, displaced=True)


def _moved(offsets: Tensor, options: SynthesisConfig, spacing: float, generator: torch.Generator) -> Tensor:
    angles = uniform(-options.displacement_rotation, options.displacement_rotation, (3,), generator)
    shift = uniform(-options.displacement, options.displacement, (3,), generator) / spacing
    return deformation.apply_affine(deformation.rotation_matrix(angles), offsets, shift)


def labelled_centre(case: TrainingCase, patch: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """(3,) voxels: a labelled voxel two times out of three, else anywhere; moved so far that the patch stays inside the
    case, give or take an eighth: what lies outside teaches nothing."""
    if chance(2 / 3, generator):
        labelled = case.labels.amax(0).nonzero()
        if len(labelled):
            chosen = labelled[int(torch.randint(len(labelled), (), generator=generator))].float()
            lowest, highest = _inside(case, patch)
            return chosen.clamp(lowest, highest) + _jitter(patch, generator)
    return inner_centre(case, patch, generator)


def inner_centre(case: TrainingCase, patch: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """(3,) voxels: anywhere that keeps the patch inside the case, give or take an eighth of the patch."""
    lowest, highest = _inside(case, patch)
    return lowest + uniform(0, 1, (3,), generator) * (highest - lowest) + _jitter(patch, generator)


def _inside(case: TrainingCase, patch: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """The centres (3,) between which the patch does not leave the case; its middle where the case is smaller."""
    size, extent = torch.tensor(case.images.shape[1:]) - 1.0, torch.tensor(patch) - 1.0
    margin = torch.minimum(extent, size) / 2
    return margin, size - margin


def _jitter(patch: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.tensor(patch) / 8 * uniform(-1, 1, (3,), generator)


def draw_presence(case: TrainingCase, probability: float, generator: torch.Generator) -> list[bool]:
    """Which modalities are shown: of a pair, one is left out with this probability."""
    kept = int(torch.randint(0, 2, (), generator=generator))
    drop = all(case.presence) and chance(probability, generator)
    return [there and not (drop and slot != kept) for slot, there in enumerate(case.presence)]


def vary_intensities(image: Tensor, options: SynthesisConfig, generator: torch.Generator) -> Tensor:
    """Gamma, bias field and noise on normalised intensities."""
    strength = float(uniform(0, options.bias, (), generator))
    image = image.clamp_min(0) ** (2.0 ** float(uniform(-options.gamma, options.gamma, (), generator)))
    image = image * acquisition.bias_field(tuple(image.shape), strength, generator)
    return acquisition.add_noise(image, float(uniform(0, options.noise, (), generator)), generator)


def position_of(patch: CasePatch, config: TrainingConfig, generator: torch.Generator) -> Tensor:
    """(3, D, H, W) position channels; the centre of the body is never known exactly."""
    middle = (torch.tensor(patch.case.images.shape[1:]) - 1) / 2
    towards_body = torch.linalg.solve(patch.matrix, (middle - patch.centre) * config.spacing)
    half = (torch.tensor(config.patch) - 1) / 2 * config.spacing
    wrong = config.synthesis.position_error * uniform(-1, 1, (3,), generator)
    return position_channels(wrong - half - towards_body, config.patch, torch.full((3,), config.spacing))
