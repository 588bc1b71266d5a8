"""The starter bundle at a site that it has never seen: adults of OASIS, in the command's whole way, gate and report
included.

    python -m Testing.Benchmarks.site.starter [--budget 15]

Real are the T1w scans and their manual labels; the second scan of each patient is simulated from the T1w by the recipe
of method/simulate.py, because no two real modalities with labels of the brain's structures could be had. Two patients
are corrected, the other three are scored and never learnt from. Without labels: real pairs of open-ms (T1, T2) and of
glioma (contrast-enhanced T1, FLAIR). Rows are kept in OUTPUT; the same command goes on where it was stopped.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from CrossModalSegLib.adaptation.scoring import CaseScorer, Scores
from CrossModalSegLib.adaptation.site_data import DataCase
from CrossModalSegLib.bundles.bundle import Bundle, load_bundle
from CrossModalSegLib.cli import main as crossmodalseg
from CrossModalSegLib.imaging.segmentation_io import read_segmentation
from CrossModalSegLib.imaging.volume import Volume, read_volume
from CrossModalSegLib.inference.inference import Segmenter
from CrossModalSegLib.label_translation import read_labels
from CrossModalSegLib.labels import LabelMap
from CrossModalSegLib.site.case_files import CaseFiles
from CrossModalSegLib.site.case_store import CaseStore
from CrossModalSegLib.site.finetune_base import STARTER
from CrossModalSegLib.site.runs import FinishedRun, finished_runs
from Testing.Benchmarks.method.glioma import GliomaPatient
from Testing.Benchmarks.method.patients import Scan
from Testing.Benchmarks.method.run import REPOSITORY
from Testing.Benchmarks.method.simulate import ALIGNED, contrast, simulate
from Testing.Benchmarks.site.files import data_case, write_case, write_row
from Testing.Benchmarks.site.shift import on_own_grid
from Testing.Benchmarks.site.table import starter_lines

DATA = REPOSITORY.parent / "shared" / "data"
OUTPUT = REPOSITORY / "runs" / "site" / "starter"
MODALITIES = ("T1w", "T2w")
CORRECTED = 2


def main(argv: Sequence[str] | None = None) -> None:
    """Everything that is missing, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--base", default=STARTER)
    parser.add_argument("--budget", type=float, default=15.0, help="minutes")
    parser.add_argument("--config", type=Path, help="settings of the fine-tuning, as for crossmodalseg finetune")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    base = load_bundle(args.base)
    translation = read_labels(args.data / "oasis-t1" / "to_freesurfer.json")
    label_map = LabelMap(tuple(one for one in base.label_map.structures if one.value in translation.values))
    adults = sorted(path.name for path in (args.data / "oasis-t1").iterdir() if path.is_dir())
    scans = {name: pair_of(args.data / "oasis-t1" / name, label_map) for name in adults}
    site = make_site(args, {name: scans[name] for name in adults[:CORRECTED]}, label_map)
    for name in adults[CORRECTED:]:
        write_case(args.output / "tests" / name, scans[name], label_map)
    tests = [data_case(args.output / "tests" / name, MODALITIES, label_map.values) for name in adults[CORRECTED:]]
    before = scores_of(base, tests, args.output / "scores-of-base")
    run = adapt(site, base, args)
    after = scores_of(load_bundle(run.candidate), tests, args.output / "scores-of-candidate")
    metrics = json.loads((run.folder / "metrics.json").read_text(encoding="utf-8"))
    told = {key: metrics[key] for key in ("verdict", "schedule", "share", "seconds")}
    write_row(args.output / "row.json", {"base": before, "candidate": after, "metrics": told})
    print("\n".join([*starter_lines(args.output), changes(before, after)]))


def pair_of(folder: Path, label_map: LabelMap) -> dict[str, Scan]:
    """The real T1w of an adult and a simulated second scan, each with the structures of ``label_map`` on its own
    grid."""
    t1 = read_volume(folder / "T1w.nii.gz", "T1w")
    manual, _grid, _map = read_segmentation(folder / "labels.nii.gz")
    found, _unknown = read_labels(folder.parent / "to_freesurfer.json").apply(np.rint(manual).astype(int))
    labels = np.where(np.isin(found, label_map.values), found, 0).astype(np.uint16)
    plain = np.zeros(labels.shape, np.uint16)  # the contrast follows from the T1w alone
    second = simulate(t1, plain, ALIGNED, contrast(0), int(folder.name))
    volume = Volume(second.volume.array, second.volume.grid, "T2w")
    return {"T1w": Scan(t1, labels, t1.grid), "T2w": on_own_grid(Scan(volume, labels, second.label_grid))}


def make_site(args: argparse.Namespace, corrected: dict[str, dict[str, Scan]], label_map: LabelMap) -> Path:
    """The corrected patients, and real pairs without labels."""
    store = CaseStore(args.output / "site")
    store.create(label_map, MODALITIES)
    known = {case.patient for case in store.cases()}
    facts = {"name": STARTER, "modalities": list(MODALITIES)}
    for name, scans in corrected.items():
        if store.site().patient_hash(name) not in known:
            volumes = {modality: scan.volume for modality, scan in scans.items()}
            labels = {modality: (scan.labels, scan.label_grid) for modality, scan in scans.items()}
            store.save_correction(CaseFiles(volumes, labels, label_map, facts, name))
    for name, volumes in unlabelled_pairs(args.data).items():
        if store.site().patient_hash(name) not in known:
            store.add_unlabelled(CaseFiles(volumes, {}, label_map, facts, name))
    return store.folder


def unlabelled_pairs(data: Path) -> dict[str, dict[str, Volume]]:
    """Real pairs by patient, as the bundle's two modalities."""
    pairs = {}
    for folder in sorted(path for path in (data / "open-ms").iterdir() if path.is_dir()):
        pairs[folder.name] = {f"{name}w": read_volume(folder / f"{name}.nii.gz", f"{name}w") for name in ("T1", "T2")}
    for folder in sorted(path for path in (data / "glioma").iterdir() if path.is_dir()):
        patient = GliomaPatient(folder)
        pairs[folder.name] = {"T1w": patient.scan(1).volume, "T2w": patient.scan(0).volume}
    return pairs


def adapt(site: Path, base: Bundle, args: argparse.Namespace) -> FinishedRun:
    """The command's run, begun or gone on with."""
    if not finished_runs(site):
        fresh = ["--budget", f"{args.budget:g}", *(["--config", str(args.config)] if args.config else [])]
        more = ["--resume"] if any(site.glob("runs/*/plan.json")) else fresh
        if crossmodalseg(["finetune", str(site), "--base", str(base.path), "--device", "cpu", *more]) != 0:
            raise SystemExit(f"fine-tuning {site} failed")
    return finished_runs(site)[-1]


def scores_of(bundle: Bundle, cases: Sequence[DataCase], folder: Path) -> dict[str, Scores]:
    """The model's scores by patient."""
    scorer = CaseScorer(Segmenter(bundle, "cpu"), {}, bundle.label_map, folder)
    return {case.id: scorer.score(case) for case in cases}


def changes(before: dict[str, Scores], after: dict[str, Scores]) -> str:
    """The structures that change most."""
    found = {}
    for name in next(iter(before.values()))["T1w"]:
        found[name] = statistics.mean(
            after[patient][modality][name]["dice"] - numbers[name]["dice"]
            for patient, scores in before.items()
            for modality, numbers in scores.items()
        )
    ordered = sorted(found, key=found.__getitem__)
    return "; ".join(f"{name} {found[name]:+.3f}" for name in [*ordered[:4], *ordered[-4:]])


if __name__ == "__main__":
    main()
