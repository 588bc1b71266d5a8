"""``crossmodalseg finetune``: a site's corrections and unlabelled cases become a better model, judged against its
parent."""

import argparse
import dataclasses
import json
import math
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from CrossModalSegLib.commands.display import Display
from CrossModalSegLib.commands.options import given_path
from CrossModalSegLib.errors import ConfigError, InputError, OutputExistsError
from CrossModalSegLib.plurals import counted
from CrossModalSegLib.temporary import temporary_folder

if TYPE_CHECKING:
    import torch

    from CrossModalSegLib.adaptation.config import FinetuneConfig
    from CrossModalSegLib.adaptation.label_mapping import LabelMapping
    from CrossModalSegLib.adaptation.plan import Plan
    from CrossModalSegLib.adaptation.run import Finetuning, Outcome
    from CrossModalSegLib.adaptation.site_data import SiteData
    from CrossModalSegLib.bundles.bundle import Bundle
    from CrossModalSegLib.training.processes import Processes

DEFAULT_MINUTES = 30.0
EXAMPLES = """examples:
  crossmodalseg finetune site --dry-run            what would be done, and how long it would take
  crossmodalseg finetune site --budget 15
  crossmodalseg finetune site --resume             go on where it was stopped
  torchrun --nproc-per-node=2 -m CrossModalSegLib.cli finetune site    (two GPUs)

Everything goes into SITE/runs/<time>. The new model becomes one of SITE/models if it is better than its parent on cases
that it did not learn from, and nothing speaks against it. docs/site-adaptation.md describes all of it.
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "finetune",
        help="adapt a model to a site's corrected and unlabelled cases",
        description="Adapts a model to a site's corrected and unlabelled cases, and compares it with its parent.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("site", type=given_path, metavar="SITE", help="folder of the site's cases")
    parser.add_argument("--base", metavar="BUNDLE", help="name or folder of the model to begin with")
    parser.add_argument("--output", metavar="NAME", help="name of the new model")
    parser.add_argument(
        "--budget", type=float, metavar="MINUTES", help=f"time for everything (default {DEFAULT_MINUTES:g})"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--config", type=given_path, metavar="CONFIG.toml")
    parser.add_argument(
        "--mapping", type=given_path, metavar="MAPPING.json", help="where structures are new or renamed"
    )
    parser.add_argument(
        "--propose-mapping", type=given_path, metavar="FILE", help="write a mapping to correct, and do no more"
    )
    parser.add_argument(
        "--keep-general",
        action="store_true",
        default=None,
        help="the model shall serve other scanners too: what it loses elsewhere decides",
    )
    parser.add_argument(
        "--absent",
        action="append",
        metavar="STRUCTURE",
        help="it is truly not there where no correction shows it (else it is taken from the parent's segmentation)",
    )
    parser.add_argument("--resume", action="store_true", help="go on with the newest unfinished run")
    parser.add_argument("--dry-run", action="store_true", help="check and plan only; writes nothing")
    parser.add_argument("--events", action="store_true", help="progress as lines of JSON on stdout")


def run(args: argparse.Namespace) -> int:
    """Fine-tune; returns 0 whatever the verdict. Raises CrossModalSegError for bad input."""
    with Display(args.events) as show:
        outcome = _run(args, show)
        if outcome is not None and args.events:
            _send_outcome(outcome, show)
    if outcome is not None and not args.events:
        _print_outcome(args, outcome)
    return 0


def _run(args: argparse.Namespace, show: Display) -> "Outcome | None":
    """What came of it, if anything, in this process."""
    from CrossModalSegLib.adaptation.finetune import carry_out
    from CrossModalSegLib.adaptation.run_lock import only_process
    from CrossModalSegLib.inference.inference import choose_device
    from CrossModalSegLib.training.processes import processes_of_torchrun

    _refuse_contradicting(args)
    if args.propose_mapping:
        _propose_mapping(args)
        return None
    with processes_of_torchrun(choose_device(args.device)) as (processes, device):
        show.is_shown = processes.writes
        if args.dry_run:
            _dry_run(args, device, show)
            return None
        prepared = _prepare(args, device, show, processes)
        with only_process(prepared.folder) if processes.writes else nullcontext():
            return carry_out(prepared)


def _refuse_contradicting(args: argparse.Namespace) -> None:
    fixed = ("output", "budget", "config", "mapping", "keep_general", "absent")
    given = [f"--{name.replace('_', '-')}" for name in fixed if getattr(args, name) is not None]
    if args.resume and given:
        what = f"--resume with {', '.join(given)}"
        raise InputError("plan-fixed", what, "a run goes on as it was planned; start a new one to change that")
    if args.budget is not None and not (args.budget > 0 and math.isfinite(args.budget)):
        raise ConfigError("config", f"--budget {args.budget:g}", "give minutes above 0, such as 30")


def _prepare(args: argparse.Namespace, device: "torch.device", show: Display, processes: "Processes") -> "Finetuning":
    """What is needed to carry out a plan that is made now, or was made by the run that is resumed."""
    from CrossModalSegLib.adaptation.cases import planned_data
    from CrossModalSegLib.adaptation.plan import read_plan
    from CrossModalSegLib.adaptation.run import Finetuning, Pace
    from CrossModalSegLib.adaptation.run_lock import remove_from_idle_runs
    from CrossModalSegLib.adaptation.training import PREPARED
    from CrossModalSegLib.site.finetune_base import base_of_plan
    from CrossModalSegLib.site.runs import new_run, unfinished_run

    began = time.monotonic()  # checking the data is a part of the budget
    planned: tuple[Path, Plan] | None = None
    if processes.writes and not args.resume:
        base, mapping, plan, data = _new_plan(args)
        remove_from_idle_runs(args.site, PREPARED)  # of runs that were stopped: it only spares them time
        planned = (new_run(args.site), plan)
        plan.save(planned[0])
    elif processes.writes:
        planned = (folder := unfinished_run(args.site), read_plan(folder))
    planned = processes.from_first(planned)
    assert planned is not None  # the first process has one
    folder, plan = planned
    if args.resume or not processes.writes:
        base = base_of_plan(args.site, plan.parent.name, plan.parent.sha256, args.base)
        mapping = mapping_of_plan(args.site, base, plan)
        data = planned_data(args.site, base, mapping, plan)
    pace = Pace(show.progress, began)
    run = Finetuning(args.site, folder, base, mapping, data, plan, device, pace, processes)
    _tell_plan(run, show)
    return run


def _new_plan(args: argparse.Namespace) -> "tuple[Bundle, LabelMapping, Plan, SiteData]":
    from CrossModalSegLib.adaptation.cases import Request, make_plan
    from CrossModalSegLib.adaptation.config import read_finetune_config
    from CrossModalSegLib.adaptation.label_mapping import read_mapping, same_structures
    from CrossModalSegLib.site.case_store import CaseStore
    from CrossModalSegLib.site.finetune_base import choose_base, next_version
    from CrossModalSegLib.site.models import MODELS, next_name
    from CrossModalSegLib.site.runs import require_free_name

    config = _with_choices(read_finetune_config(args.config), args)
    store = CaseStore(args.site)
    label_map = store.site().label_map
    base = choose_base(args.site, args.base, store.cases())
    if args.mapping:
        mapping = read_mapping(args.mapping, base.label_map, label_map)
    else:
        mapping = same_structures(base.label_map, label_map)
    name = args.output or next_name(args.site, base.name)
    require_free_name(name)
    if (args.site / MODELS / name).exists():
        raise OutputExistsError(f"the site has a model {name} already", "give another name with --output")
    minutes = args.budget or DEFAULT_MINUTES
    request = Request(config, name, next_version(name, base.version), minutes)
    plan, data = make_plan(args.site, base, mapping, request)
    return base, mapping, plan, data


def _with_choices(config: "FinetuneConfig", args: argparse.Namespace) -> "FinetuneConfig":
    """What was chosen by an option of its own, over what the file says."""
    options = config.finetune
    general, absent = options.keep_general or bool(args.keep_general), (*options.absent, *(args.absent or ()))
    return dataclasses.replace(config, finetune=dataclasses.replace(options, keep_general=general, absent=absent))


def mapping_of_plan(site: Path, base: "Bundle", plan: "Plan") -> "LabelMapping":
    """The mapping that a run began with."""
    from CrossModalSegLib.adaptation.label_mapping import mapping_from_json
    from CrossModalSegLib.site.case_store import CaseStore

    return mapping_from_json(plan.mapping, base.label_map, CaseStore(site).site().label_map)


def _propose_mapping(args: argparse.Namespace) -> None:
    from CrossModalSegLib.adaptation.label_mapping import propose_mapping
    from CrossModalSegLib.atomic import write_atomically
    from CrossModalSegLib.site.case_store import CaseStore
    from CrossModalSegLib.site.finetune_base import choose_base

    store = CaseStore(args.site)
    base = choose_base(args.site, args.base, store.cases())
    proposed = propose_mapping(base.label_map, store.site().label_map)
    write_atomically(args.propose_mapping, json.dumps(proposed.to_json(), indent=1) + "\n")
    print(f"wrote {args.propose_mapping}, from {base.name}: read it, correct it, and give it with --mapping")
    for words in proposed.in_words():
        print(f"  {words}")


def _dry_run(args: argparse.Namespace, device: "torch.device", show: Display) -> None:
    """All of it up to the training, with a few of the cases, in a folder that is removed again."""
    from CrossModalSegLib.adaptation.run import Finetuning, Pace
    from CrossModalSegLib.adaptation.timing import estimate_schedule

    base, mapping, plan, data = _new_plan(args)
    with temporary_folder() as place:
        run = Finetuning(args.site, place, base, mapping, data, plan, device, Pace(show.progress))
        _tell_plan(run, show)
        schedule, taken = estimate_schedule(run)
    if taken:
        show.message(f"there will be time to learn from about {taken}")
    folds = len(run.plan.folds)
    trainings = [f"{counted(folds, 'training')} of {schedule.fold_steps} steps"] if folds else []
    trainings.append(f"one of {schedule.final_steps}")
    show.message(
        f"{' and '.join(trainings)} at {schedule.step_seconds:.2f} s per step, {run.plan.case_seconds:.1f} s per "
        "scored "
        f"case: {plan.budget_minutes:g} minutes in all"
    )


def _tell_plan(run: "Finetuning", show: Display) -> None:
    """What was found and will be done, before it begins."""
    from CrossModalSegLib.adaptation.plan import describe_plan

    names = [one.name for one in run.mapping.label_map.structures]
    for words in [*describe_plan(run.plan, run.data, names, run.frozen), *run.data.notes, *run.mapping.in_words()]:
        show.message(words)


def _send_outcome(outcome: "Outcome", show: Display) -> None:
    for words in outcome.notes:
        show.message(words)
    show.done(
        decision=outcome.verdict.decision,
        reasons=outcome.verdict.reasons,
        summary=outcome.summary,
        report=str(outcome.report),
        bundle=str((outcome.promoted or outcome.candidate).path),
    )


def _print_outcome(args: argparse.Namespace, outcome: "Outcome") -> None:
    verdict = outcome.verdict
    print("\n".join([f"{verdict.decision}: {'; '.join(verdict.reasons)}", *verdict.means, *outcome.summary]))
    for words in outcome.notes:
        print(words)
    print(f"report {outcome.report}")
    if outcome.promoted:
        print(f"new model, also for crossmodalseg segment --bundle: {outcome.promoted.path}")
    else:
        print(f"the parent stays; the candidate is kept in {outcome.candidate.path}")
    if verdict.decision == "insufficient-evidence":
        print(f"look at the report; to use the candidate all the same: crossmodalseg site adopt {args.site}")
