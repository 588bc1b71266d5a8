"""A new structure: "whole tumour" beside the starter bundle's brain structures, on real pairs (FLAIR and T1c, glioma).

    taskset -c 1 python -m Testing.Benchmarks.site.new_structure --budget 15

One patient is left out at a time; the site's label map has the tumour alone, with an explicit mapping, and the brain
structures are kept by what the parent sees outside the tumour. Scored on the patient left out: the tumour against the
expert's labels, and the brain structures against the parent's own segmentation outside the tumour, because nobody has
labelled these. Rows are kept in OUTPUT; the same command goes on where it was stopped, within a row too. Four patients
rank no methods: this shows that structures can be added without losing others.
"""

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from CrossModalSegLib.bundles.bundle import Bundle, load_bundle
from CrossModalSegLib.cli import main as crossmodalseg
from CrossModalSegLib.inference.evaluation import evaluate
from CrossModalSegLib.inference.inference import Segmenter
from CrossModalSegLib.labels import LabelMap, Structure
from CrossModalSegLib.site.case_files import CaseFiles
from CrossModalSegLib.site.case_store import CaseStore
from CrossModalSegLib.site.finetune_base import STARTER
from Testing.Benchmarks.method.glioma import DATA, GliomaPatient
from Testing.Benchmarks.method.run import REPOSITORY
from Testing.Benchmarks.site.files import write_row
from Testing.Benchmarks.site.table import structure_lines

OUTPUT = REPOSITORY / "runs" / "site" / "new-structure"
SLOTS = {"T1w": 1, "T2w": 0}  # the bundle's modalities: T1c is a T1w, FLAIR an alias of T2w
TUMOUR_VALUE = 500
TUMOUR = LabelMap((Structure(TUMOUR_VALUE, "whole tumour", (200, 60, 60)),))
WHITE_MATTER = 2
MAPPING = {"map": {str(TUMOUR_VALUE): None}, "start": {str(TUMOUR_VALUE): WHITE_MATTER}}


def main(argv: Sequence[str] | None = None) -> None:
    """Every patient left out, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--base", default=STARTER)
    parser.add_argument("--budget", type=float, default=15.0, help="minutes per patient left out")
    parser.add_argument("--patients", type=int, default=4, help="leave out only so many")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    patients = [GliomaPatient(folder) for folder in sorted(args.data.iterdir()) if folder.is_dir()]
    for left_out in [patient for patient in patients if patient.labelled][: args.patients]:
        carry_out(left_out, [one for one in patients if one is not left_out], args)
    print("\n".join(structure_lines(args.output)))


def carry_out(left_out: GliomaPatient, others: Sequence[GliomaPatient], args: argparse.Namespace) -> None:
    """Fine-tune without one patient, and score on that patient; nothing where the row is there."""
    folder = args.output / left_out.folder.name
    if (folder / "row.json").exists():
        return
    site = make_site(folder / "site", others)
    (folder / "mapping.json").write_text(json.dumps(MAPPING), encoding="utf-8")
    begun = any(site.folder.glob("runs/*/plan.json"))
    fresh = ["--budget", str(args.budget), "--mapping", str(folder / "mapping.json")]
    command = ["finetune", str(site.folder), "--base", args.base, "--device", "cpu"]
    done = list(site.folder.glob("runs/*/metrics.json"))
    if not done and crossmodalseg([*command, *(["--resume"] if begun else fresh)]) != 0:
        raise SystemExit(f"{left_out.folder.name}: the fine-tuning failed")
    (metrics,) = site.folder.glob("runs/*/metrics.json")
    content = json.loads(metrics.read_text(encoding="utf-8"))
    candidate = load_bundle(metrics.parent / content["candidate"]["name"])
    row = score(left_out, load_bundle(args.base), candidate)
    told = {key: content[key] for key in ("schedule", "share", "seconds")}
    told |= {"reasons": content["verdict"]["reasons"], "held out": held_out(content)}
    write_row(
        folder / "row.json", {"verdict": content["verdict"]["decision"], "minutes": args.budget, **row, "told": told}
    )


def held_out(metrics: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """The tumour's Dice by the site's cases and modalities, as the trainings that left them out find it."""
    name = TUMOUR.structures[0].name
    cases = {case: found for case, found in metrics["scores"]["candidate"].items() if name in found.get("T2w", {})}
    return {case: {m: numbers[name]["dice"] for m, numbers in found.items()} for case, found in cases.items()}


def make_site(folder: Path, patients: Sequence[GliomaPatient]) -> CaseStore:
    """The other patients: tumours corrected where there are labels."""
    store = CaseStore(folder)
    store.create(TUMOUR, tuple(SLOTS))
    known = {case.patient for case in store.cases()}
    for patient in patients:
        scans = {name: patient.scan(slot) for name, slot in SLOTS.items()}
        labels = {n: ((s.labels * TUMOUR_VALUE).astype(np.uint16), s.label_grid) for n, s in scans.items()}
        volumes = {name: scan.volume for name, scan in scans.items()}
        facts = {"name": STARTER, "modalities": list(SLOTS)}
        case = CaseFiles(volumes, labels if patient.labelled else {}, TUMOUR, facts, patient.folder.name)
        if store.site().patient_hash(patient.folder.name) not in known:
            if patient.labelled:
                store.save_correction(case)
            else:
                store.add_unlabelled(case)
    return store


def score(patient: GliomaPatient, base: Bundle, candidate: Bundle) -> dict[str, float]:
    """Dice of the tumour, and mean Dice of the brain structures against the parent's outside the tumour."""
    scans = {name: patient.scan(slot) for name, slot in SLOTS.items()}
    volumes = {name: scan.volume for name, scan in scans.items()}
    before, after = (Segmenter(bundle, "cpu").segment(volumes).modalities for bundle in (base, candidate))
    tumour, brain = [], []
    for name, scan in scans.items():
        expert = (scan.labels * TUMOUR_VALUE).astype(np.uint16)
        tumour += [one.dice for one in evaluate(after[name].labels, expert, scan.label_grid, TUMOUR)]
        rated = evaluate(after[name].labels, before[name].labels, scan.label_grid, base.label_map, ignored=expert > 0)
        brain += [one.dice for one in rated if one.rule == "in-both"]
    return {"whole tumour": statistics.mean(tumour), "brain structures": statistics.mean(brain)}


if __name__ == "__main__":
    main()
