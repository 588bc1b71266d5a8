"""Scores of a trained network on patients, through the product's own way from scans to labels."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch

from CrossModalSegLib.inference.evaluation import evaluate
from CrossModalSegLib.inference.model_input import prepare
from CrossModalSegLib.inference.native_grid import restore
from CrossModalSegLib.inference.sliding_window import Attempt, Windows, predict
from CrossModalSegLib.labels import LabelMap, Structure
from CrossModalSegLib.preprocess import IntensityRule
from Testing.Benchmarks.method.patients import Patient, Scan

LABELS = LabelMap((Structure(1, "anterior", (200, 60, 60)), Structure(2, "posterior", (60, 160, 200))))
STRUCTURES = [structure.name for structure in LABELS.structures]
CPU = torch.device("cpu")
HERE = Attempt(CPU, CPU, "")

# Which scans a patient comes with: for each its place among the two modalities.
CONDITIONS: Mapping[str, Callable[[Patient], dict[int, Scan]]] = {
    "aligned": lambda patient: {0: patient.first(), 1: patient.second("aligned")},
    "displaced": lambda patient: {0: patient.first(), 1: patient.second("displaced")},
    "T1w alone": lambda patient: {0: patient.first()},
    "SIM alone": lambda patient: {1: patient.second("aligned")},
}
Scores = dict[str, dict[str, dict[str, list[float]]]]  # scan, patient, structure: Dice and NSD


@dataclass(frozen=True)
class Window:
    """How a network is asked: size of a window (k, j, i), the model grid's spacing, what is segmented."""

    size: tuple[int, ...]
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    label_map: LabelMap = LABELS


def score(
    network: torch.nn.Module,
    patients: Iterable[Patient],
    condition: str,
    scans: tuple[int, ...],
    patch: tuple[int, ...],
) -> Scores:
    """Dice and NSD (1 mm) per scan, patient and structure, on the grids of the labels.

    ``scans`` are those that the network knows; a patient's other scan is not given to it. Labels of a scan that the
    patient comes with are scored, those of one that is missing are not.
    """
    found: Scores = {}
    for patient in patients:
        given = {slot: scan for slot, scan in CONDITIONS[condition](patient).items() if slot in scans}
        if given:
            for slot, rated in rate(network, given, Window(patch)).items():
                by_patient = found.setdefault(("T1w", "SIM")[slot], {})
                by_patient[patient.folder.name] = rated
    return found


def rate(network: torch.nn.Module, scans: Mapping[int, Scan], window: Window) -> dict[int, dict[str, list[float]]]:
    """Dice and NSD (1 mm) of each structure in each of a patient's scans, on the grid of the scan's labels."""
    network.eval()
    volumes = {slot: scan.volume for slot, scan in scans.items()}
    model_input = prepare(volumes, window.spacing_mm, [IntensityRule()] * 2)
    windows = Windows(window.size, len(window.label_map.channels))
    probabilities = predict(network, model_input, windows, HERE, lambda _stage, _fraction: None)  # type: ignore[arg-type]
    found = {}
    for slot, scan in scans.items():
        channels = window.label_map.channels
        labels, _ = restore(probabilities[slot], model_input.grid, scan.label_grid, channels)
        rated = evaluate(labels, scan.labels, scan.label_grid, window.label_map)
        found[slot] = {one.name: [round(one.dice, 5), round(one.nsd, 5)] for one in rated}
    return found
