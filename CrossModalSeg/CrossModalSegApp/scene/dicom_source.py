"""Which DICOM files a scan of the scene was read from."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from CrossModalSegApp.scene.site_cases import ORIGIN_ATTRIBUTE
from CrossModalSegLib.errors import InputError

_FILES_ATTRIBUTE = "CrossModalSeg.dicomFiles"  # JSON: the paths, which may be of files without pixels
_INSTANCES_ATTRIBUTE = "DICOM.instanceUIDs"  # of Slicer: of files in its DICOM database, separated by blanks


def note_files(node: Any, files: Iterable[Path]) -> None:
    """Remember on ``node`` that it was read from ``files``; nothing where there are none."""
    paths = [str(path) for path in dict.fromkeys(files)]
    if paths:
        node.SetAttribute(_FILES_ATTRIBUTE, json.dumps(paths))


def why_no_source(node: Any) -> str:
    """Why no DICOM files of ``node`` are known, as the end of a sentence; "" where they are. Looks for no file."""
    if node.GetAttribute(_FILES_ATTRIBUTE) or (node.GetAttribute(_INSTANCES_ATTRIBUTE) and _database() is not None):
        return ""
    if node.GetAttribute(ORIGIN_ATTRIBUTE):
        return "it was opened from a site folder, which keeps no DICOM headers"
    return "it was not read from a DICOM series"


def source_files(node: Any) -> tuple[Path, ...]:
    """The DICOM files of ``node``. Raises InputError ``not-dicom`` where they are not known, or not there any more."""
    why = why_no_source(node)
    noted = node.GetAttribute(_FILES_ATTRIBUTE)
    files = [] if why else json.loads(noted) if noted else _files_in_database(node)
    if not why and not (files and all(file and Path(file).is_file() for file in files)):
        why = "its DICOM files are not there any more"
    if why:
        raise InputError("not-dicom", f"{node.GetName()}: {why}", "open the DICOM series again, and segment it")
    return tuple(map(Path, files))


def _files_in_database(node: Any) -> list[str]:
    database = _database()
    return [database.fileForInstance(uid) for uid in node.GetAttribute(_INSTANCES_ATTRIBUTE).split()]


def _database() -> Any:
    """Slicer's DICOM database; None where there is none, as in the page."""
    import slicer

    return getattr(slicer, "dicomDatabase", None)
