"""Fine-tuning for a view: a process of its own, how far it is, and what came of it. Knows no widgets.

The process is ``crossmodalseg finetune SITE --events``. It may be killed at any moment: the run goes on from there when it
is resumed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.errors import DataError
from CrossModalSegLib.site.runs import finished_runs, unfinished_run
from CrossModalSegUI.background_command import BackgroundCommand, Launcher


@dataclass(frozen=True)
class AdaptationResult:
    """What the gate decided (promote, keep, insufficient-evidence) and why, the report, and the new model's folder."""

    decision: str
    reasons: tuple[str, ...]
    report: Path
    bundle: Path

    @property
    def is_offered(self) -> bool:
        """Whether a person may choose the new model: nothing was found against it."""
        return self.decision != "keep"


class Adaptation(BackgroundCommand):
    """At most one fine-tuning at a time."""

    def __init__(self, launch: Launcher):
        super().__init__(launch, "fine-tuning", "adaptation-died")

    def start(self, site: Path, base: Bundle, minutes: float, device: str = "auto") -> None:
        """Begin a fine-tuning of ``base``; returns at once. Raises InputError ``busy``."""
        self.run(["finetune", str(site), "--base", str(base.path), "--budget", f"{minutes:g}", "--device", device])

    def resume(self, site: Path, device: str = "auto") -> None:
        """Go on with the newest run that was stopped. Raises InputError ``busy``."""
        self.run(["finetune", str(site), "--resume", "--device", device])

    def result_of(self, event: dict[str, Any]) -> AdaptationResult:
        return AdaptationResult(
            event["decision"], tuple(event["reasons"]), Path(event["report"]), Path(event["bundle"])
        )


def can_resume(site: Path) -> bool:
    """Whether a fine-tuning of this site was stopped before its end."""
    try:
        unfinished_run(site)
    except DataError:
        return False
    return True


def latest_result(site: Path) -> AdaptationResult | None:
    """What the newest finished fine-tuning of this site came to. Raises DataError ``bad-run``."""
    runs = finished_runs(site)
    return AdaptationResult(runs[-1].decision, runs[-1].reasons, runs[-1].report, runs[-1].candidate) if runs else None
