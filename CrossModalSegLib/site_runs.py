"""The fine-tunings of a site by what their folders ``runs/<time>`` hold: which go on, which are done, with what result.

``plan.json`` is there from the start, ``metrics.json`` comes last and says that the run is done. Knows nothing of torch.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from CrossModalSegLib.errors import DataError
from CrossModalSegLib.site_folder import read_json

RUNS = "runs"
PLAN_FILE, METRICS_FILE, REPORT_FILE = "plan.json", "metrics.json", "report.html"


@dataclass(frozen=True)
class FinishedRun:
    """What came of a fine-tuning: ``decision`` of the gate with its reasons, the report, and the candidate's folder."""

    folder: Path
    decision: str
    reasons: tuple[str, ...]
    report: Path
    candidate: Path

    @property
    def name(self) -> str:
        """Name of the run's folder."""
        return self.folder.name


def new_run(site: Path, now: datetime | None = None) -> Path:
    """A folder name below ``runs`` that is not there yet, by the time of the start."""
    name = (now or datetime.now()).strftime("%Y%m%d-%H%M%S")
    folder, number = site / RUNS / name, 2
    while folder.exists():
        folder, number = site / RUNS / f"{name}-{number}", number + 1
    return folder


def unfinished_run(site: Path) -> Path:
    """The newest run that has a plan and no result. Raises DataError ``nothing-to-resume``."""
    plans = sorted((site / RUNS).glob(f"*/{PLAN_FILE}"))
    open_runs = [plan.parent for plan in plans if not (plan.parent / METRICS_FILE).exists()]
    if not open_runs:
        raise DataError("nothing-to-resume", f"{site} has no unfinished fine-tuning", "start one without --resume")
    return open_runs[-1]


def finished_runs(site: Path) -> list[FinishedRun]:
    """All that are done, oldest first. Raises DataError ``bad-run``."""
    return [_finished(file.parent) for file in sorted((site / RUNS).glob(f"*/{METRICS_FILE}"))]


def finished_run(site: Path, name: str = "") -> FinishedRun:
    """The run called ``name``, else the newest that is done. Raises DataError ``no-such-run`` or ``bad-run``."""
    found = [run for run in finished_runs(site) if name in ("", run.name)]
    if not found:
        there = ", ".join(run.name for run in finished_runs(site)) or "none"
        raise DataError("no-such-run", f"{site} has no finished fine-tuning {name}".rstrip(), f"there are: {there}")
    return found[-1]


def _finished(folder: Path) -> FinishedRun:
    content: dict[str, Any] = read_json(folder / METRICS_FILE, "bad-run", "remove this run, and fine-tune again")
    try:
        verdict, name = content["verdict"], content["candidate"]["name"]
        return FinishedRun(
            folder, verdict["decision"], tuple(verdict["reasons"]), folder / REPORT_FILE, folder / str(name)
        )
    except (KeyError, TypeError) as error:
        what = f"{folder / METRICS_FILE}: {type(error).__name__} {error}"
        raise DataError("bad-run", what, "remove this run, and fine-tune again") from error
