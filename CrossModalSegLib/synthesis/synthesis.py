"""Training pairs generated from label maps: two synthetic scans of one anatomy, with their labels.

The recipe of SynthSeg (Billot et al., Medical Image Analysis 2023), drawn twice over one label map: a random
deformation; per label and modality a random mean and spread, so that the network learns any contrast; partial volume,
bias field, gamma, noise, slice thickness, cropped field of view; sometimes everything outside the brain is removed;
sometimes the second modality is displaced, and then has labels of its own. Runs on the device that trains.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from CrossModalSegLib.preprocess import IntensityRule, network_input, position_channels
from CrossModalSegLib.synthesis import acquisition, anatomy, deformation
from CrossModalSegLib.synthesis.anatomy import CoarseField, Growth, LesionConfig
from CrossModalSegLib.synthesis.deformation import chance, uniform
from CrossModalSegLib.synthesis.samples import Sample
from CrossModalSegLib.tables import (
    AT_LEAST_0,
    AT_LEAST_1,
    BELOW_1,
    FRACTION,
    FROM_2_TO_64,
    Number,
    Switch,
    Whole,
    table,
    within,
)

LESION_SPREAD = 3.0  # times that of a tissue
THICKNESS = within("at least 1.5 mm", lambda mm: 1.5 <= mm < math.inf)
Chance = Annotated[Number, FRACTION]
Extent = Annotated[Number, AT_LEAST_0]


@table()
class ContrastPrior:
    """A typical contrast of one modality, drawn with ``probability``, and with ``elsewhere`` for the other modality: a
    scan may be given under the other's name. ``means``: mean intensity (0 to 1) per label."""

    modality: str
    probability: Chance
    means: Mapping[int, Chance]
    spread: Extent = 0.06
    elsewhere: Chance = 0.0

    def chance(self, modality: str) -> float:
        """How often a scan of ``modality`` has this contrast."""
        return self.probability if modality == self.modality else self.elsewhere


@table()
class SynthesisConfig:
    """What is drawn at random, and how far. Lengths in mm, angles in degrees."""

    groups: tuple[tuple[Whole, ...], ...] = ()  # labels that share one mean, such as left and right
    merge: Mapping[int, Whole] = field(default_factory=dict)  # label of the map -> label of the bundle
    outside: tuple[Whole, ...] = ()  # labels that brain extraction removes
    border_fluid: tuple[Whole, ...] = ()  # labels that brain extraction removes half of the time
    contrast: tuple[ContrastPrior, ...] = ()
    growth: tuple[Growth, ...] = ()
    lesions: LesionConfig = field(default_factory=LesionConfig)
    extraction_probability: Chance = 0.5
    anywhere_probability: Chance = 0.2  # patches centred anywhere, not near the middle of the anatomy
    centre_spread: Chance = 0.5  # patch centres lie in this inner part of the labelled anatomy
    located: Switch = False  # positions are told from the centre of the labelled anatomy, not of the whole body
    position_error: Extent = 12.0  # how far the centre of the body may be off; three times that now and then
    rotation: Extent = 15.0
    scaling: Annotated[Number, BELOW_1] = 0.15
    shear: Extent = 0.02
    elastic: Extent = 3.0
    elastic_knots: Annotated[Whole, FROM_2_TO_64] = 8
    displacement_probability: Chance = 0.5
    displacement: Extent = 8.0
    displacement_rotation: Extent = 8.0
    displacement_elastic: Extent = 0.7
    single_probability: Chance = 0.4
    thick_slice_probability: Chance = 0.4
    thick_slice: Annotated[Number, THICKNESS] = 6.0
    crop_probability: Chance = 0.25
    blur: Extent = 1.2
    bias: Extent = 0.3
    noise: Extent = 0.06
    gamma: Extent = 0.4
    oversampling: Annotated[Number, AT_LEAST_1] = (
        1.0  # image grid relative to the label grid: partial volume at its cost
    )


@dataclass(frozen=True)
class LabelSource:
    """A label map made ready: ``array`` (K, J, I) positions in the synthesizer's label values, uint8; lowest
    and highest voxel of the anatomy that is to be segmented, and of the whole body; ``growth`` and ``near`` as in
    ``anatomy``, None where none are drawn."""

    array: Tensor
    spacing_mm: float
    lowest: Tensor
    highest: Tensor
    body: tuple[Tensor, Tensor]
    growth: Tensor | None = None
    near: Tensor | None = None


@dataclass(frozen=True)
class View:
    """How a patch lies in the anatomy: ``affine`` (3, 3) about ``centre`` (3,), in mm from the map's first voxel."""

    affine: Tensor
    centre: Tensor
    patch: tuple[int, ...]
    spacing_mm: float


@dataclass(frozen=True)
class Scan:
    """One modality of a pair: where its voxels read the map (3, D, H, W), which label values were removed, and where
    lesions are, if there are any."""

    modality: int
    coordinates: Tensor
    removed: Tensor
    lesions: CoarseField | None


class PairSynthesizer:
    """Generates pairs from label maps (K, J, I) that lie on world-aligned grids (i -> R, j -> A, k -> S).

    Parameters
    ----------
    label_values
        The label values that occur in the maps, ascending.
    channels
        Label value of each network channel, 0 (background) first.
    modalities, rules
        Names of the two modalities and their intensity rules.
    """

    def __init__(
        self,
        config: SynthesisConfig,
        label_values: Sequence[int],
        channels: Sequence[int],
        modalities: Sequence[str],
        rules: Sequence[IntensityRule],
        device: torch.device | str = "cpu",
    ):
        self.config, self.modalities, self.rules = config, tuple(modalities), tuple(rules)
        self.device = torch.device(device)
        self.values = list(label_values)
        channel = {value: position for position, value in enumerate(channels)}
        target = [channel.get(config.merge.get(value, value), 0) for value in self.values]
        self.target = torch.tensor(target, device=self.device)
        self.group = torch.tensor(self._groups(), device=self.device)
        self.outside = self._members(config.outside)
        self.border_fluid = self._members(config.border_fluid)
        self.lesion_of = torch.tensor(self._lesions(), device=self.device)
        self.is_lesion = self._members(list(config.lesions.within.values()))

    def sample(self, source: "LabelSource", patch: tuple[int, ...], target_mm: float, seed: int) -> Sample:
        """One pair of patch size (D, H, W) at ``target_mm``; the same seed gives the same pair."""
        generator = torch.Generator(self.device).manual_seed(seed)
        removed = self._removed(generator)
        view = self._view(source, patch, target_mm, generator)
        coordinates = self._coordinates(source, view, generator)
        position = self._position(source, view, removed, generator)
        lesions = self._draw_lesions(source, generator)
        presence = self._presence(generator)
        volumes = torch.zeros((2, 2, *patch), device=self.device)
        labels = torch.zeros((2, *patch), dtype=torch.uint8, device=self.device)
        for modality in range(2):
            if presence[modality]:
                scan = Scan(modality, coordinates[modality], removed, lesions)
                volumes[modality], labels[modality] = self._scan(source.array, scan, target_mm, generator)
        aligned = torch.tensor(coordinates[1] is coordinates[0], device=self.device)
        return Sample(volumes, position, labels, torch.tensor(presence, device=self.device), aligned)

    def source(self, array: Tensor, spacing_mm: float) -> "LabelSource":
        """A label map (K, J, I) of label values, world-aligned, made ready for ``sample``."""
        values = torch.tensor(self.values, device=self.device)
        positions = torch.searchsorted(values, array.to(self.device).contiguous().to(values.dtype))
        labelled = (self.target[positions] > 0).nonzero().float()  # (n, 3)
        body = (array.to(self.device) > 0).nonzero().float()
        extents = labelled.amin(0), labelled.amax(0), (body.amin(0), body.amax(0))
        return LabelSource(positions.to(torch.uint8), spacing_mm, *extents, *self._fields(array, spacing_mm))

    def _fields(self, array: Tensor, spacing_mm: float) -> tuple[Tensor | None, Tensor | None]:
        """What growth and lesions are drawn from, None where they are not."""
        array, options = array.to(self.device), self.config.lesions
        growth = [one.labels for one in self.config.growth]
        return (
            anatomy.growth_fields(array, spacing_mm, growth) if growth else None,
            anatomy.nearness(array, spacing_mm, options.around) if options.probability > 0 else None,
        )

    def _presence(self, generator: torch.Generator) -> list[bool]:
        single = chance(self.config.single_probability, generator)
        kept = int(torch.randint(0, 2, (), generator=generator, device=self.device))
        return [not single or modality == kept for modality in range(2)]

    def _groups(self) -> list[int]:
        group_of = {value: number for number, group in enumerate(self.config.groups) for value in group}
        own = len(self.config.groups)
        return [group_of.get(value, own + position) for position, value in enumerate(self.values)]

    def _members(self, labels: Sequence[int]) -> Tensor:
        return torch.tensor([value in labels for value in self.values], device=self.device)

    def _view(
        self, source: "LabelSource", patch: tuple[int, ...], target_mm: float, generator: torch.Generator
    ) -> "View":
        """Where the patch lies: mostly in the inner half of the labelled anatomy, sometimes anywhere around it."""
        c = self.config
        middle = (source.lowest + source.highest) / 2 * source.spacing_mm
        half = (source.highest - source.lowest) / 2 * source.spacing_mm
        reach = 1.0 if chance(c.anywhere_probability, generator) else c.centre_spread
        centre = middle + reach * half * uniform(-1, 1, (3,), generator)
        affine = deformation.random_affine(c.rotation, c.scaling, c.shear, generator)
        return View(affine, centre, patch, target_mm)

    def _position(self, source: "LabelSource", view: "View", removed: Tensor, generator: torch.Generator) -> Tensor:
        """(3, D, H, W) position channels: relative to the centre of what is scanned, or, if
        ``located``, of the anatomy; neither is ever known exactly."""
        located = self.config.located or bool(removed.any())
        lowest, highest = (source.lowest, source.highest) if located else source.body
        body = (lowest + highest) / 2 * source.spacing_mm
        towards_body = torch.linalg.solve(view.affine, body - view.centre)  # from the patch centre, in the image
        wrong = self.config.position_error * (3.0 if chance(0.2, generator) else 1.0)
        half = (torch.tensor(view.patch, device=self.device) - 1) / 2 * view.spacing_mm
        first = wrong * uniform(-1, 1, (3,), generator) - half - towards_body
        return position_channels(first, view.patch, torch.full((3,), view.spacing_mm, device=self.device))

    def _coordinates(self, source: "LabelSource", view: "View", generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Coordinate fields (3, D, H, W) of the first and of the second modality, in voxels of the map; one and the
        same where the second is not displaced."""
        c = self.config
        elastic = deformation.random_elastic(view.patch, c.elastic_knots, c.elastic, generator)
        positions = deformation.patch_positions(view.patch, view.spacing_mm, self.device)
        first = deformation.apply_affine(view.affine, positions, view.centre) + elastic
        if chance(c.displacement_probability, generator):
            angles = uniform(-c.displacement_rotation, c.displacement_rotation, (3,), generator)
            shift = uniform(-c.displacement, c.displacement, (3,), generator)
            moved = deformation.apply_affine(deformation.rotation_matrix(angles), positions, shift)
            own_elastic = deformation.random_elastic(view.patch, c.elastic_knots, c.displacement_elastic, generator)
            second = deformation.apply_affine(view.affine, moved, view.centre) + elastic + own_elastic
            return self._grown(source, (first / source.spacing_mm, second / source.spacing_mm), generator)
        first = first / source.spacing_mm
        return self._grown(source, (first, first), generator)

    def _grown(
        self, source: "LabelSource", pair: tuple[Tensor, Tensor], generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Both coordinate fields in the same changed anatomy; one and the same if they were."""
        if source.growth is None:
            return pair
        field = anatomy.draw_growth(source.growth, self.config.growth, source.spacing_mm, generator)
        first = pair[0] + field.at(pair[0])
        return first, first if pair[1] is pair[0] else pair[1] + field.at(pair[1])

    def _draw_lesions(self, source: "LabelSource", generator: torch.Generator) -> CoarseField | None:
        if source.near is None or not chance(self.config.lesions.probability, generator):
            return None
        return anatomy.draw_lesions(source.near, source.spacing_mm, generator)

    def _lesions(self) -> list[int]:
        """For each label value's position that of its lesions, or its own."""
        within = self.config.lesions.within
        return [self.values.index(within.get(value, value)) for value in self.values]

    def _tissue(self, label_map: Tensor, coordinates: Tensor, lesions: CoarseField | None) -> Tensor:
        """(D, H, W) position in ``self.values`` of what lies at ``coordinates``."""
        here = deformation.sample_nearest(label_map, coordinates).long()
        if lesions is None:
            return here
        return torch.where(lesions.at(coordinates)[0] > 0, self.lesion_of[here], here)

    def _removed(self, generator: torch.Generator) -> Tensor:
        """Bool per label value: what brain extraction takes away in this pair."""
        if not chance(self.config.extraction_probability, generator):
            return torch.zeros_like(self.outside)
        return self.outside | self.border_fluid if chance(0.5, generator) else self.outside

    def _scan(
        self, label_map: Tensor, scan: "Scan", target_mm: float, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Network input (2, D, H, W) and label channels (D, H, W) of one modality."""
        here = self._tissue(label_map, scan.coordinates, scan.lesions)  # (D, H, W) position in self.values
        removed = scan.removed[here]
        image = self._image(label_map, scan, here, generator)
        image = self._acquire(image, target_mm, generator) * ~removed
        covered = torch.ones(here.shape, dtype=torch.bool, device=self.device)
        if chance(self.config.crop_probability, generator):
            covered = acquisition.random_field_of_view(tuple(here.shape), 0.4, generator)
        volume = network_input(image, covered, self.rules[scan.modality])
        labels = torch.where(covered & ~removed, self.target[here], 0)
        return volume, labels.to(torch.uint8)

    def _image(self, label_map: Tensor, scan: "Scan", here: Tensor, generator: torch.Generator) -> Tensor:
        """(D, H, W) noise-free tissue image with within-label texture and partial volume."""
        means, deviations = self._contrast(scan.removed, scan.modality, generator)
        fine = here
        if self.config.oversampling > 1:
            coordinates = deformation.refine(scan.coordinates, self.config.oversampling)
            fine = self._tissue(label_map, coordinates, scan.lesions)
        texture = torch.randn(fine.shape, generator=generator, device=self.device)
        image = means[fine] + deviations[fine] * texture
        return image if fine is here else F.interpolate(image[None, None], size=here.shape, mode="area")[0, 0]

    def _contrast(self, removed: Tensor, modality: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation per label value: a typical contrast of the modality, or any."""
        groups = int(self.group.max()) + 1
        means = uniform(0.05, 1, (groups,), generator)[self.group]
        deviations = uniform(0.0, 0.10, (groups,), generator)[self.group]
        prior = self._draw_prior(modality, generator)
        jitter = torch.randn((groups,), generator=generator, device=self.device)[self.group]
        if prior is not None:
            known = torch.tensor([prior.means.get(value, -1.0) for value in self.values], device=self.device)
            spread = torch.where(self.is_lesion, LESION_SPREAD * prior.spread, prior.spread)  # no two are alike
            means = torch.where(known >= 0, known + spread * jitter, means).clamp_min(0)
            deviations = deviations * 0.6
        air = torch.tensor([value == 0 for value in self.values], device=self.device)
        dark = float(uniform(0, 0.08, (), generator)) if chance(0.8, generator) else float(means[0])
        means = torch.where(air, dark, means)
        return means * ~removed, deviations * ~removed

    def _draw_prior(self, modality: int, generator: torch.Generator) -> ContrastPrior | None:
        draw = float(uniform(0, 1, (), generator))
        for prior in self.config.contrast:
            draw -= prior.chance(self.modalities[modality])
            if draw < 0:
                return prior
        return None

    def _acquire(self, image: Tensor, target_mm: float, generator: torch.Generator) -> Tensor:
        """Point spread, slice thickness, bias field, gamma and noise."""
        c = self.config
        image = acquisition.blur(image, float(uniform(0, c.blur, (), generator)) / target_mm)
        if chance(c.thick_slice_probability, generator):
            axis = int(torch.randint(0, 3, (), generator=generator, device=self.device))
            image = acquisition.thick_slices(image, axis, float(uniform(1.5, c.thick_slice, (), generator)) / target_mm)
        strength = float(uniform(0, c.bias, (), generator))
        image = image * acquisition.bias_field(tuple(image.shape), strength, generator)
        exponent = float(uniform(-c.gamma, c.gamma, (), generator))
        image = image.clamp_min(0) ** (2.0**exponent)
        return acquisition.add_noise(image, float(uniform(0, c.noise, (), generator)), generator)
