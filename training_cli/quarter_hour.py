"""Go on with the training of the starter on a GPU that is lent for a quarter of an hour.

    python training_cli/quarter_hour.py pack RUN --maps LABEL_MAPS --output runs/quarter-hour     (where the training
    is) python training_cli/quarter_hour.py train runs/quarter-hour --output OUT                      (where the GPU is)
    python training_cli/quarter_hour.py unpack OUT --run RUN                                      (back again)

The folder that ``pack`` writes holds all that ``train`` needs beside this source tree: label maps, configuration,
weights (float32) and their average (float16), at most 60 MiB. Moments of the optimiser are not in it: 300 steps of
warm-up rebuild them. ``train`` makes its samples on the GPU, ends by itself after ``--minutes``, and saves every two
minutes; no file it leaves is larger than 16 MiB. ``unpack`` makes of it a checkpoint that ``crossmodalseg train
--resume`` goes on from.
"""

import argparse
import dataclasses
import json
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the library lies beside this folder

from CrossModalSegLib.datasets.datalist import read_datalist
from CrossModalSegLib.labels import LABEL_MAP_FOLDER, read_label_map
from CrossModalSegLib.network import CrossModalNetwork
from CrossModalSegLib.synthesis.samples import Sample
from CrossModalSegLib.synthesis.synthesis import PairSynthesizer
from CrossModalSegLib.training.batches import StepBatch
from CrossModalSegLib.training.checkpoint import TrainingState, load_checkpoint, save_checkpoint
from CrossModalSegLib.training.config import TrainingConfig, read_config
from CrossModalSegLib.training.label_files import read_label_file
from CrossModalSegLib.training.objective import Objective
from CrossModalSegLib.training.seeds import LABELLED, seed_of
from CrossModalSegLib.training.sources import SynthesisSource
from CrossModalSegLib.training.training import build_network, follow, train_step
from CrossModalSegLib.training.training_data import world_aligned

CONFIG, STATE, MAPS = "config.toml", "state.json", "maps.npz"
LARGEST_PART = 12 * 2**20  # bytes of tensors in a file
SAVE_SECONDS = 120.0
DECAY = 0.4  # last part of the time, over which the learning rate falls to zero
WARMUP = 300  # steps


def main() -> None:
    """Pack, train or unpack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack")
    packing.add_argument("run", type=Path)
    packing.add_argument("--maps", type=Path, required=True)
    packing.add_argument("--config", type=Path, default=Path(__file__).parent / "configs" / "brain-mr-pair.toml")
    packing.add_argument("--data", type=Path, default=Path(__file__).parent / "configs" / "brain-label-maps.json")
    packing.add_argument("--output", type=Path, required=True)
    training = commands.add_parser("train")
    training.add_argument("folder", type=Path)
    training.add_argument("--output", type=Path, required=True)
    training.add_argument("--minutes", type=float, default=12.0)
    training.add_argument("--batch", type=int, default=16)
    training.add_argument("--device", default="cuda")
    unpacking = commands.add_parser("unpack")
    unpacking.add_argument("folder", type=Path)
    unpacking.add_argument("--run", type=Path, required=True)
    args = parser.parse_args()
    if args.command == "pack":
        pack(args.run, args.config, args.data, args.maps, args.output)
    elif args.command == "train":
        train(args.folder, args.output, args.minutes, args.batch, torch.device(args.device))
    else:
        unpack(args.folder, args.run)


def pack(run: Path, config_file: Path, data: Path, maps: Path, output: Path) -> None:
    """Write what ``train`` needs into ``output``."""
    config = read_config(config_file)
    state = _state(config)
    load_checkpoint(run, config, state)
    output.mkdir(parents=True, exist_ok=True)
    shutil.copy(config_file, output / CONFIG)
    entries = read_datalist(data, config.modalities, maps, config.modality_aliases).training
    files = [read_label_file(next(iter(entry.labels.values()))) for entry in entries]
    arrays = [world_aligned(file.labels, file.grid) for file in files]
    values = np.unique(np.concatenate([np.unique(array) for array, _ in arrays]))
    packed = {
        f"map-{n:02d}": np.searchsorted(values, _body(array)).astype(np.uint8) for n, (array, _) in enumerate(arrays)
    }
    np.savez_compressed(output / MAPS, values=values, spacing=[spacing for _, spacing in arrays], **packed)
    _write(output, state.network.state_dict(), state.average, state.step)


def train(folder: Path, output: Path, minutes: float, batch: int, device: torch.device) -> int:
    """Train for ``minutes``, compiling included, and write the weights into ``output``; returns the number of steps."""
    started = time.monotonic()
    config = read_config(folder / CONFIG)
    config = dataclasses.replace(config, training=dataclasses.replace(config.training, batch=batch))
    state = _state(config, device)
    first = _read(folder, state)
    source = _source(folder, config, device)
    network = state.network
    assert isinstance(network, CrossModalNetwork)
    objective = Objective(network, config)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        for part in (*network.encoders, *network.decoders):
            part.compile()
    output.mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / CONFIG, output / CONFIG)  # for unpack
    saved = time.monotonic()
    while (done := (time.monotonic() - started) / (60 * minutes)) < 1 or state.step == first:
        warm = min(1.0, (state.step - first + 1) / WARMUP)
        for group in state.optimiser.param_groups:
            group["lr"] = config.training.learning_rate * warm * min(1.0, max(0.0, 1 - done) / DECAY)
        number = seed_of(config.training.seed + 1, LABELLED, state.step * batch)  # of samples that the run did not meet
        samples = [source.sample(number + n) for n in range(batch)]
        loss, _ = train_step(objective, state, StepBatch(Sample.stack(samples).to(device), None), config)
        follow(state, config)
        state.step += 1
        if time.monotonic() - saved > SAVE_SECONDS:
            _write(output, network.state_dict(), state.average, state.step)
            print(
                f"{state.step - first} steps of {batch} pairs, {time.monotonic() - started:.0f} s, loss {loss:.3f}",
                flush=True,
            )
            saved = time.monotonic()
    _write(output, network.state_dict(), state.average, state.step)
    print(f"{state.step - first} steps of {batch} pairs in {time.monotonic() - started:.0f} s")
    return state.step - first


def unpack(folder: Path, run: Path) -> None:
    """Put the weights in ``folder`` into the checkpoint of ``run``; its optimiser begins anew with them."""
    config = read_config(folder / CONFIG)
    state = _state(config)
    load_checkpoint(run, config, state)
    state.optimiser = torch.optim.AdamW(state.network.parameters(), lr=config.training.learning_rate)
    _read(folder, state)
    save_checkpoint(run, config, state)


def _state(config: TrainingConfig, device: torch.device | str = "cpu") -> TrainingState:
    label_map = read_label_map(LABEL_MAP_FOLDER / f"{config.label_map}.json")
    network = build_network(config, len(label_map.channels)).to(device)
    average = {name: value.detach().clone() for name, value in network.state_dict().items()}
    options = config.training
    optimiser = torch.optim.AdamW(network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
    return TrainingState(network, average, optimiser)


def _source(folder: Path, config: TrainingConfig, device: torch.device) -> SynthesisSource:
    label_map = read_label_map(LABEL_MAP_FOLDER / f"{config.label_map}.json")
    with np.load(folder / MAPS) as packed:
        values, spacing = packed["values"], packed["spacing"]
        arrays = [values[packed[name]] for name in sorted(packed.files) if name.startswith("map-")]
    synthesizer = PairSynthesizer(
        config.synthesis, values.tolist(), label_map.channels, config.modalities, config.rules, device
    )
    maps = [synthesizer.source(torch.from_numpy(array), float(mm)) for array, mm in zip(arrays, spacing, strict=True)]
    return SynthesisSource(synthesizer, maps, config.patch, config.spacing)


def _body(array: np.ndarray) -> np.ndarray:
    """The part of a label map that is not empty."""
    places = [np.flatnonzero((array > 0).any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    return array[tuple(slice(place[0], place[-1] + 1) for place in places)]


def _write(folder: Path, weights: Mapping[str, Tensor], average: Mapping[str, Tensor], step: int) -> None:
    """Weights as float32, their average as float16, in files of at most ``LARGEST_PART``; old ones are replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_parts(folder, "weights", {name: value.detach().float().cpu() for name, value in weights.items()})
    _write_parts(folder, "average", {name: value.detach().half().cpu() for name, value in average.items()})
    (folder / STATE).write_text(json.dumps({"step": step}))


def _write_parts(folder: Path, name: str, tensors: Mapping[str, Tensor]) -> None:
    parts: list[dict[str, Tensor]] = [{}]
    size = 0
    for key, tensor in tensors.items():
        if parts[-1] and size + tensor.nbytes > LARGEST_PART:
            parts.append({})
            size = 0
        parts[-1][key] = tensor.contiguous()
        size += tensor.nbytes
    for number, part in enumerate(parts):
        save_file(part, folder / f"{name}-{number}.safetensors")


def _read(folder: Path, state: TrainingState) -> int:
    """Put what ``_write`` wrote into ``state``; returns the step."""
    state.network.load_state_dict(_read_parts(folder, "weights"))
    for name, value in _read_parts(folder, "average").items():
        state.average[name].copy_(value)
    state.step = int(json.loads((folder / STATE).read_text())["step"])
    return state.step


def _read_parts(folder: Path, name: str) -> dict[str, Tensor]:
    return {
        key: tensor for path in sorted(folder.glob(f"{name}-*.safetensors")) for key, tensor in load_file(path).items()
    }


if __name__ == "__main__":
    main()
