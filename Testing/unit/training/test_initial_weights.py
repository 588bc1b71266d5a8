"""A training that begins from a bundle begins by predicting what the bundle predicts, however much wider it is."""

from dataclasses import replace

import pytest
import torch

from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.errors import TrainingError
from CrossModalSegLib.inference.inference import load_network
from CrossModalSegLib.network import CrossModalNetwork
from CrossModalSegLib.training.config import NetworkConfig, TrainingConfig
from CrossModalSegLib.training.initial_weights import begin_from
from CrossModalSegLib.training.trained_bundle import TrainedModel, publish_trained
from Testing.tiny_bundle import LABEL_MAP

CLASSES = 1 + len(LABEL_MAP.structures)
PARENT = NetworkConfig(channels=(4, 6, 8), stem_stride=2, fusion="gated", share_convolutions=True)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Bundle:
    """A bundle of random weights, MIA and gates among them; what float16 keeps of them."""
    torch.manual_seed(1)
    network = CrossModalNetwork(CLASSES, (4, 6, 8), 2, "gated", True)
    weights = {name: torch.randn_like(value) * 0.3 for name, value in network.state_dict().items()}
    config = TrainingConfig(name="parent", network=PARENT, patch=(32, 32, 32))
    folder = tmp_path_factory.mktemp("bundles") / "parent"
    return publish_trained(folder, TrainedModel(config, LABEL_MAP, weights, {}))


def begun(bundle: Bundle, **changes) -> CrossModalNetwork:
    config = TrainingConfig(network=replace(PARENT, **changes), patch=(32, 32, 32))
    return begin_from(bundle, config, CLASSES).eval()


def predictions(network: CrossModalNetwork) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    volumes, position = (torch.rand(1, *shape, 32, 32, 32, generator=generator) for shape in ((2, 2), (3,)))
    with torch.no_grad():
        return torch.stack([one for one in network(volumes, position, torch.tensor([[True, True]])) if one is not None])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"channels": (6, 6, 8)},
        {"channels": (4, 9, 8)},
        {"channels": (6, 10, 8), "smooth_head": True},
        {"fusion": "gated-all"},
        {"channels": (6, 10, 8), "smooth_head": True, "fusion": "gated-all"},
    ],
    ids=str,
)
def test_a_network_that_is_wider_begins_by_predicting_as_the_bundle_does(bundle, changes):
    assert torch.allclose(predictions(begun(bundle, **changes)), predictions(load_network(bundle).eval()), atol=1e-4)


def test_channels_that_are_new_learn_and_so_do_the_ways_to_them(bundle):
    network = begun(bundle, channels=(6, 10, 8), fusion="gated-all", smooth_head=True)
    torch.manual_seed(0)
    outputs = network(torch.rand(1, 2, 2, 32, 32, 32), torch.rand(1, 3, 32, 32, 32), torch.tensor([[True, True]]))
    sum(one.square().mean() for one in outputs).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
    assert network.heads[0].weight.grad[4:].abs().amin() > 0  # of the new features
    assert network.gates[0][0].value.weight.grad.abs().amax() > 0  # of the new gate


def test_what_is_wider_in_the_bundle_or_has_other_structures_is_refused(bundle):
    with pytest.raises(TrainingError, match=r"start-differs.*\(4, 5, 4, 4, 4\) in the bundle"):
        begun(bundle, channels=(2, 6, 8))
    with pytest.raises(TrainingError, match=r"start-differs.*train for the structures of the bundle"):
        begin_from(bundle, TrainingConfig(network=PARENT, patch=(32, 32, 32)), CLASSES + 1)
    with pytest.raises(TrainingError, match=r"start-differs"):
        begun(bundle, share_convolutions=False)
    with pytest.raises(TrainingError, match=r"start-differs"):
        begun(bundle, channels=(4, 6, 8, 8))
