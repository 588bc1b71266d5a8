"""The training loop, read from top to bottom. Every random choice follows from the seed and the step, so a training
that was stopped and resumed gives the weights of one that was not."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from CrossModalSegLib.dice import dice, joint_counts
from CrossModalSegLib.errors import TrainingError
from CrossModalSegLib.losses import ema_decay
from CrossModalSegLib.network import CrossModalNetwork
from CrossModalSegLib.progress import RunProgress
from CrossModalSegLib.synthesis.samples import Sample
from CrossModalSegLib.training.batches import StepBatch, batches
from CrossModalSegLib.training.cell_subset import CellSubset
from CrossModalSegLib.training.checkpoint import TrainingState, load_checkpoint, save_checkpoint
from CrossModalSegLib.training.config import OptimisationConfig, TrainingConfig
from CrossModalSegLib.training.early_stop import EarlyStop
from CrossModalSegLib.training.forgetting import Anchor
from CrossModalSegLib.training.objective import Objective
from CrossModalSegLib.training.processes import ALONE, Processes
from CrossModalSegLib.training.seeds import VALIDATION
from CrossModalSegLib.training.sources import Samples, SampleSource
from CrossModalSegLib.training.teacher import Teacher, autocast, update_average
from CrossModalSegLib.training.training_log import StepReport, TrainingLog


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a training runs: the folder of its checkpoint, the device, and in which of several processes. The first one
    validates and writes."""

    folder: Path
    device: torch.device
    processes: Processes = ALONE


@dataclasses.dataclass(frozen=True)
class Course:
    """How a training differs from a plain one. It begins with ``network`` instead of random weights; ``log`` is told
    about each step and each checkpoint; ``anchor`` draws the weights back after each step; ``early_stop`` may end it
    after a validation; with ``until`` it pauses after that step, to be gone on with later."""

    network: CrossModalNetwork | None = None
    log: TrainingLog | None = None
    anchor: Anchor | None = None
    early_stop: EarlyStop | None = None
    until: int | None = None


def train(
    config: TrainingConfig,
    classes: int,
    samples: Samples,
    place: Place,
    report: Callable[[StepReport], None],
    course: Course = Course(),
) -> dict[str, Tensor]:
    """Trains, or goes on where ``checkpoint.pt`` in the place's folder ends, and returns the averaged weights.

    Samples without labels make the training semi-supervised. Raises TrainingError when loss or gradient are no longer
    finite or the checkpoint belongs to another configuration.
    """
    folder, device, processes = place.folder, place.device, place.processes
    log, anchor, early_stop, until = course.log, course.anchor, course.early_stop, course.until
    options = config.training
    torch.manual_seed(options.seed)
    network = (course.network or build_network(config, classes)).to(device)
    if not config.semi_supervised.batch:
        samples = dataclasses.replace(samples, unlabelled=None)
    state = _start(config, network, semi_supervised=samples.unlabelled is not None)
    load_checkpoint(folder, config, state)
    processes.require_same("the step that the training goes on with", state.step, device)
    objective = processes.together(Objective(network, config, processes), device)

    pace, saved = RunProgress({"training": 1.0}, shown_by=0.0), time.monotonic()
    pace.update("training", state.step / options.iterations)
    scores: list[float] = state.curve[-1]["dice"] if state.curve else []
    if (early_stop and early_stop.ends(state.curve)) or (until and state.step >= until):
        return state.average
    for batch in batches(samples, config, state.step, processes):
        rate = learning_rate(options, state.step)
        for group in state.optimiser.param_groups:
            group["lr"] = rate
        loss, parts = train_step(objective, state, batch.to(device), config)
        loss = processes.mean(loss, device)
        if not math.isfinite(loss):
            raise _not_finite(f"the loss is {loss}", state.step)
        if anchor:
            anchor.pull(network, rate)
        follow(state, config)
        state.step += 1
        state.record({"loss": loss, **parts}, options.iterations)
        due = state.step % options.validate_every == 0 or state.step == options.iterations
        if due and samples.validation is not None:
            with averaged_weights(network, state.average):
                scores = validate(network, samples.validation, options.validation_samples, classes, device)
            state.curve.append({"step": state.step, "loss": loss, "dice": scores})
        over = state.step in (options.iterations, until)
        if due and early_stop:
            over |= processes.any(early_stop.ends(state.curve), device)
        if processes.writes:
            left = pace.update("training", state.step / options.iterations).seconds_left or 0.0
            progress = StepReport(state.step, options.iterations, loss, rate, left, scores, parts)
            report(progress)
            if log:
                log.step(progress, len(state.curve))
            if time.monotonic() - saved > 60 * options.checkpoint_minutes or over:
                save_checkpoint(folder, config, state)
                saved = time.monotonic()
                if log:
                    log.saved(state)
        if over:
            break
    return state.average


def build_network(config: TrainingConfig, classes: int) -> CrossModalNetwork:
    """A new network of this configuration, with random weights."""
    options = config.network
    return CrossModalNetwork(classes, **dataclasses.asdict(options))


def _start(config: TrainingConfig, network: CrossModalNetwork, semi_supervised: bool) -> TrainingState:
    options = config.training
    average = {name: value.detach().clone() for name, value in network.state_dict().items()}
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay, fused=True
    )
    teacher = Teacher(network, config.semi_supervised.teacher) if semi_supervised else None
    return TrainingState(network, average, optimiser, teacher)


def learning_rate(options: OptimisationConfig, step: int) -> float:
    """Linear warm-up, constant, then linear decay to zero: the length may be changed until the decay begins."""
    warm = min(1.0, (step + 1) / max(1, options.warmup))
    decay_steps = max(1.0, options.decay * options.iterations)
    return options.learning_rate * min(warm, 1.0, (options.iterations - step) / decay_steps)


def train_step(
    objective: torch.nn.Module, state: TrainingState, batch: StepBatch, config: TrainingConfig
) -> tuple[float, dict[str, float]]:
    """One update by the objective; returns the loss and its parts before weighting.

    Raises TrainingError ``loss-not-finite`` before anything is changed where the gradient is not finite. Gradients are
    averaged over all processes, so that all of them stop.
    """
    objective.train()
    targets = None
    if state.teacher is not None and batch.unlabelled is not None:
        subset = CellSubset.of_step(config.training, state.step)
        targets = state.teacher.look(batch.unlabelled, subset, config.semi_supervised.confidence)
    loss, parts = objective(batch.labelled, batch.unlabelled, targets, state.step)
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    length = float(torch.nn.utils.clip_grad_norm_(state.network.parameters(), 1.0))
    if not math.isfinite(length):
        raise _not_finite(f"the loss is {float(loss.detach())} and the length of its gradient {length}", state.step)
    state.optimiser.step()
    return float(loss.detach()), {name: float(part.detach()) for name, part in parts.items()}


def _not_finite(what: str, step: int) -> TrainingError:
    return TrainingError("loss-not-finite", f"{what} at step {step}", "lower the learning rate")


def follow(state: TrainingState, config: TrainingConfig) -> None:
    """After a step: the published average and the teacher move towards the new weights, each at its own pace.

    While only labels are learnt from, the teacher is the student: nobody asks it yet.
    """
    update_average(state.average, state.network, ema_decay(state.step, config.training.average))
    if state.teacher is not None:
        first = math.ceil(config.semi_supervised.start * config.training.iterations)
        state.teacher.follow(state.network, max(0, state.step - first))


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
    counts = torch.zeros((classes, classes), dtype=torch.float64)
    for number in range(samples):
        sample = Sample.stack([source.sample(VALIDATION + number)]).to(device)
        with autocast(device):
            logits = network(sample.volumes, sample.position, sample.presence)
        for modality, output in enumerate(logits):
            if output is not None:
                counts += joint_counts(output[0].argmax(0).cpu(), sample.labels[0, modality].cpu(), classes)
    return dice(counts)[1:].tolist()
