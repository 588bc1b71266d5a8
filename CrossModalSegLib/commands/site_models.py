"""``crossmodalseg site models | adopt``: the models that fine-tuning has made for a site, and taking one over
knowingly."""

import argparse

from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.errors import DataError
from CrossModalSegLib.site.folder import read_site
from CrossModalSegLib.site.models import adopt, site_models
from CrossModalSegLib.site.runs import finished_run, finished_runs


def list_models(args: argparse.Namespace) -> int:
    """The models among which one can choose, then the fine-tunings with what the gate decided."""
    read_site(args.site)
    models = site_models(args.site)
    parents = {model.sha256: model.name for model in models}
    for model in models:
        print(f"{model.name} {model.version}, from {_parent(model, parents)}: {model.path}")
    if not models:
        print("no models yet: a fine-tuned one appears here when it is promoted, or adopted")
    for run in finished_runs(args.site):
        print(f"run {run.name}: {run.decision}: {'; '.join(run.reasons)}")
        print(f"  report {run.report}")
    return 0


def adopt_candidate(args: argparse.Namespace) -> int:
    """The candidate of a run becomes one of the site's models, although its evidence was insufficient.

    Raises DataError ``kept-parent`` where the gate found something against it.
    """
    read_site(args.site)
    run = finished_run(args.site, args.run)
    if run.decision == "keep":
        what = f"the candidate of run {run.name} was found worse: {'; '.join(run.reasons)}"
        raise DataError("kept-parent", what, f"see {run.report}; correct more cases, and fine-tune again")
    model = adopt(args.site, run.candidate)
    print(f"{model.name} {model.version} is one of the site's models: {model.path}")
    print(f"use it with: crossmodalseg segment --bundle {model.path}")
    return 0


def _parent(model: Bundle, known: dict[str, str]) -> str:
    parent = model.parent or ""
    return known.get(parent) or parent[:12] or "no other model"
