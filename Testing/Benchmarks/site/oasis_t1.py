"""Another labelling protocol: adults of OASIS, real T1w with manual labels, four corrected and one judged, in turn.

    python -m Testing.Benchmarks.site.oasis_t1 --judged 1128 [--method product] [--budget 45]

The site's label map is the bundle's, with cerebrospinal fluid, which this annotator never draws. Without labels: T1w
scans of open-ms and glioma. Methods at equal minutes: ``product`` is ``crossmodalseg finetune``, gate and report
included; ``plain`` trains all weights without anchor and goes all of the way, ``head`` trains the last layer alone,
``scratch`` a new network. Dice is over the 31 structures that the annotator draws; voxels with labels that have no
counterpart are left out. Rows are kept in OUTPUT, by base; nothing of the starter is chosen by them.
``measured/oasis-t1/base-0.1.0.json`` keeps the scores of the starter 0.1.0, so that gains compare whatever the bundle
of the day is.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from CrossModalSegLib.adaptation.candidate import weights_at
from CrossModalSegLib.adaptation.cases import Request, make_plan
from CrossModalSegLib.adaptation.config import FinetuneConfig, FinetuneOptions, read_finetune_config
from CrossModalSegLib.adaptation.label_mapping import same_structures
from CrossModalSegLib.adaptation.plan import Training
from CrossModalSegLib.adaptation.run import Finetuning, Pace
from CrossModalSegLib.adaptation.timing import time_steps
from CrossModalSegLib.adaptation.training import configuration, draw_from, grown_network
from CrossModalSegLib.bundles.bundle import Bundle, load_bundle
from CrossModalSegLib.cli import main as crossmodalseg
from CrossModalSegLib.imaging.segmentation_io import read_segmentation
from CrossModalSegLib.imaging.volume import Volume, read_volume
from CrossModalSegLib.inference.evaluation import evaluate
from CrossModalSegLib.inference.inference import Segmenter
from CrossModalSegLib.label_translation import LabelTranslation, read_labels
from CrossModalSegLib.labels import LabelMap
from CrossModalSegLib.site.case_files import CaseFiles
from CrossModalSegLib.site.case_store import CaseStore
from CrossModalSegLib.site.finetune_base import STARTER
from CrossModalSegLib.site.runs import finished_runs
from CrossModalSegLib.training.sources import Samples
from CrossModalSegLib.training.training import Course, Place, build_network, train
from Testing.Benchmarks.method.run import REPOSITORY
from Testing.Benchmarks.site.files import write_row
from Testing.Benchmarks.site.table import protocol_lines

DATA = REPOSITORY.parent / "shared" / "data"
OUTPUT = REPOSITORY / "runs" / "site" / "oasis-t1"
MODALITY = "T1w"
METHODS = ("product", "plain", "head", "scratch")
YARDSTICK = FinetuneConfig(FinetuneOptions(anchor=0.0), semi_supervised={"batch": 0})


@dataclass(frozen=True)
class Adult:
    """A scan with the annotator's labels in the bundle's values; ``unknown`` marks voxels that have no counterpart."""

    volume: Volume
    labels: np.ndarray
    unknown: np.ndarray


def main(argv: Sequence[str] | None = None) -> None:
    """The rows that are missing, then the table."""
    args = parser().parse_args(argv)
    torch.set_num_threads(args.threads)
    base = load_bundle(args.base)
    translation = read_labels(args.data / "oasis-t1" / "to_freesurfer.json")
    assert isinstance(translation, LabelTranslation)
    names = sorted(path.name for path in (args.data / "oasis-t1").iterdir() if path.is_dir())
    adults = {name: adult(args.data / "oasis-t1" / name, translation) for name in names}
    drawn = LabelMap(tuple(one for one in base.label_map.structures if one.value in translation.values))
    output = args.output / base.version
    for judged in args.judged or names:
        for method in ("base", args.method):
            path = output / "rows" / f"{method}-{judged}.json"
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                found = measure(method, judged, adults, base, drawn, args)
                write_row(path, {"method": method, "judged": judged, "budget": args.budget, **found})
    print("\n".join(protocol_lines(output)))


def measure(
    method: str, judged: str, adults: dict[str, Adult], base: Bundle, drawn: LabelMap, args: argparse.Namespace
) -> dict[str, Any]:
    """One row."""
    if method == "base":
        return {"dice": dice_of(Segmenter(base, "cpu"), adults[judged], drawn)}
    corrected = {name: one for name, one in adults.items() if name != judged}
    site = make_site(args.output / base.version / "sites" / f"{judged}-{method}", corrected, base, args)
    way = product if method == "product" else yardstick
    return way(site, base, adults[judged], drawn, args)


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--data", type=Path, default=DATA)
    made.add_argument("--output", type=Path, default=OUTPUT)
    made.add_argument("--base", default=STARTER)
    made.add_argument("--judged", nargs="*", help="adults that are judged on, one at a time (default: each in turn)")
    made.add_argument("--method", choices=METHODS, default="product")
    made.add_argument("--budget", type=float, default=45.0, help="minutes")
    made.add_argument(
        "--steps", type=int, help="of a yardstick, instead of what fits into the budget by four timed steps"
    )
    made.add_argument("--config", type=Path, help="settings of the product's fine-tuning")
    made.add_argument("--threads", type=int, default=1)
    return made


def adult(folder: Path, translation: LabelTranslation) -> Adult:
    """One patient of the set."""
    manual, _grid, _map = read_segmentation(folder / "labels.nii.gz")
    labels, unknown = translation.apply(np.rint(manual).astype(int))
    return Adult(read_volume(folder / "T1w.nii.gz", MODALITY), labels.astype(np.uint16), unknown)


def make_site(folder: Path, corrected: dict[str, Adult], base: Bundle, args: argparse.Namespace) -> Path:
    """The corrected patients, and T1w scans of others without labels; nothing where it is there."""
    store = CaseStore(folder)
    if folder.is_dir():
        return folder
    store.create(base.label_map, base.modalities)
    facts = {"name": base.name, "modalities": list(base.modalities)}
    for name, one in corrected.items():
        labels = {MODALITY: (one.labels, one.volume.grid)}
        store.save_correction(CaseFiles({MODALITY: one.volume}, labels, base.label_map, facts, name))
    others = [*(args.data / "open-ms").glob("*/T1.nii.gz"), *(args.data / "glioma").glob("*/T1c.nii.gz")]
    for path in sorted(others):
        volumes = {MODALITY: read_volume(path, MODALITY)}
        store.add_unlabelled(CaseFiles(volumes, {}, base.label_map, facts, path.parent.name))
    return folder


def product(site: Path, base: Bundle, judged: Adult, drawn: LabelMap, args: argparse.Namespace) -> dict[str, Any]:
    """The command's run, begun or gone on with, and its candidate scored whatever the gate decided."""
    if not finished_runs(site):
        fresh = ["--budget", f"{args.budget:g}", *(["--config", str(args.config)] if args.config else [])]
        more = ["--resume"] if any(site.glob("runs/*/plan.json")) else fresh
        if crossmodalseg(["finetune", str(site), "--base", str(base.path), "--device", "cpu", *more]) != 0:
            raise SystemExit(f"fine-tuning {site} failed")
    run = finished_runs(site)[-1]
    metrics = json.loads((run.folder / "metrics.json").read_text(encoding="utf-8"))
    told = {key: metrics[key] for key in ("schedule", "share", "shares", "seconds", "summary", "protocol")}
    verdict = {key: metrics["verdict"][key] for key in ("decision", "reasons", "costs")}
    return {"dice": dice_of(Segmenter(load_bundle(run.candidate), "cpu"), judged, drawn), **verdict, **told}


def yardstick(site: Path, base: Bundle, judged: Adult, drawn: LabelMap, args: argparse.Namespace) -> dict[str, Any]:
    """What somebody gets in the same minutes without this product's way, from the corrected cases alone."""
    began = time.monotonic()
    config = read_finetune_config(args.config) if args.config else YARDSTICK
    mapping = same_structures(base.label_map, base.label_map)
    plan, data = make_plan(site, base, mapping, Request(config, args.method, "1", args.budget))
    plan = replace(plan, trainings=(Training("final", tuple(case.id for case in data.labelled), ()),))
    folder = site / "yardstick"
    run = Finetuning(site, folder, base, mapping, data, plan, torch.device("cpu"), Pace(lambda _progress: None))
    steps = args.steps or max(1, int((args.budget * 60 - (time.monotonic() - began)) / time_steps(run)))
    weights = trained(run, args.method, steps)
    network = grown_network(run)
    network.load_state_dict(weights_at(run, "final", weights, 1.0))
    scores = dice_of(Segmenter(base, "cpu", network), judged, drawn)
    return {"dice": scores, "steps": steps, "seconds": round(time.monotonic() - began)}


def trained(run: Finetuning, method: str, steps: int) -> dict[str, Tensor]:
    """The averaged weights: ``plain`` all of them, ``head`` the last layer's alone, ``scratch`` those of a new
    network."""
    config = configuration(run, steps)
    classes = len(run.mapping.label_map.channels)
    torch.manual_seed(0)
    network = build_network(config, classes) if method == "scratch" else grown_network(run)
    if method == "head":
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name.startswith("heads."))
    samples = Samples(draw_from(run, run.plan.final, config).labelled)
    folder = run.folder / method
    folder.mkdir(parents=True, exist_ok=True)
    return train(config, classes, samples, Place(folder, run.device), lambda _step: None, Course(network))


def dice_of(segmenter: Segmenter, judged: Adult, drawn: LabelMap) -> dict[str, float]:
    """By structure."""
    result = segmenter.segment({MODALITY: judged.volume}).modalities[MODALITY]
    rated = evaluate(result.labels, judged.labels, judged.volume.grid, drawn, ignored=judged.unknown)
    return {one.name: round(one.dice, 4) for one in rated}


if __name__ == "__main__":
    main()
