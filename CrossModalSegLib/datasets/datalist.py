"""Lists of training cases: a MONAI/Decathlon datalist or a folder; all problems are reported at once.

A datalist is a JSON file ``{"training": [{"T1w": ..., "T2w": ..., "label": ...}, ...], "validation": [...]}`` with one
entry per modality (either may be missing), ``label`` for both modalities or ``label_T1w`` and ``label_T2w`` where each
has its own, and paths relative to the list or to a given root. An entry with a label alone is a label map to synthesise
pairs from. One without any label, or in the list ``unlabelled``, is learnt from without one. A scan may be one channel
of a file, ``case.nii.gz#1``. ``"assume_orientation": "RAS"``, of an entry or of the whole list, is that of files which
do not say how their voxel axes run. A list whose entries are called ``image`` and ``label`` is read as MONAI's. A
folder holds label maps, or one folder per case with files named like those entries; other layouts are those of
``LAYOUTS``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from CrossModalSegLib.datasets.challenge_layouts import Amos, Chaos, MsCmrSeg
from CrossModalSegLib.datasets.common_layouts import Bids, NnunetRaw
from CrossModalSegLib.datasets.layout import SUFFIXES, Items, Layout, Names, images_in, put_once
from CrossModalSegLib.datasets.monai_layout import Decathlon, is_monai, monai_items
from CrossModalSegLib.errors import DataError, InputError
from CrossModalSegLib.imaging.channels import whole_of
from CrossModalSegLib.imaging.dicom import Source
from CrossModalSegLib.imaging.orientation import orientation_named
from CrossModalSegLib.json_file import read_json

LAYOUTS: tuple[Layout, ...] = (Amos(), NnunetRaw(), Decathlon(), MsCmrSeg(), Chaos(), Bids())  # the first that fits
PARTS = ("training", "validation", "unlabelled")
KNOWN_LISTS = (*PARTS, "unlabeled", "test")  # test, as MONAI has it, is nothing to learn from


@dataclass(frozen=True)
class Entry:
    """One case by its files: volumes by modality (none: synthesise them), label maps by modality (none: unlabelled).

    ``aligned`` says that the scans of a pair show the same place at the same position. ``assumed_orientation`` is that
    of files that do not say theirs. ``patient_key`` tells patients apart; ``left_out`` names what is of the same
    examination and was not chosen.
    """

    volumes: Mapping[str, Source]
    labels: Mapping[str, Path] = field(default_factory=dict)
    aligned: bool = True
    assumed_orientation: str | None = None
    patient_key: str = ""
    left_out: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """To tell in messages which case is meant."""
        return str(next(iter(self.volumes.values())))


@dataclass(frozen=True)
class Datalist:
    """The labelled cases to train on, those to validate with, and those to learn from without labels."""

    training: tuple[Entry, ...]
    validation: tuple[Entry, ...]
    unlabelled: tuple[Entry, ...] = ()


def read_datalist(
    path: Path,
    modalities: Sequence[str],
    root: Path | None = None,
    aliases: Mapping[str, Sequence[str]] | None = None,
    labels_required: bool = True,
    assumed_orientation: str | None = None,
) -> Datalist:
    """The cases at ``path``. Without a validation list, every tenth case is kept for validation (none below three).

    ``aliases`` are other names of the modalities, for layouts that have names of their own. ``labels_required``:
    without a labelled case there is nothing to train on, but there may be cases to correct. ``assumed_orientation``
    holds where neither the entry nor the list has its own. Raises DataError ``not-found``, ``layout`` or ``datalist``,
    which lists all problems.
    """
    content: dict[str, Any] = {}
    hint, names = "correct these entries", Names(modalities, aliases or {})
    if path.is_dir():
        layout = next((layout for layout in LAYOUTS if layout.recognises(path)), None)
        lists: Items = layout.items(path, names) if layout else _folder_entries(path)
        base = path
        if layout is None:
            hint += f"; known are a folder per case, a folder of label maps, {', '.join(one.name for one in LAYOUTS)}"
    else:
        if not path.is_file():
            raise DataError("not-found", f"there is no datalist {path}", "check the path")
        content, base = read_json(path, "datalist", "correct the file, see docs/training.md"), root or path.parent
        lists = monai_items(content, path, base, names) if is_monai(content, names) else _own_lists(content, path)
    problems: list[str] = []
    assumed = _orientation(content, path.name, problems) or assumed_orientation
    read = {
        name: [
            _entry(item, base, modalities, f"{name}[{n}]", problems, assumed)
            for n, item in enumerate(lists.get(name, []))
        ]
        for name in PARTS
    }
    training = [entry for entry in read["training"] if entry.labels]
    unlabelled = [entry for entry in read["training"] if not entry.labels] + read["unlabelled"]
    held = read["validation"]
    problems += [f"validation[{n}]: no label" for n, entry in enumerate(held) if entry.volumes and not entry.labels]
    problems += [f"unlabelled[{n}]: has a label" for n, entry in enumerate(read["unlabelled"]) if entry.labels]
    if labels_required and not training:
        problems.append("no training case with a label")
    if problems:
        raise DataError("datalist", f"{path}: {'; '.join(problems)}", hint)
    if not held and len(training) > 2:
        held = training[::10]
        training = [entry for n, entry in enumerate(training) if n % 10]
    return Datalist(tuple(training), tuple(held), tuple(unlabelled))


def _own_lists(content: dict[str, Any], path: Path) -> Items:
    if not isinstance(content.get("training"), list):
        raise DataError("datalist", f'{path} has no list "training"', "see docs/training.md")
    if "unlabelled" in content and "unlabeled" in content:
        raise DataError("datalist", f'{path} has "unlabelled" and "unlabeled"', "put all of them into one")
    unknown = sorted(name for name, value in content.items() if isinstance(value, list) and name not in KNOWN_LISTS)
    if unknown:
        raise DataError(
            "datalist", f"{path}: unknown lists: {', '.join(unknown)}", f"known are {', '.join(KNOWN_LISTS)}"
        )
    content["unlabelled"] = content.get("unlabelled", content.get("unlabeled", []))
    for name in PARTS[1:]:
        if not isinstance(content.setdefault(name, []), list):
            raise DataError("datalist", f'{path}: "{name}" is no list', "see docs/training.md")
    return content


def _folder_entries(folder: Path) -> Items:
    maps = sorted(item for item in folder.iterdir() if item.is_file() and item.name.endswith(SUFFIXES))
    if maps:
        return {"training": [{"label": item.name} for item in maps]}
    return {"training": [_case_folder(case) for case in sorted(folder.iterdir()) if case.is_dir()]}


def _case_folder(case: Path) -> dict[str, Any]:
    files: dict[Any, Path] = {}
    for stem, path in images_in(case).items():
        put_once(files, "label" if stem == "labels" else stem, path)
    return {name: f"{case.name}/{path.name}" for name, path in files.items()}


def _missing(file: Path) -> str:
    """Why a file is not there; "" where it is."""
    try:
        return "" if file.exists() else f"no such file {file}"
    except OSError as error:  # no right to look, or a name that is too long
        return f"{file}: {error.strerror}"


def _orientation(item: Mapping[str, Any], where: str, problems: list[str]) -> str | None:
    """What ``item`` says of files that do not say how they lie; a code that is none goes to ``problems``."""
    value = item.get("assume_orientation")
    if value is None:
        return None
    try:
        return orientation_named(str(value))
    except InputError as error:
        problems.append(f"{where}: assume_orientation: {error.message}")
        return None


def _entry(
    item: Any, base: Path, modalities: Sequence[str], where: str, problems: list[str], assumed: str | None
) -> Entry:
    if not isinstance(item, dict):
        problems.append(f"{where}: expected an object, found {item!r}")
        return Entry({}, {})
    aligned = item.get("aligned", True)
    if not isinstance(aligned, bool):
        problems.append(f"{where}: aligned must be true or false, not {aligned!r}")
    assumed = _orientation(item, where, problems) or assumed
    given = {name: value for name, value in item.items() if name not in ("aligned", "assume_orientation")}
    problems += [
        f"{where}: {name} is no path: {value!r}"
        for name, value in given.items()
        if not (isinstance(value, str | Path) and str(value).strip() and "\0" not in str(value))
    ]
    paths = {name: base / str(value) for name, value in given.items()}
    volumes = {name: paths[name] for name in modalities if name in paths}
    shared = paths.get("label")
    own = {name: paths.get(f"label_{name}", shared) for name in (volumes or modalities)}
    labels = {name: path for name, path in own.items() if path is not None}
    if len(labels) < len(own) and (labels or not volumes):
        problems.append(f"{where}: no label for {', '.join(name for name in own if name not in labels)}")
    known = {*modalities, "label", *(f"label_{name}" for name in modalities)}
    problems += [f'{where}: unknown name "{name}"' for name in paths if name not in known]
    files = {name: whole_of(path) if name in modalities else path for name, path in paths.items()}
    problems += [f"{where}: {reason}" for file in files.values() if (reason := _missing(file))]
    if "aligned" not in item:  # each scan was labelled by itself: the patient may have moved in between
        aligned = len(set(labels.values())) < 2
    return Entry(volumes, labels, bool(aligned), assumed)
