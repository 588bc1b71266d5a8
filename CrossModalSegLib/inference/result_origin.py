"""What a result was made of: model, scans and options. A later run goes on only with results that it would make
itself."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from CrossModalSegLib.errors import OutputError, read_error
from CrossModalSegLib.imaging.channels import whole_of
from CrossModalSegLib.imaging.volume import files_of

_WORDS = {"bundle": "another model", "scans": "other scans", "options": "other options"}


def fingerprint(path: Path) -> str:
    """16 hex digits of all bytes of all files that a scan is in. Raises InputError."""
    whole = whole_of(path)
    digest = hashlib.sha256(path.name.removeprefix(whole.name).encode())  # which part of it
    try:
        for file in _files(whole):
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    except OSError as error:
        raise read_error(str(path), error) from error
    return digest.hexdigest()[:16]


def _files(whole: Path) -> list[Path]:
    """Of an image its header and data; of a series the files of its folder, which may be given by one of its slices."""
    if whole.is_file() and (data := files_of(whole)):
        return sorted({whole, *data})
    whole.stat()  # raises where there is nothing
    folder = whole if whole.is_dir() else whole.parent
    return sorted(file for file in folder.rglob("*") if file.is_file())


def refuse_other_result(report: Path, wanted: Mapping[str, Any]) -> None:
    """Raises OutputError ``other-result`` where the result with this report was made of something else than ``wanted``.

    Results of versions that did not note it are taken for the same.
    """
    try:
        found = json.loads(report.read_text(encoding="utf-8")).get("made of")
    except (OSError, ValueError, AttributeError) as error:
        raise OutputError("other-result", f"{report} cannot be read: {error}", "use --overwrite") from error
    if not isinstance(found, dict):
        return
    others = [words for key, words in _WORDS.items() if found.get(key) != wanted[key]]
    if others:
        what = f"{report.parent} holds a result of {' and '.join(others)}"
        raise OutputError("other-result", what, "use --overwrite, or another output folder")
