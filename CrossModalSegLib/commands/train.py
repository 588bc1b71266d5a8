"""``crossmodalseg train``: from labelled cases or label maps to a model bundle."""

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from CrossModalSegLib.errors import OutputError

if TYPE_CHECKING:
    from CrossModalSegLib.training import Progress

EXAMPLES = """examples:
  crossmodalseg train --data cases.json --output run --config my-model.toml
  crossmodalseg train --data label-maps/ --output run --config training_cli/configs/brain-mr-pair.toml

Progress is saved every few minutes: the same command with --resume goes on where a training was stopped. The model is
published as OUTPUT/<name of the model>. docs/training.md describes the data and the configuration.
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "train",
        help="train a model from scratch",
        description="Trains a model on cases with and without labels, or on pairs synthesised from label maps.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DATALIST_OR_FOLDER")
    parser.add_argument("--root", type=Path, metavar="FOLDER", help="what paths in the datalist are relative to")
    parser.add_argument("--output", type=Path, required=True, metavar="RUN", help="folder for checkpoint and bundle")
    parser.add_argument("--config", type=Path, metavar="CONFIG.toml")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--resume", action="store_true", help="go on with the training in RUN")


def run(args: argparse.Namespace) -> int:
    """Train and publish; returns 0. Raises CrossModalSegError for bad input."""
    from CrossModalSegLib.checkpoint import read_curve
    from CrossModalSegLib.config import TrainingConfig, read_config
    from CrossModalSegLib.datalist import read_datalist
    from CrossModalSegLib.inference import choose_device
    from CrossModalSegLib.trained_bundle import publish_trained
    from CrossModalSegLib.training import train
    from CrossModalSegLib.training_data import build_source, build_unlabelled_source, choose_label_map

    config = read_config(args.config) if args.config else TrainingConfig()
    datalist = read_datalist(args.data, config.modalities, args.root)
    _refuse_other_content(args.output, args.resume)
    device = choose_device(args.device)
    label_map = choose_label_map(config, datalist.training)
    without = f"{len(datalist.unlabelled)} cases without labels, " if datalist.unlabelled else ""
    print(
        f"{len(datalist.training)} training and {len(datalist.validation)} validation cases, {without}"
        f"{len(label_map.structures)} structures, {config.training.iterations} iterations on {device}",
        file=sys.stderr,
    )
    training = build_source(datalist.training, config, label_map, device)
    validation = build_source(datalist.validation, config, label_map, device)
    unlabelled = build_unlabelled_source(datalist.unlabelled, config, label_map)
    assert training is not None  # read_datalist refuses an empty list
    _make_folder(args.output)
    started = time.monotonic()
    with _ProgressBar(config.training.iterations) as bar:
        classes = len(label_map.channels)
        weights = train(config, classes, training, validation, args.output, device, bar.show, unlabelled)
    curve = read_curve(args.output)
    facts = {
        "training cases": len(datalist.training),
        "validation cases": len(datalist.validation),
        "unlabelled cases": len(datalist.unlabelled) if unlabelled else 0,
        "iterations": config.training.iterations,
        "hours of this run": round((time.monotonic() - started) / 3600, 2),
        "device": str(device),
    }
    dice = curve[-1]["dice"] if curve else []
    bundle = publish_trained(args.output / config.name, config, label_map, weights, facts, dice)
    print(f"published {bundle.path} ({bundle.sha256[:12]})")
    return 0


def _refuse_other_content(folder: Path, resume: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise OutputError("output-exists", f"{folder} is a file", "give a folder")
    if folder.is_dir() and any(folder.iterdir()) and not resume:
        raise OutputError("output-exists", f"folder {folder} is not empty", "give --resume, or another folder")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError("cannot-write", f"folder {folder}: {error.strerror}", "check the path and rights") from error


class _ProgressBar:
    """One line on stderr: steps, loss, validation Dice, time left."""

    def __init__(self, iterations: int):
        from tqdm import tqdm

        layout = "{l_bar}{bar}| {n_fmt}/{total_fmt}{postfix}"
        self.bar = tqdm(total=iterations, file=sys.stderr, bar_format=layout, mininterval=1.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def show(self, progress: "Progress") -> None:
        left = self.bar.format_interval(progress.seconds_left)
        self.bar.set_postfix_str(f"loss {progress.loss:.3f}, Dice {progress.mean_dice:.3f}, {left} left", refresh=False)
        self.bar.update(progress.step - self.bar.n)
