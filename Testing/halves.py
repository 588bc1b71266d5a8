"""Samples of a trivial task for tests of training: one half of each patch is bright, and labelled 1."""

import torch

from CrossModalSegLib.synthesis.samples import Sample, UnlabelledSample

PATCH = (8, 8, 8)


def half(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Intensities and labels (2, 8, 8, 8); the seed says which half it is. The second modality is the first,
    inverted."""
    generator = torch.Generator().manual_seed(seed)
    axis, side = (int(torch.randint(0, n, (), generator=generator)) for n in (3, 2))
    labels = torch.zeros((2, *PATCH), dtype=torch.uint8)
    labels.narrow(1 + axis, 4 * side, 4).fill_(1)
    contrast = torch.stack([labels[0], 1 - labels[1]]).float()
    return contrast + 0.1 * torch.randn((2, *PATCH), generator=generator), labels


def with_coverage(intensity: torch.Tensor) -> torch.Tensor:
    """(2, 2, D, H, W), everything covered."""
    return torch.stack([intensity, torch.ones_like(intensity)], dim=1)


class LabelledHalves:
    """A labelled sample per seed; remembers the seeds that it was asked for."""

    device = torch.device("cpu")

    def __init__(self, presence: tuple[bool, bool] = (True, True), aligned: bool = True):
        self.presence, self.aligned = torch.tensor(presence), torch.tensor(aligned)
        self.seeds: list[int] = []

    def sample(self, seed: int) -> Sample:
        self.seeds.append(seed)
        intensity, labels = half(seed)
        return Sample(with_coverage(intensity), torch.zeros((3, *PATCH)), labels, self.presence, self.aligned)


class UnlabelledHalves(LabelledHalves):
    """An unlabelled sample per seed; ``shown`` is what the student sees. ``registered`` is as ``aligned`` unless
    given."""

    def __init__(self, presence=(True, True), aligned=True, shown=None, registered=None):
        super().__init__(presence, aligned)
        self.shown = torch.tensor(presence if shown is None else shown)
        self.registered = torch.tensor(aligned if registered is None else registered)

    def sample(self, seed: int) -> UnlabelledSample:
        self.seeds.append(seed)
        intensity, _ = half(seed)
        weak, strong = with_coverage(intensity).repeat(2, 1, 1, 1, 1, 1), with_coverage(0.8 * intensity + 0.1)
        flags = self.presence, self.shown, self.aligned, self.registered
        return UnlabelledSample(weak, strong, torch.zeros((3, *PATCH)), *flags)
