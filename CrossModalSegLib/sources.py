"""Where training samples come from. A source gives one sample per seed; the same seed gives the same sample."""

from collections.abc import Sequence
from typing import Protocol

from CrossModalSegLib.synthesis import LabelSource, PairSynthesizer, Sample


class SampleSource(Protocol):
    """Anything that training can draw samples from."""

    def sample(self, seed: int) -> Sample:
        """The sample that belongs to this seed."""


class SynthesisSource:
    """Pairs generated from label maps, one after the other."""

    def __init__(
        self, synthesizer: PairSynthesizer, maps: Sequence[LabelSource], patch: tuple[int, ...], spacing_mm: float
    ):
        self.synthesizer, self.maps, self.patch, self.spacing_mm = synthesizer, list(maps), patch, spacing_mm

    def sample(self, seed: int) -> Sample:
        """A synthetic pair from the label map number ``seed`` modulo their count."""
        return self.synthesizer.sample(self.maps[seed % len(self.maps)], self.patch, self.spacing_mm, seed)
