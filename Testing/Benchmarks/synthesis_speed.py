"""Does synthesis keep up with training? Prints seconds per synthetic pair and per training step, and their ratio.

    python Testing/Benchmarks/synthesis_speed.py [--device cuda] [--threads 1]

Uses a label map of nested boxes in place of a real one: the cost depends on the size, not on the content. Where samples
are prepared by a process of their own (``workers = 1``), a ratio below 1 means that training never waits.
"""

import argparse
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from CrossModalSegLib.synthesis.samples import Sample
from CrossModalSegLib.synthesis.synthesis import PairSynthesizer
from CrossModalSegLib.training.batches import StepBatch
from CrossModalSegLib.training.checkpoint import TrainingState
from CrossModalSegLib.training.config import read_config
from CrossModalSegLib.training.objective import Objective
from CrossModalSegLib.training.training import build_network, train_step

CONFIG = Path(__file__).resolve().parents[2] / "training_cli" / "configs" / "brain-mr-pair.toml"
CLASSES = 33


def main() -> None:
    """Time both on one device."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=8)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    config = read_config(CONFIG)
    both = dataclasses.replace(config.synthesis, single_probability=0.0)
    values = list(range(CLASSES))
    synthesizer = PairSynthesizer(both, values, values, config.modalities, config.rules, device)
    source = synthesizer.source(torch.from_numpy(nested_boxes()), 1.0)

    def draw(seed: int) -> Sample:
        return synthesizer.sample(source, config.patch, config.spacing, seed)

    network = build_network(config, CLASSES).to(device)
    state = TrainingState(network, {}, torch.optim.AdamW(network.parameters()))
    objective, batch = Objective(network, config), StepBatch(Sample.stack([draw(0)]), None)
    synthesis = seconds(draw, args.repeats, device)
    step = seconds(lambda _: train_step(objective, state, batch, config), args.repeats, device)
    print(f"{args.device}, {args.threads} threads, patch {config.patch}, both modalities")
    print(f"synthesis {synthesis:.3f} s a pair, training {step:.3f} s a step, ratio {synthesis / step:.2f}")


def nested_boxes() -> np.ndarray:
    """(192, 192, 192) int32 with labels 0 to 32 in nested boxes."""
    distance = np.abs(np.arange(192) - 95.5)
    shells = np.maximum.reduce(np.meshgrid(distance, distance, distance, indexing="ij"))
    return np.clip(CLASSES - 1 - shells // 2.7, 0, CLASSES - 1).astype(np.int32)


def seconds(action: Callable[[int], object], repeats: int, device: torch.device) -> float:
    """Mean duration of ``action`` after one call to warm up."""
    action(0)
    started = time.perf_counter()
    for number in range(1, repeats + 1):
        action(number)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / repeats


if __name__ == "__main__":
    main()
