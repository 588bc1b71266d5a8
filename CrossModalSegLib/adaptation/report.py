"""The report of a fine-tuning: one HTML file that needs nothing else, and holds no name, date of a patient or path."""

import base64
import json
import math
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from CrossModalSegLib.adaptation.candidate import PARENT, Evidence, held_out_name, share_name
from CrossModalSegLib.adaptation.conclusion import Conclusion
from CrossModalSegLib.adaptation.gate import Aim, Change, GroupChanges, Verdict
from CrossModalSegLib.adaptation.pictures import BeforeAfter, bars, draw, draw_pair
from CrossModalSegLib.adaptation.plan import Schedule
from CrossModalSegLib.adaptation.protocol_difference import ProtocolDifference
from CrossModalSegLib.adaptation.run import Finetuning
from CrossModalSegLib.adaptation.scoring import Scores, read_prediction
from CrossModalSegLib.adaptation.site_data import DataCase
from CrossModalSegLib.adaptation.training import volumes_file
from CrossModalSegLib.atomic import write_atomically
from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.labels import LabelMap
from CrossModalSegLib.site.runs import REPORT_FILE
from CrossModalSegLib.training.templates import render
from CrossModalSegLib.training.training_log import PICTURE

MOST_PICTURES = 6
MOST_PROTOCOL_PICTURES = 3
WORDS = {"promote": "Promote", "keep": "Keep the parent", "insufficient-evidence": "Insufficient evidence"}
COLORS = {"promote": "#1a7f4b", "keep": "#b3261e", "insufficient-evidence": "#946200"}


@dataclass(frozen=True)
class Table:
    """``bad`` says of each row whether it is to be noticed; empty: none is."""

    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    bad: Sequence[bool] = ()

    def is_bad(self, row: int) -> bool:
        """Whether this row is to be noticed."""
        return bool(self.bad) and self.bad[row]


@dataclass(frozen=True)
class Figure:
    """A picture, as PNG in base64."""

    png: str
    caption: str


@dataclass(frozen=True)
class Points:
    """A list."""

    points: Sequence[str]


@dataclass(frozen=True)
class Verbatim:
    """Text whose lines stay as they are."""

    text: str


@dataclass(frozen=True)
class Section:
    """A title and what stands below it: paragraphs, lists, tables and figures."""

    title: str
    parts: Sequence[str | Points | Table | Figure | Verbatim]


def write_report(run: Finetuning, conclusion: Conclusion, bundle: Bundle) -> Path:
    """Write ``RUN/report.html``."""
    path = run.folder / REPORT_FILE
    decision = conclusion.verdict.decision
    text = render(
        "report.html",
        model=bundle,
        parent=run.parent,
        summary=conclusion.summary,
        verdict=conclusion.verdict,
        decision=WORDS[decision],
        color=COLORS[decision],
        sections=list(_sections(run, conclusion, bundle)),
    )
    write_atomically(path, text)
    return path


def _sections(run: Finetuning, conclusion: Conclusion, bundle: Bundle) -> Iterator[Section]:
    verdict, findings = conclusion.verdict, conclusion.findings
    frozen = "must not be forgotten" if findings.aim.keep_general else "is lost elsewhere"
    yield _aim(verdict, findings.aim)
    yield _data(run)
    if findings.differences:
        yield _protocol(run, findings.differences)
    yield _group("Held-out cases of the site", verdict.site, run, "None could be held out.")
    if findings.evidence.gains:
        yield _shares(run, findings.evidence)
    yield _group(f"Frozen cases of the parent: what {frozen}", verdict.frozen, run, "The parent has none.")
    surfaces = _surfaces(run.cases, conclusion.parent, conclusion.candidate)
    if surfaces:
        yield Section("Surfaces, on the held-out cases", [Table(("mean", "parent", "candidate"), surfaces)])
    pictures = list(_pictures(run))
    if pictures:
        yield Section("Before and after", pictures)
    yield Section("Training", list(_curves(run)))
    yield Section("To do it again", [_reproducibility(run, conclusion.schedule, bundle)])


def _aim(verdict: Verdict, aim: Aim) -> Section:
    whom = (
        "The model shall serve other scanners as well (--keep-general): what the frozen cases lose decides."
        if aim.keep_general
        else "The model is for this site's next patients: what it loses elsewhere is told, and decides only "
        "where it is "
        "gross."
    )
    costs = [Points(verdict.costs)] if verdict.costs else []
    return Section("Whom it is for, and what it costs", [whom, *costs])


def _protocol(run: Finetuning, differences: Sequence[ProtocolDifference]) -> Section:
    rows = [
        (one.name, str(one.patients), f"{one.ratio - 1:+.0%}", f"{one.border_mm:+.1f}")
        for one in sorted(differences, key=lambda one: -abs(one.ratio - 1))
    ]
    words = (
        "The corrections differ from the parent alike in all patients: in volume and in where the border lies "
        "(above 0: "
        "outside the parent's). That is another protocol, or how this site's scans look; it counts for the site."
    )
    table = Table(("structure", "patients", "volume", "border, mm"), rows)
    return Section("Your protocol differs", [words, table, *_protocol_pictures(run, [one.name for one in differences])])


def _protocol_pictures(run: Finetuning, names: Sequence[str]) -> list[Figure]:
    """Corrections and parent of a few cases, with these structures alone."""
    shown = LabelMap(tuple(one for one in run.mapping.label_map.structures if one.name in names))
    figures = []
    for case in (one for one in run.data.labelled if (run.folder / PARENT / one.id).is_dir()):
        before, volumes = read_prediction(run.folder / PARENT, case), case.volumes()
        for modality, (reference, _grid) in case.reference().items():
            pair = (_only(reference, shown), _only(before[modality][0], shown))
            figures.append(Figure(draw_pair(volumes[modality], *pair, shown), f"case {case.id}, {modality}"))
    return figures[:MOST_PROTOCOL_PICTURES]


def _only(labels: np.ndarray, label_map: LabelMap) -> np.ndarray:
    return np.where(np.isin(labels, label_map.values), labels, 0)


def _shares(run: Finetuning, evidence: Evidence) -> Section:
    """How far to go: what each share of the way brings on the held-out cases, and who was judged at which."""
    rows = []
    for share, gains in evidence.gains.items():
        mean = f"{sum(gains.values()) / len(gains):+.3f}" if gains else "–"
        judged = sum(1 for at in evidence.judged_at.values() if at == share)
        rows.append((f"{share:g}", mean, str(judged), "chosen" if share == run.share else ""))
    words = (
        "Of the way from the parent's weights to the trained ones. No patient chooses the share that it is "
        "judged at: those "
        "of the other trainings do. The candidate goes as far as all of them say together: the share with the highest "
        "mean gain."
    )
    head = ("share of the way", "mean gain", "patients judged at it", "candidate")
    return Section("How far to go", [words, Table(head, rows)])


def _data(run: Finetuning) -> Section:
    rows = [
        ("corrected cases", str(len(run.data.labelled))),
        ("patients with corrected cases", str(len(run.data.patients))),
        ("corrected cases learnt from", _of(len(run.plan.final.learnt), run.plan.counts.corrected)),
        ("cases without labels learnt from", _of(len(run.data.unlabelled), run.plan.counts.unlabelled)),
        ("structures", str(len(run.mapping.label_map.structures))),
        ("frozen cases", str(len(run.frozen))),
    ]
    notes = [*run.mapping.in_words(), *run.data.notes]
    return Section(
        "Data",
        [
            Table(("", "count"), rows),
            *([Points(notes)] if notes else []),
            "How many of the corrected scans that were taken up show each structure, and its mean volume in them:",
            Table(("structure", "scans", "mL"), _labelled_volumes(run)),
        ],
    )


def _of(count: int, found: int) -> str:
    return str(count) if found in (0, count) else f"{count} of {found}, for which there was time"


def _labelled_volumes(run: Finetuning) -> list[tuple[str, ...]]:
    """From what was noted when the cases were prepared."""
    volumes: dict[int, list[float]] = {value: [] for value in run.mapping.site.values}
    files = [file for case in run.data.labelled if (file := volumes_file(run, case.id)).exists()]
    for scan in (scan for file in files for scan in json.loads(file.read_text(encoding="utf-8"))):
        for value, found in volumes.items():
            if str(value) in scan:
                found.append(scan[str(value)])
    names = {one.value: one.name for one in run.mapping.site.structures}
    return [(names[value], str(len(of)), f"{sum(of) / len(of):.2f}" if of else "–") for value, of in volumes.items()]


def _group(title: str, group: GroupChanges, run: Finetuning, none: str) -> Section:
    if group.mean is None:
        return Section(title, [none])
    rules, changes = run.config.gate, (group.mean, *group.structures)
    head = ("structure", "patients", "parent", "candidate", "difference", f"{rules.confidence:.0%} interval")
    worse = [change.difference < -rules.structure_fall for change in changes]
    fallen = [change.difference < -rules.case_fall for change in group.cases]
    by_case = [(change.name, *_numbers(change)) for change in group.cases]
    names = [change.name for change in group.structures]
    picture = bars({change.name: (change.parent, change.candidate) for change in group.structures}, names)
    return Section(
        title,
        [
            "Dice; means over patients.",
            Table(head, [_row(change) for change in changes], worse),
            Figure(picture, "Dice per structure"),
            Table(("case", "parent", "candidate", "difference"), by_case, fallen),
        ],
    )


def _surfaces(
    cases: Mapping[str, DataCase], parent: Mapping[str, Scores], candidate: Mapping[str, Scores]
) -> list[tuple[str, ...]]:
    """Means of the surface measures over all scans and structures that both models found."""
    pairs: dict[str, list[tuple[float, float]]] = {"nsd": [], "hd95_mm": []}
    for case in (name for name in candidate if name in cases and name in parent):
        for modality, structures in candidate[case].items():
            for name, numbers in structures.items():
                before = parent[case].get(modality, {}).get(name)
                for key, found in pairs.items():
                    pair = (before[key], numbers[key]) if before else (math.nan, math.nan)
                    if not any(map(math.isnan, pair)):
                        found.append(pair)
    names = {"nsd": "normalised surface Dice, 1 mm", "hd95_mm": "95 % Hausdorff distance, mm"}
    return [
        (names[key], *(f"{sum(side) / len(side):.3f}" for side in zip(*found, strict=True)))
        for key, found in pairs.items()
        if found
    ]


def _pictures(run: Finetuning) -> Iterator[Figure]:
    """A few cases that were not learnt from, else the frozen ones."""
    wanted = [
        (held_out_name(training, run.judged_at[name]), run.cases[name])
        for training in run.plan.trainings
        for name in training.judged
    ]
    wanted += [(share_name(run.share), case) for case in run.frozen]
    for training, case in wanted[:MOST_PICTURES]:
        before = read_prediction(run.folder / PARENT, case)
        after = read_prediction(run.folder / "candidate" / training, case)
        volumes = case.volumes()
        for modality, (reference, _grid) in case.reference().items():
            shown = BeforeAfter(volumes[modality], reference, before[modality][0], after[modality][0])
            yield Figure(draw(shown, run.mapping.label_map), f"case {case.id}, {modality}")


def _curves(run: Finetuning) -> Iterator[Figure]:
    for training in run.plan.trainings:
        picture = run.folder / "training" / training.name / PICTURE
        if picture.exists():
            png = base64.b64encode(picture.read_bytes()).decode("ascii")
            yield Figure(png, f"training {training.name}")


def _reproducibility(run: Finetuning, schedule: Schedule, bundle: Bundle) -> Verbatim:
    content = {
        "parent": asdict(run.plan.parent),
        "candidate": {"name": bundle.name, "version": bundle.version, "sha256": bundle.sha256},
        "corrected cases": {case_id: asdict(case) for case_id, case in run.plan.cases.items()},
        "trainings": [{"name": t.name, "learnt": t.learnt, "judged": t.judged} for t in run.plan.trainings],
        "steps": {"fold": schedule.fold_steps, "final": schedule.final_steps},
        "share of the way from the parent's to the trained weights": run.share,
        "measured seconds": {"step": schedule.step_seconds, "case": run.plan.case_seconds},
        "configuration": asdict(run.plan.config),
        "software": {name: version(name) for name in ("torch", "monai", "numpy", "SimpleITK")},
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {run.device.type}, {torch.get_num_threads()} threads",
    }
    return Verbatim(json.dumps(content, indent=1))


def _row(change: Change) -> tuple[str, ...]:
    interval = f"{change.low:+.3f} to {change.high:+.3f}" if math.isfinite(change.low) else "–"
    return (change.name, str(change.patients), *_numbers(change), interval)


def _numbers(change: Change) -> tuple[str, str, str]:
    return f"{change.parent:.3f}", f"{change.candidate:.3f}", f"{change.difference:+.3f}"
