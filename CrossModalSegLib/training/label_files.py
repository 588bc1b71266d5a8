"""Label files of a training: all in the values of one label map, by name where a file has names, else by value."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from CrossModalSegLib.errors import DataError, InputError, LabelError
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.ground_slices import is_ground, read_ground
from CrossModalSegLib.imaging.segmentation_io import read_segmentation
from CrossModalSegLib.label_translation import by_names, joined
from CrossModalSegLib.labels import LARGEST_VALUE, LabelMap
from CrossModalSegLib.plurals import some_of
from CrossModalSegLib.training.data_report import DataReport

_ROUNDING = 1e-2  # of integers that were stored as scaled numbers
_BEYOND = 2.0**31


@dataclass(frozen=True)
class LabelFacts:
    """Of a label file, its own label map, where it has one, the values that occur, without background, a hash of its
    voxels, and the orientation that was assumed."""

    path: Path
    own: LabelMap | None
    present: tuple[int, ...]
    content: str
    assumed_orientation: str | None

    def value_in(self, common: LabelMap | None, value: int) -> int:
        """What a value of the file is among the structures of `common_label_map`."""
        return common.by_name(self.own.by_value(value).name).value if common and self.own else value


@dataclass(frozen=True, eq=False)
class LabelFile:
    """Label values (K, J, I) int32 as a file stores them, their grid, and its own label map, where it has one."""

    path: Path
    labels: np.ndarray
    grid: Grid
    own: LabelMap | None
    assumed_orientation: str | None = None

    @cached_property
    def facts(self) -> LabelFacts:
        present = tuple(int(value) for value in np.unique(self.labels) if value)
        content = repr(self.labels.shape).encode() + np.ascontiguousarray(self.labels).tobytes()
        return LabelFacts(self.path, self.own, present, hashlib.sha256(content).hexdigest(), self.assumed_orientation)

    def in_values_of(self, label_map: LabelMap, report: DataReport) -> np.ndarray:
        """The labels in values of ``label_map``; what it does not have is 0 where it has a name, and is told.

        Raises LabelError ``names-differ`` where the file has names, and none that the label map has.
        """
        if self.own is None:
            report.unmatched.update(f"label {value}" for value in self.facts.present if value not in label_map.channels)
            return self.labels
        found = by_names(self.labels, self.own, label_map)
        if found.missing and len(found.missing) == len(self.facts.present):
            names = (some_of([one.name for one in each]) for each in (found.missing, label_map.structures))
            what = "{}: its segments ({}) are none of the structures ({})".format(self.path, *names)
            raise LabelError("names-differ", what, "rename the segments, or the structures of the label map")
        report.unmatched.update(repr(one.name) for one in found.missing)
        return found.labels.astype(np.int32)


def read_label_file(path: Path, assumed_orientation: str | None = None) -> LabelFile:
    """A label file, or a folder of slices beside a DICOM series. Raises what reading raises, InputError
    ``not-labels``."""
    labels, grid, own = (*read_ground(path), None) if is_ground(path) else read_segmentation(path, assumed_orientation)
    low, high = float(labels.min()), float(labels.max())  # NaN comes through both
    if not (-_BEYOND < low <= high < _BEYOND and np.allclose(labels, np.rint(labels), rtol=0, atol=_ROUNDING)):
        what = f"{path} holds values from {low:g} to {high:g} that are not all labels"
        raise InputError("not-labels", what, f"give integers from 0 to {LARGEST_VALUE}")
    return LabelFile(path, np.rint(labels).astype(np.int32), grid, own, assumed_orientation)


def common_label_map(files: Sequence[LabelFacts], first: LabelMap | None = None) -> LabelMap | None:
    """The structures that files with names name, after those of ``first``; None where no file has names.

    Raises DataError ``labels-ambiguous`` where two names share a value and other files have no names: nobody could say
    which of the two their values are.
    """
    maps = [file.own for file in files if file.own is not None]
    if not maps:
        return None
    common = joined([first, *maps] if first else maps)
    nameless = [file.path.name for file in files if file.own is None]
    renumbered = [one.name for each in maps for one in each.structures if common.by_name(one.name).value != one.value]
    if nameless and renumbered:
        what = f"{some_of(sorted(set(renumbered)))} has several values, and {some_of(nameless)} only values, no names"
        raise DataError(
            "labels-ambiguous", what, "save all label files with names (.seg.nrrd), or with the same values"
        )
    return common


def read_facts(files: Mapping[Path, str | None]) -> list[LabelFacts]:
    """Of ``files``, each with the orientation of those that do not say theirs; one at a time, to spare memory."""
    return [read_label_file(path, assumed).facts for path, assumed in files.items()]
