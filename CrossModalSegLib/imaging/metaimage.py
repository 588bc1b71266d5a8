"""MetaImage headers, in one file (.mha) or beside their data (.mhd): an own small reader.

Source: the documentation of the format, https://itk.org/Wiki/ITK/MetaIO/Documentation, and what ITK writes: Offset and
TransformMatrix (one row per voxel axis) are in LPS.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from CrossModalSegLib.errors import InputError
from CrossModalSegLib.imaging.decoding import DAMAGED, Encoding, reading
from CrossModalSegLib.imaging.finding import Finding
from CrossModalSegLib.imaging.grid import LPS_TO_RAS
from CrossModalSegLib.imaging.placement import Placement, unknown_orientation
from CrossModalSegLib.imaging.stored_image import ImageHeader, StoredData

_MOST_HEADER_BYTES = 1 << 20
_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_UNITS_MM = {"mm": 1.0, "um": 0.001, "cm": 10.0, "m": 1000.0, "?": 1.0, "": 1.0}
# Where an axis comes from, as AnatomicalOrientation names it, and its sign in LPS.
_COMES_FROM = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "I": (2, 1), "S": (2, -1)}
_LEAST_ALONG = 0.2  # of a direction, along the axis that ITK names for it: of 1,500 oblique grids the least was 0.36
_ROUNDING = 1e-3  # of the length of a direction
_EXPORT = "export the volume again"


@dataclass(frozen=True)
class _Fields:
    """The header's fields; ``files`` are the lines after a LIST; ``length`` is that of the header in bytes."""

    path: Path
    fields: dict[str, str]
    files: tuple[str, ...]
    length: int

    def first(self, *names: str) -> str:
        """The value under one of several names that the format has for one thing; "" where there is none."""
        given = {name: self.fields[name] for name in names if name in self.fields}
        if len(set(given.values())) > 1:
            raise self.wrong(" and ".join(f"{name} = {value}" for name, value in given.items()) + ", which differ")
        return next(iter(given.values()), "")

    def numbers(self, count: int, *names: str) -> list[float] | None:
        text = self.first(*names)
        if not text:
            return None
        try:
            numbers = [float(word) for word in text.split()]
        except ValueError as error:
            raise self.wrong(f"{names[0]}: {text!r} are no numbers") from error
        if len(numbers) != count:
            raise self.wrong(f"{names[0]}: {len(numbers)} numbers, not {count}")
        return numbers

    def whole(self, name: str, default: int) -> int:
        text = self.fields.get(name, str(default))
        if not re.fullmatch(r"-?\d{1,18}", text):
            raise self.wrong(f"{name}: {text!r} is no whole number")
        return int(text)

    def is_true(self, *names: str) -> bool:
        text = self.first(*names) or "False"
        if text.lower() not in ("true", "false", "1", "0"):
            raise self.wrong(f"{names[0]}: {text!r} is neither True nor False")
        return text.lower() in ("true", "1")

    def wrong(self, what: str) -> InputError:
        return InputError("unreadable", f"{self.path}: {what}", f"the header is damaged or not complete: {_EXPORT}")


def read_metaimage_header(path: Path) -> ImageHeader:
    """The header of a .mha or .mhd file. Raises InputError ``unreadable``, ``truncated``, ``not-found``."""
    header = _read_fields(path)
    rank = header.whole("NDims", 0)
    if not 1 <= rank <= 7 or header.fields.get("ObjectType", "Image") != "Image":
        raise header.wrong("its header describes no image")
    words = header.fields.get("DimSize", "").split()
    if len(words) != rank or not all(re.fullmatch(r"0*[1-9]\d{0,17}", word) for word in words):
        raise header.wrong(f"DimSize: {header.fields.get('DimSize', '')!r} for {rank} axes")
    sizes = tuple(int(word) for word in words)
    components = header.whole("ElementNumberOfChannels", 1)
    if components < 1:
        raise header.wrong(f"{components} values per voxel")
    kind = header.fields.get("ElementType", "")
    dtype, findings = _dtype(header, kind)
    return ImageHeader(
        path=path,
        sizes=sizes,
        components=components,
        kind=kind,
        dtype=dtype,
        placement=_placement(header, rank, findings),
        data=_data(header),
        slope=_no_function(header),
    )


def _read_fields(path: Path) -> _Fields:
    fields: dict[str, str] = {}
    length, rest = 0, b""
    with reading(path), path.open("rb") as stream:
        while line := stream.readline(_MOST_HEADER_BYTES):
            length += len(line)
            name, separator, value = line.decode("utf-8", "surrogateescape").partition("=")
            if not separator or length > _MOST_HEADER_BYTES:
                if not line.strip():
                    continue
                raise InputError("unreadable", f"{path} has no complete MetaImage header", DAMAGED)
            name = name.strip()
            if fields.setdefault(name, value.strip()) != value.strip():
                raise InputError("unreadable", f"{path}: {name!r} stands twice in the header", DAMAGED)
            if name == "ElementDataFile":
                rest = stream.read(_MOST_HEADER_BYTES) if value.split()[:1] == ["LIST"] else b""
                break
    if "ElementDataFile" not in fields:
        raise InputError("truncated", f"{path} ends within its header", DAMAGED)
    files = [line.strip() for line in rest.decode("utf-8", "surrogateescape").splitlines()]
    return _Fields(path, fields, tuple(file for file in files if file), length)


def _dtype(header: _Fields, kind: str) -> tuple[np.dtype | None, list[Finding]]:
    if kind.endswith("_ARRAY"):
        return None, []
    if kind not in _TYPES:
        raise header.wrong(f"voxels of the type {kind!r} are not read")
    dtype = np.dtype(_TYPES[kind])
    order = header.first("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
    big = header.is_true("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
    findings = []
    if not order and dtype.itemsize > 1:
        message = "the header does not say the order of bytes; the usual one, little-endian, was assumed"
        findings.append(Finding("warning", "byte-order", message, "check that the picture is no noise"))
    return dtype.newbyteorder(">" if big else "<"), findings


def _no_function(header: _Fields) -> float:
    """Programs do not agree whether these numbers scale the voxels."""
    slope = header.numbers(1, "ElementToIntensityFunctionSlope") or [1.0]
    offset = header.numbers(1, "ElementToIntensityFunctionOffset") or [0.0]
    if (slope, offset) != ([1.0], [0.0]):
        raise header.wrong(f"values are to be scaled by {slope[0]:g} and {offset[0]:g}")
    return 1.0


def _data(header: _Fields) -> StoredData:
    if header.fields.get("BinaryData", "True").lower() in ("false", "0"):
        encoding: Encoding = "text"
    else:
        encoding = "zlib" if header.is_true("CompressedData") else "raw"
    files = _data_files(header)
    is_local = files == (header.path,)
    skip = header.whole("HeaderSize", 0)
    if skip < -1 or (skip == -1 and encoding != "raw"):
        raise header.wrong(f"HeaderSize: {skip}")
    start = max(skip, 0) or (header.length if is_local else 0)
    if is_local and start < header.length:
        raise header.wrong(f"HeaderSize: {skip}, but the header has {header.length} bytes")
    length = header.whole("CompressedDataSize", 0) if encoding == "zlib" and len(files) == 1 else 0
    if length < 0:
        raise header.wrong(f"CompressedDataSize: {length}")
    return StoredData(files, encoding, start, 0, length or None, is_last=skip == -1)


def _data_files(header: _Fields) -> tuple[Path, ...]:
    value = header.fields["ElementDataFile"]
    words, folder = value.split(), header.path.parent
    if value.upper() == "LOCAL":
        return (header.path,)
    if words[:1] == ["LIST"]:
        if not header.files:
            raise header.wrong("its list of data files is empty")
        return tuple(folder / name for name in header.files)
    if not value or "%" in value:
        raise header.wrong(f"ElementDataFile: {value!r}; numbered files are not read")
    return (folder / value,)


def _placement(header: _Fields, rank: int, findings: list[Finding]) -> Placement:
    spacing = header.numbers(rank, "ElementSpacing") or header.numbers(rank, "ElementSize")
    matrix = header.numbers(rank * rank, "TransformMatrix", "Rotation", "Orientation")
    origin = header.numbers(rank, "Offset", "Position", "Origin")
    unit = _UNITS_MM.get(header.fields.get("DistanceUnits", "").lower())
    if unit is None:
        raise header.wrong(f"lengths in {header.fields['DistanceUnits']!r}")
    if spacing is None:
        what = "the header does not say the voxel size"
        return Placement(None, None, tuple(findings), ("bad-affine", what, _EXPORT))
    lengths = [length * unit for length in (*spacing, np.nan, np.nan)[:3]]
    if min(spacing) < 0:  # a mirror image, or not: programs do not agree
        what = f"the voxel size is {' x '.join(f'{length:g}' for length in spacing)}"
        return Placement(None, None, tuple(findings), ("bad-affine", what, _EXPORT))
    if matrix is None:
        what = "the header has no TransformMatrix, so it does not say which way the voxel axes run"
        return unknown_orientation(what, lengths, findings)
    axes = np.reshape(matrix, (rank, rank))[:3, :3]  # a row per voxel axis
    if rank < 3 or not np.allclose(np.linalg.norm(axes, axis=1), 1, atol=_ROUNDING):
        what = f"the rows of TransformMatrix are no directions: {axes.tolist()}"
        return Placement(None, None, tuple(findings), ("bad-affine", what, _EXPORT))
    findings = [*findings, *_named_otherwise(header.fields.get("AnatomicalOrientation", "").upper(), axes)]
    lps = np.eye(4)
    lps[:3, :3] = axes.T * lengths
    if origin is None:
        message = "the header has no Offset; the first voxel was put at 0 mm"
        remedy = "such a scan need not lie where another scan of the patient lies"
        findings = [*findings, Finding("warning", "position-unknown", message, remedy)]
    else:
        lps[:3, 3] = np.asarray(origin[:3]) * unit
    return Placement(LPS_TO_RAS @ lps, None, tuple(findings))


def _named_otherwise(letters: str, axes: np.ndarray) -> list[Finding]:
    """ITK writes the nearest ``letters`` beside the directions ``axes`` (a row per voxel axis, LPS), and reads only
    those."""
    if len(letters) != 3 or not set(letters) <= set(_COMES_FROM):
        return []
    along = [sign * row[axis] for row, (axis, sign) in zip(axes, map(_COMES_FROM.__getitem__, letters), strict=True)]
    if min(along) > _LEAST_ALONG:
        return []
    message = f"AnatomicalOrientation {letters} contradicts TransformMatrix, by which the volume was placed"
    return [Finding("warning", "orientation-differs", message, "check in a viewer that left is left")]
