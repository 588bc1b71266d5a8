"""Whether a site's folder is whole: every file there, with the content that was written."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from CrossModalSegLib.bundles.bundle import read_bundle
from CrossModalSegLib.errors import BundleError, CrossModalSegError, DataError
from CrossModalSegLib.imaging.fingerprint import fingerprint
from CrossModalSegLib.imaging.segmentation_io import SLICER_SUFFIX, read_segmentation
from CrossModalSegLib.imaging.volume import Volume, read_image
from CrossModalSegLib.json_file import read_json
from CrossModalSegLib.site.case_files import file_sha256, volume_sha256
from CrossModalSegLib.site.cases import case_ids
from CrossModalSegLib.site.folder import (
    APPROVAL,
    CASE_FILE,
    CASES,
    EXCLUDED,
    REVISION_FILE,
    REVISIONS,
    SPLITS,
    STORE_VERSION,
    VOLUMES,
    SiteFacts,
    read_site,
    read_split,
    split_files,
)
from CrossModalSegLib.site.index import INDEX_FILE
from CrossModalSegLib.site.models import MODELS
from CrossModalSegLib.site.work_list import RANKING_FILE, read_ranking

HINT = "put it right with crossmodalseg site repair"
FRESH_SECONDS = 3600.0  # a staging folder that was touched since may belong to somebody who is saving just now


@dataclass(frozen=True)
class Damage:
    """Something that is not whole: a case, a revision, or another file, at ``path``; ``what`` is wrong with it."""

    path: Path
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


@dataclass(frozen=True)
class SiteReport:
    """What was found in a site: counts of whole cases and revisions, damages, and what was left by interrupted
    saving."""

    cases: int
    revisions: int
    damages: tuple[Damage, ...]
    leftovers: tuple[Path, ...]

    @property
    def is_whole(self) -> bool:
        return not self.damages


def verify_site(folder: Path, progress: Callable[[float], None] | None = None) -> SiteReport:
    """Check every file of the site in ``folder``; nothing is changed. ``progress`` is told the fraction done.

    Raises DataError ``not-a-site`` where there is no site, or its own facts are damaged.
    """
    site = read_site(folder)
    damages = list(_damages_of_site(folder))
    revisions = 0
    names = case_ids(folder)
    for number, name in enumerate(names, start=1):
        case = folder / CASES / name
        found = list(case_damages(case))
        if not found:
            for revision in revision_folders(case):
                wrong = list(revision_damages(revision, site))
                found += wrong
                revisions += not wrong
            found += approval_damages(case)
        damages += found
        if progress:
            progress(number / len(names))
    bad = {damage.path for damage in damages}
    whole = sum(folder / CASES / name not in bad for name in names)
    return SiteReport(whole, revisions, tuple(damages), tuple(leftovers(folder)))


def case_damages(case: Path) -> Iterator[Damage]:
    """What is wrong with a case's own file and scans; with any of it, the case cannot be used."""
    try:
        content = read_json(case / CASE_FILE, "damaged-case", HINT)
        if content["store_version"] != STORE_VERSION:
            yield Damage(case, f"{CASE_FILE} is of version {content['store_version']} of the store")
            return
        volumes, hashes = dict(content["volumes"]), dict(content["sha256"])
        prints = dict(content.get("content", {}))  # cases of earlier versions have none
        wrong = _wrong_files(case, hashes)
        if set(hashes) != {f"{VOLUMES}/{modality}.nrrd" for modality in volumes} or not volumes:
            wrong.append(f"{CASE_FILE} does not name its scans")
        wrong += [] if wrong else _wrong_scans(case, volumes, prints)
    except (DataError, KeyError, TypeError, ValueError) as error:
        wrong = [_reason(error)]
    if wrong:
        yield Damage(case, "; ".join(wrong))


def revision_folders(case: Path) -> list[Path]:
    """The folders of a case's revisions, oldest first."""
    place = case / REVISIONS
    found = [path for path in place.iterdir() if path.name.isdecimal()] if place.is_dir() else []
    return sorted(found, key=lambda path: int(path.name))


def revision_damages(revision: Path, site: SiteFacts, case: Path | None = None) -> Iterator[Damage]:
    """What is wrong with one revision of ``case``, whose scans are whole; where it is not given, the revision is
    there."""
    try:
        content = read_json(revision / REVISION_FILE, "damaged-case", HINT)
        hashes = dict(content["sha256"])
        parent = content["parent"]
        wrong = _wrong_files(revision, hashes) or _wrong_labels(revision, hashes, site, case or revision.parents[1])
        if not hashes or content.get("kind") not in ("correction", "prediction"):
            wrong.append(f"{REVISION_FILE} does not say what it is")
        if parent is not None and not 0 < int(parent) < int(revision.name):
            wrong.append(f"its parent is {parent}")
    except (CrossModalSegError, KeyError, TypeError, ValueError) as error:
        wrong = [_reason(error)]
    if wrong:
        yield Damage(revision, "; ".join(wrong))


def approval_damages(case: Path) -> Iterator[Damage]:
    """Approvals that cannot be read, or whose revision is gone."""
    for file in sorted(case.glob(f"{REVISIONS}/[0-9]*{APPROVAL}*.json")):
        revision = file.name.partition(".")[0]
        try:
            content = read_json(file, "damaged-case", HINT)
            if int(content["settled"]) < int(revision):
                raise DataError("damaged-case", f"it settles {content['settled']}", HINT)
            if int(content.get("approval", 0)) < 0:
                raise DataError("damaged-case", f"it is approval {content['approval']}", HINT)
            if not file.with_name(revision).is_dir():
                yield Damage(file, "the revision that it approves is gone")
        except (DataError, KeyError, TypeError, ValueError) as error:
            yield Damage(file, _reason(error))


def leftovers(folder: Path) -> Iterator[Path]:
    """What a killed process has left: hidden names as `atomic` gives them, not inside of another such one."""
    places = [folder, folder / SPLITS, folder / EXCLUDED, folder / CASES]
    places += [folder / CASES / name for name in case_ids(folder)]
    places += [place / REVISIONS for place in places[4:]]
    for place in places:
        for path in sorted(place.iterdir()) if place.is_dir() else ():
            if path.name.startswith(".") and path.name[13:14] == "." and path.name[1:13].isalnum():
                yield path


def is_fresh(path: Path) -> bool:
    """Whether something in ``path`` was written so lately that somebody may still be at it."""
    times = [one.stat().st_mtime for one in (path, *(path.rglob("*") if path.is_dir() else ()))]
    return time.time() - max(times) < FRESH_SECONDS


def _damages_of_site(folder: Path) -> Iterator[Damage]:
    for file in (folder / RANKING_FILE, *split_files(folder)):
        try:
            if file.name == RANKING_FILE:
                read_ranking(folder)
            else:
                read_split(file)
        except DataError as error:
            yield Damage(file, error.message)
    for model in sorted((folder / MODELS).glob("[!.]*")):
        try:
            read_bundle(model).verify_files()
        except BundleError as error:
            yield Damage(model, error.message)
    index = folder / INDEX_FILE
    if index.is_file():
        try:
            yield from _wrong_copies(index, read_json(index, "damaged-index", HINT))
        except DataError as error:
            yield Damage(index, error.message)


def _wrong_copies(index: Path, copies: Mapping[str, Any]) -> Iterator[Damage]:
    """Entries of the index that are not what the files say; files that are damaged are found elsewhere."""
    for key, copy in copies.items():
        try:
            file = index.parent / CASES / key
            is_same = not file.is_file() or json.loads(file.read_bytes()) == copy
        except ValueError:
            continue
        if not is_same:
            yield Damage(index, f"differs from {key}")


def _wrong_files(folder: Path, hashes: Mapping[str, str]) -> list[str]:
    wrong = []
    for name, expected in hashes.items():
        if not (folder / name).is_file():
            wrong.append(f"{name} is missing")
        elif file_sha256(folder / name) != expected:
            wrong.append(f"{name} is not what was written")
    return wrong


def _wrong_scans(case: Path, volumes: Mapping[str, str], prints: Mapping[str, str]) -> list[str]:
    """Scans that cannot be read, or that hold another content than their case was made of."""
    wrong = []
    for modality, expected in volumes.items():
        try:
            array, grid = read_image(case / VOLUMES / f"{modality}.nrrd")
            is_known = prints.get(modality) in (None, fingerprint(array))
            if volume_sha256(Volume(array, grid, modality)) != expected or not is_known:
                wrong.append(f"the {modality} scan is another one")
        except CrossModalSegError as error:
            wrong.append(error.message)
    return wrong


def _wrong_labels(revision: Path, hashes: Mapping[str, str], site: SiteFacts, case: Path) -> list[str]:
    """Labels that do not lie on their scan, or hold structures that the site does not know."""
    wrong = []
    for name in hashes:
        labels, grid, _label_map = read_segmentation(revision / name)
        scan = case / VOLUMES / f"{name.removesuffix(SLICER_SUFFIX)}.nrrd"
        unknown = sorted(set(np.unique(labels).tolist()) - set(site.label_map.channels))
        if not grid.is_close(read_image(scan)[1]):
            wrong.append(f"{name} does not lie on its scan")
        if unknown:
            wrong.append(f"{name} holds values {unknown} that the label map has not")
    return wrong


def _reason(error: Exception) -> str:
    return error.message if isinstance(error, CrossModalSegError) else f"{type(error).__name__} {error}"
