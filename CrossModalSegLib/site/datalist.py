"""A site's cases as a datalist, for other tools (MONAI, nnU-Net converters) and for ``crossmodalseg train``."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from CrossModalSegLib.atomic import write_atomically
from CrossModalSegLib.datasets.layout import Items, patient_items
from CrossModalSegLib.errors import DataError
from CrossModalSegLib.site.cases import SiteCase, person_of


def export_datalist(cases: Iterable[SiteCase], file: Path, approved_only: bool = False) -> Items:
    """Write the cases to the JSON ``file`` and return what it holds, with paths relative to it.

    Labels that are trusted are in ``training``, or in ``validation`` where the patient is held out; all other cases are
    ``unlabelled``, but for those of patients who are validated with. Excluded cases are left out. Raises DataError
    ``no-cases``, OutputError ``cannot-write``.
    """
    lists: Items = {"training": [], "validation": [], "unlabelled": []}
    cases = [case for case in cases if not case.is_excluded]
    held_out = {person_of(case) for case in cases if case.labels and case.split == "held-out"}
    for case in cases:
        labels = case.labels if case.status == "approved" or not approved_only else {}
        items = patient_items(case.volumes, labels) if labels else {"unlabelled": [_paths(case)]}
        is_held_out = bool(labels) and case.split == "held-out"
        lists["validation" if is_held_out else "training"] += items.get("training", [])
        if person_of(case) not in held_out and not is_held_out:
            lists["unlabelled"] += items["unlabelled"]
    if not any(lists.values()):
        raise DataError("no-cases", "the site has no case", "add cases first, with crossmodalseg site add")
    relative = {name: [_relative(entry, file.resolve().parent) for entry in part] for name, part in lists.items()}
    write_atomically(file, json.dumps(relative, indent=1))
    return relative


def _paths(case: SiteCase) -> dict[str, str]:
    return {modality: str(path) for modality, path in case.volumes.items()}


def _relative(entry: dict[str, Any], base: Path) -> dict[str, Any]:
    return {name: Path(os.path.relpath(Path(path).resolve(), base)).as_posix() for name, path in entry.items()}
