"""A site's own cases, in a plain folder: scans, corrected labels in revisions, and cases without labels.

::

    site.json                      store version, label map, modalities, salt
    cases/<id>/case.json           hashes of the scans, salted hash of the patient's key
    cases/<id>/volumes/<m>.nrrd    scans in world space (RAS mm), one per modality
    cases/<id>/revisions/0001/     <m>.seg.nrrd per modality, revision.json

A case that is written is not changed again: a later correction of the same scans is the next revision, and names the
one before it. Everything is staged beside its place, read back, and renamed, so that a reader sees it whole or not at
all, and of several that save at once none loses anything. No name, date or number of a patient is written; the id of a
case is a hash with the site's secret salt, so that the same scans are the same case, and says nothing to others. NRRD,
because a file that was cut short is noticed when it is read.
"""

import hashlib
import hmac
import json
import os
import secrets
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from CrossModalSegLib.atomic import staged_folder, write_atomically
from CrossModalSegLib.errors import DataError, GeometryError, OutputError
from CrossModalSegLib.grid import Grid
from CrossModalSegLib.labels import LabelMap
from CrossModalSegLib.segmentation_io import SLICER_SUFFIX, read_segmentation, write_segmentation
from CrossModalSegLib.volume import Volume, read_image, write_volume

STORE_VERSION = 1
SITE_FILE, CASE_FILE, REVISION_FILE = "site.json", "case.json", "revision.json"
_ID_LENGTH = 16
_ROUNDS = 100_000  # of hashing a patient's key: such keys are short, and trying all of them shall take long
_ATTEMPTS = 20  # at a revision number that others may take at the same time


@dataclass(frozen=True)
class CaseFiles:
    """What is saved of a case.

    ``volumes`` are the scans by modality; ``labels`` the corrected label values (K, J, I) with their grid, empty for a
    case without labels; ``bundle`` says which model the correction started from (name, version, sha256);
    ``patient_key`` is anything that tells patients apart, or empty: only a salted hash of it is written.

    Raises GeometryError ``grids-differ`` where labels do not lie on the grid of their scan, DataError ``no-scan`` where
    there is none for them.
    """

    volumes: Mapping[str, Volume]
    labels: Mapping[str, tuple[np.ndarray, Grid]]
    label_map: LabelMap
    bundle: Mapping[str, Any]
    patient_key: str = ""

    def __post_init__(self) -> None:
        if not self.volumes:
            raise DataError("no-scan", "a case without scans", "choose the scans that belong to it")
        for modality, (_labels, grid) in self.labels.items():
            if modality not in self.volumes:
                raise DataError("no-scan", f"labels of {modality} without its scan", "choose the scan as well")
            if not grid.is_close(self.volumes[modality].grid):
                what = f"the labels of {modality} are not on the grid of its scan"
                raise GeometryError("grids-differ", what, "give labels on the scan's own grid")


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
        hashes = {modality: volume_sha256(volume) for modality, volume in sorted(case.volumes.items())}
        folder = self.folder / "cases" / _case_id(site["salt"], patient, hashes)
        if not (folder / CASE_FILE).is_file():
            content = {"store_version": STORE_VERSION, "patient": patient, "volumes": hashes}
            try:
                self._write_case(folder, case, content)
            except OutputError as error:
                if error.code != "output-exists" or not (folder / CASE_FILE).is_file():
                    raise  # else it is the same case, which somebody else was saving at the same time
        return folder

    def _write_case(self, folder: Path, case: CaseFiles, content: Mapping[str, Any]) -> None:
        with _writing(self.folder), staged_folder(folder, marker=CASE_FILE) as staging:
            (staging / "volumes").mkdir()
            for modality, volume in case.volumes.items():
                path = staging / "volumes" / f"{modality}.nrrd"
                write_volume(path, volume.array, volume.grid)
                _require_same(path, *read_image(path), volume.array, volume.grid)
            (staging / CASE_FILE).write_text(json.dumps(content, indent=1), encoding="utf-8")

    def _open(self, case: CaseFiles) -> dict[str, Any]:
        """The site's own facts; written now where this is its first case."""
        file = self.folder / SITE_FILE
        if not file.exists():
            self._found(case)
        site = _read_site(file)
        difference = _first_difference(LabelMap.from_json(site["label_map"]), case.label_map)
        if difference:
            raise DataError(
                "site-differs",
                f"{self.folder} holds cases with other structures: {difference}",
                "choose another folder for the cases of this model",
            )
        if not set(_modalities(case)) <= set(site["modalities"]):
            site["modalities"] = sorted({*site["modalities"], *_modalities(case)})
            write_atomically(file, json.dumps(site, indent=1))
        return site

    def _found(self, case: CaseFiles) -> None:
        site = {
            "store_version": STORE_VERSION,
            "modalities": _modalities(case),
            "salt": secrets.token_hex(16),
            "label_map": case.label_map.to_json(),
        }
        with _writing(self.folder):
            self._refuse_other_content()
            self.folder.mkdir(parents=True, exist_ok=True)
            _create_once(self.folder / SITE_FILE, json.dumps(site, indent=1).encode("utf-8"))

    def _refuse_other_content(self) -> None:
        """Hidden files do not count: desktops leave them everywhere, and others may be staging the site just now."""
        if self.folder.is_dir():
            names = {path.name for path in self.folder.iterdir() if not path.name.startswith(".")}
            if not names or SITE_FILE in names:
                return
        elif not self.folder.exists():
            return
        hint = "choose a folder that is empty, or one that cases were saved to before"
        raise DataError("not-a-site", f"{self.folder} holds something else than cases", hint)

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
    """Hash of a patient's key, "" for an unknown patient (two such cases may be of different patients)."""
    return hashlib.pbkdf2_hmac("sha256", key.encode(), bytes.fromhex(salt), _ROUNDS).hex() if key else ""


def _case_id(salt: str, patient: str, hashes: Mapping[str, str]) -> str:
    content = json.dumps([patient, sorted(hashes.items())]).encode()
    return hmac.new(bytes.fromhex(salt), content, hashlib.sha256).hexdigest()[:_ID_LENGTH]


def _modalities(case: CaseFiles) -> list[str]:
    """Those of the model, where they are told, and of the scans."""
    return sorted({*case.bundle.get("modalities", ()), *case.volumes})


def _create_once(file: Path, content: bytes) -> None:
    """Write ``file`` unless it is there: of two that do so at once, one is the first, and the other's is not kept."""
    staged = file.with_name(f".{uuid.uuid4().hex[:12]}.{file.name}")
    try:
        with staged.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        with suppress(FileExistsError):
            try:
                os.link(staged, file)
            except FileExistsError:
                raise
            except OSError:  # a disk without links, such as a USB stick: there it may be seen half written
                with file.open("xb") as stream:
                    stream.write(content)
    finally:
        staged.unlink(missing_ok=True)


def _require_same(path: Path, found: np.ndarray, found_grid: Grid, array: np.ndarray, grid: Grid) -> None:
    if not (np.array_equal(found, array) and found_grid.is_close(grid)):
        raise OutputError("not-whole", f"{path} does not hold what was written", "check the disk, and save again")


def _read_site(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError("not-a-site", f"{file} cannot be read: {error}", "restore it from a backup") from error
    if not isinstance(content, dict) or content.get("store_version") != STORE_VERSION:
        raise DataError("not-a-site", f"{file} is not of version {STORE_VERSION} of the store", "update the software")
    missing = {"label_map", "modalities", "salt"} - set(content)
    if missing:
        raise DataError("not-a-site", f"{file} has no {', '.join(sorted(missing))}", "restore it from a backup")
    return content


def _first_difference(there: LabelMap, here: LabelMap) -> str:
    """What differs first in values or names, in words; "" where only colours, codes or the order do."""
    known, wanted = ({one.value: one.name for one in each.structures} for each in (there, here))
    for value in sorted({*known, *wanted}):
        if known.get(value) != wanted.get(value):
            names = (f'"{names[value]}"' if value in names else "not used" for names in (known, wanted))
            return "value {} is {} there, and {} here".format(value, *names)
    return ""


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            "cannot-write", f"{target}: {reason}", "check that the folder is writable and has space"
        ) from error
