"""A new scanner: what a few corrected cases, and many without labels, are worth. Second modality simulated.

    taskset -c 1 python -m Testing.Benchmarks.site.new_scanner

The base is trained on patients 1 to 40 of the hippocampus set (method/simulate.py makes the second contrast). The site
is patients 41 to 140 as another scanner takes them (shift.py): 1, 2, 4 or 8 are corrected, the others have no labels.
Scored are the last 40 patients, shifted, and unshifted to see what is forgotten (with ``--protocol``: "shifted" is the
same scanner with labels that are consistently drawn otherwise): the base, supervised and semi-supervised fine-tuning
with equal steps. Every row is kept in OUTPUT, so that the same command goes on where it was stopped.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

from CrossModalSegLib.adaptation.candidate import score_candidate, weights_at
from CrossModalSegLib.adaptation.cases import Request, make_plan
from CrossModalSegLib.adaptation.config import FinetuneConfig, read_finetune_config
from CrossModalSegLib.adaptation.label_mapping import same_structures
from CrossModalSegLib.adaptation.plan import Training
from CrossModalSegLib.adaptation.run import Finetuning, Pace
from CrossModalSegLib.adaptation.scoring import CaseScorer, Scores
from CrossModalSegLib.adaptation.site_data import DataCase
from CrossModalSegLib.adaptation.training import train_one
from CrossModalSegLib.bundles.bundle import Bundle, load_bundle
from CrossModalSegLib.inference.inference import Segmenter
from CrossModalSegLib.site.case_files import CaseFiles
from CrossModalSegLib.site.case_store import CaseStore
from CrossModalSegLib.training.config import read_config
from CrossModalSegLib.training.sources import CaseSource, Samples
from CrossModalSegLib.training.trained_bundle import TrainedModel, publish_trained
from CrossModalSegLib.training.training import Course, Place, build_network, train
from Testing.Benchmarks.method.patients import CHANNELS, Patient, Split, split_of
from Testing.Benchmarks.method.run import DATA, REPOSITORY
from Testing.Benchmarks.method.scoring import LABELS
from Testing.Benchmarks.site.files import data_case, mean_dice, write_case, write_row
from Testing.Benchmarks.site.protocol import PROTOCOLS, drawn
from Testing.Benchmarks.site.shift import SHIFTS, on_own_grid, shifted
from Testing.Benchmarks.site.table import scanner_lines

OUTPUT = REPOSITORY / "runs" / "site" / "new-scanner"
CONFIG = REPOSITORY / "Testing" / "Benchmarks" / "method" / "base.toml"
MODALITIES = ("T1w", "SIM")
BASE_PATIENTS, FROZEN = 40, 4
CPU = torch.device("cpu")


def main(argv: Sequence[str] | None = None) -> None:
    """Everything that is missing, then the table."""
    args = placed(parser().parse_args(argv))
    torch.set_num_threads(args.threads)
    split = split_of(args.data, args.scans)
    base = make_base(split, args)
    tests = {kind: make_tests(split, kind, args) for kind in ("shifted", "unshifted")}
    score_base(base, tests, args.output)
    rows = [(m, n, s) for s in range(args.seeds) for n in args.corrected for m in ("supervised", "semi-supervised")]
    for method, corrected, seed in rows:
        carry_out(base, split, tests, method, corrected, seed, args)
    print("\n".join(scanner_lines(args.output)))


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--data", type=Path, default=DATA)
    made.add_argument("--output", type=Path, default=OUTPUT)
    made.add_argument("--corrected", type=int, nargs="*", default=[1, 2, 4, 8])
    made.add_argument("--unlabelled", type=int, default=100, help="at most this many cases without labels")
    made.add_argument("--tests", type=int, default=40, help="patients that are scored")
    made.add_argument("--seeds", type=int, default=2)
    made.add_argument("--base-steps", type=int, default=1500)
    made.add_argument("--steps", type=int, default=250, help="of each fine-tuning")
    made.add_argument("--shift", choices=SHIFTS, default="first", help="which other scanner; the last one is held out")
    made.add_argument("--protocol", choices=PROTOCOLS, default="", help="the same scanner, but labels drawn otherwise")
    made.add_argument("--share", type=float, default=1.0, help="of the way from the base's weights to the trained")
    made.add_argument("--config", type=Path, help="settings of the fine-tuning, as for crossmodalseg finetune")
    made.add_argument("--threads", type=int, default=1)
    made.set_defaults(rows="rows")  # folder of what is done
    return made


def placed(args: argparse.Namespace) -> argparse.Namespace:
    """All sites have one base and its scans; what belongs to another shift or protocol than the first has its own
    folder."""
    args.scans, args.base_folder = args.output / "scans", args.output
    other = args.protocol or ("" if args.shift == "first" else args.shift)
    args.output = args.output / other if other else args.output
    args.output.mkdir(parents=True, exist_ok=True)
    return args


def make_base(split: Split, args: argparse.Namespace) -> Bundle:
    """The base bundle with its frozen cases, trained now where it is not there."""
    folder = args.base_folder / "base"
    if folder.is_dir():
        return load_bundle(folder)
    config = read_config(CONFIG)
    config = replace(config, name="base", training=replace(config.training, iterations=args.base_steps))
    known = [_simulated(patient).case((0, 1), True, config.spacing) for patient in split.training[:BASE_PATIENTS]]
    run = args.base_folder / "base-run"
    run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    network = build_network(config, len(CHANNELS))
    samples = Samples(CaseSource(known, config))
    weights = train(config, len(CHANNELS), samples, Place(run, CPU), _silent, Course(network))
    facts = {"data": "hippocampus, second modality simulated", "training cases": BASE_PATIENTS}
    files = frozen(split.validation[:FROZEN], args.base_folder)
    return publish_trained(folder, TrainedModel(config, LABELS, weights, facts, more_files=files))


def frozen(patients: Sequence[Patient], output: Path) -> dict[str, bytes]:
    """Unshifted cases that the base carries, against forgetting."""
    files = {}
    for patient in patients:
        case = output / "frozen" / str(patient.number)
        write_case(case, scans_of(patient, "unshifted"), LABELS)
        files |= {f"frozen/{patient.number}/{path.name}": path.read_bytes() for path in case.iterdir()}
    return files


def scans_of(patient: Patient, kind: str, shift: str = "first", protocol: str = "") -> dict:
    """Both scans of a patient with labels on their own grids, "shifted" or "unshifted"; as a site of another simulated
    ``protocol`` draws them, where one is named."""
    _simulated(patient)
    scans = {"T1w": patient.first(), "SIM": patient.second("aligned")}
    if kind == "shifted" and not protocol:
        return {name: shifted(scan, name, patient.number, shift=shift) for name, scan in scans.items()}
    found = {name: on_own_grid(scan) for name, scan in scans.items()}
    return {name: drawn(scan, protocol) for name, scan in found.items()} if kind == "shifted" else found


def _simulated(patient: Patient) -> Patient:
    patient.simulate(0)
    return patient


def make_tests(split: Split, kind: str, args: argparse.Namespace) -> list[DataCase]:
    """The last patients, who are in no training."""
    cases = []
    for patient in split.test[-args.tests :]:
        folder = args.output / "tests" / kind / str(patient.number)
        if not folder.is_dir():
            write_case(folder, scans_of(patient, kind, args.shift, args.protocol), LABELS)
        cases.append(data_case(folder, MODALITIES, LABELS.values))
    return cases


def score_base(base: Bundle, tests: dict[str, list[DataCase]], output: Path) -> None:
    """The row of the base."""
    if not (output / "rows" / "base.json").exists():
        (output / "rows").mkdir(exist_ok=True)
        found = {}
        for kind, cases in tests.items():
            scorer = CaseScorer(Segmenter(base, "cpu"), {}, LABELS, output / "base-scores" / kind)
            found[kind] = summary({case.id: scorer.score(case) for case in cases})
        write_row(output / "rows" / "base.json", {"method": "base", "corrected": 0, "seed": 0, **found})


def carry_out(
    base: Bundle,
    split: Split,
    tests: dict[str, list[DataCase]],
    method: str,
    corrected: int,
    seed: int,
    args: argparse.Namespace,
) -> None:
    """One fine-tuning with the product's own training, scored; nothing where its row is there."""
    name = f"{method}-{corrected}-{seed}"
    target = args.output / args.rows / f"{name}.json"
    if target.exists():
        return
    site = make_site(split, corrected, seed, args)
    config = settings(args.config, method, seed)
    mapping = same_structures(base.label_map, LABELS)
    plan, data = make_plan(site.folder, base, mapping, Request(config, name, "1", 1e6))
    learnt = tuple(case.id for case in data.labelled)
    plan = replace(plan, trainings=(Training("final", learnt, ()),))
    folder = args.output / f"runs-of-{args.rows}" / name
    run = Finetuning(site.folder, folder, base, mapping, data, plan, CPU, Pace(_silent))
    started = time.monotonic()
    trained = train_one(run, plan.final, args.steps)
    seconds = time.monotonic() - started
    weights = weights_at(run, plan.final.name, trained, args.share)
    found = {kind: summary(score_candidate(run, kind, weights, cases)) for kind, cases in tests.items()}
    facts = {"method": method, "corrected": corrected, "seed": seed, "steps": args.steps, "seconds": round(seconds)}
    facts |= {"share": args.share, "unlabelled": len(data.unlabelled)}
    write_row(target, {**facts, "configuration": asdict(config), **found})
    print(
        f"{name}: shifted {found['shifted']['mean']:.3f}, unshifted {found['unshifted']['mean']:.3f}, {seconds:.0f} s"
    )


def settings(path: Path | None, method: str, seed: int) -> FinetuneConfig:
    """The product's own, or those in a file, with the row's method and seed."""
    config = read_finetune_config(path)
    config = replace(config, training={**config.training, "seed": seed})
    return config.without_unlabelled() if method == "supervised" else config


def make_site(split: Split, corrected: int, seed: int, args: argparse.Namespace) -> CaseStore:
    """A site with the first cases of the seed's own order corrected, and the rest without labels."""
    patients = split.training[BASE_PATIENTS:]
    start = seed * 17 % len(patients)
    ordered = [*patients[start:], *patients[:start]]
    store = CaseStore(args.output / "sites" / f"{corrected}-{args.unlabelled}-{seed}")
    store.create(LABELS, MODALITIES)
    known = {case.patient: case.trusted is not None for case in store.cases()}
    for number, patient in enumerate(ordered[: corrected + args.unlabelled]):
        if known.get(store.site().patient_hash(str(patient.number))) == (number < corrected):
            continue
        scans = scans_of(patient, "shifted", args.shift, args.protocol)
        volumes = {name: scan.volume for name, scan in scans.items()}
        labels = {name: (scan.labels, scan.label_grid) for name, scan in scans.items()} if number < corrected else {}
        case = CaseFiles(volumes, labels, LABELS, {"name": "base", "modalities": list(MODALITIES)}, str(patient.number))
        if labels:
            store.save_correction(case)
        else:
            store.add_unlabelled(case)
    return store


def summary(scores: dict[str, Scores]) -> dict:
    """Mean Dice, also per structure and per patient."""
    names = [one.name for one in LABELS.structures]
    structures = {
        name: statistics.mean(of_m[name]["dice"] for case in scores.values() for of_m in case.values())
        for name in names
    }
    patients = {patient: mean_dice({patient: found}) for patient, found in scores.items()}
    return {"mean": mean_dice(scores), "structures": structures, "patients": patients}


def _silent(*_: object) -> None:
    """Tells nobody."""


if __name__ == "__main__":
    main()
