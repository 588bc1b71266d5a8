"""Heads of new structures: found from what the network sees already, and nothing else changes."""

import dataclasses

import pytest
import torch

from CrossModalSegLib.adaptation.head_probe import probe_heads
from CrossModalSegLib.network import CrossModalNetwork
from CrossModalSegLib.synthesis.samples import Sample

CPU = torch.device("cpu")
KNOWN, NEW = 3, 2  # background and two structures that the network knows; the last two outputs are new
PRESENT = torch.tensor([True, True])


class Blobs:
    """Scans in which the first new structure is bright, and the second one dark; ``shown`` says where they are
    labelled."""

    device = CPU

    def __init__(self, shown=(True, True)):
        self.shown = shown

    def sample(self, seed: int) -> Sample:
        generator = torch.Generator().manual_seed(seed)
        image = torch.nn.functional.avg_pool3d(torch.randn(1, 24, 24, 24, generator=generator), 5, 1, 2)[0] * 8
        labels = torch.where(image > 0.6, KNOWN, torch.where(image < -0.6, KNOWN + 1, 0)).to(torch.uint8)
        volumes = torch.stack([torch.stack([image, torch.ones_like(image)])] * 2)
        both = torch.stack([labels * show for show in self.shown])
        return Sample(volumes, torch.zeros(3, 24, 24, 24), both, PRESENT)


class Glass(CrossModalNetwork):
    """Its features of a cell are the intensities of the cell's voxels."""

    def features(self, volumes: torch.Tensor, position: torch.Tensor, presence: torch.Tensor) -> list:  # noqa: ARG002
        blocks = volumes[:, :, 0]  # (B, M, D, H, W)
        for axis in (2, 4, 6):
            blocks = blocks.unflatten(axis, (-1, self.cell))
        cells = blocks.permute(0, 1, 3, 5, 7, 2, 4, 6).flatten(2, 4)  # (B, M, cell³, d, h, w)
        return list(cells.unbind(1))


def network(stem: int) -> Glass:
    torch.manual_seed(1)
    made = Glass(KNOWN + NEW, (stem**3, 8), stem)
    with torch.no_grad():
        for head in made.heads:
            head.weight[:, :KNOWN] /= 10  # it knows little
            head.weight[:, KNOWN:] = 0
            head.bias[KNOWN:] = -3.0  # begins as something that is never seen
    return made


def logits(made: CrossModalNetwork, seed: int) -> list[torch.Tensor]:
    sample = Sample.stack([Blobs().sample(seed)])
    with torch.no_grad():
        return [one for one in made(sample.volumes, sample.position, sample.presence) if one is not None]


def dice(made: CrossModalNetwork, structure: int) -> list[float]:
    """Of a sample that was not learnt from, by modality."""
    truth = Blobs().sample(99).labels[0] == structure
    found = [one[0].argmax(dim=0) == structure for one in logits(made, 99)]
    return [float(2 * (one & truth).sum() / (one.sum() + truth.sum())) for one in found]


@pytest.mark.parametrize("stem", [1, 2])
def test_new_structures_are_found_in_scans_that_were_not_learnt_from(stem):
    made = network(stem)
    assert max(dice(made, KNOWN)) == 0
    probe_heads(made, NEW, Blobs(), CPU)
    for structure in (KNOWN, KNOWN + 1):
        assert min(dice(made, structure)) > 0.8


def test_what_the_network_says_of_the_structures_that_it_knows_stays_the_same():
    made = network(1)
    before = logits(made, 5)
    weights = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    probe_heads(made, NEW, Blobs(), CPU)
    for one, other in zip(before, logits(made, 5), strict=True):
        assert torch.equal(one[:, :KNOWN], other[:, :KNOWN])
    changed = {name for name, tensor in made.state_dict().items() if not torch.equal(tensor, weights[name])}
    assert changed == {f"heads.{m}.{kind}" for m in range(2) for kind in ("weight", "bias")}


def test_a_head_in_whose_modality_nothing_new_is_labelled_is_left_alone():
    made = network(1)
    begun = made.heads[1].weight.clone()
    probe_heads(made, NEW, Blobs(shown=(True, False)), CPU)
    assert torch.equal(made.heads[1].weight, begun)
    assert min(dice(made, KNOWN)) == 0
    assert max(dice(made, KNOWN)) > 0.8


def test_a_structure_that_no_sample_shows_is_left_alone_beside_one_that_is_shown():
    class One(Blobs):
        def sample(self, seed: int) -> Sample:
            sample = super().sample(seed)
            return dataclasses.replace(sample, labels=sample.labels * (sample.labels == KNOWN))

    made = network(1)
    begun = [head.bias.detach().clone() for head in made.heads]
    probe_heads(made, NEW, One(), CPU)
    assert min(dice(made, KNOWN)) > 0.8
    for head, before in zip(made.heads, begun, strict=True):
        assert head.bias[-1] == before[-1]
        assert head.bias[-2] != before[-2]
        assert not head.weight[:, -1].any()


def test_a_structure_that_few_samples_show_is_found():
    class Rare(Blobs):
        def sample(self, seed: int) -> Sample:
            sample = super().sample(seed)
            return sample if seed % 40 == 39 else dataclasses.replace(sample, labels=0 * sample.labels)

    made = network(1)
    probe_heads(made, NEW, Rare(), CPU)
    assert made.heads[0].bias[-1] != -3.0


def test_the_same_samples_give_the_same_weights():
    one, other = network(1), network(1)
    for made in (one, other):
        probe_heads(made, NEW, Blobs(), CPU)
        torch.rand(3)
    assert all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))
