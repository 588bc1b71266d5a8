"""The training loop, read from top to bottom. Every random choice follows from the seed and the step, so a training
that was stopped and resumed gives the weights of one that was not."""

import io
import math
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from CrossModalSegLib.atomic import write_atomically
from CrossModalSegLib.config import OptimisationConfig, TrainingConfig, config_to_tables
from CrossModalSegLib.errors import TrainingError
from CrossModalSegLib.losses import supervised_loss
from CrossModalSegLib.network import CrossModalNetwork
from CrossModalSegLib.sources import SampleSource
from CrossModalSegLib.synthesis import Sample

VALIDATION_SEED = 1_000_000_007  # seeds of validation samples start here: never met in training


@dataclass
class Progress:
    """What is reported after each step; ``dice`` is the latest validation Dice per class, background left out."""

    step: int
    iterations: int
    loss: float
    learning_rate: float
    seconds_left: float
    dice: list[float] = field(default_factory=list)

    @property
    def mean_dice(self) -> float:
        """Mean over the classes that occur; NaN before the first validation."""
        known = [value for value in self.dice if not math.isnan(value)]
        return sum(known) / len(known) if known else math.nan


def train(
    config: TrainingConfig,
    classes: int,
    training: SampleSource,
    validation: SampleSource | None,
    folder: Path,
    device: torch.device,
    report: Callable[[Progress], None],
) -> dict[str, Tensor]:
    """Trains, or goes on where ``folder/checkpoint.pt`` ends, and returns the averaged weights.

    Raises TrainingError when the loss is no longer finite or the checkpoint belongs to another configuration.
    """
    options = config.training
    torch.manual_seed(options.seed)
    network = build_network(config, classes).to(device)
    average = {name: value.detach().clone() for name, value in network.state_dict().items()}
    optimiser = torch.optim.AdamW(network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
    step, curve = load_checkpoint(folder, config, network, average, optimiser)

    started, first, saved = time.monotonic(), step, time.monotonic()
    dice: list[float] = curve[-1]["dice"] if curve else []
    for batch in batches(training, options, step):
        rate = learning_rate(options, step)
        for group in optimiser.param_groups:
            group["lr"] = rate
        loss = train_step(network, optimiser, batch.to(device), options.loss_stride, phase=step)
        if not math.isfinite(loss):
            raise TrainingError("loss-not-finite", f"the loss is {loss} at step {step}", "lower the learning rate")
        update_average(average, network, min(1 - 1 / (step + 1), options.average))
        step += 1

        if validation is not None and (step % options.validate_every == 0 or step == options.iterations):
            with averaged_weights(network, average):
                dice = validate(network, validation, options.validation_samples, classes, device)
            curve.append({"step": step, "loss": loss, "dice": dice})
        left = (time.monotonic() - started) / (step - first) * (options.iterations - step)
        report(Progress(step, options.iterations, loss, rate, left, dice))
        if time.monotonic() - saved > 60 * options.checkpoint_minutes or step == options.iterations:
            save_checkpoint(folder, config, network, average, optimiser, step, curve)
            saved = time.monotonic()
    return average


def build_network(config: TrainingConfig, classes: int) -> CrossModalNetwork:
    """A new network of this configuration, with random weights."""
    options = config.network
    return CrossModalNetwork(classes, options.channels, options.stem_stride, options.fusion, options.share_convolutions)


def learning_rate(options: OptimisationConfig, step: int) -> float:
    """Linear warm-up, constant, then linear decay to zero: the length may be changed until the decay begins."""
    warm = min(1.0, (step + 1) / max(1, options.warmup))
    decay_steps = max(1.0, options.decay * options.iterations)
    return options.learning_rate * min(warm, 1.0, (options.iterations - step) / decay_steps)


class StepDataset(Dataset[Sample]):
    """The batch of every step, drawn by the step's own seeds: volumes (B, M, 2, D, H, W), labels (B, M, D, H, W)."""

    def __init__(self, source: SampleSource, options: OptimisationConfig):
        self.source, self.options = source, options

    def __len__(self) -> int:
        return self.options.iterations

    def __getitem__(self, step: int) -> Sample:
        first = self.options.seed * 500_000_000 + step * self.options.batch
        samples = [self.source.sample(first + n) for n in range(self.options.batch)]
        return Sample.stack([sample.to(self.source.device) for sample in samples])


def batches(source: SampleSource, options: OptimisationConfig, step: int) -> DataLoader[Sample]:
    """The batches from ``step`` to the end, prepared by ``options.workers`` processes (0: by this one).

    A source that works on a GPU works in this process: it is quick, and CUDA does not survive a fork.
    """
    remaining = range(step, options.iterations)
    workers = options.workers if source.device.type == "cpu" else 0
    return DataLoader(StepDataset(source, options), batch_size=None, sampler=remaining, num_workers=workers)


def train_step(
    network: CrossModalNetwork, optimiser: torch.optim.Optimizer, batch: Sample, loss_stride: int, phase: int
) -> float:
    """One update by L_sup, the mean over the modalities present; returns the loss."""
    network.train()
    with autocast(batch.volumes.device):
        features = network.features(batch.volumes, batch.position, batch.presence)
        losses = []
        for modality, decoded in enumerate(features):  # (B, C0, d, h, w)
            if decoded is not None:
                cells, labels = _present(decoded, batch.labels[:, modality], batch.presence[:, modality])
                cells, labels = thin_out(cells, labels, loss_stride, phase)
                losses.append(supervised_loss(network.classify(cells, modality), labels))
    loss = torch.stack(losses).mean()
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()
    return float(loss.detach())


def _present(features: Tensor, labels: Tensor, presence: Tensor) -> tuple[Tensor, Tensor]:
    """The samples of the batch that have this modality; ``presence`` is (B,) bool."""
    return (features, labels) if bool(presence.all()) else (features[presence], labels[presence])


def thin_out(features: Tensor, labels: Tensor, stride: int, phase: int) -> tuple[Tensor, Tensor]:
    """Every ``stride``-th feature cell per axis, starting at an offset that changes with ``phase``, and their labels.

    The head classifies each feature cell by itself, so the loss may look at a part of them: with many classes a
    large part of a CPU training step would go into the loss. Features (B, C, d, h, w), labels (B, D, H, W), D = d · block.
    """
    if stride == 1:
        return features, labels
    generator = torch.Generator().manual_seed(phase)
    offsets = torch.randint(0, stride, (3,), generator=generator).tolist()
    block = labels.shape[1] // features.shape[2]
    for axis, offset in enumerate(offsets):
        features = features[(slice(None),) * (2 + axis) + (slice(offset, None, stride),)]
        cells = labels.unflatten(1 + axis, (-1, block))[(slice(None),) * (1 + axis) + (slice(offset, None, stride),)]
        labels = cells.flatten(1 + axis, 2 + axis)
    return features, labels


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 where the device computes in it: half the time on CPUs with AVX-512 and on GPUs."""
    return torch.autocast(device.type, dtype=torch.bfloat16)


def update_average(average: dict[str, Tensor], network: torch.nn.Module, decay: float) -> None:
    """average = decay · average + (1 − decay) · weights, in place."""
    weights = network.state_dict()
    torch._foreach_lerp_(list(average.values()), [weights[name].detach() for name in average], 1 - decay)


@contextmanager
def averaged_weights(network: torch.nn.Module, average: dict[str, Tensor]) -> Iterator[None]:
    """The network with the averaged weights inside the block, with its own after it."""
    own = {name: value.detach().clone() for name, value in network.state_dict().items()}
    network.load_state_dict(average)
    try:
        yield
    finally:
        network.load_state_dict(own)


@torch.no_grad()
def validate(
    network: CrossModalNetwork, source: SampleSource, samples: int, classes: int, device: torch.device
) -> list[float]:
    """Dice per class without background over fixed validation samples and modalities; NaN for classes not met."""
    network.eval()
    overlap, total = torch.zeros(classes), torch.zeros(classes)
    for number in range(samples):
        sample = Sample.stack([source.sample(VALIDATION_SEED + number)]).to(device)
        with autocast(device):
            logits = network(sample.volumes, sample.position, sample.presence)
        for modality, output in enumerate(logits):
            if output is not None:
                predicted, truth = output.argmax(1).flatten().cpu(), sample.labels[0, modality].flatten().cpu().long()
                overlap += torch.bincount(predicted[predicted == truth], minlength=classes)
                total += torch.bincount(predicted, minlength=classes) + torch.bincount(truth, minlength=classes)
    return (2 * overlap / total)[1:].tolist()


def save_checkpoint(
    folder: Path,
    config: TrainingConfig,
    network: torch.nn.Module,
    average: dict[str, Tensor],
    optimiser: torch.optim.Optimizer,
    step: int,
    curve: list[dict[str, Any]],
) -> None:
    """Writes folder/checkpoint.pt: the old one or the new one, never a mixture."""
    buffer = io.BytesIO()
    state = {
        "config": config_to_tables(config),
        "network": network.state_dict(),
        "average": average,
        "optimiser": optimiser.state_dict(),
        "step": step,
        "curve": curve,
    }
    torch.save(state, buffer)
    write_atomically(folder / "checkpoint.pt", buffer.getvalue())


def read_curve(folder: Path) -> list[dict[str, Any]]:
    """The validation curve of the checkpoint in ``folder``: step, loss and Dice per class of each validation."""
    path = folder / "checkpoint.pt"
    return _read_checkpoint(path)["curve"] if path.exists() else []


def load_checkpoint(
    folder: Path,
    config: TrainingConfig,
    network: torch.nn.Module,
    average: dict[str, Tensor],
    optimiser: torch.optim.Optimizer,
) -> tuple[int, list[dict[str, Any]]]:
    """Restores the state in place and returns (step, validation curve); (0, []) where there is no checkpoint.

    Raises TrainingError ``checkpoint-differs`` (another network or number of classes) or ``checkpoint-unreadable``.
    """
    path = folder / "checkpoint.pt"
    if not path.exists():
        return 0, []
    state = _read_checkpoint(path)
    same_options = state["config"]["network"] == config_to_tables(config)["network"]
    if not same_options or _shapes(state["network"]) != _shapes(network.state_dict()):
        raise TrainingError(
            "checkpoint-differs",
            f"{path} was trained with another network or number of labels",
            "choose another output folder",
        )
    network.load_state_dict(state["network"])
    for name, value in state["average"].items():
        average[name].copy_(value)
    optimiser.load_state_dict(state["optimiser"])
    return state["step"], state["curve"]


def _read_checkpoint(path: Path) -> dict[str, Any]:
    try:
        return torch.load(path, weights_only=True, map_location="cpu")
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise TrainingError(
            "checkpoint-unreadable",
            f"{path} is damaged or no checkpoint",
            "restore it, or choose another output folder",
        ) from error


def _shapes(tensors: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}
