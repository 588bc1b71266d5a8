"""The cases of a site as they are now: read from the folder, never from memory."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from CrossModalSegLib.errors import DataError
from CrossModalSegLib.segmentation_io import SLICER_SUFFIX
from CrossModalSegLib.site_folder import (
    APPROVAL_SUFFIX,
    CASE_FILE,
    CASES,
    REVISION_FILE,
    REVISIONS,
    STORE_VERSION,
    VOLUMES,
    SiteFacts,
    Split,
    read_json,
)

Status = Literal["unlabelled", "predicted", "corrected", "approved"]
STATUSES: tuple[Status, ...] = ("unlabelled", "predicted", "corrected", "approved")
REPAIR_HINT = "see what is wrong with crossmodalseg site verify, put it right with crossmodalseg site repair"


@dataclass(frozen=True)
class Revision:
    """One set of labels of a case, which is never changed.

    ``is_prediction``: a model's labels, not looked at by anybody. ``parent`` is the revision that it was based on;
    ``author`` and ``approved_by`` are salted hashes ("" where no initials were given; ``approved_by`` is None where
    nobody has approved it), ``settled`` the highest revision that was there when it was approved. ``labels`` are files
    by modality, ``sha256`` by path in the case's folder.
    """

    number: int
    is_prediction: bool
    parent: int | None
    author: str
    bundle: Mapping[str, Any]
    labels: dict[str, Path]
    sha256: dict[str, str]
    approved_by: str | None = None
    settled: int = 0


@dataclass(frozen=True)
class SiteCase:
    """One case of a site.

    ``patient`` is a salted hash, "" where unknown. ``volumes`` are the scans (NRRD, world space) by modality.
    ``revision`` and ``labels`` (.seg.nrrd by modality) are those to trust: the newest one that was approved, else the
    newest correction; None and nothing where there is none, for a model's prediction is never trusted. ``sha256`` is of
    these scans and labels, by path in the case's folder. ``split`` is the patient's, and stays.
    """

    id: str
    folder: Path
    patient: str
    status: Status
    volumes: dict[str, Path]
    revision: int | None
    labels: dict[str, Path]
    sha256: dict[str, str]
    split: Split
    revisions: tuple[Revision, ...] = field(default=(), repr=False)

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


def read_cases(folder: Path, site: SiteFacts, splits: Mapping[str, Split]) -> tuple[list[SiteCase], list[DataError]]:
    """All cases of the site in ``folder`` by id, and what is wrong with those that cannot be read."""
    cases: list[SiteCase] = []
    damaged: list[DataError] = []
    for name in case_ids(folder):
        try:
            cases.append(read_case(folder / CASES / name, site, splits))
        except DataError as error:
            damaged.append(error)
    return cases, damaged


def case_ids(folder: Path) -> list[str]:
    """The names of the cases' folders; hidden ones are being written, or were left by who was killed while writing."""
    place = folder / CASES
    return sorted(name for name in os.listdir(place) if not name.startswith(".")) if place.is_dir() else []  # noqa: PTH208


def read_case(folder: Path, site: SiteFacts, splits: Mapping[str, Split]) -> SiteCase:
    """The case in ``folder``. Raises DataError ``damaged-case``."""
    try:
        return _read_case(folder, site, splits)
    except (AttributeError, TypeError, ValueError) as error:  # JSON, but not of the kind that it should be
        raise DataError("damaged-case", f"{folder}: {type(error).__name__} {error}", REPAIR_HINT) from error


def _read_case(folder: Path, site: SiteFacts, splits: Mapping[str, Split]) -> SiteCase:
    place = str(folder)
    content = read_json(f"{place}/{CASE_FILE}", "damaged-case", REPAIR_HINT)
    if content.get("store_version") != STORE_VERSION or not isinstance(content.get("volumes"), dict):
        raise DataError("damaged-case", f"{place}/{CASE_FILE} is not of version {STORE_VERSION}", REPAIR_HINT)
    patient = str(content.get("patient", ""))
    revisions = _read_revisions(place)
    trusted = trusted_revision(revisions)
    key = patient or folder.name
    return SiteCase(
        id=folder.name,
        folder=folder,
        patient=patient,
        status=_status(revisions, trusted),
        volumes={name: Path(f"{place}/{VOLUMES}/{name}.nrrd") for name in content["volumes"]},
        revision=trusted.number if trusted else None,
        labels=trusted.labels if trusted else {},
        sha256=content.get("sha256", {}) | (trusted.sha256 if trusted else {}),
        split=splits.get(key) or site.drawn_split(key),
        revisions=revisions,
    )


def trusted_revision(revisions: Sequence[Revision]) -> Revision | None:
    """The newest approved revision, else the newest correction."""
    corrections = [one for one in revisions if not one.is_prediction]
    approved = [one for one in corrections if one.approved_by is not None]
    return next(reversed(approved or corrections), None)


def _status(revisions: Sequence[Revision], trusted: Revision | None) -> Status:
    if trusted is None:
        return "predicted" if revisions else "unlabelled"
    return "corrected" if trusted.approved_by is None else "approved"


def _read_revisions(case: str) -> tuple[Revision, ...]:
    place = f"{case}/{REVISIONS}"
    try:
        names = set(os.listdir(place))  # noqa: PTH208 - as in read_json
    except FileNotFoundError:
        return ()
    numbers = sorted((name for name in names if name.isdecimal()), key=int)
    return tuple(read_revision(place, name, f"{name}{APPROVAL_SUFFIX}" in names) for name in numbers)


def read_revision(place: str, name: str, is_approved: bool) -> Revision:
    """The revision ``name`` ("0001") in the folder ``place``. Raises DataError ``damaged-case``."""
    file = f"{place}/{name}/{REVISION_FILE}"
    content = read_json(file, "damaged-case", REPAIR_HINT)
    hashes = content.get("sha256")
    if not isinstance(hashes, dict):
        raise DataError("damaged-case", f"{file} has no sha256", REPAIR_HINT)
    approval = read_json(f"{place}/{name}{APPROVAL_SUFFIX}", "damaged-case", REPAIR_HINT) if is_approved else {}
    return Revision(
        number=int(name),
        is_prediction=content.get("kind") == "prediction",
        parent=content.get("parent"),
        author=content.get("author", ""),
        bundle=content.get("bundle", {}),
        labels={file.removesuffix(SLICER_SUFFIX): Path(f"{place}/{name}/{file}") for file in hashes},
        sha256={f"{REVISIONS}/{name}/{file}": value for file, value in hashes.items()},
        approved_by=str(approval.get("author", "")) if is_approved else None,
        settled=int(approval.get("settled", 0)),
    )
