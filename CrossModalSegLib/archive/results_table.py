"""The table of what came of each case, ``results.csv`` in the folder of the results, which many processes write."""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from filelock import FileLock

from CrossModalSegLib.atomic import output_errors, write_atomically
from CrossModalSegLib.errors import OutputError

RESULTS = "results.csv"
SHARED = ".cases"  # folder with what the processes share: claims, noted failures, jobs of an archive

State = Literal["done", "failed", "open"]


@dataclass(frozen=True)
class Outcome:
    """What came of a case. ``seconds``: what computing it took, as in its report. ``error``: code of a typed error."""

    case: str
    state: State
    seconds: float | None = None
    error: str = ""
    message: str = ""


COLUMNS = [field.name for field in fields(Outcome)]


def merge_outcomes(output: Path, cases: Iterable[str], outcomes: Mapping[str, Outcome]) -> dict[str, Outcome]:
    """Bring what this process knows into ``output``/results.csv; returns the whole table, by case.

    One row for each of ``cases``, in their order, whichever process wrote first; cases of which nobody knows anything
    are "open". Raises OutputError ``cannot-write``.
    """
    shared = output / SHARED
    with output_errors(output):
        shared.mkdir(parents=True, exist_ok=True)
        with FileLock(shared / "results.lock"):
            table = read_outcomes(output) | dict(outcomes)
            rows = {case: table.get(case, Outcome(case, "open")) for case in cases}
            write_atomically(output / RESULTS, _as_csv(rows.values()))
    return rows


def read_outcomes(output: Path) -> dict[str, Outcome]:
    """The rows of ``output``/results.csv by case; none where there is no such table yet.

    Raises OutputError ``not-a-result`` where a file of that name is something else.
    """
    try:
        with (output / RESULTS).open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except FileNotFoundError:
        return {}
    if rows and list(rows[0]) != COLUMNS:
        raise OutputError("not-a-result", f"{output / RESULTS} is no table of results", "choose another output folder")
    return {row["case"]: _from_row(row) for row in rows}


def _from_row(row: Mapping[str, str]) -> Outcome:
    state: State = "done" if row["state"] == "done" else "failed" if row["state"] == "failed" else "open"
    return Outcome(row["case"], state, float(row["seconds"]) if row["seconds"] else None, row["error"], row["message"])


def _as_csv(rows: Iterable[Outcome]) -> str:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        seconds = "" if row.seconds is None else f"{row.seconds:.3f}"
        writer.writerow([row.case, row.state, seconds, row.error, row.message])
    return stream.getvalue()
