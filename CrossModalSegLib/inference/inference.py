"""From two volumes to one label map per modality, each on its volume's own grid.

The order of the steps: ``prepare`` (both volumes onto the model grid), ``predict`` (sliding window over the network),
``restore`` (probabilities back to each native grid, in native_grid.py). ``Segmenter`` holds the loaded network, so that
one process segments many cases with it.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from monai.data.utils import compute_importance_map, dense_patch_slices
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.errors import BundleError, ConfigError, DeviceError, InputError
from CrossModalSegLib.imaging.background import with_dark_background
from CrossModalSegLib.imaging.geometry import model_grid, resample_to
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.volume import Volume
from CrossModalSegLib.inference.native_grid import restore
from CrossModalSegLib.network import MODALITIES, CrossModalNetwork
from CrossModalSegLib.preprocess import IntensityRule, network_input, position_channels

OVERLAP = 0.5  # of neighbouring windows

Place = tuple[Any, ...]  # three slices
Report = Callable[[str, float], None]  # stage, fraction done


def _silent(_stage: str, _fraction: float) -> None:
    """Tells nobody."""


@dataclass(frozen=True)
class ModelInput:
    """Both modalities on the model grid: ``volumes`` (M, 2, D, H, W) float32, ``presence`` (M,) bool."""

    volumes: Tensor
    presence: Tensor
    grid: Grid


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


@dataclass(frozen=True)
class SegmentationResult:
    """What one case gave: results by the names the volumes were given under, and how they came about."""

    modalities: dict[str, ModalityResult]
    model_grid: Grid
    device: str
    fallbacks: tuple[str, ...]
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Attempt:
    """One step of the out-of-memory ladder: where the network runs, and where probabilities are added up."""

    device: torch.device
    accumulate: torch.device
    words: str


class Segmenter:
    """A bundle's network, loaded and ready on a device ("auto", "cpu" or "cuda"). ``network`` replaces the bundle's own.

    Raises BundleError ``bundle-network`` when the weights do not fit the network, DeviceError ``no-gpu``.
    """

    def __init__(self, bundle: Bundle, device: str = "auto", network: CrossModalNetwork | None = None):
        self.bundle = bundle
        self.device = choose_device(device)
        self.network = (network or load_network(bundle)).to(self.device).eval()
        self.rules = intensity_rules(bundle)

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
        model_input = prepare({slots[name]: volume for name, volume in volumes.items()}, self.bundle, self.rules)
        clock.lap("resampling")
        fallbacks: list[str] = []
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
        probabilities = predict(network, model_input, self.bundle, attempt, report)
        clock.lap("network")
        results = {}
        for position, (name, volume) in enumerate(volumes.items()):
            report("restoring", position / len(volumes))
            own = probabilities[slots[name]]
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
    try:
        network = CrossModalNetwork(**bundle.network)
        network.load_state_dict({name: torch.from_numpy(array) for name, array in bundle.read_weights().items()})
    except (TypeError, ValueError, RuntimeError) as error:
        raise _unusable(bundle, f"weights do not fit the network: {error}") from error
    classes = network.heads[0].out_channels
    if classes != len(bundle.label_map.channels):
        raise _unusable(bundle, f"{classes} classes for {len(bundle.label_map.values)} structures and background")
    if any(size % network.stride for size in bundle.patch_size):
        raise _unusable(bundle, f"patch_size {bundle.patch_size} is not in multiples of {network.stride}")
    return network


def intensity_rules(bundle: Bundle) -> tuple[IntensityRule, ...]:
    """How the bundle wants the intensities of its modalities, in their order. Raises BundleError ``bundle-network``."""
    try:
        return tuple(IntensityRule(**bundle.intensity[name]) for name in bundle.modalities)
    except (TypeError, ConfigError) as error:
        raise _unusable(bundle, f"intensity rules cannot be used: {error}") from error


def modality_slot(bundle: Bundle, name: str) -> int:
    """Position (0 or 1) of the modality called ``name``, by its own name or an alias, in any case of letters."""
    return bundle.modalities.index(bundle.modality_named(name))


def prepare(volumes: Mapping[int, Volume], bundle: Bundle, rules: Sequence[IntensityRule]) -> ModelInput:
    """Both modalities on one world-aligned grid; an absent one is zeros and marked as such."""
    volumes = {slot: with_dark_background(volume) for slot, volume in volumes.items()}
    grid = model_grid(list(volumes.values()), bundle.spacing_mm)
    stacked = torch.zeros((MODALITIES, 2, *grid.shape_kji))
    for slot, volume in volumes.items():
        array, covered = resample_to(volume, grid)
        stacked[slot] = network_input(torch.from_numpy(array), torch.from_numpy(covered), rules[slot])
    presence = torch.tensor([slot in volumes for slot in range(MODALITIES)])
    return ModelInput(stacked, presence, grid)


@torch.inference_mode()
def predict(
    network: CrossModalNetwork, model_input: ModelInput, bundle: Bundle, attempt: Attempt, report: Report
) -> dict[int, Tensor]:
    """Class probabilities (C, D, H, W) float16 per present modality: Gaussian-weighted mean over sliding windows.

    The weights are divided by their sum beforehand, so that the sum of the weighted windows is the mean and float16
    suffices. Windows that no modality covers are skipped: background.
    """
    window = bundle.patch_size
    volumes, crop = _pad_to(model_input.volumes, window)
    position = _position(model_input, crop, tuple(volumes.shape[-3:]))
    places = _windows(tuple(volumes.shape[-3:]), window)
    importance = compute_importance_map(window, mode="gaussian", sigma_scale=0.25).clamp_min(1e-3)
    total = torch.zeros(volumes.shape[-3:])
    for place in places:
        total[place] += importance
    slots = [slot for slot in range(MODALITIES) if model_input.presence[slot]]
    classes = bundle.label_map.channels
    sums = {
        slot: torch.zeros((len(classes), *volumes.shape[-3:]), dtype=torch.float16, device=attempt.accumulate)
        for slot in slots
    }
    presence = model_input.presence[None].to(attempt.device)
    mirrored = bundle.label_map.mirrored_channels() if bundle.mirror else None
    for number, place in enumerate(places):
        report("network", number / len(places))
        weight = (importance / total[place]).to(attempt.accumulate)
        batch = volumes[(..., *place)][None].to(attempt.device)  # (1, M, 2, d, h, w)
        if not bool(batch[:, :, 1].any()):
            for slot in slots:
                sums[slot][0][place] += weight.half()
            continue
        here = position[(..., *place)][None].to(attempt.device)
        probabilities = window_probabilities(network, batch, here, presence, mirrored)
        for slot in slots:
            sums[slot][(..., *place)] += (probabilities[slot].to(attempt.accumulate) * weight).half()
    return {slot: values[(..., *crop)] for slot, values in sums.items()}


def window_probabilities(
    network: CrossModalNetwork, volumes: Tensor, position: Tensor, presence: Tensor, mirrored: Sequence[int] | None
) -> list[Tensor]:
    """Class probabilities (C, d, h, w) float32 of one window per modality; what an absent one holds has no meaning.

    With ``mirrored`` (the channel of each structure on the other side) they are the mean of the prediction and of that
    for the window mirrored left to right, mirrored back.
    """
    with torch.autocast(volumes.device.type, dtype=torch.bfloat16):
        logits = network(volumes, position, presence)  # each (1, C, d, h, w) or None
    straight = [torch.empty(0) if one is None else torch.softmax(one[0].float(), dim=0) for one in logits]
    if mirrored is None:
        return straight
    from_left = position.flip(-1) * torch.tensor([1, 1, -1], device=position.device).view(3, 1, 1, 1)
    turned = window_probabilities(network, volumes.flip(-1), from_left, presence, None)
    return [
        (one + other.flip(-1)[list(mirrored)]) / 2 if one.numel() else one
        for one, other in zip(straight, turned, strict=True)
    ]


@torch.inference_mode()
def remove_islands(probabilities: Tensor) -> None:
    """In place: what is labelled apart from the largest connected piece of foreground becomes background.

    ``probabilities`` (C, D, H, W); voxels are connected by their faces.
    """
    foreground = (probabilities.argmax(dim=0) > 0).cpu().numpy()
    pieces, count = ndimage.label(foreground)
    if count > 1:
        largest = 1 + int(np.bincount(pieces.ravel())[1:].argmax())
        islands = torch.from_numpy(foreground & (pieces != largest)).to(probabilities.device)
        probabilities[:, islands] = 0
        probabilities[0, islands] = 1


def _attempts(device: torch.device) -> Iterator[Attempt]:
    """The out-of-memory ladder, most comfortable first."""
    cpu = torch.device("cpu")
    if device.type != "cpu":
        yield Attempt(device, device, f"on {device}")
        yield Attempt(device, cpu, f"on {device} with probabilities kept in main memory")
    yield Attempt(cpu, cpu, "on the CPU")


def _pad_to(volumes: Tensor, window: Sequence[int]) -> tuple[Tensor, Place]:
    """``volumes`` padded with "not covered" to at least one window, and the slices that undo it."""
    padding: list[int] = []
    crop = []
    for size, wanted in zip(volumes.shape[-3:], window, strict=True):
        before = max(0, wanted - size) // 2
        padding = [before, max(0, wanted - size) - before, *padding]
        crop.append(slice(before, before + size))
    return F.pad(volumes, padding), tuple(crop)


def _position(model_input: ModelInput, crop: Place, shape: tuple[int, ...]) -> Tensor:
    """(3, D, H, W) position channels of the padded volumes; the model grid's centre is the centre of the body."""
    size = torch.tensor(model_input.volumes.shape[-3:])
    padding = torch.tensor([part.start for part in crop])
    spacing = torch.tensor(model_input.grid.spacing_ijk[::-1], dtype=torch.float32)
    return position_channels(-(padding + (size - 1) / 2) * spacing, shape, spacing)


def _windows(shape: tuple[int, ...], window: Sequence[int]) -> list[Place]:
    interval = [max(1, int(size * (1 - OVERLAP))) for size in window]
    return list(dense_patch_slices(shape, window, interval))


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
