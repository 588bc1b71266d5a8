"""The result's figures as a table of the scene: volume and confidence per structure and scan, and the agreement."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from CrossModalSegApp.scene.table_rows import add_rows, rows_of
from CrossModalSegLib.atomic import write_atomically

_AGREEMENT = "agreement (Dice)"
_VOLUME, _SHARE = ".2f", ".3f"  # mL, and what runs from 0 to 1


def add_table(scene: Any, report: Mapping[str, Any], name: str) -> Any:
    """Add a vtkMRMLTableNode called ``name`` with the figures of ``report`` (see `case_output.case_report`).

    One row per structure, in the label map's order: structure, volume in mL per modality, how far that lies from what
    the model's bundle expects, where it says so (in mL, below it negative, 0 within), the Dice between the modalities
    where there are two, confidence (0 to 1) per modality. Cells are texts, empty where there is nothing to say. On an
    error nothing is left in the scene.
    """
    columns = _columns(report)
    node = add_rows(scene, [list(columns), *map(list, zip(*columns.values(), strict=True))], name)
    node.SetLocked(True)
    return node


def figures_of(table: Any, modality: str) -> tuple[dict[str, float], dict[str, float]]:
    """Confidence in the scan of ``modality``, and agreement, by the structure's name, as a table of `add_table` has
    them; nothing for None."""
    titles, *rows = rows_of(table) or [[]]
    return tuple(  # type: ignore[return-value]
        {row[0]: float(row[titles.index(title)]) for row in rows if title in titles and row[titles.index(title)]}
        for title in (f"{modality} confidence", _AGREEMENT)
    )


def write_csv(table: Any, path: str | Path) -> None:
    """Write a table node as CSV, UTF-8, with a header row; whole or not at all. Raises OutputError ``cannot-write``."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerows(rows_of(table))
    write_atomically(path, text.getvalue())


def _columns(report: Mapping[str, Any]) -> dict[str, list[str]]:
    structures = report["structures"]
    modalities = list(structures[0]["volume_ml"]) if structures else []
    columns = {"structure": [structure["name"] for structure in structures]}
    for modality in modalities:
        columns[f"{modality} volume (mL)"] = [_text(s["volume_ml"][modality], _VOLUME) for s in structures]
    for modality in modalities if any("expected_ml" in one for one in structures) else []:
        columns[f"{modality} from expected (mL)"] = [_distance(s, modality) for s in structures]
    agreement = report.get("agreement")
    if agreement:
        columns[_AGREEMENT] = [_text(agreement[s["name"]], _SHARE) for s in structures]
    for modality in modalities:
        columns[f"{modality} confidence"] = [_text(s["confidence"][modality], _SHARE) for s in structures]
    return columns


def _distance(structure: Mapping[str, Any], modality: str) -> str:
    """How far a volume lies outside of the expected range."""
    if "expected_ml" not in structure:
        return ""
    volume, (lowest, highest) = structure["volume_ml"][modality], structure["expected_ml"]
    distance = volume - min(max(volume, lowest), highest)
    return format(distance, f"+{_VOLUME}") if distance else "0"


def _text(number: float | None, digits: str) -> str:
    return "" if number is None else format(number, digits)
