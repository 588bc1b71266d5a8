"""Comparing segmentations that number their structures differently."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from CrossModalSegLib.errors import LabelError, read_error
from CrossModalSegLib.labels import LabelMap


@dataclass(frozen=True)
class LabelTranslation:
    """Which value of the reference is which value of the prediction; several may become one. Background stays 0."""

    table: Mapping[int, int]

    @property
    def values(self) -> tuple[int, ...]:
        """The values it translates to, ascending, without background."""
        return tuple(sorted(set(self.table.values()) - {0}))

    def apply(self, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The translated labels (int32) and, as bool, the voxels that have no translation (0 in the former).

        ``reference`` holds integers from 0, of any shape.
        """
        table = {0: 0, **self.table}
        values = range(int(reference.max()) + 1)
        targets = np.array([table.get(value, 0) for value in values], dtype=np.int32)
        untranslated = np.array([value not in table for value in values])
        return targets[reference], untranslated[reference]

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "LabelTranslation":
        """From ``{"map": {"<reference value>": <prediction value>, ...}}``. Raises LabelError ``bad-translation``."""
        try:
            table = {int(source): int(target) for source, target in entry["map"].items()}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            message = f"{type(error).__name__} {error}"
            raise LabelError("bad-translation", message, 'expected {"map": {"4": 14, ...}} of integers') from error
        if not table or min(*table.keys(), *table.values()) < 0:
            raise LabelError("bad-translation", f"map {table}", "give at least one pair, and no negative values")
        return cls(table)


def read_labels(path: str | Path) -> LabelMap | LabelTranslation:
    """A label map or a translation from a JSON file, told apart by ``"structures"`` and ``"map"``.

    Raises LabelError ``labels-not-found``, ``bad-labels``, and those of the two.
    """
    path = Path(path)
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise LabelError("labels-not-found", f"no such file {path}", "check the path given with --labels") from error
    except OSError as error:
        raise read_error(f"--labels {path}", error, LabelError) from error
    except (ValueError, RecursionError) as error:
        raise LabelError("bad-labels", f"{path} is not JSON: {error}", "correct the file") from error
    if isinstance(entry, dict) and "map" in entry:
        return LabelTranslation.from_json(entry)
    if isinstance(entry, dict) and "structures" in entry:
        return LabelMap.from_json(entry)
    raise LabelError("bad-labels", f'{path} has neither "map" nor "structures"', "give a translation or a label map")
