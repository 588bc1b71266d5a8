"""The option ``--assume-orientation``, which several commands have."""

import argparse

from CrossModalSegLib.errors import InputError


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
