"""Which cases a fine-tuning takes: those of the site now, or those that an earlier plan names."""

from dataclasses import dataclass, replace
from pathlib import Path

from CrossModalSegLib.adaptation.config import FinetuneConfig, training_config
from CrossModalSegLib.adaptation.label_mapping import LabelMapping
from CrossModalSegLib.adaptation.plan import Counts, Parent, Plan, PlannedCase, choose_trainings
from CrossModalSegLib.adaptation.site_data import SiteData, site_data
from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.errors import DataError
from CrossModalSegLib.site.case_store import CaseStore
from CrossModalSegLib.site.folder import read_splits
from CrossModalSegLib.site.learnt_cases import known_patients

RESTART = "start anew, without --resume"


@dataclass(frozen=True)
class Request:
    """What a person asks for: how, what the new model is called, and in which time."""

    config: FinetuneConfig
    name: str
    version: str
    minutes: float


def make_plan(site: Path, base: Bundle, mapping: LabelMapping, request: Request) -> tuple[Plan, SiteData]:
    """Check all data and decide what will be done.

    Cases without labels of held-out patients are left out: once corrected, these patients can be judged on. All are
    where many patients are corrected, unless the configuration asks for them: a step with them takes twice as long.
    Raises DataError ``site-data`` with all problems, ConfigError, LabelError ``sides-lost``.
    """
    if base.mirror:
        mapping.require_sides()
    config = request.config
    training_config(base, request.name, request.version, config, iterations=100)  # so that wrong entries are told now
    data = site_data(CaseStore(site).cases(), base, mapping, read_splits(site), config.finetune.absent)
    known = known_patients(base, (*data.labelled, *data.unlabelled))
    free = tuple(case for case in data.unlabelled if not case.held_out)
    held_out, spared = len(data.unlabelled) - len(free), 0
    if len(data.patients) >= config.finetune.unlabelled_below and not config.asks_for_unlabelled:
        config, spared, free = config.without_unlabelled(), len(free), ()
    data = replace(data, unlabelled=free)
    trainings = choose_trainings(data, config.finetune, known)
    counts = Counts(len(trainings[-1].learnt), len(free), held_out, spared, len(known & set(data.patients)))
    plan = Plan(
        name=request.name,
        version=request.version,
        parent=Parent(base.name, base.version, base.sha256),
        trainings=trainings,
        cases={case.id: PlannedCase(case.revision, dict(case.sha256 or {})) for case in data.labelled},
        unlabelled=tuple(case.id for case in data.unlabelled),
        config=config,
        mapping=mapping.to_json(),
        budget_minutes=request.minutes,
        counts=counts,
    )
    return plan, data


def planned_data(site: Path, base: Bundle, mapping: LabelMapping, plan: Plan) -> SiteData:
    """The data of a run that is resumed: the cases and revisions that it began with, whatever was added since.

    Raises DataError ``data-changed``.
    """
    store = {case.id: case for case in CaseStore(site).cases()}
    missing = [case for case in (*plan.cases, *plan.unlabelled) if case not in store]
    if missing:
        raise DataError("data-changed", f"cases {', '.join(missing)} are gone", RESTART)
    chosen = []
    for case_id, planned in plan.cases.items():
        case = store[case_id]
        revision = next((one for one in case.revisions if one.number == planned.revision), None)
        if revision is None:
            what = f"revision {planned.revision} of case {case_id} is gone"
            raise DataError("data-changed", what, RESTART)
        chosen.append(replace(case, trusted=revision, is_excluded=False))
    changed = [case.id for case in chosen if case.sha256 != plan.cases[case.id].sha256]
    if changed:
        raise DataError("data-changed", f"the files of {', '.join(changed)} are not those of the plan", RESTART)
    rest = [replace(store[case_id], trusted=None, is_excluded=False) for case_id in plan.unlabelled]
    return site_data([*chosen, *rest], base, mapping, absent=plan.config.finetune.absent)
