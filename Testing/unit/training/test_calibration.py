"""Calibration: volumes come out right on average, and nothing but the heads' biases changes."""

import pytest
import torch

from CrossModalSegLib.network import CrossModalNetwork
from CrossModalSegLib.synthesis.samples import Sample
from CrossModalSegLib.training.calibration import FARTHEST, calibrate, volume_offsets


def blurred(bias: torch.Tensor, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (3, 20000) that tell the labels only roughly, with one class's moved by ``bias``."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.multinomial(torch.tensor([0.7, 0.25, 0.05]), 20000, replacement=True, generator=generator)
    logits = 2 * torch.nn.functional.one_hot(labels, 3).T + torch.randn(3, 20000, generator=generator)
    return logits + bias[:, None], labels


def volumes(logits: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    return torch.bincount((logits + offsets[:, None]).argmax(0), minlength=3).float()


def test_volumes_are_right_on_average_and_on_samples_that_were_not_fitted():
    bias = torch.tensor([0.0, 0.8, -0.5])
    fitted = [blurred(bias, seed) for seed in range(4)]
    offsets = volume_offsets([logits for logits, _ in fitted], [labels for _, labels in fitted])
    logits, labels = blurred(bias, 99)
    before, after, true = volumes(logits, torch.zeros(3)), volumes(logits, offsets), torch.bincount(labels).float()
    assert (before / true - 1).abs().max() > 0.15
    assert (after / true - 1).abs().max() < 0.06
    assert offsets[0] == 0


def test_a_class_that_no_sample_shows_is_left_alone():
    logits, labels = blurred(torch.zeros(3), 0)
    labels[labels == 2] = 1
    assert volume_offsets([logits], [labels])[2] == 0


def test_a_logit_is_moved_no_further_than_agreed():
    logits = torch.tensor([[10.0] * 100, [0.0] * 100])
    assert volume_offsets([logits], [torch.ones(100, dtype=torch.long)]).tolist() == [0, pytest.approx(FARTHEST)]


class Halves:
    """The left half is structure 1; both modalities show it, the second sample the first modality alone."""

    device = torch.device("cpu")

    def sample(self, seed: int) -> Sample:
        generator = torch.Generator().manual_seed(seed)
        labels = torch.zeros(2, 16, 16, 16, dtype=torch.uint8)
        labels[:, :, :, :8] = 1
        volumes = torch.rand(2, 2, 16, 16, 16, generator=generator)
        volumes[:, 0] += labels
        return Sample(volumes, torch.zeros(3, 16, 16, 16), labels, torch.tensor([True, seed == 0]))


@pytest.mark.parametrize("smooth", [False, True])
def test_only_the_heads_biases_change_and_by_what_is_returned(smooth):
    torch.manual_seed(0)
    network = CrossModalNetwork(2, (4, 6), 2, smooth_head=smooth)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    added = calibrate(network, Halves(), 2)
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed <= {"heads.0.bias", "heads.1.bias"}
    for m in range(2):
        moved = network.heads[m].bias - before[f"heads.{m}.bias"]
        assert torch.allclose(moved, torch.tensor(added[m]), atol=1e-6)
