"""``crossmodalseg train``: from labelled cases or label maps to a model bundle."""

import argparse
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from CrossModalSegLib.atomic import entries_of
from CrossModalSegLib.commands.display import Display
from CrossModalSegLib.commands.options import add_orientation_option, given_path
from CrossModalSegLib.errors import OutputExistsError
from CrossModalSegLib.plurals import counted
from CrossModalSegLib.protocol import Progress

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from CrossModalSegLib.bundles.bundle import Bundle
    from CrossModalSegLib.datasets.datalist import Datalist
    from CrossModalSegLib.labels import LabelMap
    from CrossModalSegLib.training.config import TrainingConfig
    from CrossModalSegLib.training.processes import Processes
    from CrossModalSegLib.training.sources import Samples
    from CrossModalSegLib.training.training_log import StepReport

EXAMPLES = """examples:
  crossmodalseg train --data cases.json --output run --config my-model.toml
  crossmodalseg train --data label-maps/ --output run --config training_cli/configs/brain-mr-pair.toml
  torchrun --nproc-per-node=2 -m CrossModalSegLib.cli train --data cases.json --output run    (two GPUs)

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
    parser.add_argument(
        "--data", type=given_path, required=True, metavar="DATALIST_OR_FOLDER", help="known layouts: docs/training.md"
    )
    parser.add_argument("--root", type=given_path, metavar="FOLDER", help="what paths in the datalist are relative to")
    parser.add_argument(
        "--output", type=given_path, required=True, metavar="RUN", help="folder for checkpoint and bundle"
    )
    parser.add_argument("--config", type=given_path, metavar="CONFIG.toml")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    add_orientation_option(parser)
    parser.add_argument("--resume", action="store_true", help="go on with the training in RUN")
    parser.add_argument(
        "--start-from",
        metavar="BUNDLE",
        help="begin with the weights of a bundle; the network may be wider than its own",
    )


@dataclass(frozen=True)
class _Data:
    """What is trained on and with."""

    datalist: "Datalist"
    label_map: "LabelMap"
    samples: "Samples"
    validation_cases: int


def run(args: argparse.Namespace) -> int:
    """Train and publish; returns 0. Raises CrossModalSegError for bad input."""
    from CrossModalSegLib.bundles.bundle import load_bundle
    from CrossModalSegLib.inference.inference import choose_device
    from CrossModalSegLib.training.config import TrainingConfig, read_config
    from CrossModalSegLib.training.processes import processes_of_torchrun

    config = read_config(args.config) if args.config else TrainingConfig()
    with processes_of_torchrun(choose_device(args.device)) as (processes, device):
        if processes.writes:
            _refuse_other_content(args.output, args.resume)
        data = _load(args, config, device, processes)
        if processes.writes:
            _make_folder(args.output)
        processes.wait()
        started = time.monotonic()
        start = load_bundle(args.start_from) if args.start_from else None
        weights = _train(args.output, config, data, device, processes, start)
        if processes.writes:
            hours = (time.monotonic() - started) / 3600
            bundle = _publish(
                args.output, config, data, weights, {"hours of this run": round(hours, 2), "device": str(device)}
            )
            print(f"published {bundle.path} ({bundle.sha256[:12]})")
    return 0


def _load(args: argparse.Namespace, config: "TrainingConfig", device: "torch.device", processes: "Processes") -> _Data:
    """Read all cases; say what was found."""
    from CrossModalSegLib.datasets.datalist import read_datalist
    from CrossModalSegLib.training.data_report import DataReport
    from CrossModalSegLib.training.sources import Samples
    from CrossModalSegLib.training.training_data import build_source, build_unlabelled_source, choose_label_map

    datalist = read_datalist(
        args.data,
        config.modalities,
        args.root,
        config.modality_aliases,
        assumed_orientation=args.assume_orientation,
    )
    label_map = choose_label_map(config, datalist.training)
    if processes.writes:
        without = f"{counted(len(datalist.unlabelled), 'case')} without labels, " if datalist.unlabelled else ""
        batch = processes.world * config.training.batch
        several = f" in {processes.world} processes, effective batch {batch}" if processes.world > 1 else ""
        print(
            f"{counted(len(datalist.training), 'training case')}, {len(datalist.validation)} for validation, {without}"
            f"{counted(len(label_map.structures), 'structure')}, "
            f"{counted(config.training.iterations, 'iteration')} on {device}{several}",
            file=sys.stderr,
        )
    report = DataReport()
    training = build_source(datalist.training, config, label_map, device, report)
    assert training is not None  # read_datalist refuses an empty list
    unlabelled = build_unlabelled_source(datalist.unlabelled, config, label_map, report)
    validation = None
    if processes.writes:
        validation = build_source(datalist.validation, config, label_map, device, report, learnt=False)
    if processes.writes:
        print("".join(f"{line}\n" for line in report.lines()), end="", file=sys.stderr)
    validated = len(datalist.validation) - len(report.left_out)
    return _Data(datalist, label_map, Samples(training, unlabelled, validation), validated)


def _train(
    folder: Path,
    config: "TrainingConfig",
    data: _Data,
    device: "torch.device",
    processes: "Processes",
    start: "Bundle | None",
) -> "dict[str, Tensor]":
    from CrossModalSegLib.training.initial_weights import begin_from
    from CrossModalSegLib.training.training import Course, Place, train
    from CrossModalSegLib.training.training_log import TrainingLog

    classes = len(data.label_map.channels)
    network = begin_from(start, config, classes) if start else None
    with Display() as show, ExitStack() as opened:
        show.is_shown = processes.writes

        def report(step: "StepReport") -> None:
            done = step.step / step.iterations
            show.progress(Progress("", "training", done, done, step.seconds_left, step.words))

        log = None
        if processes.writes:
            log = opened.enter_context(TrainingLog(folder, [structure.name for structure in data.label_map.structures]))
            if log.missing:
                print(log.missing, file=sys.stderr)
        place = Place(folder, device, processes)
        return train(config, classes, data.samples, place, report, Course(network, log))


def _publish(
    folder: Path, config: "TrainingConfig", data: _Data, weights: "dict[str, Tensor]", run_facts: dict[str, object]
) -> "Bundle":
    from CrossModalSegLib.training.checkpoint import read_curve
    from CrossModalSegLib.training.trained_bundle import TrainedModel, publish_trained

    curve = read_curve(folder)
    facts = {
        "training cases": len(data.datalist.training),
        "validation cases": data.validation_cases,
        "unlabelled cases": len(data.datalist.unlabelled) if data.samples.unlabelled else 0,
        "iterations": config.training.iterations,
        **run_facts,
    }
    dice = curve[-1]["dice"] if curve else []
    return publish_trained(folder / config.name, TrainedModel(config, data.label_map, weights, facts, dice))


def _refuse_other_content(folder: Path, resume: bool) -> None:
    from CrossModalSegLib.training.training_log import LOG_FOLDER

    if folder.exists() and not folder.is_dir():
        raise OutputExistsError(f"{folder} is a file", "give a folder")
    if folder.is_dir() and not resume and {*entries_of(folder)} - {LOG_FOLDER}:  # without a checkpoint, nothing is lost
        raise OutputExistsError(f"folder {folder} is not empty", "give --resume, or another folder")


def _make_folder(folder: Path) -> None:
    """Make it, and see now whether it can be written: the first checkpoint comes after minutes."""
    from CrossModalSegLib.atomic import output_errors, require_writable

    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    require_writable(folder)
