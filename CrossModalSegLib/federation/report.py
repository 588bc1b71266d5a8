"""What came of a federation: its history as JSON, and the same as a report for people."""

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from CrossModalSegLib.atomic import write_atomically
from CrossModalSegLib.federation.hospital import Facts, Judgement
from CrossModalSegLib.json_file import read_json
from CrossModalSegLib.training.templates import render

HISTORY = "federation.json"
REPORT = "federation.md"


@dataclass(frozen=True)
class Round:
    """One round: each hospital's judgement of its global model, and the bytes of weights that each has sent."""

    number: int
    judgements: dict[str, Judgement]
    sent_bytes: dict[str, int]


@dataclass
class History:
    """All of it. ``sent``: name, shape and bytes of each array that leaves a hospital in a round; ``models``: names of
    those that hospitals have accepted."""

    name: str
    parent: str
    sha256: str
    options: dict[str, Any]
    sent: list[list[Any]] = field(default_factory=list)
    hospitals: dict[str, Facts] = field(default_factory=dict)
    rounds: list[Round] = field(default_factory=list)
    models: dict[str, str] = field(default_factory=dict)


def write_history(folder: Path, history: History) -> None:
    """Write ``federation.json`` and ``federation.md`` into ``folder``."""
    write_atomically(folder / HISTORY, json.dumps(dataclasses.asdict(history), indent=1))
    write_atomically(folder / REPORT, report_of(history))


def read_history(file: Path) -> History:
    """The history in a file. Raises DataError ``bad-history``."""
    content = read_json(file, "bad-history", "give the federation.json of a federation")
    content["hospitals"] = {name: Facts(**of) for name, of in content["hospitals"].items()}
    content["rounds"] = [
        Round(one["number"], {name: Judgement(**of) for name, of in one["judgements"].items()}, one["sent_bytes"])
        for one in content["rounds"]
    ]
    return History(**content)


def report_of(history: History) -> str:
    """Markdown: rounds, hospitals, gains, who accepted, and what left each hospital."""
    largest = sorted(history.sent, key=lambda row: -row[2])[:10]
    return render(
        "federation.md",
        history=history,
        number=in_words,
        total=sum(row[2] for row in history.sent),
        largest=largest,
    )


def in_words(value: float | None) -> str:
    """With three digits; a dash where there is no number."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.3f}"
