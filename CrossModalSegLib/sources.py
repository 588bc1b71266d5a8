"""Where training samples come from. A source gives one sample per seed; the same seed gives the same sample."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from CrossModalSegLib import acquisition, deformation
from CrossModalSegLib.config import TrainingConfig
from CrossModalSegLib.deformation import chance, uniform
from CrossModalSegLib.geometry import model_grid, resample_to
from CrossModalSegLib.grid import Grid
from CrossModalSegLib.preprocess import network_input, position_channels
from CrossModalSegLib.resampling import resample_labels
from CrossModalSegLib.synthesis import LabelSource, PairSynthesizer, Sample
from CrossModalSegLib.volume import Volume


class SampleSource(Protocol):
    """Anything that training can draw samples from; ``device`` is where it makes them."""

    device: torch.device

    def sample(self, seed: int) -> Sample:
        """The sample that belongs to this seed."""


class SynthesisSource:
    """Pairs generated from label maps, one after the other."""

    def __init__(
        self, synthesizer: PairSynthesizer, maps: Sequence[LabelSource], patch: tuple[int, ...], spacing_mm: float
    ):
        self.synthesizer, self.maps, self.patch, self.spacing_mm = synthesizer, list(maps), patch, spacing_mm
        self.device = synthesizer.device

    def sample(self, seed: int) -> Sample:
        """A synthetic pair from the label map number ``seed`` modulo their count."""
        return self.synthesizer.sample(self.maps[seed % len(self.maps)], self.patch, self.spacing_mm, seed)


@dataclass(frozen=True)
class TrainingCase:
    """A labelled case on its model grid: ``images`` (M, D, H, W), ``covered`` and ``labels`` alike, ``presence`` (M,)."""

    images: Tensor
    covered: Tensor
    labels: Tensor
    presence: tuple[bool, ...]


def training_case(
    volumes: Mapping[int, Volume],
    labels: Mapping[int, tuple[np.ndarray, Grid]],
    channels: Sequence[int],
    spacing: float,
) -> TrainingCase:
    """Bring volumes and label maps (by modality, values as in ``channels``) onto one world-aligned grid.

    Label values that are not in ``channels`` become background.
    """
    grid = model_grid(list(volumes.values()), (spacing, spacing, spacing))
    images = torch.zeros((2, *grid.shape_kji))
    covered = torch.zeros((2, *grid.shape_kji), dtype=torch.bool)
    channel_map = torch.zeros((2, *grid.shape_kji), dtype=torch.uint8)
    table = np.zeros(max(channels) + 1, dtype=np.uint8)
    table[list(channels)] = np.arange(len(channels))
    for slot, volume in volumes.items():
        array, inside = resample_to(volume, grid)
        images[slot], covered[slot] = torch.from_numpy(array), torch.from_numpy(inside)
        values = np.rint(resample_labels(*labels[slot], grid)).astype(np.int64)  # label maps may be stored as floats
        channel_map[slot] = torch.from_numpy(table[np.where((values >= 0) & (values < len(table)), values, 0)])
    return TrainingCase(images, covered, channel_map, tuple(slot in volumes for slot in range(2)))


class CaseSource:
    """Patches of real labelled cases, with one random deformation for both modalities and their labels.

    No flips: left and right have labels of their own. Intensities of each modality vary by themselves.
    """

    def __init__(self, cases: Sequence[TrainingCase], config: TrainingConfig):
        self.cases, self.config = list(cases), config
        self.device = torch.device("cpu")

    def sample(self, seed: int) -> Sample:
        """A patch of case number ``seed`` modulo their count, around a labelled voxel two times out of three."""
        case, config = self.cases[seed % len(self.cases)], self.config
        generator = torch.Generator().manual_seed(seed)
        centre = self._centre(case, generator)  # (3,) voxels
        options = config.synthesis
        matrix = deformation.random_affine(options.rotation, options.scaling, options.shear, generator)
        offsets = deformation.patch_positions(config.patch, 1.0, torch.device("cpu"))
        elastic = deformation.random_elastic(
            config.patch, options.elastic_knots, options.elastic / config.spacing, generator
        )
        coordinates = deformation.apply_affine(matrix, offsets, centre) + elastic
        presence = self._presence(case, generator)
        volumes, labels = torch.zeros((2, 2, *config.patch)), torch.zeros((2, *config.patch), dtype=torch.uint8)
        for slot in (slot for slot in range(2) if presence[slot]):
            volumes[slot], labels[slot] = self._scan(case, slot, coordinates, generator)
        return Sample(volumes, self._position(case, centre, matrix, generator), labels, torch.tensor(presence))

    def _centre(self, case: TrainingCase, generator: torch.Generator) -> Tensor:
        size = torch.tensor(case.labels.shape[1:])
        if chance(2 / 3, generator):
            labelled = case.labels.amax(0).nonzero()
            if len(labelled):
                return labelled[int(torch.randint(len(labelled), (), generator=generator))].float()
        return uniform(0, 1, (3,), generator) * (size - 1)

    def _presence(self, case: TrainingCase, generator: torch.Generator) -> list[bool]:
        kept = int(torch.randint(0, 2, (), generator=generator))
        drop = all(case.presence) and chance(self.config.synthesis.single_probability, generator)
        return [there and not (drop and slot != kept) for slot, there in enumerate(case.presence)]

    def _scan(
        self, case: TrainingCase, slot: int, coordinates: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        covered = deformation.sample_nearest(case.covered[slot], coordinates).bool()
        image = sample_linear(case.images[slot], coordinates)
        volume = network_input(image, covered, self.config.rules[slot])
        volume[0] = self._vary(volume[0], generator) * covered
        labels = deformation.sample_nearest(case.labels[slot], coordinates)
        return volume, torch.where(covered, labels, 0).to(torch.uint8)

    def _vary(self, image: Tensor, generator: torch.Generator) -> Tensor:
        """Bias field, gamma, gain and noise on normalised intensities."""
        options = self.config.synthesis
        strength = float(uniform(0, options.bias, (), generator))
        image = image.clamp_min(0) ** (2.0 ** float(uniform(-options.gamma, options.gamma, (), generator)))
        image = image * acquisition.bias_field(tuple(image.shape), strength, generator)
        return acquisition.add_noise(image, float(uniform(0, options.noise, (), generator)), generator)

    def _position(self, case: TrainingCase, centre: Tensor, matrix: Tensor, generator: torch.Generator) -> Tensor:
        spacing, patch = self.config.spacing, self.config.patch
        middle = (torch.tensor(case.labels.shape[1:]) - 1) / 2
        towards_body = torch.linalg.solve(matrix, (middle - centre) * spacing)
        half = (torch.tensor(patch) - 1) / 2 * spacing
        wrong = self.config.synthesis.position_error * uniform(-1, 1, (3,), generator)
        return position_channels(wrong - half - towards_body, patch, torch.full((3,), spacing))


class MixedSource:
    """Several sources in turn, each as often as the others."""

    def __init__(self, sources: Sequence[SampleSource]):
        self.sources = list(sources)
        self.device = next((s.device for s in self.sources if s.device.type != "cpu"), torch.device("cpu"))

    def sample(self, seed: int) -> Sample:
        """The sample of source number ``seed`` modulo their count."""
        return self.sources[seed % len(self.sources)].sample(seed // len(self.sources))


def sample_linear(image: Tensor, coordinates: Tensor) -> Tensor:
    """``image`` (K, J, I) at (3, D, H, W) voxel coordinates, trilinear; 0 outside."""
    size = torch.tensor(image.shape).view(3, 1, 1, 1)
    place = ((2 * coordinates + 1) / size - 1).flip(0).permute(1, 2, 3, 0)  # (D, H, W, 3) as (x, y, z)
    return F.grid_sample(image[None, None], place[None], align_corners=False)[0, 0]
