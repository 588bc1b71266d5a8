"""Makes a site's folder whole again: what is damaged is set aside, never deleted, and whole revisions are kept."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from CrossModalSegLib.atomic import output_errors
from CrossModalSegLib.site.cases import case_ids
from CrossModalSegLib.site.check import (
    case_damages,
    is_fresh,
    revision_damages,
    revision_folders,
    verify_site,
)
from CrossModalSegLib.site.folder import CASES, QUARANTINE, REVISIONS, SiteFacts, approval_files, read_site
from CrossModalSegLib.site.index import INDEX_FILE


def repair_site(folder: Path, nobody_is_saving: bool = False) -> list[str]:
    """Repair the site in ``folder``; returns what was done, in words.

    Damaged cases, revisions and approvals are moved into ``quarantine/``. A damaged case takes its revisions along;
    they come back with the next repair once the same scans were added again. What killed processes left is removed, but
    not what was touched within the last hour: somebody may be saving just now, unless ``nobody_is_saving``.

    Raises DataError ``not-a-site``, OutputError ``cannot-write``.
    """
    with output_errors(folder):
        return list(_repaired(folder, nobody_is_saving))


def _repaired(folder: Path, nobody_is_saving: bool) -> Iterator[str]:
    site = read_site(folder)
    report = verify_site(folder)
    (folder / INDEX_FILE).unlink(missing_ok=True)  # made anew by the next listing
    for path in report.leftovers:
        if nobody_is_saving or not is_fresh(path):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            yield f"removed {path.relative_to(folder)}, which an interrupted saving had left"
    for damage in report.damages:
        if damage.path.exists():  # the index is gone already
            place = _set_aside(folder, damage.path)
            yield f"moved {damage.path.relative_to(folder)} into {place}: {damage.what}"
    yield from _restored(folder, site)


def _set_aside(folder: Path, path: Path) -> str:
    """Move ``path`` to the same place below the quarantine, under a name that is free there."""
    wanted = folder / QUARANTINE / path.relative_to(folder)
    target, number = wanted, 1
    while target.exists():
        number += 1
        target = wanted.with_name(f"{wanted.name}.{number}")
    target.parent.mkdir(parents=True, exist_ok=True)
    path.rename(target)
    for approval in approval_files(path):
        approval.rename(target.with_name(target.name + approval.name.removeprefix(path.name)))
    return target.relative_to(folder).as_posix()


def _restored(folder: Path, site: SiteFacts) -> Iterator[str]:
    """Bring whole revisions back to cases that are whole again, where their number is still free."""
    for name in case_ids(folder / QUARANTINE):
        case = folder / CASES / name.partition(".")[0]
        if not case.is_dir() or any(case_damages(case)):
            continue
        for revision in revision_folders(folder / QUARANTINE / CASES / name):
            target = case / REVISIONS / revision.name
            if any(revision_damages(revision, site, case)):
                continue
            if target.exists():
                yield f"revision {int(revision.name)} of case {case.name} stays in {QUARANTINE}: there is a newer one"
                continue
            target.parent.mkdir(exist_ok=True)
            for approval in approval_files(revision):
                approval.rename(target.with_name(approval.name))
            revision.rename(target)
            yield f"brought revision {int(revision.name)} of case {case.name} back"
