"""Where training samples come from. A source gives one sample per seed; the same seed gives the same sample."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from CrossModalSegLib.synthesis import acquisition
from CrossModalSegLib.synthesis.deformation import chance
from CrossModalSegLib.synthesis.samples import Sample, UnlabelledSample
from CrossModalSegLib.synthesis.synthesis import LabelSource, PairSynthesizer
from CrossModalSegLib.training.case_patch import (
    CasePatch,
    draw_patch,
    draw_presence,
    inner_centre,
    labelled_centre,
    position_of,
    vary_intensities,
)
from CrossModalSegLib.training.config import TrainingConfig
from CrossModalSegLib.training.training_case import TrainingCase


class SampleSource(Protocol):
    """Anything that training can draw labelled samples from; ``device`` is where it makes them."""

    device: torch.device

    def sample(self, seed: int) -> Sample:
        """The sample that belongs to this seed."""


class UnlabelledSampleSource(Protocol):
    """Anything that training can draw unlabelled samples from."""

    def sample(self, seed: int) -> UnlabelledSample:
        """The sample that belongs to this seed."""


@dataclass(frozen=True)
class Samples:
    """What a training draws from: samples with labels, perhaps others without, and those that it is validated with."""

    labelled: SampleSource
    unlabelled: UnlabelledSampleSource | None = None
    validation: SampleSource | None = None


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


class CaseSource:
    """Patches of real labelled cases, with one random deformation for both modalities and their labels.

    Intensities of each modality vary by themselves.
    """

    def __init__(self, cases: Sequence[TrainingCase], config: TrainingConfig):
        self.cases, self.config = [case.normalised(config.rules) for case in cases], config
        self.device = torch.device("cpu")

    def sample(self, seed: int) -> Sample:
        """A patch of case number ``seed`` modulo their count, around a labelled voxel two times out of three."""
        case, config = self.cases[seed % len(self.cases)], self.config
        generator = torch.Generator().manual_seed(seed)
        patch = draw_patch(case, labelled_centre(case, config.patch, generator), config, generator)
        presence = draw_presence(case, config.synthesis.single_probability, generator)
        position = position_of(patch, config, generator)
        volumes, labels = torch.zeros((2, 2, *config.patch)), torch.zeros((2, *config.patch), dtype=torch.uint8)
        for slot in (slot for slot in range(2) if presence[slot]):
            image, covered = patch.image(slot)
            volumes[slot, 0] = vary_intensities(image, config.synthesis, generator) * covered
            volumes[slot, 1] = covered
            labels[slot] = patch.labels(slot, covered)
        return Sample(volumes, position, labels, torch.tensor(presence), torch.tensor(patch.aligned))


class UnlabelledSource:
    """Patches of real cases of which no label is ever read: a weak view for the teacher, a strong one for the student.

    Both views lie at the same place under the same deformation. The weak one shows the pair as it was acquired; in the
    strong one the second modality is displaced as in training with labels, intensities vary, boxes are cut out (others
    in each modality), and sometimes one modality is left out.
    """

    def __init__(self, cases: Sequence[TrainingCase], config: TrainingConfig):
        self.cases, self.config = [case.normalised(config.rules) for case in cases], config
        self.device = torch.device("cpu")

    def sample(self, seed: int) -> UnlabelledSample:
        """A patch of case number ``seed`` modulo their count, anywhere inside it."""
        case, config = self.cases[seed % len(self.cases)], self.config
        generator = torch.Generator().manual_seed(seed)
        patch = draw_patch(case, inner_centre(case, config.patch, generator), config, generator)
        shown = draw_presence(case, config.synthesis.single_probability, generator)
        position = position_of(patch, config, generator)
        weak, strong = torch.zeros((2, 2, 2, *config.patch)), torch.zeros((2, 2, *config.patch))
        for slot in (slot for slot in range(2) if case.presence[slot]):
            weak[slot, slot], strong[slot] = self._views(patch, slot, generator)
            weak[1 - slot, slot] = torch.stack(patch.image(slot, 1 - slot)) if patch.displaced else weak[slot, slot]
        flags = [torch.tensor(flag) for flag in (case.presence, shown, patch.aligned, case.aligned)]
        return UnlabelledSample(weak, strong, position, *flags)

    def _views(self, patch: CasePatch, slot: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        image, covered = patch.image(slot)
        varied = vary_intensities(image, self.config.synthesis, generator)
        if chance(self.config.semi_supervised.cut_out, generator):
            varied = acquisition.cut_out(varied, generator)
        return torch.stack([image, covered.float()]), torch.stack([varied * covered, covered.float()])


class MixedSource:
    """Several sources in turn, each as often as the others."""

    def __init__(self, sources: Sequence[SampleSource]):
        self.sources = list(sources)
        self.device = next((s.device for s in self.sources if s.device.type != "cpu"), torch.device("cpu"))

    def sample(self, seed: int) -> Sample:
        """The sample of source number ``seed`` modulo their count."""
        return self.sources[seed % len(self.sources)].sample(seed // len(self.sources))
