"""Parts of a file or folder that holds several scans.

``case.nii.gz#1`` is the second volume of a 4D file; they count from 0. ``folder#1.2.840.113619...`` is the DICOM series
with this UID.
"""

import re
from pathlib import Path

_CHANNEL = re.compile(r"(.+)#(\d{1,9})")
_SERIES = re.compile(r"(.+)#(\d+(?:\.\d+)+)")


def channel_path(file: Path, number: int) -> Path:
    """The path that means channel ``number`` of ``file``."""
    return file.with_name(f"{file.name}#{number}")


def split_channel(path: Path) -> tuple[Path, int | None]:
    """The file, and the number of its channel; None where the path names none, or where something has that very
    name."""
    match = _CHANNEL.fullmatch(path.name)
    if match is None or path.exists():
        return path, None
    return path.with_name(match[1]), int(match[2])


def split_series(path: Path) -> tuple[Path, str | None]:
    """The folder, and the UID of a DICOM series in it; None where the path names none, or something has that very
    name."""
    match = _SERIES.fullmatch(path.name)
    if match is None or path.exists():
        return path, None
    return path.with_name(match[1]), match[2]


def whole_of(path: Path) -> Path:
    """The file or folder on disk that ``path`` is, or means a part of."""
    return split_series(split_channel(path)[0])[0]
