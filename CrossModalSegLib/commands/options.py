"""Options that several commands have: scans by modality, and how scans lie that do not say it."""

import argparse
from collections.abc import Iterable
from pathlib import Path

from CrossModalSegLib.errors import InputError


def paths_by_modality(entries: Iterable[str]) -> dict[str, Path]:
    """Paths by modality of an option that is given as ``MODALITY=PATH``, once for each.

    Raises InputError ``usage`` or ``same-modality``.
    """
    paths: dict[str, Path] = {}
    for entry in entries:
        name, separator, path = entry.partition("=")
        if not (separator and name and path):
            raise InputError("usage", f"{entry!r} is not MODALITY=PATH", "write it such as T1w=t1.nii.gz")
        if name in paths:
            raise InputError("same-modality", f"{name} is given twice: {paths[name]} and {path}", "give each once")
        paths[name] = Path(path)
    return paths


def given_path(text: str) -> Path:
    """The path of an option or argument. Nothing at all, such as a variable of a shell that is not set, is no
    folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the path is empty: give one; . is the current folder")
    return Path(text)


def add_orientation_option(parser: argparse.ArgumentParser) -> None:
    """``assume_orientation`` of what is parsed: three letters, or None."""
    parser.add_argument(
        "--assume-orientation",
        type=_orientation,
        metavar="CODE",
        help="where columns, rows and slices (i, j, k) run to in files that do not say it, such as RAS or LPS; "
        "for other files it changes nothing",
    )


def _orientation(text: str) -> str:
    from CrossModalSegLib.imaging.orientation import orientation_named

    try:
        return orientation_named(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(f"{error.message}: {error.hint}") from None
