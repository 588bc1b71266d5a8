"""NRRD headers, attached (.nrrd) and detached (.nhdr): an own small reader.

Source: the definition of the format, https://teem.sourceforge.net/nrrd/format.html. Where it leaves the place open (no
``space``, or spacings alone), nobody knows which side is left, and the volume is refused.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from CrossModalSegLib.errors import InputError
from CrossModalSegLib.imaging.decoding import DAMAGED, Encoding, reading
from CrossModalSegLib.imaging.finding import Finding
from CrossModalSegLib.imaging.placement import Placement, unknown_orientation
from CrossModalSegLib.imaging.stored_image import ImageHeader, StoredData

_MOST_HEADER_BYTES = 1 << 24
_MOST_BLANKS = 1 << 10  # behind the header
_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_ENCODINGS: dict[str, Encoding] = {
    "raw": "raw",
    "gzip": "gzip",
    "gz": "gzip",
    "bzip2": "bzip2",
    "bz2": "bzip2",
    "hex": "hex",
    "txt": "text",
    "text": "text",
    "ascii": "text",
}
# What a space's first two axes are, as signs along R and A; the third is S.
_SPACES = {
    "right-anterior-superior": (1, 1),
    "ras": (1, 1),
    "left-anterior-superior": (-1, 1),
    "las": (-1, 1),
    "left-posterior-superior": (-1, -1),
    "lps": (-1, -1),
}
_UNITS_MM = {
    "mm": 1.0,
    "millimeter": 1.0,
    "millimeters": 1.0,
    "m": 1000.0,
    "cm": 10.0,
    "um": 0.001,
    "µm": 0.001,
    "μm": 0.001,
}
_UNIT_UNKNOWN = ("", "?", "???", "none", "unknown")
_GRID_KINDS = ("domain", "space", "time", "???", "none", "")
# Other spellings of the fields that say where the voxels lie.
_IN_ONE_WORD = {"datafile": "data file", "lineskip": "line skip", "byteskip": "byte skip"}
_ESCAPED = re.compile(r"\\(n|\\)")  # in the values of own keys: a line end, a backslash
_EXPORT = "export the volume again"


@dataclass(frozen=True)
class _Fields:
    """The header's fields (lower case) and its own key:=value pairs; ``files`` are the lines after a LIST; ``length``
    is that of the header in bytes; ``is_followed``: something lies behind it."""

    path: Path
    fields: dict[str, str]
    pairs: dict[str, str]
    files: tuple[str, ...]
    length: int
    is_followed: bool

    def text(self, name: str) -> str:
        if name not in self.fields:
            raise self.wrong(f"its header has no {name!r}")
        return self.fields[name]

    def whole(self, name: str, default: int | None = None) -> int:
        if default is not None and name not in self.fields:
            return default
        try:
            return int(self.text(name))
        except ValueError as error:
            raise self.wrong(f"{name}: {self.fields[name]!r} is no whole number") from error

    def wrong(self, what: str) -> InputError:
        return InputError("unreadable", f"{self.path}: {what}", f"the header is damaged or not complete: {_EXPORT}")


def read_nrrd_header(path: Path) -> ImageHeader:
    """The header of a .nrrd or .nhdr file. Raises InputError ``unreadable``, ``truncated``, ``not-found``."""
    header = _read_fields(path)
    rank = header.whole("dimension")
    sizes = _whole_list(header, "sizes", rank)
    kinds = [kind.lower() for kind in header.fields.get("kinds", "").split()] or ["???"] * rank
    if len(kinds) != rank:
        raise header.wrong(f"{len(kinds)} kinds for {rank} axes")
    axis = _value_axis(header, kinds)
    components = 1
    if axis is not None:
        components = sizes.pop(axis)
        kinds.pop(axis)
    kind = header.text("type").lower()
    if any(one not in _GRID_KINDS for one in kinds) or (axis is not None and axis != 0):
        # values of a voxel that do not lie beside each other, or more than one such axis
        return _header(header, (*sizes, components), kind, None, _placement(header, rank, axis), components)
    return _header(header, tuple(sizes), kind, _dtype(header, kind), _placement(header, rank, axis), components)


def _header(
    header: _Fields, sizes: tuple[int, ...], kind: str, dtype: np.dtype | None, placement: Placement, components: int
) -> ImageHeader:
    return ImageHeader(
        path=header.path,
        sizes=sizes,
        components=components,
        kind=kind,
        dtype=dtype,
        placement=placement,
        data=_data(header, len(sizes) + (components > 1)),
        fields=header.pairs,
    )


# --- the text


def _read_fields(path: Path) -> _Fields:
    with reading(path), path.open("rb") as stream:
        lines, length = [], 0
        while line := stream.readline(_MOST_HEADER_BYTES):
            length += len(line)
            lines.append(line.rstrip(b"\r\n"))
            is_over = not lines[-1] or length > _MOST_HEADER_BYTES
            if is_over or (len(lines) == 1 and not line.startswith(b"NRRD")):
                break
        is_followed = bool(stream.read(_MOST_BLANKS).strip())
        text = [line.decode("utf-8", "surrogateescape") for line in lines]
    if not text or not re.fullmatch(r"NRRD000[1-5]", text[0]):
        raise InputError("unreadable", f"{path} does not begin as an NRRD file", DAMAGED)
    return _parsed(path, text[1:], length, is_followed)


def _parsed(path: Path, lines: Sequence[str], length: int, is_followed: bool) -> _Fields:
    fields: dict[str, str] = {}
    pairs: dict[str, str] = {}
    header = _Fields(path, fields, pairs, (), length, is_followed)
    for number, line in enumerate(lines):
        if line.startswith("#") or not line:
            continue
        key, is_pair, value = line.partition(":=")
        if is_pair and ": " not in key:
            text = _ESCAPED.sub(lambda match: "\n" if match[1] == "n" else "\\", value)
            if pairs.setdefault(key, text) != text:
                raise header.wrong(f"{key!r} stands twice in the header")
            continue
        name, separator, value = line.partition(":")
        name = name.strip().lower()
        name = _IN_ONE_WORD.get(name, name)
        if not separator:
            raise header.wrong(f"the line {line[:40]!r} of the header makes no sense")
        if fields.setdefault(name, value.strip()) != value.strip():
            raise header.wrong(f"{name!r} stands twice in the header")
        if name == "data file" and value.split()[:1] == ["LIST"]:
            return replace(header, files=tuple(one for one in lines[number + 1 :] if one))
    return header


def _whole_list(header: _Fields, name: str, count: int) -> list[int]:
    try:
        numbers = [int(word) for word in header.text(name).split()]
    except ValueError as error:
        raise header.wrong(f"{name}: {header.fields[name]!r} are no whole numbers") from error
    if len(numbers) != count or count < 1 or min(numbers) < 1:
        raise header.wrong(f"{name}: {header.fields[name]!r} for {count} axes")
    return numbers


def _numbers(header: _Fields, name: str, words: Sequence[str]) -> list[float]:
    try:
        return [float(word) for word in words]
    except ValueError as error:
        raise header.wrong(f"{name}: {header.fields[name]!r} are no numbers") from error


# --- values


def _value_axis(header: _Fields, kinds: Sequence[str]) -> int | None:
    """The axis along which the values of one voxel lie, if there is one: by its kind, or before all axes in space."""
    others = [n for n, kind in enumerate(kinds) if kind not in _GRID_KINDS]
    if others:
        return others[0]
    return 0 if header.fields.get("space directions", "").startswith("none") else None


def _dtype(header: _Fields, kind: str) -> np.dtype:
    code = next((code for code, names in _TYPES.items() if kind in names), None)
    if code is None:
        raise header.wrong(f"voxels of the type {kind!r} are not read")
    dtype = np.dtype(code)
    encoding = _encoding(header)
    if dtype.itemsize == 1 or encoding == "text":
        return dtype
    endian = header.fields.get("endian", "").lower()
    if endian not in ("little", "big"):
        raise header.wrong(f"the order of bytes is not known (endian: {endian!r})")
    return dtype.newbyteorder("<" if endian == "little" else ">")


def _encoding(header: _Fields) -> Encoding:
    name = header.text("encoding").lower()
    if name not in _ENCODINGS:
        raise header.wrong(f"the encoding {name!r} is not read")
    return _ENCODINGS[name]


def _data(header: _Fields, rank: int) -> StoredData:
    encoding = _encoding(header)
    lines, skip = header.whole("line skip", 0), header.whole("byte skip", 0)
    if lines < 0 or skip < -1 or (skip == -1 and encoding != "raw"):
        raise header.wrong(f"line skip {lines}, byte skip {skip} with the encoding {encoding}")
    files = _data_files(header, rank)
    if not files and header.path.suffix.lower() == ".nhdr":
        raise header.wrong("a header of its own (.nhdr) names no data file")
    if files and header.is_followed:
        raise header.wrong(f"it names the data file {header.fields['data file']!r}, and holds data itself")
    start = 0 if files else header.length
    files = files or (header.path,)
    if lines:
        starts = {_after_lines(file, start, lines) for file in files}
        if len(starts) > 1:
            raise header.wrong("the lines to skip have different lengths in the data files")
        start = starts.pop()
    if skip == -1:
        return StoredData(files, encoding, start, is_last=True)
    is_compressed = encoding in ("gzip", "bzip2")
    return StoredData(files, encoding, start if is_compressed else start + skip, skip if is_compressed else 0)


def _after_lines(file: Path, start: int, lines: int) -> int:
    with reading(file), file.open("rb") as stream:
        stream.seek(start)
        for _line in range(lines):
            stream.readline()
        return stream.tell()


def _data_files(header: _Fields, rank: int) -> tuple[Path, ...]:
    """None where the voxels follow the header."""
    if "data file" not in header.fields:
        return ()
    words = header.fields["data file"].split()
    folder = header.path.parent
    if words[:1] == ["LIST"]:
        if not header.files or (len(words) > 1 and words[1] not in map(str, range(1, rank + 1))):
            raise header.wrong("the list of data files is empty or makes no sense")
        return tuple(folder / name.strip() for name in header.files)
    if "%" in header.fields["data file"] and len(words) >= 4:
        return tuple(folder / name for name in _numbered(header, words))
    return (folder / header.fields["data file"],)


def _numbered(header: _Fields, words: Sequence[str]) -> list[str]:
    """``name%03d.raw first last step``, the last included."""
    form, *limits = words[:4]
    match = re.fullmatch(r"([^%]*)%0?(\d{0,2})d([^%]*)", form)
    try:
        first, last, step = (int(word) for word in limits)
    except ValueError:
        match = None
    if match is None or step == 0 or not 0 <= (last - first) / step < 100_000:
        raise header.wrong(f"data file: {header.fields['data file']!r} makes no sense")
    before, width, after = match.groups()
    numbers = range(first, last + (1 if step > 0 else -1), step)
    return [f"{before}{number:0{width or 1}d}{after}" for number in numbers]


# --- place


def _placement(header: _Fields, rank: int, value_axis: int | None) -> Placement:
    vectors = _directions(header, rank)
    if vectors is None:
        what = "the header has no space directions, so it does not say which way the voxel axes run"
        return unknown_orientation(what, _spacings(header, rank, value_axis))
    if "spacings" in header.fields and any(word.lower() != "nan" for word in header.fields["spacings"].split()):
        raise header.wrong("spacings and space directions, of which a header may have one only")
    if len(vectors) < 3:
        what = f"{len(vectors)} axes of the volume have a direction in space"
        return Placement(None, None, (), ("bad-affine", what, _EXPORT))
    affine = np.eye(4)
    affine[:3, :3] = np.transpose(vectors[:3]) * _space_unit(header)
    name = header.fields.get("space", "").lower().removesuffix("-time").removesuffix("t")
    if name not in _SPACES:
        what = f"the header's space is {name!r}, so it does not say where its axes run" if name else "no space is named"
        return unknown_orientation(what, np.linalg.norm(affine[:3, :3], axis=0).tolist())
    findings = []
    origin = _vector(header, "space origin", header.fields["space origin"]) if "space origin" in header.fields else None
    if origin is None:
        message = "the header has no space origin; the first voxel was put at 0 mm"
        remedy = "such a scan need not lie where another scan of the patient lies"
        findings.append(Finding("warning", "position-unknown", message, remedy))
    else:
        affine[:3, 3] = np.asarray(origin) * _space_unit(header)
    affine[:3] *= np.array([*_SPACES[name], 1])[:, None]
    return Placement(affine, None, tuple(findings))


def _directions(header: _Fields, rank: int) -> list[list[float]] | None:
    """The steps along the axes that lie in space; None where no axis has one."""
    if "space directions" not in header.fields:
        return None
    words = re.findall(r"none|\([^()]*\)", header.fields["space directions"])
    if len(words) != rank:
        raise header.wrong(f"space directions {header.fields['space directions']!r} for {rank} axes")
    return [_vector(header, "space directions", word) for word in words if word != "none"]


def _vector(header: _Fields, name: str, text: str) -> list[float]:
    numbers = _numbers(header, name, text.strip().strip("()").split(","))
    if len(numbers) == 4:  # a space with time
        numbers = numbers[:3]
    if len(numbers) != 3:
        raise header.wrong(f"{name}: {text!r} is no place in space")
    return numbers


def _spacings(header: _Fields, rank: int, value_axis: int | None) -> list[float]:
    """Of the three axes in space; not a number where the header does not say them."""
    if "spacings" not in header.fields:
        return [np.nan] * 3
    numbers = _numbers(header, "spacings", header.fields["spacings"].split())
    if len(numbers) != rank:
        raise header.wrong(f"{len(numbers)} spacings for {rank} axes")
    unit = _unit(header, _quoted(header.fields.get("units", "")))
    in_space = [number * unit for axis, number in enumerate(numbers) if axis != value_axis]
    return [*in_space, np.nan, np.nan, np.nan][:3]


def _space_unit(header: _Fields) -> float:
    return _unit(header, _quoted(header.fields.get("space units", "")))


def _unit(header: _Fields, names: Sequence[str]) -> float:
    """Millimetres of the one unit that the header names; without one, NRRD files of this field are in millimetres."""
    named = {name.lower() for name in names} - {*_UNIT_UNKNOWN}
    if not named:
        return 1.0
    if len(named) > 1 or not named <= set(_UNITS_MM):
        raise header.wrong(f"lengths in {' and '.join(sorted(named))}")
    return _UNITS_MM[named.pop()]


def _quoted(text: str) -> list[str]:
    return re.findall(r'"([^"]*)"', text)
