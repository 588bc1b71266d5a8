"""Fine-tuning for a view: a process of its own, how far it is, and what came of it. Knows no widgets.

The process is ``crossmodalseg finetune SITE --events``. It may be killed at any moment: the run goes on from there when
it is resumed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from CrossModalSegApp.process.background_command import BackgroundCommand, Launcher
from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.errors import DataError
from CrossModalSegLib.site.runs import finished_runs, unfinished_run


@dataclass(frozen=True)
class FineTuningResult:
    """What the gate decided (promote, keep, insufficient-evidence) and why, the report, and the new model's folder;
    ``summary``: what was gained, for whom, and what it costs elsewhere, in two sentences."""

    decision: str
    reasons: tuple[str, ...]
    report: Path
    bundle: Path
    summary: tuple[str, ...] = ()

    @property
    def is_offered(self) -> bool:
        """Whether a person may choose the new model: nothing was found against it."""
        return self.decision != "keep"


class FineTuning(BackgroundCommand):
    """At most one fine-tuning at a time."""

    def __init__(self, launch: Launcher):
        super().__init__(launch, "fine-tuning", "fine-tuning-died")

    def start(self, site: Path, base: Bundle, minutes: float, device: str = "auto", keep_general: bool = False) -> None:
        """Begin a fine-tuning of ``base``, for this site or to ``keep_general``; returns at once. Raises InputError
        ``busy``."""
        asked = ["--base", str(base.path), "--budget", f"{minutes:g}", "--device", device]
        self.run(["finetune", str(site), *asked, *(["--keep-general"] if keep_general else [])])

    def resume(self, site: Path, device: str = "auto") -> None:
        """Go on with the newest run that was stopped. Raises InputError ``busy``."""
        self.run(["finetune", str(site), "--resume", "--device", device])

    def result_of(self, event: dict[str, Any]) -> FineTuningResult:
        return FineTuningResult(
            event["decision"],
            tuple(event["reasons"]),
            Path(event["report"]),
            Path(event["bundle"]),
            tuple(event.get("summary", ())),
        )


def can_resume(site: Path) -> bool:
    """Whether a fine-tuning of this site was stopped before its end."""
    try:
        unfinished_run(site)
    except DataError:
        return False
    return True


def latest_result(site: Path) -> FineTuningResult | None:
    """What the newest finished fine-tuning of this site came to. Raises DataError ``bad-run``."""
    runs = finished_runs(site)
    if not runs:
        return None
    run = runs[-1]
    return FineTuningResult(run.decision, run.reasons, run.report, run.candidate, run.summary)
