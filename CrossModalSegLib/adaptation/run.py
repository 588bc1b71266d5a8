"""Where a fine-tuning stands: its folder below the site, what it works with, and how far it is."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch

from CrossModalSegLib.adaptation.config import FinetuneConfig
from CrossModalSegLib.adaptation.frozen_cases import frozen_cases, with_modalities
from CrossModalSegLib.adaptation.gate import Verdict
from CrossModalSegLib.adaptation.label_mapping import LabelMapping
from CrossModalSegLib.adaptation.plan import Plan
from CrossModalSegLib.adaptation.site_data import DataCase, SiteData
from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.progress import RunProgress
from CrossModalSegLib.protocol import Progress
from CrossModalSegLib.training.processes import ALONE, Processes

Tell = Callable[[Progress], None]


class Pace:
    """Tells how far a run is that ``began`` (on the monotonic clock) or begins now. The seconds that its plan gives
    each stage are what is gone by."""

    def __init__(self, tell: Tell, began: float | None = None):
        self._tell, self._progress = tell, RunProgress({}, measured=True, shown_by=math.inf)
        self._started = time.monotonic() if began is None else began

    def expect(self, seconds: Mapping[str, float]) -> None:
        """The stages that are still to come."""
        self._progress.expect(seconds, measured=True)

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def update(self, stage: str, fraction: float, words: str = "") -> None:
        """Tell how far it is."""
        self._tell(self._progress.update(stage, fraction, words))


@dataclass
class Finetuning:
    """All that the steps below share. ``folder`` is the run's; ``mapping`` leads from the parent's structures to the
    new."""

    site: Path
    folder: Path
    parent: Bundle
    mapping: LabelMapping
    data: SiteData
    plan: Plan
    device: torch.device
    pace: Pace
    processes: Processes = ALONE
    share: float = 1.0  # of the way from the parent's weights to the trained ones, once it is chosen
    judged_at: Mapping[str, float] = field(
        default_factory=dict
    )  # the share at which each held-out case is judged, by id

    @property
    def config(self) -> FinetuneConfig:
        """What was asked for."""
        return self.plan.config

    @cached_property
    def frozen(self) -> list[DataCase]:
        """The cases of the parent that show what is forgotten."""
        return frozen_cases(self.parent, self.mapping.translation)

    @cached_property
    def frozen_alike(self) -> list[DataCase]:
        """The frozen cases with the scans alone that are of this site's modalities, as its patients have them."""
        own = {name for case in (*self.data.labelled, *self.data.unlabelled) for name in case.scans}
        return [alike for case in self.frozen if (alike := with_modalities(case, own))]

    def follow(self, plan: Plan) -> None:
        """Go by this plan from here on, with the data that it names."""
        self.plan = plan
        self.mapping = replace(self.mapping, undrawn=frozenset(plan.mapping.get("undrawn", ())))
        kept = tuple(case for case in self.data.unlabelled if case.id in set(plan.unlabelled))
        self.data = replace(self.data, unlabelled=kept)

    def decide(self, plan: Plan) -> None:
        """Follow this plan, and write it down for whoever goes on with the run."""
        self.follow(plan)
        plan.save(self.folder)

    @property
    def cases(self) -> dict[str, DataCase]:
        """The labelled cases by id."""
        return {case.id: case for case in self.data.labelled}


@dataclass(frozen=True)
class Outcome:
    """What came of it: the verdict, the candidate's bundle, and the place among the site's models if it was promoted;
    ``summary`` says it in two sentences, ``notes`` what else a person should know."""

    verdict: Verdict
    candidate: Bundle
    promoted: Bundle | None
    report: Path
    summary: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
