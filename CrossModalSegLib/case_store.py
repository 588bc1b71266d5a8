"""A site's own cases, in a plain folder: scans, corrected labels in revisions, and cases without labels.

::

    site.json                             store version, label map, salt
    cases/<random id>/case.json           hashes of the scans, salted hash of the patient's key
    cases/<random id>/volumes/<m>.nrrd    scans in world space (RAS mm), one per modality
    cases/<random id>/revisions/0001/     <m>.seg.nrrd per modality, revision.json

Nothing that is written is changed again: a later correction of the same scans is the next revision, and names the one
before it. Everything is staged beside its place, read back, and renamed, so that a reader sees it whole or not at all.
No name, date or number of a patient is written. NRRD, because a file that was cut short is noticed when it is read.
"""

import hashlib
import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from CrossModalSegLib.atomic import staged_folder, write_atomically
from CrossModalSegLib.errors import DataError, OutputError
from CrossModalSegLib.grid import Grid
from CrossModalSegLib.labels import LabelMap
from CrossModalSegLib.segmentation_io import SLICER_SUFFIX, read_segmentation, write_segmentation
from CrossModalSegLib.volume import Volume, read_image, write_volume

STORE_VERSION = 1
SITE_FILE, CASE_FILE, REVISION_FILE = "site.json", "case.json", "revision.json"
_ID_BYTES = 8
_ATTEMPTS = 20  # at a revision number that others may take at the same time


@dataclass(frozen=True)
class CaseFiles:
    """What is saved of a case.

    ``volumes`` are the scans by modality; ``labels`` the corrected label values (K, J, I) with their grid, empty for a
    case without labels; ``bundle`` says which model the correction started from (name, version, sha256);
    ``patient_key`` is anything that tells patients apart, or empty: only a salted hash of it is written.
    """

    volumes: Mapping[str, Volume]
    labels: Mapping[str, tuple[np.ndarray, Grid]]
    label_map: LabelMap
    bundle: Mapping[str, str]
    patient_key: str = ""


@dataclass(frozen=True)
class SavedCase:
    """Where a case went: its folder, its id, and the number of the revision that was written (None: no labels)."""

    folder: Path
    id: str
    revision: int | None


class CaseStore:
    """The store in ``folder``, which is a store already, or empty, or not there yet.

    Nothing is written before the first case is saved.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    def save_correction(self, case: CaseFiles, author: str = "") -> SavedCase:
        """Write scans and labels; the same scans again become the next revision of their case.

        Raises DataError ``not-a-site``, ``site-differs`` or ``no-labels``; OutputError ``cannot-write`` or ``not-whole``;
        LabelError where labels hold values that are not in the label map.
        """
        if not case.labels:
            raise DataError("no-labels", "the case has no segmentation", "add it as a case without labels instead")
        folder = self._case_folder(case)
        revision = self._write_revision(folder, case, author)
        return SavedCase(folder, folder.name, revision)

    def add_unlabelled(self, case: CaseFiles) -> SavedCase:
        """Write the scans alone; those that are there already are not written again. Raises as `save_correction`."""
        folder = self._case_folder(case)
        return SavedCase(folder, folder.name, None)

    def _case_folder(self, case: CaseFiles) -> Path:
        """The folder of the case with these scans of this patient; written now where there is none."""
        site = self._open(case)
        patient = _salted(site["salt"], case.patient_key)
        hashes = {modality: volume_sha256(volume) for modality, volume in case.volumes.items()}
        for file in sorted(self.folder.glob(f"cases/[!.]*/{CASE_FILE}")):
            known = _read(file)
            if known["volumes"] == hashes and known["patient"] == patient:
                return file.parent
        folder = self.folder / "cases" / secrets.token_hex(_ID_BYTES)
        content = {"store_version": STORE_VERSION, "patient": patient, "volumes": hashes}
        with _writing(self.folder), staged_folder(folder, marker=CASE_FILE) as staging:
            (staging / "volumes").mkdir()
            for modality, volume in case.volumes.items():
                path = staging / "volumes" / f"{modality}.nrrd"
                write_volume(path, volume.array, volume.grid)
                _require_same(path, *read_image(path), volume.array, volume.grid)
            (staging / CASE_FILE).write_text(json.dumps(content, indent=1), encoding="utf-8")
        return folder

    def _open(self, case: CaseFiles) -> dict[str, Any]:
        """The site's own facts; written now where this is its first case."""
        file = self.folder / SITE_FILE
        wanted = {"label_map": case.label_map.to_json()}
        if not file.exists():
            self._found(wanted)
        site = _read(file)
        if site["label_map"] != wanted["label_map"]:
            raise DataError(
                "site-differs",
                f"{self.folder} holds cases with other structures: {_first_difference(site['label_map'], wanted)}",
                "choose another folder for the cases of this model",
            )
        return site

    def _found(self, wanted: Mapping[str, Any]) -> None:
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            hint = "choose a folder that is empty, or one that cases were saved to before"
            raise DataError("not-a-site", f"{self.folder} holds something else than cases", hint)
        site = {"store_version": STORE_VERSION, "salt": secrets.token_hex(16), "label_map": wanted["label_map"]}
        with _writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self.folder / SITE_FILE, json.dumps(site, indent=1))

    def _write_revision(self, folder: Path, case: CaseFiles, author: str) -> int:
        """Two that save at once get two numbers: who finds a number taken tries the next."""
        for _attempt in range(_ATTEMPTS):
            earlier = sorted(int(path.name) for path in folder.glob("revisions/[0-9]*"))
            number = earlier[-1] + 1 if earlier else 1
            try:
                self._write_revision_as(folder, number, earlier[-1] if earlier else None, case, author)
            except OutputError as error:
                if error.code != "output-exists":
                    raise
                continue
            return number
        raise OutputError("cannot-write", f"{folder}: many are saving this case at once", "save it again")

    def _write_revision_as(self, folder: Path, number: int, parent: int | None, case: CaseFiles, author: str) -> None:
        hashes: dict[str, str] = {}
        with _writing(folder), staged_folder(folder / "revisions" / f"{number:04d}", marker=REVISION_FILE) as staging:
            for modality, (labels, grid) in case.labels.items():
                path = staging / f"{modality}{SLICER_SUFFIX}"
                write_segmentation(path, labels, grid, case.label_map)
                read_labels, read_grid, _label_map = read_segmentation(path)
                _require_same(path, read_labels, read_grid, labels, grid)
                hashes[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
            facts = {"author": author, "parent": parent, "bundle": dict(case.bundle), "sha256": hashes}
            (staging / REVISION_FILE).write_text(json.dumps(facts, indent=1), encoding="utf-8")


def volume_sha256(volume: Volume) -> str:
    """SHA-256 over a scan's shape, place (to 1e-4 mm) and voxels: the same scan has it, however it was stored."""
    place = np.round(volume.grid.ijk_to_ras, 4) + 0.0  # + 0.0: no negative zeros
    digest = hashlib.sha256(repr(volume.grid.shape_kji).encode() + place.astype("<f8").tobytes())
    digest.update(np.ascontiguousarray(volume.array, dtype="<f4").tobytes())
    return digest.hexdigest()


def _salted(salt: str, key: str) -> str:
    return hashlib.sha256(f"{salt}\0{key}".encode()).hexdigest() if key else ""


def _require_same(path: Path, found: np.ndarray, found_grid: Grid, array: np.ndarray, grid: Grid) -> None:
    if not (np.array_equal(found, array) and found_grid.is_close(grid)):
        raise OutputError("not-whole", f"{path} does not hold what was written", "check the disk, and save again")


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError("not-a-site", f"{file} cannot be read: {error}", "restore it from a backup") from error
    if not isinstance(content, dict) or content.get("store_version") != STORE_VERSION:
        raise DataError("not-a-site", f"{file} is not of version {STORE_VERSION} of the store", "update the software")
    return content


def _first_difference(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    here = [(one["value"], one["name"]) for one in there["structures"]]
    ours = [(one["value"], one["name"]) for one in wanted["label_map"]["structures"]]
    for old, new in zip(here, ours, strict=False):
        if old != new:
            return f"{old[0]} is {old[1]} there, and {new[0]} is {new[1]} here"
    return f"{len(here)} structures there, {len(ours)} here" if len(here) != len(ours) else "colours or codes differ"


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            "cannot-write", f"{target}: {reason}", "check that the folder is writable and has space"
        ) from error
