"""What a training step and an inference window cost, and what share of the processor's matrix peak they run at.

    python -m Testing.Benchmarks.step_speed [--device cuda] [--threads 1]

The peak is that of bfloat16 matrices of 2048 × 2048, measured before and after with the same threads; the least time of
all rounds counts. Where samples are prepared by a process of their own (``workers = 1``), a ratio of synthesis to step
below 1 means that training never waits. A map of nested boxes stands for a head: the cost depends on the
size, not on the content.
"""

import argparse
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from CrossModalSegLib.network import CrossModalNetwork
from CrossModalSegLib.synthesis.samples import Sample
from CrossModalSegLib.synthesis.synthesis import PairSynthesizer
from CrossModalSegLib.training.batches import StepBatch
from CrossModalSegLib.training.checkpoint import TrainingState
from CrossModalSegLib.training.config import TrainingConfig, read_config
from CrossModalSegLib.training.objective import Objective
from CrossModalSegLib.training.training import build_network, train_step

CONFIG = Path(__file__).resolve().parents[2] / "training_cli" / "configs" / "brain-mr-pair.toml"
CLASSES = 33
SIDE = 2048  # of the matrices that the peak is measured with


def main() -> None:
    """Time all on one device."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=8)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    config = read_config(CONFIG)
    draw = synthesis(config, device)
    network = build_network(config, CLASSES).to(device)
    state = TrainingState(network, {}, torch.optim.AdamW(network.parameters()))
    objective, batch = Objective(network, config), StepBatch(Sample.stack([draw(0)]), None)

    def step(_number: int) -> object:
        return train_step(objective, state, batch, config)

    def window(_number: int) -> object:
        return features(network, batch.labelled)

    peak = matrix_peak(device, args.repeats)
    seconds = {action: least_seconds(action, args.repeats, device) for action in (draw, step, window)}
    peak = max(peak, matrix_peak(device, args.repeats))
    print(f"{args.device}, {args.threads} threads, patch {config.patch}, both modalities")
    print(f"matrix peak, bfloat16: {peak:.0f} GFLOP/s")
    print(f"synthesis of a pair: {seconds[draw]:.3f} s, {seconds[draw] / seconds[step]:.2f} of a training step")
    for name, action in (("training step", step), ("inference window, features", window)):
        work = gflop(action)
        share = work / seconds[action] / peak
        print(f"{name}: {seconds[action]:.3f} s for {work:.1f} GFLOP, {share:.0%} of the peak")


def synthesis(config: TrainingConfig, device: torch.device) -> Callable[[int], Sample]:
    """What makes the pair of a seed, always of both modalities."""
    both = dataclasses.replace(config.synthesis, single_probability=0.0)
    values = list(range(CLASSES))
    lesions = dataclasses.replace(both.lesions, within={2: 25}, around=(4,))  # labels that the boxes have
    both = dataclasses.replace(both, lesions=lesions)
    synthesizer = PairSynthesizer(both, values, values, config.modalities, config.rules, device)
    source = synthesizer.source(torch.from_numpy(nested_boxes()), 1.0)
    return lambda seed: synthesizer.sample(source, config.patch, config.spacing, seed)


@torch.inference_mode()
def features(network: CrossModalNetwork, sample: Sample) -> object:
    """What is computed of one window while segmenting; it is classified once for all windows."""
    with torch.autocast(sample.volumes.device.type, dtype=torch.bfloat16):
        return network.features(sample.volumes, sample.position, sample.presence)


def nested_boxes() -> np.ndarray:
    """(192, 192, 192) int32 with labels 0 to 32 in nested boxes."""
    distance = np.abs(np.arange(192) - 95.5)
    shells = np.maximum.reduce(np.meshgrid(distance, distance, distance, indexing="ij"))
    return np.clip(CLASSES - 1 - shells // 2.7, 0, CLASSES - 1).astype(np.int32)


def matrix_peak(device: torch.device, repeats: int) -> float:
    """GFLOP/s of a product of two bfloat16 matrices."""
    one, other = (torch.randn(SIDE, SIDE, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * SIDE**3 / least_seconds(lambda _: one @ other, repeats, device) / 1e9


def gflop(action: Callable[[int], object]) -> float:
    """What ``action`` computes in convolutions and products of matrices, a multiplication and an addition being two."""
    with FlopCounterMode(display=False) as counter:
        action(0)
    return counter.get_total_flops() / 1e9


def least_seconds(action: Callable[[int], object], repeats: int, device: torch.device) -> float:
    """The shortest of several rounds, after one to warm up."""
    action(0)
    shortest = float("inf")
    for number in range(1, repeats + 1):
        started = time.perf_counter()
        action(number)
        if device.type == "cuda":
            torch.cuda.synchronize()
        shortest = min(shortest, time.perf_counter() - started)
    return shortest


if __name__ == "__main__":
    main()
