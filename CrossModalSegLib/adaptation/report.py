"""The report of a fine-tuning: one HTML file that needs nothing else, and holds no name, date of a patient or path."""

import base64
import json
import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from CrossModalSegLib.adaptation.candidate import PARENT, Evidence, held_out_name, share_name
from CrossModalSegLib.adaptation.gate import Aim, Change, GroupChanges, Verdict
from CrossModalSegLib.adaptation.pictures import BeforeAfter, bars, draw, draw_pair
from CrossModalSegLib.adaptation.plan import Schedule
from CrossModalSegLib.adaptation.protocol_difference import ProtocolDifference
from CrossModalSegLib.adaptation.run import Finetuning
from CrossModalSegLib.adaptation.scoring import Scores, read_prediction
from CrossModalSegLib.adaptation.share_choice import TOLERANCE
from CrossModalSegLib.adaptation.site_data import DataCase
from CrossModalSegLib.adaptation.training import volumes_file
from CrossModalSegLib.atomic import write_atomically
from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.labels import LabelMap
from CrossModalSegLib.site.runs import REPORT_FILE
from CrossModalSegLib.training.training_log import PICTURE

MOST_PICTURES = 6
MOST_PROTOCOL_PICTURES = 3
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


@dataclass(frozen=True)
class Findings:
    """What was found out beside the scores: how far to go by the ``evidence``, where the site's protocol differs, and whom
    the model is for."""

    evidence: Evidence
    differences: Sequence[ProtocolDifference]
    aim: Aim


def write_report(
    run: Finetuning,
    schedule: Schedule,
    verdict: Verdict,
    parent: Mapping[str, Scores],
    candidate: Mapping[str, Scores],
    bundle: Bundle,
    findings: Findings,
    summary: Sequence[str],
) -> Path:
    """Write ``RUN/report.html``."""
    parts = [
        f"<h1>{escape(bundle.name)} {escape(bundle.version)}</h1>",
        f"<p>Fine-tuned from {escape(run.base.name)} {escape(run.base.version)}. Research and education. Not for clinical use.</p>",
        _verdict(verdict, summary),
        _aim(verdict, findings.aim),
        _data(run),
        _protocol(run, findings.differences),
        _group("Held-out cases of the site", verdict.site, run, "None could be held out."),
        _shares(run, findings.evidence),
        _group(_frozen_title(findings.aim), verdict.frozen, run, "The base has none."),
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


def _verdict(verdict: Verdict, summary: Sequence[str]) -> str:
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in verdict.reasons)
    color, words = COLORS[verdict.decision], WORDS[verdict.decision]
    box = f'<div class="verdict" style="background:{color}"><h2>{words}</h2><ul>{reasons}</ul></div>'
    said = "".join(f"<p><b>{escape(sentence)}</b></p>" for sentence in summary)
    return said + box + "".join(f"<p>{escape(mean)}</p>" for mean in verdict.means)


def _aim(verdict: Verdict, aim: Aim) -> str:
    whom = (
        "The model shall serve other scanners as well (--keep-general): what the frozen cases lose decides."
        if aim.keep_general
        else "The model is for this site's next patients: what it loses elsewhere is told, and decides only where it is gross."
    )
    costs = "".join(f"<li>{escape(words)}</li>" for words in verdict.costs)
    return f"<h2>Whom it is for, and what it costs</h2><p>{whom}</p>" + (f"<ul>{costs}</ul>" if costs else "")


def _frozen_title(aim: Aim) -> str:
    return f"Frozen cases of the base: what {'must not be forgotten' if aim.keep_general else 'is lost elsewhere'}"


def _protocol(run: Finetuning, differences: Sequence[ProtocolDifference]) -> str:
    if not differences:
        return ""
    rows = [
        (one.name, str(one.patients), f"{one.ratio - 1:+.0%}", f"{one.border_mm:+.1f}")
        for one in sorted(differences, key=lambda one: -abs(one.ratio - 1))
    ]
    words = (
        "The corrections differ from the parent alike in all patients: in volume and in where the border lies (above 0: "
        "outside the parent's). That is another protocol, or how this site's scans look; it counts for the site."
    )
    return (
        f"<h2>Your protocol differs</h2><p>{words}</p>"
        + _table(("structure", "patients", "volume", "border, mm"), rows)
        + _protocol_pictures(run, [one.name for one in differences])
    )


def _protocol_pictures(run: Finetuning, names: Sequence[str]) -> str:
    """Corrections and parent of a few cases, with these structures alone."""
    shown = LabelMap(tuple(one for one in run.mapping.label_map.structures if one.name in names))
    figures = []
    for case in (one for one in run.data.labelled if (run.folder / PARENT / one.id).is_dir()):
        before, volumes = read_prediction(run.folder / PARENT, case), case.volumes()
        for modality, (reference, _grid) in case.reference().items():
            pair = (_only(reference, shown), _only(before[modality][0], shown))
            caption = f"case {escape(case.id)}, {escape(modality)}"
            figures.append(_image(draw_pair(volumes[modality], *pair, shown), caption))
    return "".join(figures[:MOST_PROTOCOL_PICTURES])


def _only(labels: np.ndarray, label_map: LabelMap) -> np.ndarray:
    return np.where(np.isin(labels, label_map.values), labels, 0)


def _shares(run: Finetuning, evidence: Evidence) -> str:
    """How far to go: what each share of the way brings on the held-out cases, and who was judged at which."""
    if not evidence.gains:
        return ""
    rows = []
    for share, gains in evidence.gains.items():
        mean = f"{sum(gains.values()) / len(gains):+.3f}" if gains else "–"
        judged = sum(1 for at in evidence.judged_at.values() if at == share)
        rows.append((f"{share:g}", mean, str(judged), "chosen" if share == run.share else ""))
    words = (
        "Of the way from the parent's weights to the trained ones. No patient chooses the share that it is judged at: those "
        "of the other trainings do. The candidate goes as far as all of them say together; the smallest share counts that "
        f"is within {TOLERANCE:g} of the best."
    )
    head = ("share of the way", "mean gain", "patients judged at it", "candidate")
    return f"<h2>How far to go</h2><p>{words}</p>" + _table(head, rows)


def _data(run: Finetuning) -> str:
    rows = [
        ("corrected cases", str(len(run.data.labelled))),
        ("patients with corrected cases", str(len(run.data.patients))),
        ("corrected cases learnt from", _of(len(run.plan.final.learnt), run.plan.counts.corrected)),
        ("cases without labels learnt from", _of(len(run.data.unlabelled), run.plan.counts.unlabelled)),
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
    wanted = [
        (held_out_name(training, run.judged_at[name]), run.cases[name])
        for training in run.plan.trainings
        for name in training.judged
    ]
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
