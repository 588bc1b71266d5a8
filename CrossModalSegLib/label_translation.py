"""Segmentations that number their structures differently, brought to the same values: the one place for all of it.

Where both sides have names, names decide: 3D Slicer numbers segments in the order in which they are made, so the same
value may be another structure in the next file. Where one side has none, values decide.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from CrossModalSegLib.errors import LabelError, read_error
from CrossModalSegLib.json_file import each_name_once
from CrossModalSegLib.labels import LARGEST_VALUE, LabelMap, Structure
from CrossModalSegLib.plurals import some_of


def relabel(labels: np.ndarray, table: Mapping[int, int], kind: type[np.integer[Any]] = np.uint16) -> np.ndarray:
    """``labels`` (integers, any shape) with each value replaced by the one that ``table`` has for it, as type ``kind``.

    What the table does not have becomes 0.
    """
    size = max(table, default=0) + 1
    lookup = np.zeros(size + 1, dtype=kind)  # the last one is for all that is not in the table
    for old, new in table.items():
        lookup[old] = new
    known = (labels >= 0) & (labels < size)
    return lookup[labels if known.all() else np.where(known, labels.astype(np.intp), size)]


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
        return relabel(reference, table, np.int32), ~np.isin(reference, list(table))

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "LabelTranslation":
        """From ``{"map": {"<reference value>": <prediction value>, ...}}``. Raises LabelError ``bad-translation``."""
        try:
            pairs = [(_decimal(source), _whole(target)) for source, target in entry["map"].items()]
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            message = f"{type(error).__name__} {error}"
            raise LabelError("bad-translation", message, 'expected {"map": {"4": 14, ...}} of integers') from error
        table = dict(pairs)
        numbers = [number for pair in pairs for number in pair]
        if not table or len(table) < len(pairs) or max(numbers) > LARGEST_VALUE or table.get(0):
            hint = f"give at least one pair, each value once, from 0 to {LARGEST_VALUE}; background stays 0"
            raise LabelError("bad-translation", f"map {dict(entry['map'])}", hint)
        return cls(table)


@dataclass(frozen=True)
class Translated:
    """Labels (of any shape) in the values of another label map; ``missing`` are the structures that occur in them and
    that it does not have: their voxels are 0."""

    labels: np.ndarray
    missing: tuple[Structure, ...] = ()


def by_names(labels: np.ndarray, own: LabelMap, wanted: LabelMap) -> Translated:
    """``labels`` with the values of ``own`` as those of ``wanted``, structure for structure of the same name.

    Integers from 0. Raises LabelError ``unknown-label-values`` for a value that ``own`` does not have,
    ``ambiguous-names`` where two structures of ``own`` are one of ``wanted``.
    """
    present = [int(value) for value in np.unique(labels) if value]
    _refuse_unnamed(present, own)
    found = [own.by_value(value) for value in present]
    target = {one.value: wanted.by_name(one.name).value for one in found if wanted.names(one.name)}
    _refuse_joined(found, target, wanted)
    if all(target.get(value) == value for value in present):
        return Translated(labels)
    return Translated(relabel(labels, target), tuple(one for one in found if one.value not in target))


def in_values_of(labels: np.ndarray, own: LabelMap | None, wanted: LabelMap, what: str) -> np.ndarray:
    """As `by_names`, or ``labels`` as they are where they have no names.

    Raises LabelError ``unknown-label``, which says ``what`` and names all structures that ``wanted`` does not have.
    """
    if own is None:
        return labels
    translated = by_names(labels, own, wanted)
    if translated.missing:
        names = some_of([repr(one.name) for one in translated.missing])
        hint = f"rename or remove it; known are {some_of([one.name for one in wanted.structures], 40)}"
        raise LabelError("unknown-label", f"{what}: segment {names} is no structure of the site or model", hint)
    return translated.labels


def named_by_codes(own: LabelMap, wanted: LabelMap) -> LabelMap:
    """``own``, where a structure whose name ``wanted`` does not have has the name of the only one with its code.

    For files that were made elsewhere, where names are translated or shortened and codes are not. Structures that
    would then share a name keep their own.
    """
    by_code: dict[tuple[str, ...], list[Structure]] = {}
    for one in wanted.structures:
        if one.terminology:
            by_code.setdefault(_code_of(one), []).append(one)
    taken = {wanted.by_name(one.name).name for one in own.structures if wanted.names(one.name)}
    found = []
    for one in own.structures:
        alike = by_code.get(_code_of(one), []) if one.terminology and not wanted.names(one.name) else []
        if len(alike) == 1 and alike[0].name not in taken:
            taken.add(alike[0].name)
            found.append(replace(one, name=alike[0].name))
        else:
            found.append(one)
    return LabelMap(tuple(found))


def _code_of(structure: Structure) -> tuple[str, ...]:
    """Scheme and value of type and modifier; meanings may be in any language."""
    terms = structure.terminology
    codes = [terms.type, *([terms.modifier] if terms.modifier else [])] if terms else []
    return tuple(part for code in codes for part in (code.scheme, code.value))


def joined(maps: Iterable[LabelMap]) -> LabelMap:
    """One label map of all structures by name; each keeps its value, or gets the next free one where another has it."""
    structures: tuple[Structure, ...] = ()
    for each in maps:
        known = LabelMap(structures) if structures else None
        for structure in each.structures:
            if known is not None and known.names(structure.name):
                continue
            taken = {one.value for one in structures}
            value = next(number for number in (structure.value, *range(1, LARGEST_VALUE)) if number not in taken)
            structures = (*structures, replace(structure, value=value))
    return LabelMap(structures)


def _refuse_unnamed(present: Sequence[int], own: LabelMap) -> None:
    unnamed = [str(value) for value in present if value not in own.values]
    if unnamed:
        what = f"voxels hold {some_of(unnamed)}, which no segment of the file has"
        raise LabelError("unknown-label-values", what, "save the segmentation again")


def _refuse_joined(found: Sequence[Structure], target: Mapping[int, int], wanted: LabelMap) -> None:
    values = list(target.values())
    for value in {one for one in values if values.count(one) > 1}:
        names = [repr(one.name) for one in found if target.get(one.value) == value]
        what = f"{' and '.join(names)} are both {wanted.by_value(value).name!r}"
        raise LabelError("ambiguous-names", what, "merge them, or give one of them another name")


def read_labels(path: str | Path) -> LabelMap | LabelTranslation:
    """A label map or a translation from a JSON file, told apart by ``"structures"`` and ``"map"``.

    Raises LabelError ``labels-not-found``, ``bad-labels``, and those of the two.
    """
    path = Path(path)
    try:
        entry = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=each_name_once)
    except FileNotFoundError as error:
        raise LabelError("labels-not-found", f"no such file {path}", "check the path given with --labels") from error
    except OSError as error:
        raise read_error(f"--labels {path}", error, LabelError) from error
    except (ValueError, RecursionError) as error:
        raise LabelError("bad-labels", f"{path} is not JSON: {error}", "correct the file") from error
    if isinstance(entry, dict) and "map" in entry and "structures" in entry:
        raise LabelError("bad-labels", f'{path} has both "map" and "structures"', "give one of them")
    if isinstance(entry, dict) and "map" in entry:
        return LabelTranslation.from_json(entry)
    if isinstance(entry, dict) and "structures" in entry:
        return LabelMap.from_json(entry)
    raise LabelError("bad-labels", f'{path} has neither "map" nor "structures"', "give a translation or a label map")


def _decimal(text: str) -> int:
    """Of digits alone: ``int`` also takes signs, spaces and underscores."""
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f"{text!r} is no label value")
    return int(text)


def _whole(number: Any) -> int:
    if isinstance(number, bool) or int(number) != number or number < 0:
        raise ValueError(f"{number} is no label value")
    return int(number)
