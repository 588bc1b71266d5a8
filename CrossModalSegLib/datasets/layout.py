"""What all dataset layouts share: which names stand for a modality, and what the files of a patient become."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from CrossModalSegLib.errors import DataError

SUFFIXES = (".nii.gz", ".seg.nrrd", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".hdr")
HINT = "name the modalities of the configuration so, or give these names as modality_aliases"
Items = dict[str, list[dict[str, Any]]]  # training, validation, unlabelled: entries as a datalist has them


class Layout(Protocol):
    """A way to arrange the files of a dataset."""

    name: str

    def recognises(self, folder: Path) -> bool:
        """Whether ``folder`` is arranged like this; looks at names, not into files."""

    def items(self, folder: Path, modalities: "Names") -> Items:
        """Its cases, with absolute paths. Raises DataError ``layout`` where none fits the modalities."""


@dataclass(frozen=True)
class Names:
    """The two modalities, and what else each may be called."""

    modalities: Sequence[str]
    aliases: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def find(self, *candidates: str) -> str | None:
        """The modality that goes by one of these names; case, spaces and dashes do not matter."""
        wanted = {_plain(name) for name in candidates}
        for modality in self.modalities:
            if wanted & {_plain(name) for name in (modality, *self.aliases.get(modality, ()))}:
                return modality
        return None


def patient_items(
    scans: Mapping[str, Path], labels: Mapping[str, Path], shared: Path | None = None, aligned: bool = True
) -> Items:
    """What one patient's scans and labels by modality become.

    Where only a part of the scans is labelled, the labelled ones train by themselves, and all together without labels.
    ``shared`` is a label map that serves all scans. ``aligned`` says whether the scans lie on each other; of a labelled
    pair, the labels tell: one for both, or each its own.
    """
    if shared is not None:
        return {"training": [{**_paths(scans), "label": str(shared)}]}
    known = {name: path for name, path in scans.items() if name in labels}
    items: Items = {"training": [], "unlabelled": []}
    if known:
        own = {f"label_{name}": str(labels[name]) for name in known}
        items["training"].append({**_paths(known), **own})
    if len(known) < len(scans):
        items["unlabelled"].append(_paths(scans) if aligned or len(scans) < 2 else {**_paths(scans), "aligned": False})
    return items


def merged(parts: Iterable[Items]) -> Items:
    """All entries of several patients, in order."""
    together: Items = {}
    for part in parts:
        for name, entries in part.items():
            together.setdefault(name, []).extend(entries)
    return together


def stem_of(path: Path) -> str | None:
    """File name without the suffix of an image, None for other files."""
    return next((path.name.removesuffix(suffix) for suffix in SUFFIXES if path.name.endswith(suffix)), None)


def images_in(folder: Path) -> dict[str, Path]:
    """Images directly in ``folder`` by stem, in natural order (2 before 10); none where there is no such folder.

    Raises DataError ``layout`` where two files have one stem, such as T1w.nii.gz and T1w.nrrd.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        stem = stem_of(path)
        if stem and not path.name.startswith("."):
            put_once(found, stem, path)
    return {stem: found[stem] for stem in sorted(found, key=natural)}


def put_once(files: dict[Any, Path], place: Any, path: Path) -> None:
    """Raises DataError ``layout`` where another file has this place."""
    if place in files:
        what = f"several files for one scan or label: {files[place]} and {path}"
        raise DataError("layout", what, "keep one of each, or give a datalist")
    files[place] = path


def natural(text: str) -> list[Any]:
    """Sort key that counts numbers as numbers."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]


def _paths(scans: Mapping[str, Path]) -> dict[str, Any]:
    return {name: str(path) for name, path in scans.items()}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
