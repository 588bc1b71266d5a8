"""The weights of a bundle as the beginning of a training, also for a network that is wider than the bundle's.

What the bundle's network has learnt is kept (Chen et al., Net2Net, ICLR 2016, with zeros instead of copies): its
channels come first, and nothing of theirs reads the channels that are new, which begin at random. A gate that is new
lets nothing through, a head that sees neighbouring cells begins by not looking at them.
"""

import re

import torch
from torch import Tensor

from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.errors import TrainingError
from CrossModalSegLib.network import CrossModalNetwork, Head
from CrossModalSegLib.training.config import NetworkConfig, TrainingConfig
from CrossModalSegLib.training.training import build_network

_TWO_INPUTS = re.compile(r"decoders\.\d+\.levels\.\d+\.conv|gates\.\d+\.\d+\.gate|fuse\.conv")  # concatenations of two
_GATE = re.compile(r"(gates\.\d+)\.(\d+)\.(.*)")


def begin_from(bundle: Bundle, config: TrainingConfig, classes: int) -> CrossModalNetwork:
    """The network of ``config`` with the weights of ``bundle``. Raises TrainingError ``start-differs``."""
    torch.manual_seed(config.training.seed)
    network = build_network(config, classes)
    start_from(network, bundle)
    return network


def start_from(network: CrossModalNetwork, bundle: Bundle) -> None:
    """Put the weights of ``bundle`` into ``network``, in place.

    Raises TrainingError ``start-differs`` where the bundle's network has more channels somewhere, other levels or
    classes, or shares its convolutions otherwise.
    """
    given = {name: torch.from_numpy(array).float() for name, array in bundle.read_weights().items()}
    options = {key: value for key, value in bundle.network.items() if key != "classes"}
    parent = NetworkConfig(**options)
    begun = {}
    for name, fresh in network.state_dict().items():
        source = _source_name(name, shift=_first_gate(parent.fusion) - network.finest_gate)
        if source in given:
            begun[name] = _embedded(name, given[source], fresh, network)
        elif name.startswith("gates."):
            begun[name] = torch.zeros_like(fresh) if name.endswith("value.weight") else fresh
        else:
            raise _differs(bundle, f"it has no {name}")
    network.load_state_dict(begun)


def _first_gate(fusion: str) -> int:
    return 0 if fusion == "gated-all" else 1


def _source_name(name: str, shift: int) -> str:
    """The same gate's name in the parent, whose list of gates may begin at another level."""
    gate = _GATE.fullmatch(name)
    return f"{gate[1]}.{int(gate[2]) - shift}.{gate[3]}" if gate else name


def _embedded(name: str, given: Tensor, fresh: Tensor, network: CrossModalNetwork) -> Tensor:
    """``given`` in the first channels of ``fresh``, with zeros from new inputs to old outputs."""
    if name.startswith("heads.") and name.endswith("weight"):
        return _embedded_head(given, fresh, network.head(0))
    if given.shape == fresh.shape:
        return given.clone()
    if given.ndim != fresh.ndim or any(old > new for old, new in zip(given.shape, fresh.shape, strict=True)):
        raise TrainingError(
            "start-differs",
            f"{name} is {tuple(given.shape)} in the bundle and {tuple(fresh.shape)} in the network",
            "give the network at least the channels of the bundle's, and as many levels",
        )
    if given.ndim == 5:
        return _embedded_kernel(given, fresh, blocks=2 if _TWO_INPUTS.match(name) else 1)
    grown = fresh.clone()  # norms (M, C) and biases (C,)
    grown[..., : given.shape[-1]] = given
    return grown


def _embedded_kernel(given: Tensor, fresh: Tensor, blocks: int) -> Tensor:
    """A convolution's kernel (C_out, C_in, ...), whose inputs are ``blocks`` feature maps one after the other."""
    outputs, grown = len(given), fresh.clone()
    grown[:outputs] = 0
    for old, new in zip(given.chunk(blocks, dim=1), grown.chunk(blocks, dim=1), strict=True):
        new[:outputs, : old.shape[1]] = old
    return grown


def _embedded_head(given: Tensor, fresh: Tensor, head: Head) -> Tensor:
    """A head's kernel (C, K, ...); one that looks at its own cell only is the middle of one that looks around."""
    grown = torch.zeros_like(fresh)
    middle = grown[:, :, 1:-1, 1:-1, 1:-1] if head.smooth and given.shape[2] == head.cell else grown
    if given.shape[1:] != middle.shape[1:] or len(given) > len(grown):
        raise TrainingError(
            "start-differs",
            f"the bundle's head is {tuple(given.shape)}, the network's {tuple(fresh.shape)}",
            "train for the structures of the bundle",
        )
    middle[: len(given)] = given
    return grown


def _differs(bundle: Bundle, what: str) -> TrainingError:
    return TrainingError(
        "start-differs", f"bundle {bundle.name} cannot begin this training: {what}", "give another bundle or network"
    )
