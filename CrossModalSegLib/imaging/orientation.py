"""Which way voxel axes run, in letters: in RAS, i runs to the right, j to the front (anterior), k to the top
(superior)."""

from itertools import permutations, product

import numpy as np

from CrossModalSegLib.errors import InputError

_AXES = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
ORIENTATIONS = tuple(
    "".join(letters) for order in permutations(("RL", "AP", "SI")) for letters in product(*order)
)  # all 48


def orientation_named(text: str) -> str:
    """The orientation with this code, such as "RAS" or "lps", in capitals. Raises InputError ``bad-orientation``."""
    if text.upper() not in ORIENTATIONS:
        hint = "give three letters, where i, j and k run to: R or L, A or P, S or I, such as RAS"
        raise InputError("bad-orientation", f"{text!r} is no orientation", hint)
    return text.upper()


def direction_of(orientation: str) -> np.ndarray:
    """3x3 float64: its columns are the unit vectors of i, j, k in RAS."""
    direction = np.zeros((3, 3))
    for column, letter in enumerate(orientation):
        row, sign = _AXES[letter]
        direction[row, column] = sign
    return direction
