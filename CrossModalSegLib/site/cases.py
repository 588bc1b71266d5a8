"""The cases of a site as they are now: read from the folder, never from memory."""

import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from CrossModalSegLib.errors import DataError
from CrossModalSegLib.imaging.segmentation_io import SLICER_SUFFIX
from CrossModalSegLib.json_file import read_json
from CrossModalSegLib.site.folder import (
    APPROVAL,
    CASE_FILE,
    CASES,
    REVISION_FILE,
    REVISIONS,
    STORE_VERSION,
    VOLUMES,
    SiteFacts,
    Split,
    excluded_ids,
)
from CrossModalSegLib.site.index import SiteIndex

Status = Literal["unlabelled", "predicted", "corrected", "approved"]
STATUSES: tuple[Status, ...] = ("unlabelled", "predicted", "corrected", "approved")
_Read = Callable[[str, str], dict[str, Any]]  # path of a JSON file, hint where it is damaged
_HASH = re.compile(r"([0-9a-f]{64})?")
REPAIR_HINT = "see what is wrong with crossmodalseg site verify, put it right with crossmodalseg site repair"


@dataclass(frozen=True)
class Revision:
    """One set of labels of a case, which is never changed.

    ``is_prediction``: a model's labels, not looked at by anybody. ``parent`` is the revision that it was based on;
    ``author`` and ``approved_by`` are salted hashes ("" where no initials were given; ``approved_by`` is None where
    nobody has approved it), ``settled`` the highest revision that was there when it was approved, ``approval`` counts
    the case's approvals up to that one (0 where an earlier version did not count). ``sha256`` is by name of file in
    ``place``, the revision's folder.
    """

    number: int
    place: str
    is_prediction: bool
    parent: int | None
    author: str
    bundle: Mapping[str, Any]
    sha256: dict[str, str]
    approved_by: str | None = None
    settled: int = 0
    approval: int = 0

    @property
    def labels(self) -> dict[str, Path]:
        """The label files (.seg.nrrd) by modality."""
        return {file.removesuffix(SLICER_SUFFIX): Path(self.place, file) for file in self.sha256}


@dataclass(frozen=True)
class SiteCase:
    """One case of a site.

    ``patient`` is a salted hash, "" where unknown. ``modalities`` are those of its scans, ``scan_sha256`` the hashes of
    their files by path in the case's folder ``place``. ``split`` is the patient's, and stays. ``trusted`` is the
    revision to believe: the one that was approved last, else the newest correction; a model's prediction never is. An
    excluded case is kept, but neither learnt from nor listed to be corrected. ``is_split_set``: a person has set the
    split. ``content`` tells the same scans, ``same_scan_as`` are ids of cases of other patients with one of them (see
    `same_scans`, which gives all of these one ``split`` and one of their patients as ``counts_as``).
    """

    id: str
    place: str
    patient: str
    modalities: tuple[str, ...]
    scan_sha256: dict[str, str] = field(repr=False)
    split: Split
    revisions: tuple[Revision, ...] = field(repr=False)
    trusted: Revision | None
    is_excluded: bool = False
    is_split_set: bool = False
    content: frozenset[str] = field(default=frozenset(), repr=False)
    same_scan_as: tuple[str, ...] = ()
    counts_as: str = ""

    @property
    def folder(self) -> Path:
        return Path(self.place)

    @property
    def status(self) -> Status:
        if self.trusted is None:
            return "predicted" if self.revisions else "unlabelled"
        return "corrected" if self.trusted.approved_by is None else "approved"

    @property
    def volumes(self) -> dict[str, Path]:
        """The scans (NRRD, world space) by modality."""
        return {name: Path(self.place, VOLUMES, f"{name}.nrrd") for name in self.modalities}

    @property
    def revision(self) -> int | None:
        """The number of the revision to trust, if there is one."""
        return self.trusted.number if self.trusted else None

    @property
    def labels(self) -> dict[str, Path]:
        """The labels to trust (.seg.nrrd) by modality; none where there is no such revision."""
        return self.trusted.labels if self.trusted else {}

    @property
    def sha256(self) -> dict[str, str]:
        """Of the scans and of the labels to trust, by path in the case's folder."""
        number = f"{self.trusted.number:04d}" if self.trusted else ""
        labels = self.trusted.sha256 if self.trusted else {}
        return self.scan_sha256 | {f"{REVISIONS}/{number}/{file}": value for file, value in labels.items()}

    @property
    def prediction(self) -> Revision | None:
        """The newest labels of a model, if any."""
        return next((one for one in reversed(self.revisions) if one.is_prediction), None)

    @property
    def newest(self) -> Revision | None:
        """The newest correction, approved or not; the newest prediction where there is none."""
        return next((one for one in reversed(self.revisions) if not one.is_prediction), self.prediction)

    @property
    def forks(self) -> tuple[int, ...]:
        """The corrections of which none knows of the others, for a person to choose from; empty where there is one.

        Approving one settles it.
        """
        corrections = [one for one in self.revisions if not one.is_prediction]
        parents = {one.parent for one in corrections}
        settled = max((one.settled for one in corrections), default=0)
        ends = [one for one in corrections if one.number not in parents]
        open_ends = [one.number for one in ends if one.number > settled or one.number == self.revision]
        return tuple(open_ends) if len(open_ends) > 1 else ()


def person_of(case: Any) -> str:
    """Who is on one side of every split: the patient, one of those with the same scan, or the case by itself."""
    return getattr(case, "counts_as", "") or case.patient or case.id


def read_cases(
    folder: Path, site: SiteFacts, splits: Mapping[str, Split]
) -> tuple[list[SiteCase], dict[str, DataError]]:
    """All cases of the site in ``folder`` by id, and by id what is wrong with those that cannot be read."""
    cases: list[SiteCase] = []
    damaged: dict[str, DataError] = {}
    index, place, excluded = SiteIndex(folder), folder / CASES, excluded_ids(folder)
    for name in case_ids(folder):
        try:
            cases.append(read_case(place / name, site, splits, excluded, index))
        except DataError as error:
            damaged[name] = error
    index.save()
    return cases, damaged


def case_ids(folder: Path) -> list[str]:
    """The names of the cases' folders; hidden ones are being written, or were left by who was killed while writing."""
    place = folder / CASES
    return sorted(name for name in os.listdir(place) if not name.startswith(".")) if place.is_dir() else []  # noqa: PTH208


def read_case(
    folder: Path,
    site: SiteFacts,
    splits: Mapping[str, Split],
    excluded: Collection[str],
    index: SiteIndex | None = None,
) -> SiteCase:
    """The case in ``folder``, from its files, or from ``index`` where many are read; ``excluded`` are ids of cases.

    Raises DataError ``damaged-case``.
    """
    read = index.read if index else _read
    try:
        return _read_case(folder, site, splits, folder.name in excluded, read)
    except (NotADirectoryError, PermissionError) as error:  # other faults are not this case's, but the whole folder's
        raise DataError("damaged-case", f"{folder} cannot be read: {error.strerror}", REPAIR_HINT) from error
    except (AttributeError, TypeError, ValueError) as error:  # JSON, but not of the kind that it should be
        raise DataError("damaged-case", f"{folder}: {type(error).__name__} {error}", REPAIR_HINT) from error


def _read(path: str, hint: str) -> dict[str, Any]:
    return read_json(path, "damaged-case", hint)


def _read_case(folder: Path, site: SiteFacts, splits: Mapping[str, Split], is_excluded: bool, read: _Read) -> SiteCase:
    place = str(folder)
    content = read(f"{place}/{CASE_FILE}", REPAIR_HINT)
    if content.get("store_version") != STORE_VERSION or not isinstance(content.get("volumes"), dict):
        raise DataError("damaged-case", f"{place}/{CASE_FILE} is not of version {STORE_VERSION}", REPAIR_HINT)
    patient = content.get("patient", "")  # unknown where it is missing
    if not (isinstance(patient, str) and _HASH.fullmatch(patient)):
        raise DataError("damaged-case", f"{place}/{CASE_FILE}: the patient {patient!r} is no hash", REPAIR_HINT)
    revisions = _read_revisions(place, read)
    return SiteCase(
        id=folder.name,
        place=place,
        patient=patient,
        modalities=tuple(content["volumes"]),
        scan_sha256=content.get("sha256", {}),
        split=splits.get(patient or folder.name) or site.drawn_split(patient or folder.name),
        revisions=revisions,
        trusted=_trusted(revisions),
        is_excluded=is_excluded,
        is_split_set=(patient or folder.name) in splits,
        content=frozenset(map(str, [*content["volumes"].values(), *content.get("content", {}).values()])),
    )


def _trusted(revisions: Sequence[Revision]) -> Revision | None:
    corrections = [one for one in revisions if not one.is_prediction]
    approved = [one for one in corrections if one.approved_by is not None]
    last = sorted(approved, key=lambda one: (one.approval, one.number))  # two at the same time: the later revision
    return next(reversed(last or corrections), None)


def _read_revisions(case: str, read: _Read) -> tuple[Revision, ...]:
    place = f"{case}/{REVISIONS}"
    try:
        names = set(os.listdir(place))  # noqa: PTH208 - as in read_json
    except FileNotFoundError:
        return ()
    approvals = [name for name in names if APPROVAL in name and name[0] != "."]
    numbers = sorted((name for name in names if name.isdecimal()), key=int)
    return tuple(
        _read_revision(place, name, [one for one in approvals if one.startswith(f"{name}{APPROVAL}")], read)
        for name in numbers
    )


def _read_revision(place: str, name: str, approvals: Sequence[str], read: _Read) -> Revision:
    """The revision ``name`` ("0001") in the folder ``place``, with the names of its approvals there. Raises DataError
    ``damaged-case``."""
    file = f"{place}/{name}/{REVISION_FILE}"
    content = read(file, REPAIR_HINT)
    hashes = content.get("sha256")
    if not isinstance(hashes, dict):
        raise DataError("damaged-case", f"{file} has no sha256", REPAIR_HINT)
    read_approvals = [read(f"{place}/{one}", REPAIR_HINT) for one in approvals]
    approval = max(read_approvals, key=lambda one: int(one.get("approval", 0)), default={})
    return Revision(
        number=int(name),
        place=f"{place}/{name}",
        is_prediction=content.get("kind") == "prediction",
        parent=content.get("parent"),
        author=content.get("author", ""),
        bundle=content.get("bundle", {}),
        sha256=hashes,
        approved_by=str(approval.get("author", "")) if approvals else None,
        settled=int(approval.get("settled", 0)),
        approval=int(approval.get("approval", 0)),
    )
