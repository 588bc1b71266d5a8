"""One channel of a file that holds several: ``case.nii.gz#1`` is the second volume of a 4D file; they count from 0."""

import re
from pathlib import Path

_CHANNEL = re.compile(r"(.+)#(\d+)")


def channel_path(file: Path, number: int) -> Path:
    """The path that means channel ``number`` of ``file``."""
    return file.with_name(f"{file.name}#{number}")


def split_channel(path: Path) -> tuple[Path, int | None]:
    """The file, and the number of its channel; None where the path names none, or where something has that very name."""
    match = _CHANNEL.fullmatch(path.name)
    if match is None or path.exists():
        return path, None
    return path.with_name(match[1]), int(match[2])
