"""Two corrected cases, twenty without labels, fifteen minutes: the whole command, gate and report included.

    python -m Testing.Benchmarks.site.few_cases [--budget 15]

Base, site and shift are those of new_scanner.py, whose OUTPUT is shared. The command is given the budget; then
supervised fine-tuning gets as many steps as it took. Scored are the 40 test patients, shifted and unshifted. What is
done is kept: the same command goes on where it was stopped.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from CrossModalSegLib.adaptation.scoring import CaseScorer
from CrossModalSegLib.adaptation.site_data import DataCase
from CrossModalSegLib.bundles.bundle import Bundle, load_bundle
from CrossModalSegLib.bundles.bundle_metadata import SECTION
from CrossModalSegLib.cli import main as crossmodalseg
from CrossModalSegLib.inference.inference import Segmenter
from CrossModalSegLib.site.runs import finished_runs
from Testing.Benchmarks.method.patients import split_of
from Testing.Benchmarks.method.scoring import LABELS
from Testing.Benchmarks.site import new_scanner
from Testing.Benchmarks.site.files import write_row
from Testing.Benchmarks.site.table import KINDS, few_cases_lines


def main(argv: Sequence[str] | None = None) -> None:
    """Everything that is missing, then the table."""
    args = new_scanner.placed(parser().parse_args(argv))
    torch.set_num_threads(args.threads)
    split = split_of(args.data, args.scans)
    base = new_scanner.make_base(split, args)
    tests = {kind: new_scanner.make_tests(split, kind, args) for kind in KINDS}
    new_scanner.score_base(base, tests, args.output)
    site = new_scanner.make_site(split, args.corrected, 0, args).folder
    row = args.output / "few-cases" / f"{args.corrected}-{args.unlabelled}-{args.budget:g}.json"
    if not row.exists():
        row.parent.mkdir(exist_ok=True)
        write_row(row, adapt(site, base, tests, args))
    args.steps = read(row)["steps"]
    new_scanner.carry_out(base, split, tests, "supervised", args.corrected, 0, args)
    print("\n".join(few_cases_lines(args.output)))


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = new_scanner.parser()
    made.description = __doc__
    made.add_argument("--budget", type=float, default=15.0, help="minutes")
    made.set_defaults(corrected=2, unlabelled=20, rows="few-cases")
    return made


def adapt(site: Path, base: Bundle, tests: Mapping[str, list[DataCase]], args: argparse.Namespace) -> dict[str, Any]:
    """Run the command, and score its candidate whatever the gate decided."""
    if not finished_runs(site):
        command = ["finetune", str(site), "--base", str(base.path), "--device", "cpu"]
        more = ["--resume"] if any(site.glob("runs/*/plan.json")) else ["--budget", str(args.budget)]
        if crossmodalseg([*command, *more]) != 0:
            raise SystemExit(f"fine-tuning {site} failed")
    run = finished_runs(site)[-1]
    candidate = load_bundle(run.candidate)
    scorer = Segmenter(candidate, "cpu")
    found = {
        kind: new_scanner.summary(
            {case.id: CaseScorer(scorer, {}, LABELS, run.folder / "tests" / kind).score(case) for case in cases}
        )
        for kind, cases in tests.items()
    }
    metrics = read(run.folder / "metrics.json")
    facts = {"decision": run.decision, "reasons": run.reasons, "seconds": metrics["seconds"]}
    steps = candidate.metadata[SECTION]["training"]["iterations"]
    return {**facts, "steps": steps, "share": metrics["share"], "schedule": metrics["schedule"], **found}


def read(path: Path) -> dict[str, Any]:
    """A JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
