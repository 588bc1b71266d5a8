"""The report of a fine-tuning: one HTML file."""

from pathlib import Path
from typing import Any

from CrossModalSegLib.atomic import write_atomically


def write_report(run: Any, _schedule: Any, verdict: Any, _parent: Any, _candidate: Any, _bundle: Any) -> Path:
    path = run.folder / "report.html"
    write_atomically(path, f"<p>{verdict.decision}</p>")
    return path
