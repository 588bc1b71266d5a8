"""Four hospitals with four scanners: each alone, federated, and all data in one place. Second modality simulated.

    python -m Testing.Benchmarks.federation.four_hospitals [--seeds 3] [--exchange east]

The base is trained on patients 1 to 40 of the hippocampus set, unshifted (site/new_scanner.py). Of the next patients
each hospital has its own, as its scanner takes them (site/shift.py): south has few, west has the first modality only.
Each arm takes ROUNDS x STEPS steps per hospital, "one place" as many as all together. Scored are the agreed 40 test
patients, ten per hospital, by that hospital's scanner. With ``--exchange`` that hospital's labels are exchanged, and it
is not refused before the first round, so that its update is in. Every row is kept in OUTPUT.

``--in-one-process`` does what server and clients do one after the other, without NVFlare's processes.
"""

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from CrossModalSegLib.adaptation.gate import PairedCase, compare
from CrossModalSegLib.adaptation.scoring import CaseScorer, Scores, paired
from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.cli import main as crossmodalseg
from CrossModalSegLib.federation.config import FederationConfig, federation_of
from CrossModalSegLib.federation.hospital import Hospital, Judgement, Weights, as_tensors, combine
from CrossModalSegLib.federation.report import read_history
from CrossModalSegLib.inference.inference import Segmenter, load_network
from CrossModalSegLib.site.case_files import CaseFiles
from CrossModalSegLib.site.case_store import CaseStore
from Testing.Benchmarks.method.patients import Patient, Split, split_of
from Testing.Benchmarks.method.scoring import LABELS
from Testing.Benchmarks.site import new_scanner
from Testing.Benchmarks.site.files import data_case, write_case, write_row

MODALITIES = ("T1w", "SIM")
ONE_PLACE = "one_place"


@dataclass(frozen=True)
class Place:
    """A hospital: its scanner (a shift, or "" for the base's own), how many patients, which modalities."""

    name: str
    shift: str
    patients: int
    modalities: tuple[str, ...] = MODALITIES


def places(many: int, few: int) -> list[Place]:
    """The four of the experiment."""
    return [
        Place("north", "first", many),
        Place("east", "second", many),
        Place("south", "last", few),
        Place("west", "", many, ("T1w",)),
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Everything that is missing, then the table."""
    args = new_scanner.placed(parser().parse_args(argv))
    torch.set_num_threads(args.threads)
    split = split_of(args.data, args.scans)
    base = new_scanner.make_base(split, args)
    for seed in range(args.seeds):
        for method in args.methods:
            row = args.output / "rows" / f"{method}-{seed}{'-' + args.exchange if args.exchange else ''}.json"
            if not row.exists():
                row.parent.mkdir(exist_ok=True)
                write_row(row, carry_out(base, split, method, seed, args))
            print(row.name, json.dumps(brief(json.loads(row.read_text()))))


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = new_scanner.parser()
    made.description = __doc__
    made.set_defaults(output=new_scanner.OUTPUT.parent.parent / "federation", seeds=3, steps=60)
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--many", type=int, default=12, help="patients of a hospital")
    made.add_argument("--few", type=int, default=3, help="patients of the hospital with few")
    made.add_argument("--tests-each", type=int, default=10, help="test patients per hospital")
    made.add_argument("--methods", nargs="+", default=["alone", "federated", ONE_PLACE])
    made.add_argument("--algorithm", default="fedavg")
    made.add_argument("--aggregation", default="mean")
    made.add_argument("--exchange", default="", help="hospital whose labels are exchanged")
    made.add_argument("--in-one-process", action="store_true")
    return made


def carry_out(base: Bundle, split: Split, method: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """One arm: mean Dice per hospital with the interval of the gain over the base, and what the gates said."""
    folder = args.output / f"{method}-{seed}{'-' + args.exchange if args.exchange else ''}"
    hospitals = places(args.many, args.few)
    sites = make_sites(folder, split, hospitals, args)
    if method == ONE_PLACE:
        sites = {ONE_PLACE: make_one_place(folder, split, hospitals, args)}
    rounds = args.rounds if method == "federated" else 1
    steps = args.steps * (1 if rounds > 1 else args.rounds) * (len(hospitals) if method == ONE_PLACE else 1)
    tables = {
        "federation": {
            "name": f"{method}{seed}", "parent": str(base.path), "rounds": rounds, "steps": steps,
            "algorithm": args.algorithm, "aggregation": args.aggregation,
        },
        "training": {"seed": seed},
        "semi_supervised": {"batch": 0},
    }  # fmt: skip
    judged: dict[str, Judgement] = {}
    config = federation_of({**tables, "hospitals": {name: str(site) for name, site in sites.items()}}, folder)
    if method == "federated" and not args.in_one_process:
        weights, judged = by_nvflare(folder, tables, sites)
        trained = dict.fromkeys(sites, weights)
    elif method == "federated":
        weights, judged = in_one_process(config, base)
        trained = dict.fromkeys(sites, weights)
    else:
        trained = {name: Hospital(site, config, "cpu").train(weights_of(base), 0)[0] for name, site in sites.items()}
    found = {
        place.name: scored(base, trained.get(place.name, trained.get(ONE_PLACE)), split, place, number, folder, args)
        for number, place in enumerate(hospitals)
    }
    return {"method": method, "seed": seed, "hospitals": found, "gates": {n: asdict(one) for n, one in judged.items()}}


def in_one_process(config: FederationConfig, base: Bundle) -> tuple[Weights, dict[str, Judgement]]:
    """Server and clients, one after the other; nobody is refused beforehand."""
    hospitals = {name: Hospital(site, config, "cpu") for name, site in config.hospitals.items()}
    weights = weights_of(base)
    for number in range(config.options.rounds):
        sent = {name: one.train(weights, number) for name, one in hospitals.items()}
        weights = combine(sent, config.options.aggregation)
    return weights, {name: one.judge(weights, config.options.rounds) for name, one in hospitals.items()}


def by_nvflare(
    folder: Path, tables: Mapping[str, Any], sites: Mapping[str, Path]
) -> tuple[Weights, dict[str, Judgement]]:
    """The product's own command."""
    import safetensors.numpy

    lines = [f"[hospitals]\n{''.join(f'{name} = {json.dumps(str(site))}{chr(10)}' for name, site in sites.items())}"]
    lines += [f"[{name}]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in of.items()) for name, of in tables.items()]
    (folder / "federation.toml").write_text("\n".join(lines))
    command = ["federate", str(folder / "federation.toml"), "--simulate", str(folder / "trial"), "--device", "cpu"]
    if crossmodalseg(command) != 0:
        raise SystemExit(f"the federation in {folder} failed")
    (file,) = (folder / "trial").rglob("federation.json")
    weights = safetensors.numpy.load_file(file.with_name("global.safetensors"))
    return weights, read_history(file).rounds[-1].judgements


def weights_of(base: Bundle) -> Weights:
    """As they are sent."""
    return {name: array.astype(np.float32) for name, array in base.read_weights().items()}


# --- sites and tests


def make_sites(folder: Path, split: Split, hospitals: Sequence[Place], args: argparse.Namespace) -> dict[str, Path]:
    """A site folder for each hospital, of patients that no other has."""
    sites, rest = {}, list(split.training[new_scanner.BASE_PATIENTS :])
    for place in hospitals:
        own, rest = rest[: place.patients], rest[place.patients :]
        store = CaseStore(folder / "sites" / place.name)
        if not store.folder.is_dir():
            add_cases(store, own, place, exchanged=place.name == args.exchange)
        sites[place.name] = store.folder
    return sites


def make_one_place(folder: Path, split: Split, hospitals: Sequence[Place], args: argparse.Namespace) -> Path:
    """All hospitals' cases in one site."""
    store, rest = CaseStore(folder / "sites" / ONE_PLACE), list(split.training[new_scanner.BASE_PATIENTS :])
    if not store.folder.is_dir():
        for place in hospitals:
            own, rest = rest[: place.patients], rest[place.patients :]
            add_cases(store, own, place, exchanged=place.name == args.exchange)
    return store.folder


def add_cases(store: CaseStore, patients: Sequence[Patient], place: Place, exchanged: bool) -> None:
    """The patients as the hospital's scanner takes them, all corrected; ``exchanged``: anterior and posterior."""
    for patient in patients:
        scans = scans_of(patient, place)
        volumes = {name: scan.volume for name, scan in scans.items()}
        turned = np.array([0, 2, 1], dtype=np.uint16)
        labels = {n: (turned[s.labels] if exchanged else s.labels, s.label_grid) for n, s in scans.items()}
        source = {"name": "base", "modalities": list(place.modalities)}
        store.save_correction(CaseFiles(volumes, labels, LABELS, source, str(patient.number)), author="ab")


def scans_of(patient: Patient, place: Place) -> dict[str, Any]:
    """By modality."""
    kind = ("shifted", place.shift) if place.shift else ("unshifted", "first")
    scans = new_scanner.scans_of(patient, kind[0], kind[1])
    return {name: scans[name] for name in place.modalities}


def scored(
    base: Bundle, weights: Weights, split: Split, place: Place, number: int, folder: Path, args: argparse.Namespace
) -> dict[str, Any]:
    """Mean Dice of the hospital's test patients by these weights, and the gain over the base with its interval."""
    each, count = args.tests_each, 10
    patients = split.test[-40:][number * count : number * count + each]
    cases = []
    for patient in patients:
        case = args.output / "tests" / place.name / str(patient.number)
        if not case.is_dir():
            write_case(case, scans_of(patient, place), LABELS)
        cases.append(data_case(case, place.modalities, LABELS.values))
    network = load_network(base)
    network.load_state_dict(as_tensors(weights))
    by = {
        "base": CaseScorer(Segmenter(base, "cpu"), {}, LABELS, args.output / "base-scores" / place.name),
        "arm": CaseScorer(Segmenter(base, "cpu", network), {}, LABELS, folder / "scores" / place.name),
    }
    found: dict[str, dict[str, Scores]] = {
        name: {case.id: scorer.score(case) for case in cases} for name, scorer in by.items()
    }
    pairs: list[PairedCase] = paired(cases, found["base"], found["arm"])
    change = compare(pairs).mean
    return {**(asdict(change) if change else {}), "patients": {one.id: mean_of(one) for one in pairs}}


def mean_of(case: PairedCase) -> float:
    """Mean Dice of the candidate over modalities and structures."""
    values = [value for of in case.candidate.values() for value in of.values() if not math.isnan(value)]
    return float(np.mean(values))


def brief(row: Mapping[str, Any]) -> dict[str, str]:
    """What a line of the table has of it."""
    gates = {name: one["decision"] for name, one in row["gates"].items()}
    return {
        name: f"{one['candidate']:.3f} ({one['low']:+.3f} to {one['high']:+.3f}) {gates.get(name, '')}".strip()
        for name, one in row["hospitals"].items()
    }


if __name__ == "__main__":
    main()
