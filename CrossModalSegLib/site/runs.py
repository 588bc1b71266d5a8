"""The fine-tunings of a site by what their folders ``runs/<time>`` hold: which go on, which are done, with what result.

``plan.json`` is there from the start, ``metrics.json`` comes last and says that the run is done; ``given-up.json`` says
that going on with it would not help. Knows nothing of torch.
"""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from CrossModalSegLib.atomic import write_atomically
from CrossModalSegLib.errors import CrossModalSegError, DataError, InputError
from CrossModalSegLib.json_file import read_json

RUNS = "runs"
PLAN_FILE, METRICS_FILE, REPORT_FILE = "plan.json", "metrics.json", "report.html"
GIVEN_UP_FILE = "given-up.json"
OWN_NAMES = ("candidate", "lock", "parent", "prepared", "training")  # of a run's folders, beside that of the new model
_LONGEST_NAME = 100  # more is put before and behind it
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _+()-]*(\.[A-Za-z0-9 _+()-]+)*")
_FILES = re.compile(r".*\.(json|html)", re.IGNORECASE)


@dataclass(frozen=True)
class FinishedRun:
    """What came of a fine-tuning: ``decision`` of the gate with its reasons, the report, and the candidate's folder;
    ``summary`` says it in two sentences, which runs of earlier versions do not have."""

    folder: Path
    decision: str
    reasons: tuple[str, ...]
    report: Path
    candidate: Path
    summary: tuple[str, ...] = ()

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
    """The newest run that has a plan and no result, and began after the last one that has a result: earlier ones are
    out of date. One that was given up does not count. Raises DataError ``nothing-to-resume``."""
    runs = [plan.parent for plan in sorted((site / RUNS).glob(f"*/{PLAN_FILE}"))]
    done = [number for number, run in enumerate(runs, start=1) if (run / METRICS_FILE).exists()]
    open_runs = [run for run in runs[max(done, default=0) :] if not (run / GIVEN_UP_FILE).exists()]
    if not open_runs:
        raise DataError("nothing-to-resume", f"{site} has no unfinished fine-tuning", "start one without --resume")
    return open_runs[-1]


def give_up(run: Path, error: CrossModalSegError) -> None:
    """Note in the folder of a run why going on with it would end in the same error. Raises OutputError."""
    facts = {"code": error.code, "message": error.message, "hint": error.hint}
    write_atomically(run / GIVEN_UP_FILE, json.dumps(facts, indent=1))


def require_free_name(name: str) -> None:
    """Raises InputError ``bad-name`` where ``name`` cannot be that of a new model's folder inside a run."""
    if name.casefold() in OWN_NAMES or _FILES.fullmatch(name):
        hint = f"a run has files of its own of this name: use another one than {', '.join(OWN_NAMES)}, and no file's"
        raise InputError("bad-name", f"the name {name!r} for the new model", hint)
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        hint = f"give a plain name of up to {_LONGEST_NAME} letters, digits, - and _, such as our-brain-model"
        raise InputError("bad-name", f"the name {name!r} for the new model", hint)


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
        reasons, summary = tuple(verdict["reasons"]), tuple(content.get("summary", ()))
        return FinishedRun(folder, verdict["decision"], reasons, folder / REPORT_FILE, folder / str(name), summary)
    except (KeyError, TypeError) as error:
        what = f"{folder / METRICS_FILE}: {type(error).__name__} {error}"
        raise DataError("bad-run", what, "remove this run, and fine-tune again") from error
