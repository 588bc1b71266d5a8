"""The report of a fine-tuning: one HTML file that needs nothing else, and holds no name, date of a patient or path."""

import base64
import json
import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.metadata import version
from pathlib import Path

import torch

from CrossModalSegLib.adaptation.candidate import share_name
from CrossModalSegLib.adaptation.gate import Change, GroupChanges, Verdict
from CrossModalSegLib.adaptation.pictures import BeforeAfter, bars, draw
from CrossModalSegLib.adaptation.plan import LEARNABLE, UNLABELLED, Schedule
from CrossModalSegLib.adaptation.run import Finetuning
from CrossModalSegLib.adaptation.scoring import Scores, read_prediction
from CrossModalSegLib.adaptation.site_data import DataCase
from CrossModalSegLib.adaptation.training import volumes_file
from CrossModalSegLib.atomic import write_atomically
from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.site.runs import REPORT_FILE
from CrossModalSegLib.training.training_log import PICTURE

MOST_PICTURES = 6
WORDS = {"promote": "Promote", "keep": "Keep the parent", "insufficient-evidence": "Insufficient evidence"}
COLORS = {"promote": "#1a7f4b", "keep": "#b3261e", "insufficient-evidence": "#946200"}
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c1c1c }
table { border-collapse: collapse; margin: 0.5rem 0 1.5rem } th, td { padding: 0.2rem 0.7rem; text-align: right }
th:first-child, td:first-child { text-align: left } thead th { border-bottom: 2px solid #888 } tr.bad td { color: #b3261e }
.verdict { color: white; padding: 0.7rem 1rem; border-radius: 0.4rem } .verdict h2 { margin: 0 }
img { max-width: 100%; display: block; margin: 0.5rem 0 } pre { background: #f3f3f3; padding: 0.8rem; overflow-x: auto }
figcaption { color: #555 } figure { margin: 0 0 1.2rem }
"""


def write_report(
    run: Finetuning,
    schedule: Schedule,
    verdict: Verdict,
    parent: Mapping[str, Scores],
    candidate: Mapping[str, Scores],
    bundle: Bundle,
) -> Path:
    """Write ``RUN/report.html``."""
    parts = [
        f"<h1>{escape(bundle.name)} {escape(bundle.version)}</h1>",
        f"<p>Fine-tuned from {escape(run.base.name)} {escape(run.base.version)}. Research and education. Not for clinical use.</p>",
        _verdict(verdict),
        _data(run),
        _group("Held-out cases of the site", verdict.site, run, "None could be held out."),
        _group("Frozen cases of the base: what must not be forgotten", verdict.frozen, run, "The base has none."),
        _surface(run.cases, parent, candidate),
        _pictures(run),
        _curves(run),
        _reproducibility(run, schedule, bundle),
    ]
    text = f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(bundle.name)}</title>'
    text += f"<style>{STYLE}</style></head><body>\n" + "\n".join(parts) + "\n</body></html>\n"
    path = run.folder / REPORT_FILE
    write_atomically(path, text)
    return path


def _verdict(verdict: Verdict) -> str:
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in verdict.reasons)
    color, words = COLORS[verdict.decision], WORDS[verdict.decision]
    box = f'<div class="verdict" style="background:{color}"><h2>{words}</h2><ul>{reasons}</ul></div>'
    return box + "".join(f"<p>{escape(mean)}</p>" for mean in verdict.means)


def _data(run: Finetuning) -> str:
    rows = [
        ("corrected cases", str(len(run.data.labelled))),
        ("patients with corrected cases", str(len(run.data.patients))),
        ("corrected cases learnt from", _of(len(run.plan.final.learnt), run.plan.counts.get(LEARNABLE))),
        ("cases without labels learnt from", _of(len(run.data.unlabelled), run.plan.counts.get(UNLABELLED))),
        ("structures", str(len(run.mapping.label_map.structures))),
        ("frozen cases", str(len(run.frozen))),
    ]
    voxels = _labelled_volumes(run)
    said = "".join(f"<li>{escape(words)}</li>" for words in (*run.mapping.in_words(), *run.data.notes))
    return (
        "<h2>Data</h2>"
        + _table(("", "count"), rows)
        + (f"<ul>{said}</ul>" if said else "")
        + "<p>How many of the corrected scans that were taken up show each structure, and its mean volume in them:</p>"
        + _table(("structure", "scans", "mL"), voxels)
    )


def _of(count: int, found: int | None) -> str:
    return str(count) if found in (None, count) else f"{count} of {found}, for which there was time"


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


def _group(title: str, group: GroupChanges, run: Finetuning, none: str) -> str:
    if group.mean is None:
        return f"<h2>{title}</h2><p>{none}</p>"
    confidence = f"{run.config.gate.confidence:.0%} interval"
    head = ("structure", "patients", "parent", "candidate", "difference", confidence)
    worse = [change.difference < -run.config.gate.structure_fall for change in (group.mean, *group.structures)]
    table = _table(head, [_row(change) for change in (group.mean, *group.structures)], worse)
    fallen = [change.difference < -run.config.gate.case_fall for change in group.cases]
    by_case = _table(
        ("case", "parent", "candidate", "difference"), [_case_row(change) for change in group.cases], fallen
    )
    names = [change.name for change in group.structures]
    picture = bars({change.name: (change.parent, change.candidate) for change in group.structures}, names)
    return f"<h2>{title}</h2><p>Dice; means over patients.</p>{table}{_image(picture, 'Dice per structure')}{by_case}"


def _surface(cases: Mapping[str, DataCase], parent: Mapping[str, Scores], candidate: Mapping[str, Scores]) -> str:
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
    if not pairs["nsd"]:
        return ""
    names = {"nsd": "normalised surface Dice, 1 mm", "hd95_mm": "95 % Hausdorff distance, mm"}
    rows = [
        (names[key], *(f"{sum(side) / len(side):.3f}" for side in zip(*found, strict=True)))
        for key, found in pairs.items()
        if found
    ]
    return "<h2>Surfaces, on the held-out cases</h2>" + _table(("mean", "parent", "candidate"), rows)


def _pictures(run: Finetuning) -> str:
    """A few cases that were not learnt from, else the frozen ones."""
    wanted = [(training.name, run.cases[name]) for training in run.plan.trainings for name in training.judged]
    wanted += [(share_name(run.share), case) for case in run.frozen]
    figures = []
    for training, case in wanted[:MOST_PICTURES]:
        before = read_prediction(run.folder / "parent", case)
        after = read_prediction(run.folder / "candidate" / training, case)
        volumes = case.volumes()
        for modality, (reference, _grid) in case.reference().items():
            shown = BeforeAfter(volumes[modality], reference, before[modality][0], after[modality][0])
            caption = f"case {escape(case.id)}, {escape(modality)}"
            figures.append(_image(draw(shown, run.mapping.label_map), caption))
    return "<h2>Before and after</h2>" + "".join(figures) if figures else ""


def _curves(run: Finetuning) -> str:
    figures = []
    for training in run.plan.trainings:
        picture = run.folder / "training" / training.name / PICTURE
        if picture.exists():
            figures.append(_image(base64.b64encode(picture.read_bytes()).decode("ascii"), f"training {training.name}"))
    return "<h2>Training</h2>" + "".join(figures)


def _reproducibility(run: Finetuning, schedule: Schedule, bundle: Bundle) -> str:
    content = {
        "parent": dict(run.plan.base),
        "candidate": {"name": bundle.name, "version": bundle.version, "sha256": bundle.sha256},
        "corrected cases": run.plan.cases,
        "trainings": [{"name": t.name, "learnt": t.learnt, "judged": t.judged} for t in run.plan.trainings],
        "steps": {"fold": schedule.fold_steps, "final": schedule.final_steps},
        "share of the way from the parent's to the trained weights": run.share,
        "measured seconds": {"step": schedule.step_seconds, "case": run.plan.case_seconds},
        "configuration": run.plan.config,
        "software": {name: version(name) for name in ("torch", "monai", "numpy", "SimpleITK")},
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {run.device.type}, {torch.get_num_threads()} threads",
    }
    return f"<h2>To do it again</h2><pre>{escape(json.dumps(content, indent=1))}</pre>"


def _row(change: Change) -> tuple[str, ...]:
    interval = f"{change.low:+.3f} to {change.high:+.3f}" if math.isfinite(change.low) else "–"
    return (change.name, str(change.patients), *_numbers(change), interval)


def _case_row(change: Change) -> tuple[str, ...]:
    return (change.name, *_numbers(change))


def _numbers(change: Change) -> tuple[str, str, str]:
    return f"{change.parent:.3f}", f"{change.candidate:.3f}", f"{change.difference:+.3f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], bad: Sequence[bool] | None = None) -> str:
    lines = ["<table><thead><tr>", *(f"<th>{escape(name)}</th>" for name in head), "</tr></thead><tbody>"]
    for number, row in enumerate(rows):
        mark = ' class="bad"' if bad and bad[number] else ""
        lines.append(f"<tr{mark}>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>")
    return "".join([*lines, "</tbody></table>"])


def _image(png_base64: str, caption: str) -> str:
    return f'<figure><img alt="{caption}" src="data:image/png;base64,{png_base64}"><figcaption>{caption}</figcaption></figure>'
