"""Label maps: which integer stands for which structure, with its name, colour and standard terminology code.

Label values are those of the bundle (for the brain, FreeSurfer's numbers); 0 is background everywhere. Network channels
are positions in the label map: channel 0 is background, channel n is the n-th structure.
"""

import json
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from CrossModalSegLib.errors import LabelError, read_error
from CrossModalSegLib.json_file import each_name_once

LABEL_MAP_FOLDER = Path(__file__).parent / "label_maps"
LARGEST_VALUE = 65535  # label arrays are stored as uint8 or uint16

_SLICER_CONTEXT = "Segmentation category and type - DICOM master list"
_SLICER_ANATOMIC_CONTEXT = "Anatomic codes - DICOM master list"
_RESERVED = frozenset("^~|\r\n")  # separators of Slicer's terminology tags and of NRRD header lines


@dataclass(frozen=True)
class Code:
    """A coded concept: coding scheme designator (``SCT`` is SNOMED CT), code value and meaning (DICOM PS3.3, 8.8)."""

    scheme: str
    value: str
    meaning: str

    def __post_init__(self) -> None:
        for part in (self.scheme, self.value, self.meaning):
            if not part or _RESERVED & set(part):
                raise LabelError("bad-code", f"{part!r} in code {self.as_list()}", "use text without ^ ~ | or line end")

    def as_list(self) -> list[str]:
        return [self.scheme, self.value, self.meaning]


@dataclass(frozen=True)
class Terminology:
    """What a segment is: category and type, and a modifier such as the side of the body (DICOM PS3.3, C.8.20.4)."""

    category: Code
    type: Code
    modifier: Code | None = None

    def slicer_tag(self) -> str:
        """The value of 3D Slicer's segment tag ``TerminologyEntry``.

        Seven parts separated by ``~``: context, category, type, modifier, anatomic context, region, region modifier;
        a code is ``scheme^value^meaning`` (Slicer developer guide, Segmentations, TerminologyEntry tag).
        """
        codes = ["^".join(code.as_list()) if code else "^^" for code in (self.category, self.type, self.modifier)]
        return "~".join([_SLICER_CONTEXT, *codes, _SLICER_ANATOMIC_CONTEXT, "^^", "^^"])

    @classmethod
    def from_slicer_tag(cls, tag: str) -> "Terminology | None":
        """The terminology in a ``TerminologyEntry`` value, or None where category or type is left empty.

        The anatomic region is not kept. Raises LabelError ``bad-terminology`` for any other text.
        """
        parts = tag.split("~")
        codes = [part.split("^") for part in parts[1:4]]
        if len(parts) != 7 or any(len(code) != 3 for code in codes):
            raise LabelError("bad-terminology", f"terminology entry {tag!r}", "expected 7 parts separated by ~")
        category, type_, modifier = (Code(*code) if all(code) else None for code in codes)
        return cls(category, type_, modifier) if category and type_ else None

    def to_json(self) -> dict[str, Any]:
        modifier = self.modifier.as_list() if self.modifier else None
        return {"category": self.category.as_list(), "type": self.type.as_list(), "modifier": modifier}

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> "Terminology":
        modifier = entry.get("modifier")
        return cls(Code(*entry["category"]), Code(*entry["type"]), Code(*modifier) if modifier else None)


@dataclass(frozen=True)
class Structure:
    """One structure: label value (1 to 65535), name, colour (red, green, blue, 0 to 255), terminology if known."""

    value: int
    name: str
    color: tuple[int, int, int]
    terminology: Terminology | None = None


@dataclass(frozen=True)
class LabelMap:
    """The structures that a segmentation can hold, in the order of the network's channels 1, 2, ...

    Raises LabelError ``bad-label-map``, naming every problem, where a value or a name occurs twice, a value is not in
    1 to 65535, a colour is not three integers in 0 to 255, a name is empty, or there is no structure at all.
    """

    structures: tuple[Structure, ...]
    comment: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        problems = list(_problems(self.structures))
        if problems:
            raise LabelError("bad-label-map", "; ".join(problems), "correct the label map")

    @cached_property
    def values(self) -> tuple[int, ...]:
        """Label values in channel order, without background."""
        return tuple(structure.value for structure in self.structures)

    @cached_property
    def channels(self) -> tuple[int, ...]:
        """Label value of each network channel, background first: ``channels[c]`` is what channel ``c`` stands for."""
        return (0, *self.values)

    def mirrored_channels(self) -> tuple[int, ...]:
        """Per channel, the channel of the same structure on the other side of the body.

        Sides are told by names that begin with "left " or "right "; other structures are their own mirror image.
        Raises LabelError ``one-sided`` where a structure has no partner.
        """
        position = {structure.name: channel for channel, structure in enumerate(self.structures, start=1)}
        partners = [_other_side(structure.name) for structure in self.structures]
        alone = [name for name in partners if name not in position]
        if alone:
            raise LabelError("one-sided", f"no {_listed(alone)} in the label map", "add them, or do not mirror")
        return (0, *(position[name] for name in partners))

    def by_value(self, value: int) -> Structure:
        """The structure with this label value. Raises LabelError ``unknown-label``."""
        return self._find(value, {structure.value: structure for structure in self.structures})

    def by_name(self, name: str) -> Structure:
        """The structure with this name; capitals and spaces count where they alone tell two structures apart.

        Raises LabelError ``unknown-label``.
        """
        exact = {structure.name: structure for structure in self.structures}
        alike = [structure for structure in self.structures if _plain(structure.name) == _plain(name)]
        return alike[0] if name not in exact and len(alike) == 1 else self._find(name, exact)

    def names(self, name: str) -> bool:
        """Whether `by_name` finds a structure."""
        with suppress(LabelError):
            return bool(self.by_name(name))
        return False

    def _find(self, key: Any, table: dict[Any, Structure]) -> Structure:
        if key not in table:
            raise LabelError("unknown-label", f"{key!r} is not in the label map", f"it has {_listed(table)}")
        return table[key]

    def to_json(self) -> dict[str, Any]:
        """Plain lists and dictionaries for ``json.dumps``; ``from_json`` gives an equal label map back."""
        comment = {"comment": self.comment} if self.comment else {}
        return comment | {"structures": [_structure_to_json(structure) for structure in self.structures]}

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> "LabelMap":
        """The label map in ``entry``. Raises LabelError ``bad-label-map``."""
        try:
            structures = tuple(_structure_from_json(structure) for structure in entry["structures"])
            comment = str(entry.get("comment", ""))
        except (KeyError, TypeError, AttributeError) as error:
            raise LabelError(
                "bad-label-map",
                f"{type(error).__name__} {error}",
                'expected {"structures": [{"value", "name", "color"}]}',
            ) from error
        return cls(structures, comment)


def read_label_map(path: str | Path) -> LabelMap:
    """The label map in a JSON file. Raises LabelError ``label-map-not-found``, ``bad-label-map``, `read_error`'s."""
    path = Path(path)
    try:
        return LabelMap.from_json(json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=each_name_once))
    except FileNotFoundError as error:
        raise LabelError("label-map-not-found", f"no such file {path}", "check the path") from error
    except OSError as error:
        raise read_error(f"label map {path}", error, LabelError) from error
    except (ValueError, RecursionError) as error:  # malformed JSON, or not UTF-8
        raise LabelError("bad-label-map", f"{path} is not JSON: {error}", "correct the file") from error


def _structure_to_json(structure: Structure) -> dict[str, Any]:
    return {
        "value": structure.value,
        "name": structure.name,
        "color": list(structure.color),
        "terminology": structure.terminology.to_json() if structure.terminology else None,
    }


def _structure_from_json(entry: dict[str, Any]) -> Structure:
    terminology = entry.get("terminology")
    return Structure(
        value=entry["value"],
        name=entry["name"],
        color=tuple(entry["color"]),
        terminology=Terminology.from_json(terminology) if terminology else None,
    )


def _problems(structures: tuple[Structure, ...]) -> Iterable[str]:
    if not structures:
        yield "a label map needs at least one structure"
    for structure in structures:
        where = f"structure {structure.name!r} ({structure.value!r})"
        if not _is_integer_in(structure.value, 1, LARGEST_VALUE):
            yield f"{where}: value is not an integer from 1 to {LARGEST_VALUE}"
        if not isinstance(structure.name, str) or not structure.name.strip() or _RESERVED & set(structure.name):
            yield f"{where}: name is empty or holds one of ^ ~ | or a line end"
        if len(structure.color) != 3 or not all(_is_integer_in(part, 0, 255) for part in structure.color):
            yield f"{where}: colour {structure.color} is not three integers from 0 to 255"
    yield from (f"value {value} occurs twice" for value in _repeated(structure.value for structure in structures))
    yield from (f"name {name!r} occurs twice" for name in _repeated(structure.name for structure in structures))


def _is_integer_in(number: object, low: int, high: int) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and low <= number <= high


def _repeated(items: Iterable[Any]) -> list[Any]:
    return [item for item, count in Counter(map(str, items)).items() if count > 1]


def _plain(name: str) -> str:
    return " ".join(name.split()).casefold()


def _other_side(name: str) -> str:
    side, separator, rest = name.partition(" ")
    return {"left": "right", "right": "left"}.get(side, side) + separator + rest


def _listed(items: Iterable[Any]) -> str:
    return ", ".join(str(item) for item in items)
