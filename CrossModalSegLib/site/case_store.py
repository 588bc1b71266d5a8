"""A site's own cases, in a plain folder: scans, labels in revisions, and cases without labels. This file writes them.

::

    site.json                           store version, label map, modalities, salt
    splits/<patient>.json               training or held-out, where a person has set it
    excluded/<id>.json                  a case that a person has taken out
    cases/<id>/case.json                hashes of the scans and of their content, salted hash of the patient's key
    cases/<id>/volumes/<m>.nrrd         scans in world space (RAS mm), one per modality
    cases/<id>/revisions/0001/          <m>.seg.nrrd per modality, revision.json
    cases/<id>/revisions/0001.approved.json   0001.approved-0003.json where it is approved again, after another one

A case that is written is not changed again: later labels of the same scans are the next revision, and name the one that
they were based on. Everything is staged beside its place, read back, and renamed, so that a reader sees it whole or not
at all, and of several that save at once none loses anything. No name, date, path or number of a patient is written; the
id of a case is a hash with the site's secret salt, so that the same scans are the same case, and says nothing to
others. NRRD, because a file that was cut short is noticed when it is read.
"""

import json
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from CrossModalSegLib.atomic import create_once, output_errors, staged_folder, write_atomically
from CrossModalSegLib.errors import DataError, OutputError, OutputExistsError
from CrossModalSegLib.imaging.fingerprint import fingerprint
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.segmentation_io import (
    SLICER_SUFFIX,
    read_segmentation,
    refuse_wrong_labels,
    write_segmentation,
)
from CrossModalSegLib.imaging.volume import read_image, write_volume
from CrossModalSegLib.labels import LabelMap
from CrossModalSegLib.site.case_files import CaseFiles, SavedCase, file_sha256, volume_sha256
from CrossModalSegLib.site.cases import SiteCase, case_ids, read_case, read_cases
from CrossModalSegLib.site.folder import (
    CASE_FILE,
    CASES,
    EXCLUDED,
    REVISION_FILE,
    REVISIONS,
    SITE_FILE,
    SPLITS,
    STORE_VERSION,
    VOLUMES,
    SiteFacts,
    Split,
    approval_file,
    excluded_ids,
    read_site,
    read_splits,
    require_modalities,
)
from CrossModalSegLib.site.same_scans import with_joined_patients

__all__ = ["CaseFiles", "CaseStore", "SavedCase", "SiteCase", "SiteFacts", "volume_sha256"]

BasedOn = int | Literal["latest"] | None  # a revision; the newest there is when it is written; none of them

_ID_LENGTH = 16
_ATTEMPTS = 20  # at a revision number that others may take at the same time


@dataclass(frozen=True)
class _Labels:
    """What is written beside a revision's labels; ``parent`` "latest" is found out when it is written."""

    kind: Literal["correction", "prediction"]
    parent: BasedOn
    author: str = ""


class CaseStore:
    """The store in ``folder``, which is a store already, or empty, or not there yet.

    Nothing is written before `create` or the first case.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    # --- reading

    def site(self) -> SiteFacts:
        """The site's label map, modalities and salt. Raises DataError ``not-a-site``."""
        return read_site(self.folder)

    def cases(self) -> list[SiteCase]:
        """All cases by id. Raises DataError ``damaged-cases``, which names all that cannot be read, or
        ``not-a-site``."""
        cases, damaged = self.readable_cases()
        if damaged:
            listed = "; ".join(error.message for error in damaged.values())
            raise DataError("damaged-cases", listed, next(iter(damaged.values())).hint)
        return cases

    def readable_cases(self) -> tuple[list[SiteCase], dict[str, DataError]]:
        """The cases that can be read, and by id what is wrong with the others: for those who only look, and do not
        learn from them. Cases of several patients that have a scan in common count as one patient's (`same_scans`).
        Raises DataError ``not-a-site``."""
        site, splits = self.site(), read_splits(self.folder)
        cases, damaged = read_cases(self.folder, site, splits)
        return with_joined_patients(cases, site, splits), damaged

    def case(self, case_id: str) -> SiteCase:
        """One case by its id, or by a beginning that only it has. Raises DataError ``no-such-case``,
        ``damaged-case``."""
        folder = self.folder / CASES
        ids = [path.name for path in folder.glob(f"{_plain(case_id)}*") if not path.name.startswith(".")]
        if len(ids) != 1:
            what = f"{len(ids)} cases begin with {case_id!r}" if ids else f"no case {case_id!r} in {self.folder}"
            raise DataError("no-such-case", what, "see the ids with crossmodalseg site list")
        return read_case(folder / ids[0], self.site(), read_splits(self.folder), excluded_ids(self.folder))

    def same_scans_as(self, case_id: str) -> tuple[str, ...]:
        """Ids of the cases of other patients that have a scan of this case. Raises DataError ``not-a-site``."""
        return next((one.same_scan_as for one in self.readable_cases()[0] if one.id == case_id), ())

    def knows(self, case_id: str) -> bool:
        """Whether there is a case of exactly this id."""
        return bool(case_id) and (self.folder / CASES / case_id / CASE_FILE).is_file()

    # --- writing

    def create(self, label_map: LabelMap, modalities: tuple[str, ...]) -> SiteFacts:
        """Found the site, or find that it is there already with the same structures.

        Raises DataError ``not-a-site`` (the folder holds something else), ``site-differs``, ``bad-modality``.
        """
        require_modalities(modalities)
        return self._open(label_map, modalities)

    def save_correction(self, case: CaseFiles, author: str = "", based_on: BasedOn = "latest") -> SavedCase:
        """Write scans and labels that a person stands for; the same scans again become the next revision of their case.

        ``based_on`` is the revision that the person began with: None for none of them, "latest" for the newest there
        is. Where others have corrected the same one meanwhile, both are kept, and `SavedCase.forks` says so. Of
        ``author``, the person's initials, only a salted hash is kept.

        Raises DataError ``not-a-site``, ``site-differs``, ``no-labels``, ``no-such-revision`` or ``no-such-case``;
        OutputError ``cannot-write`` or ``not-whole``; LabelError where labels hold values that are not
        in the label map.
        """
        if not case.labels:
            raise DataError("no-labels", "the case has no segmentation", "add it as a case without labels instead")
        site, folder = self._case_folder(case)
        if case.case_id and not folder.name.startswith(case.case_id):
            based_on = None  # of another case
        return self._write_revision(folder, case, _Labels("correction", based_on, site.author_hash(author)))

    def save_prediction(self, case: CaseFiles) -> SavedCase:
        """Write scans and labels of a model, to be corrected by a person: they are never trained on.

        Raises as `save_correction`.
        """
        if not case.labels:
            raise DataError("no-labels", "the case has no segmentation", "add it as a case without labels instead")
        _site, folder = self._case_folder(case)
        return self._write_revision(folder, case, _Labels("prediction", None))

    def add_unlabelled(self, case: CaseFiles) -> SavedCase:
        """Write the scans alone; those that are there already are not written again. Raises as `save_correction`."""
        before = case_ids(self.folder)
        _site, folder = self._case_folder(case)
        return SavedCase(folder, folder.name, None, was_known=folder.name in before)

    def approve(self, case_id: str, revision: int | None = None, author: str = "") -> SiteCase:
        """Note that a person stands for a revision (None: the newest correction); it is the one to trust from now on.

        Of two who approve it, the first is noted; of two who approve different ones at the same moment, both are, and
        the later revision counts. Raises DataError ``no-such-case``, ``no-such-revision``, or
        ``not-corrected`` where it is a model's prediction.
        """
        case = self.case(case_id)
        corrections = {one.number for one in case.revisions if not one.is_prediction}
        number = revision if revision is not None else max(corrections, default=None)
        if number not in corrections:
            raise _not_approvable(case, number)
        if case.status != "approved" or case.revision != number:
            self._note_approval(case, number, self.site().author_hash(author))
        return self.case(case.id)

    def _note_approval(self, case: SiteCase, number: int, author: str) -> None:
        """Nothing is overwritten: an approval that comes after others is counted on."""
        order = 1 + max(one.approval for one in case.revisions)
        is_first = all(one.approved_by is None for one in case.revisions if one.number == number)
        facts = {"author": author, "settled": case.revisions[-1].number, "approval": order}
        with output_errors(self.folder):
            create_once(approval_file(case.folder / REVISIONS / f"{number:04d}", order, is_first), _json(facts))

    def set_split(self, case_id: str, split: Split) -> None:
        """Put a patient, with all cases of his or hers, into a split; "" leaves it to chance again."""
        case = self.case(case_id)
        file = self.folder / SPLITS / f"{case.patient or case.id}.json"
        with output_errors(self.folder):
            if not split:
                file.unlink(missing_ok=True)
                return
            file.parent.mkdir(exist_ok=True)
            write_atomically(file, _json({"split": split}))

    def exclude(self, case_id: str, is_excluded: bool = True) -> SiteCase:
        """Take a case out: it is kept, but neither learnt from, nor ranked, exported or listed to be corrected. False:
        take it in again."""
        case = self.case(case_id)
        file = self.folder / EXCLUDED / f"{case.id}.json"
        with output_errors(self.folder):
            if is_excluded:
                file.parent.mkdir(exist_ok=True)
                create_once(file, _json({"excluded": True}))
            else:
                file.unlink(missing_ok=True)
        return self.case(case.id)

    # --- the steps of writing

    def _case_folder(self, case: CaseFiles) -> tuple[SiteFacts, Path]:
        """The folder of the case with these scans of this patient; written now where there is none."""
        site = self._open(case.label_map, _modalities(case))
        for labels, grid in case.labels.values():  # before anything of it is kept, as if it had no labels
            refuse_wrong_labels(labels, grid, case.label_map)
        known = self.case(case.case_id) if case.case_id else None
        if known is not None and _are_the_scans(known, case):
            return site, known.folder
        patient = known.patient if known is not None else site.patient_hash(case.patient_key)
        hashes = {modality: volume_sha256(volume) for modality, volume in sorted(case.volumes.items())}
        name = site.keyed_hash(json.dumps([patient, sorted(hashes.items())]).encode())[:_ID_LENGTH]
        folder = self.folder / CASES / name
        if not (folder / CASE_FILE).is_file():
            prints = {modality: fingerprint(volume.array) for modality, volume in sorted(case.volumes.items())}
            content = {"store_version": STORE_VERSION, "patient": patient, "volumes": hashes, "content": prints}
            try:
                self._write_case(folder, case, content)
            except OutputExistsError:
                if not (folder / CASE_FILE).is_file():
                    raise  # else it is the same case, which somebody else was saving at the same time
        return site, folder

    def _write_case(self, folder: Path, case: CaseFiles, content: Mapping[str, Any]) -> None:
        with output_errors(self.folder), staged_folder(folder, marker=CASE_FILE) as staging:
            (staging / VOLUMES).mkdir()
            hashes = {}
            for modality, volume in case.volumes.items():
                path = staging / VOLUMES / f"{modality}.nrrd"
                write_volume(path, volume.array, volume.grid)
                _require_same(path, *read_image(path), volume.array, volume.grid)
                hashes[f"{VOLUMES}/{path.name}"] = file_sha256(path)
            (staging / CASE_FILE).write_bytes(_json({**content, "sha256": hashes}))

    def _open(self, label_map: LabelMap, modalities: tuple[str, ...]) -> SiteFacts:
        """The site's own facts; written now where this is its first case."""
        file = self.folder / SITE_FILE
        if not file.exists():
            self._found(SiteFacts(label_map, tuple(sorted(modalities)), secrets.token_hex(16)))
        site = read_site(self.folder)
        difference = _first_difference(site.label_map, label_map)
        if difference:
            raise DataError(
                "site-differs",
                f"{self.folder} holds cases with other structures: {difference}",
                "choose another folder for the cases of this model",
            )
        if not set(modalities) <= set(site.modalities):
            site = SiteFacts(site.label_map, tuple(sorted({*site.modalities, *modalities})), site.salt)
            write_atomically(file, _json(site.to_json()))
        return site

    def _found(self, site: SiteFacts) -> None:
        with output_errors(self.folder):
            self._refuse_other_content()
            self.folder.mkdir(parents=True, exist_ok=True)
            create_once(self.folder / SITE_FILE, _json(site.to_json()))

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

    def _write_revision(self, folder: Path, case: CaseFiles, facts: _Labels) -> SavedCase:
        """Two that save at once get two numbers: who finds a number taken tries the next."""
        for _attempt in range(_ATTEMPTS):
            earlier = sorted(int(path.name) for path in folder.glob(f"{REVISIONS}/[0-9]*") if path.name.isdecimal())
            number = earlier[-1] + 1 if earlier else 1
            parent = self._newest(folder, earlier) if facts.parent == "latest" else facts.parent
            if facts.parent not in (None, "latest", *earlier):
                hint = "see the revisions with crossmodalseg site show"
                raise DataError("no-such-revision", f"case {folder.name} has no revision {parent}", hint)
            content = {"kind": facts.kind, "author": facts.author, "parent": parent, "bundle": dict(case.bundle)}
            try:
                self._write_revision_as(folder / REVISIONS / f"{number:04d}", case, content)
            except OutputExistsError:
                continue
            return SavedCase(folder, folder.name, number, parent, self._forks(folder))
        raise OutputError("cannot-write", f"{folder}: many are saving this case at once", "save it again")

    def _newest(self, folder: Path, numbers: list[int]) -> int | None:
        """The newest correction, else the newest prediction; where they cannot be read, the highest number."""
        try:
            newest = self.case(folder.name).newest
        except DataError:
            return numbers[-1] if numbers else None
        return newest.number if newest else None

    def _forks(self, folder: Path) -> tuple[int, ...]:
        """None where an earlier revision is damaged: what was just saved is saved all the same; verify tells the
        rest."""
        with suppress(DataError):
            return self.case(folder.name).forks
        return ()

    def _write_revision_as(self, target: Path, case: CaseFiles, content: Mapping[str, Any]) -> None:
        hashes: dict[str, str] = {}
        with output_errors(target.parent.parent), staged_folder(target, marker=REVISION_FILE) as staging:
            for modality, (labels, grid) in case.labels.items():
                path = staging / f"{modality}{SLICER_SUFFIX}"
                write_segmentation(path, labels, grid, case.label_map)
                read_labels, read_grid, _label_map = read_segmentation(path)
                _require_same(path, read_labels, read_grid, labels, grid)
                hashes[path.name] = file_sha256(path)
            (staging / REVISION_FILE).write_bytes(_json({**content, "sha256": hashes}))


def _modalities(case: CaseFiles) -> tuple[str, ...]:
    """Those of the model, where they are told, and of the scans."""
    return tuple(sorted({*case.bundle.get("modalities", ()), *case.volumes}))


def _plain(case_id: str) -> str:
    """The id as it may stand in a pattern: hexadecimal digits, nothing else; what cannot be an id matches nothing."""
    return case_id if case_id.isalnum() else "-"


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=1).encode("utf-8")


def _not_approvable(case: SiteCase, number: int | None) -> DataError:
    if number is None or number in {one.number for one in case.revisions}:
        what = f"case {case.id} has no correction" if number is None else f"revision {number} is a model's prediction"
        return DataError("not-corrected", what, "look at it, correct it and save it as a correction first")
    hint = "see the revisions with crossmodalseg site show"
    return DataError("no-such-revision", f"case {case.id} has no revision {number}", hint)


def _are_the_scans(known: SiteCase, case: CaseFiles) -> bool:
    """Whether these are the scans of a case that is there; unlike by hash, places may differ by rounding."""
    if set(known.volumes) != set(case.volumes):
        return False
    for modality, volume in case.volumes.items():
        array, grid = read_image(known.volumes[modality])
        if not (np.array_equal(array, volume.array) and grid.is_close(volume.grid)):
            return False
    return True


def _require_same(path: Path, found: np.ndarray, found_grid: Grid, array: np.ndarray, grid: Grid) -> None:
    if not (np.array_equal(found, array) and found_grid.is_close(grid)):
        raise OutputError("not-whole", f"{path} does not hold what was written", "check the disk, and save again")


def _first_difference(there: LabelMap, here: LabelMap) -> str:
    """What differs first in values or names, in words; "" where only colours, codes or the order do."""
    known, wanted = ({one.value: one.name for one in each.structures} for each in (there, here))
    for value in sorted({*known, *wanted}):
        if known.get(value) != wanted.get(value):
            names = (f'"{names[value]}"' if value in names else "not used" for names in (known, wanted))
            return "value {} is {} there, and {} here".format(value, *names)
    return ""
