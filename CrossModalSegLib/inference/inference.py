"""From two volumes to one label map per modality, each on its volume's own grid.

The order of the steps: ``Locator.find`` for bundles with a locator, ``prepare`` (both volumes onto the model grid),
``predict`` (sliding window over the network), ``restore`` (probabilities back to each native grid). ``Segmenter`` holds
the loaded network, so that one process segments many cases with it.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.bundles.bundle_metadata import LOCATOR_FILE
from CrossModalSegLib.errors import BundleError, ConfigError, DeviceError, InputError
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.volume import Volume
from CrossModalSegLib.inference.locator import Locator
from CrossModalSegLib.inference.model_input import ModelInput, prepare
from CrossModalSegLib.inference.native_grid import restore
from CrossModalSegLib.inference.sliding_window import Attempt, Report, Windows, make_background, predict
from CrossModalSegLib.network import MODALITIES, CrossModalNetwork
from CrossModalSegLib.plurals import counted
from CrossModalSegLib.preprocess import IntensityRule

NOT_FOUND = "the anatomy was not found by the coarse pass, the whole scan was looked at"


def _silent(_stage: str, _fraction: float) -> None:
    """Tells nobody."""


@dataclass(frozen=True)
class ModalityResult:
    """One modality's segmentation on its volume's own grid.

    ``labels`` (K, J, I) uint16 label values, ``confidence`` (K, J, I) float32: the highest class probability.
    ``probabilities`` (C, D, H, W) float16 on the model grid, in main memory.
    """

    volume: Volume
    labels: np.ndarray
    confidence: np.ndarray
    probabilities: Tensor

    @cached_property
    def best(self) -> tuple[Tensor, Tensor]:
        """The highest class probability of each voxel of the model grid, and its channel (int16), both (D, H, W)."""
        highest, winner = self.probabilities.max(dim=0)
        return highest, winner.to(torch.int16)


@dataclass(frozen=True)
class SegmentationResult:
    """What one case gave: results by the names the volumes were given under, and how they came about."""

    modalities: dict[str, ModalityResult]
    model_grid: Grid
    device: str
    fallbacks: tuple[str, ...]
    seconds: dict[str, float] = field(default_factory=dict)


class Segmenter:
    """A bundle's network, loaded and ready on a device ("auto", "cpu" or "cuda"). ``network`` replaces the bundle's
    own.

    Raises BundleError ``bundle-network`` when the weights do not fit the network, DeviceError ``no-gpu``.
    """

    def __init__(self, bundle: Bundle, device: str = "auto", network: CrossModalNetwork | None = None):
        self.bundle = bundle
        self.device = choose_device(device)
        self.network = (network or load_network(bundle)).to(self.device).eval()
        self.rules = intensity_rules(bundle)
        self.locator = load_locator(bundle)

    def segment(self, volumes: Mapping[str, Volume], report: Report = _silent) -> SegmentationResult:
        """Segment one or both modalities of a case.

        ``volumes`` maps the bundle's modality names, or their aliases, to volumes. ``report`` is told the stage and
        the fraction of it that is done. Raises InputError ``unknown-modality``, ``same-modality`` or ``scan-missing``,
        DeviceError ``out-of-memory``.
        """
        slots = {name: modality_slot(self.bundle, name) for name in volumes}
        _refuse_same_slot(slots, self.bundle)
        _refuse_missing(slots, self.bundle)
        clock = _Clock()
        report("resampling", 0.0)
        by_slot = {slots[name]: volume for name, volume in volumes.items()}
        located = self.locator.find(by_slot) if self.locator else None
        fallbacks = [NOT_FOUND] if self.locator and located is None else []
        model_input = prepare(by_slot, self.bundle.spacing_mm, self.rules, located.box if located else None)
        if located:
            model_input = replace(model_input, within=located.within(model_input.grid))
        clock.lap("resampling")
        for attempt in _attempts(self.device):
            try:
                results = self._try(attempt, model_input, slots, volumes, report, clock)
            except torch.OutOfMemoryError:
                fallbacks.append(f"out of memory {attempt.words}")
            else:
                device = str(attempt.device)
                return SegmentationResult(results, model_input.grid, device, tuple(fallbacks), clock.seconds)
            torch.cuda.empty_cache()  # here, where the error no longer holds on to the tensors
        raise DeviceError("out-of-memory", "; ".join(fallbacks), "close other programs or crop the volumes")

    def _try(
        self,
        attempt: Attempt,
        model_input: ModelInput,
        slots: Mapping[str, int],
        volumes: Mapping[str, Volume],
        report: Report,
        clock: "_Clock",
    ) -> dict[str, ModalityResult]:
        """Network and way back to the native grids as ``attempt`` says. Raises torch.OutOfMemoryError."""
        network = self.network.to(attempt.device)
        probabilities = predict(network, model_input, windows_of(self.bundle), attempt, report)
        clock.lap("network")
        results, done, total = {}, 0, sum(volume.array.size for volume in volumes.values())
        for name, volume in volumes.items():
            report("restoring", done / total)
            done += volume.array.size
            own = probabilities[slots[name]]
            if model_input.within is not None:
                make_background(own, ~model_input.within.to(own.device))
            if self.bundle.single_component:
                remove_islands(own)
            labels, confidence = restore(own, model_input.grid, volume.grid, self.bundle.label_map.channels)
            results[name] = ModalityResult(volume, labels, confidence, own.cpu())
        clock.lap("restoring")
        return results


def choose_device(name: str) -> torch.device:
    """The device for "auto", "cpu" or "cuda". Raises DeviceError ``no-gpu``."""
    if name == "cuda" and not torch.cuda.is_available():
        raise DeviceError("no-gpu", "device cuda: torch finds no GPU", "use --device auto, or see crossmodalseg doctor")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def load_network(bundle: Bundle) -> CrossModalNetwork:
    """The bundle's network with its weights, on the CPU. Raises BundleError ``bundle-network``."""
    network = _network_with(bundle, bundle.network, bundle.read_weights(), "the network")
    classes = network.heads[0].out_channels
    if classes != len(bundle.label_map.channels):
        raise _unusable(bundle, f"{classes} classes for {len(bundle.label_map.values)} structures and background")
    if any(size % network.stride for size in bundle.patch_size):
        raise _unusable(bundle, f"patch_size {bundle.patch_size} is not in multiples of {network.stride}")
    if max(bundle.patch_size) == network.stride:  # its norms need more than one
        raise _unusable(bundle, f"patch_size {bundle.patch_size} is a single cell at the coarsest level")
    return network


def _network_with(
    bundle: Bundle, arguments: Mapping[str, Any], arrays: Mapping[str, np.ndarray], what: str
) -> CrossModalNetwork:
    """A network of these constructor arguments and weights. Raises BundleError ``bundle-network``."""
    weights = {name: torch.from_numpy(array) for name, array in arrays.items()}
    try:
        with torch.device("meta"):  # no memory yet: what the bundle says may be anything
            shapes = {name: tensor.shape for name, tensor in CrossModalNetwork(**arguments).state_dict().items()}
    except Exception as error:  # the arguments come from outside, and torch raises anything for those it cannot use
        raise _unusable(bundle, f"{what} cannot be made: {type(error).__name__} {error}") from error
    wrong = sorted(name for name in shapes | weights if shapes.get(name) != _shape(weights.get(name)))
    if wrong:
        count = counted(len(wrong), "tensor")
        raise _unusable(bundle, f"weights do not fit {what} in {count}, such as {wrong[0]}")
    network = CrossModalNetwork(**arguments)
    network.load_state_dict(weights)
    return network


def _shape(tensor: Tensor | None) -> torch.Size | None:
    return None if tensor is None else tensor.shape


def load_locator(bundle: Bundle) -> Locator | None:
    """The bundle's coarse network, on the CPU; None where it has none. Raises BundleError ``bundle-network``."""
    if bundle.locator is None:
        return None
    settings = bundle.locator
    network = _network_with(bundle, settings.network, bundle.read_weights(LOCATOR_FILE), "the locator")
    if network.heads[0].out_channels != 2 or any(size % network.stride for size in settings.patch_size):
        raise _unusable(bundle, f"the locator needs 2 classes and a patch_size in multiples of {network.stride}")
    return Locator(bundle, network, intensity_rules(bundle))


def windows_of(bundle: Bundle) -> Windows:
    """How the bundle's network looks at a scan."""
    mirrored = bundle.label_map.mirrored_channels() if bundle.mirror else None
    return Windows(bundle.patch_size, len(bundle.label_map.channels), mirrored)


def intensity_rules(bundle: Bundle) -> tuple[IntensityRule, ...]:
    """How the bundle wants the intensities of its modalities, in their order. Raises BundleError ``bundle-network``."""
    try:
        return tuple(IntensityRule(**bundle.intensity[name]) for name in bundle.modalities)
    except (TypeError, ConfigError) as error:
        raise _unusable(bundle, f"intensity rules cannot be used: {error}") from error


def modality_slot(bundle: Bundle, name: str) -> int:
    """Position (0 or 1) of the modality called ``name``, by its own name or an alias, in any case of letters."""
    return bundle.modalities.index(bundle.modality_named(name))


@torch.inference_mode()
def remove_islands(probabilities: Tensor) -> None:
    """In place: what is labelled apart from the largest connected piece of foreground becomes background.

    ``probabilities`` (C, D, H, W); voxels are connected by their faces.
    """
    foreground = (probabilities.max(dim=0).indices > 0).cpu().numpy()  # twice as fast as argmax
    pieces, count = ndimage.label(foreground)
    if count > 1:
        largest = 1 + int(np.bincount(pieces.ravel())[1:].argmax())
        make_background(probabilities, torch.from_numpy(foreground & (pieces != largest)).to(probabilities.device))


def _attempts(device: torch.device) -> Iterator[Attempt]:
    """The out-of-memory ladder, most comfortable first."""
    cpu = torch.device("cpu")
    if device.type != "cpu":
        yield Attempt(device, device, f"on {device}")
        yield Attempt(device, cpu, f"on {device} with probabilities kept in main memory")
    yield Attempt(cpu, cpu, "on the CPU")


def _unusable(bundle: Bundle, what: str) -> BundleError:
    return BundleError("bundle-network", f"bundle {bundle.name}: {what}", "get the bundle again")


def _refuse_same_slot(slots: Mapping[str, int], bundle: Bundle) -> None:
    if len(set(slots.values())) < len(slots):
        raise InputError(
            "same-modality",
            f"inputs {', '.join(slots)} both stand for {bundle.modalities[next(iter(slots.values()))]}",
            f"give one volume for each of {' and '.join(bundle.modalities)}",
        )


def _refuse_missing(slots: Mapping[str, int], bundle: Bundle) -> None:
    if bundle.requires_both and len(slots) < MODALITIES:
        raise InputError(
            "scan-missing",
            f"bundle {bundle.name} needs both {' and '.join(bundle.modalities)}; only {', '.join(slots)} is given",
            "give both scans, or use a model that can do with one",
        )


class _Clock:
    """Seconds per stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = round(self.seconds.get(stage, 0.0) + now - self._last, 3)
        self._last = now
