"""One training of a fine-tuning: from the parent's weights, on some of the site's cases, to the weights that it ends
with."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from CrossModalSegLib.adaptation import plan as finetune_plan
from CrossModalSegLib.adaptation.config import training_config
from CrossModalSegLib.adaptation.head_probe import probe_heads
from CrossModalSegLib.adaptation.plan import Schedule, Training
from CrossModalSegLib.adaptation.run import Finetuning
from CrossModalSegLib.adaptation.scoring import read_prediction
from CrossModalSegLib.adaptation.site_data import DataCase, is_partly_labelled, prepared, structure_ml
from CrossModalSegLib.atomic import output_errors, write_atomically
from CrossModalSegLib.errors import DataError, TrainingError
from CrossModalSegLib.inference.inference import load_network
from CrossModalSegLib.network import CrossModalNetwork
from CrossModalSegLib.training import checkpoint
from CrossModalSegLib.training.checkpoint import read_curve
from CrossModalSegLib.training.config import TrainingConfig
from CrossModalSegLib.training.early_stop import EarlyStop, best_step
from CrossModalSegLib.training.forgetting import Anchor
from CrossModalSegLib.training.sources import CaseSource, Samples, SampleSource, UnlabelledSource
from CrossModalSegLib.training.training import Course, Place, train
from CrossModalSegLib.training.training_case import TrainingCase, load_case, save_case
from CrossModalSegLib.training.training_log import StepReport, TrainingLog

PREPARED = "prepared"  # folder of the run, removed at its end
START_FILE = "start.safetensors"  # of a training with new structures
LEAST_PART = 0.3  # of the steps that fit: what folds say of a short training holds for a long one only roughly
STILL: dict[str, Any] = {"rotation": 0.0, "scaling": 0.0, "shear": 0.0, "elastic": 0.0, "displacement_probability": 0.0}
STILL |= {"single_probability": 0.0, "bias": 0.0, "noise": 0.0, "gamma": 0.0, "position_error": 0.0}


def train_one(
    run: Finetuning,
    training: Training,
    steps: int,
    start: Mapping[str, Tensor] | None = None,
    near_start: bool = False,
) -> dict[str, Tensor]:
    """The averaged weights at the end of a training, which comes early where no fold tells its length and the scores of
    many held-out patients no longer improve. It begins with the weights ``start``, else with the parent's, to which the
    anchor draws it back; with ``near_start`` to the former.

    Those of its best validation would have been chosen on the cases that the gate judges them on.
    """
    folder = run.folder / "training" / training.name
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    config = configuration(run, steps)
    every = max(1, steps // finetune_plan.validations(steps, run.config.finetune))
    config = replace(config, training=replace(config.training, validate_every=every))
    samples = draw_from(run, training, config)
    if training.judged:  # also in processes that do not validate: all have one configuration
        patches = finetune_plan.validation_samples(len(training.judged))
        config = replace(config, training=replace(config.training, validation_samples=patches))
    network = grown_network(run)
    if run.mapping.new:
        _probe(run, network, samples.labelled, folder)
        network.load_state_dict(start_weights(run, training.name))
    options = run.config.finetune
    stop = EarlyStop(options.patience) if training.judged and training == run.plan.final else None
    strength = options.general_anchor if options.keep_general else options.anchor
    if start is not None and near_start:
        network.load_state_dict(dict(start))
    anchor = Anchor(network.to(run.device), strength) if strength else None
    if start is not None and not near_start:
        network.load_state_dict(dict(start))

    def report(progress: StepReport) -> None:
        run.pace.update(f"training {training.name}", progress.step / progress.iterations, progress.words)

    names = [structure.name for structure in run.mapping.label_map.structures]
    with TrainingLog(folder, names) as log:
        course = Course(network, log if run.processes.writes else None, anchor, stop)
        place = Place(folder, run.device, run.processes)
        average = train(config, len(run.mapping.label_map.channels), samples, place, report, course)
    return {name: tensor.detach().cpu() for name, tensor in average.items()}


def mean_weights(trained: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of several trainings that began alike: it is about as good as each, or better (model soups; Wortsman et
    al., ICML 2022)."""
    return {name: torch.stack([one[name].float() for one in trained]).mean(dim=0) for name in trained[0]}


def final_steps(run: Finetuning, schedule: Schedule) -> int:
    """As many steps as fit; fewer where all folds together were better before their end, which is how overfitting
    shows.

    The last training then sees each of its cases as often as the folds saw theirs until then.
    """
    curves = [read_curve(run.folder / "training" / fold.name) for fold in run.plan.folds]
    best = best_step([curve for curve in curves if curve])
    if best is None:
        return schedule.final_steps
    each = statistics.fmean(max(1, len(fold.learnt)) for fold in run.plan.folds)
    steps = max(LEAST_PART * schedule.final_steps, best * len(run.plan.final.learnt) / each)
    return max(1, min(schedule.final_steps, round(steps)))


def configuration(run: Finetuning, steps: int) -> TrainingConfig:
    return training_config(run.parent, run.plan.name, run.plan.version, run.config, steps)


def _probe(run: Finetuning, network: CrossModalNetwork, labelled: SampleSource, folder: Path) -> None:
    """Fit the heads of new structures once, and keep the weights that the training begins with.

    Raises DataError ``bad-run`` for a training that has begun without them, as an earlier version did.
    """
    if run.processes.writes and not (folder / START_FILE).exists():
        if (folder / checkpoint.NAME).exists():
            raise DataError("bad-run", f"{folder} has no {START_FILE}", finetune_plan.START_ANEW)
        run.pace.update(f"training {folder.name}", 0.0, "fitting the heads of new structures")
        probe_heads(network.to(run.device), len(run.mapping.new), labelled, run.device)
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
        write_atomically(folder / START_FILE, save(weights))
    run.processes.wait()


def start_weights(run: Finetuning, training: str) -> dict[str, Tensor]:
    """What a training begins with: the parent's weights, with heads for all structures."""
    path = run.folder / "training" / training / START_FILE
    if not run.mapping.new:
        return grown_network(run).state_dict()
    try:
        return load_file(path)
    except (FileNotFoundError, SafetensorError) as error:
        hint = "start a new run: the weights that this one began with are gone"
        raise TrainingError("checkpoint-unreadable", f"{path} is missing or damaged: {error}", hint) from error


def grown_network(run: Finetuning) -> CrossModalNetwork:
    """The parent's network, with heads for all structures of the new model."""
    arguments = {**run.parent.network, "classes": len(run.mapping.label_map.channels)}
    network = CrossModalNetwork(**arguments)
    network.load_state_dict(run.mapping.grow(load_network(run.parent).state_dict()))
    return network


def draw_from(run: Finetuning, training: Training, config: TrainingConfig, most: int | None = None) -> Samples:
    """Samples to learn from with and without labels, and those of the cases that are judged on, which are not varied.

    Where only one scan of a pair is labelled, it is learnt from by itself, and the pair without labels.
    """
    cases = [run.cases[name] for name in training.learnt[:most]]
    learnt = [prepared_case(run, case, True) for case in cases]
    judged = [prepared_case(run, run.cases[name], True) for name in validated(training)] if run.processes.writes else []
    pairs = [*unlabelled_cases(run, training)[:most], *(case for case in cases if is_partly_labelled(case))]
    without = [prepared_case(run, case, False) for case in pairs] if config.semi_supervised.batch else []
    still = replace(config, synthesis=replace(config.synthesis, **STILL))
    return Samples(
        CaseSource(learnt, config),
        UnlabelledSource(without, config) if without else None,
        CaseSource(judged, still) if judged else None,
    )


def unlabelled_cases(run: Finetuning, training: Training) -> tuple[DataCase, ...]:
    """The cases that a training learns from without labels: none of a patient that it is judged on."""
    judged = {run.cases[name].patient for name in training.judged}
    return tuple(case for case in run.data.unlabelled if case.patient not in judged)


def validated(training: Training) -> tuple[str, ...]:
    """The cases that patches of a validation come from: no more than it has patches."""
    return training.judged[: finetune_plan.MOST_SAMPLES]


def prepared_case(run: Finetuning, case: DataCase, labelled: bool) -> TrainingCase:
    """The case ready for patches, from the run's folder, where it is put the first time, with the volumes of its labels
    for the report. The parent's labels, where they are needed, are there already."""
    path = run.folder / PREPARED / f"{case.id}{'' if labelled else '-unlabelled'}.pt"
    if not path.exists():
        with output_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        reference = case.reference() if labelled else None
        if reference is not None:
            volumes = [structure_ml(labels) for labels in reference.values()]
            write_atomically(volumes_file(run, case.id), json.dumps(volumes))
        completed = labelled and run.mapping.needs_parent
        predicted = read_prediction(run.folder / "parent", case) if completed else None
        made = prepared(case, run.parent, run.mapping, reference, predicted)
        save_case(path, made)
    return load_case(path)


def volumes_file(run: Finetuning, case: str) -> Path:
    """Where the volumes of a prepared case's labels are: mL by value of each labelled scan."""
    return run.folder / PREPARED / f"{case}.json"
