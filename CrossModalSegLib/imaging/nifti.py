"""NIfTI headers, versions 1 and 2, of either byte order, in one file or in two (.hdr and .img): an own small reader.

Sources: nifti1.h and nifti2.h (https://nifti.nimh.nih.gov), where the offsets below are from.
"""

import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from CrossModalSegLib.errors import InputError
from CrossModalSegLib.imaging.decoding import DAMAGED, GZIP_MAGIC, Encoding, reading
from CrossModalSegLib.imaging.finding import Finding
from CrossModalSegLib.imaging.nifti_forms import NiftiForms, placement_of
from CrossModalSegLib.imaging.stored_image import ImageHeader, StoredData

HEADER_BYTES = 348  # of version 1
_FIELDS: dict[int, dict[str, tuple[str, int]]] = {
    348: {
        "dim": ("8i2", 40),
        "datatype": ("i2", 70),
        "bitpix": ("i2", 72),
        "pixdim": ("8f4", 76),
        "vox_offset": ("f4", 108),
        "scl_slope": ("f4", 112),
        "scl_inter": ("f4", 116),
        "xyzt_units": ("u1", 123),
        "qform_code": ("i2", 252),
        "sform_code": ("i2", 254),
        "quatern": ("3f4", 256),
        "qoffset": ("3f4", 268),
        "srow": ("(3,4)f4", 280),
    },
    540: {
        "datatype": ("i2", 12),
        "bitpix": ("i2", 14),
        "dim": ("8i8", 16),
        "pixdim": ("8f8", 104),
        "vox_offset": ("i8", 168),
        "scl_slope": ("f8", 176),
        "scl_inter": ("f8", 184),
        "qform_code": ("i4", 344),
        "sform_code": ("i4", 348),
        "quatern": ("3f8", 352),
        "qoffset": ("3f8", 376),
        "srow": ("(3,4)f8", 400),
        "xyzt_units": ("i4", 500),
    },
}
_MAGIC = {348: slice(344, 348), 540: slice(4, 12)}
_SINGLE = (b"n+1\0", b"n+2\0\r\n\x1a\n")
_PAIR = (b"ni1\0", b"ni2\0\r\n\x1a\n")
TYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
}
_NOT_SCALAR = {32: "complex", 128: "RGB", 1792: "complex", 2048: "complex", 2304: "RGBA"}
_EXTENSION_BYTES = 4  # after the header of a single file
_LONGEST_EXTENSION = 1 << 28
_LARGEST_EXTENSION_CODE = 1000  # nifti.nimh.nih.gov has registered some 25, even numbers up to 44


def read_nifti_header(path: Path) -> ImageHeader:
    """The header of a .nii or .nii.gz file, or of a pair, of which ``path`` is either file.

    Raises InputError ``unreadable``, ``truncated``, ``not-found``.
    """
    file = path
    if path.suffix.lower() in (".hdr", ".img"):
        file = _partner(path, ".hdr")
    encoding: Encoding = "gzip" if _first_bytes(file, 2) == GZIP_MAGIC else "raw"
    content = _first_bytes(file, 540, encoding)
    size, order = _size_and_order(content, path)
    if len(content) < size:
        raise InputError("truncated", f"{path} ends within its header", DAMAGED)
    magic = content[_MAGIC[size]]
    if magic not in _SINGLE + _PAIR:
        what = f"{path} has no NIfTI mark in its header; it may be an Analyze 7.5 file, which does not say what is left"
        raise InputError("unreadable", what, "convert it to NIfTI with the program that it came from")
    is_pair = magic in _PAIR
    if is_pair != (file.suffix.lower() == ".hdr"):
        what = f"{path} says that it is {'one of a pair (.hdr and .img)' if is_pair else 'a single file (.nii)'}"
        raise InputError("unreadable", what, "give it the name that it was written with")
    return _header(path, file, _fields(content, size, order), size, encoding, is_pair)


def _header(path: Path, file: Path, fields: Any, size: int, encoding: Encoding, is_pair: bool) -> ImageHeader:
    sizes = _sizes(fields, path)
    kind, dtype = _type(fields, path)
    slope, intercept = _scaling(fields, path)
    forms = _forms(fields)
    data_file = _partner(path, ".img") if is_pair else file
    least = 0 if is_pair else _end_of_extensions(file, size, fields, encoding)
    start = _offset(fields, path, least)
    placement = placement_of(forms, (*sizes, 1, 1)[:3])
    if start > least:
        placement = replace(placement, findings=(*placement.findings, _late(start, least)))
    zipped = encoding == "gzip"
    return ImageHeader(
        path=path,
        sizes=sizes,
        components=_values_per_voxel(sizes),
        kind=kind,
        dtype=dtype,
        placement=placement,
        data=StoredData((data_file,), encoding, 0 if zipped else start, start if zipped else 0),
        slope=slope,
        intercept=intercept,
        forms=forms,
    )


def _values_per_voxel(sizes: tuple[int, ...]) -> int:
    """Vectors, and colours of some programs, lie along the fifth axis."""
    return int(np.prod(sizes[4:], dtype=object)) if len(sizes) > 4 and sizes[3] == 1 else 1


def _partner(path: Path, suffix: str) -> Path:
    if path.suffix.lower() == suffix:
        return path
    return path.with_suffix(suffix.upper() if path.suffix.isupper() else suffix)


def _first_bytes(path: Path, count: int, encoding: Encoding = "raw") -> bytes:
    with reading(path):
        if encoding == "gzip":
            with gzip.open(path) as zipped:
                return zipped.read(count)
        with path.open("rb") as stream:
            return stream.read(count)


def _size_and_order(content: bytes, path: Path) -> tuple[int, str]:
    if len(content) < 4:
        raise InputError("truncated", f"{path} ends within its header", DAMAGED)
    for order in "<>":
        size = int(np.frombuffer(content[:4], f"{order}i4")[0])
        if size in _FIELDS:
            return size, order
    raise InputError("unreadable", f"{path} does not begin with a NIfTI header", DAMAGED)


def header_dtype(size: int, order: str) -> np.dtype:
    """NumPy's description of the fields that are read, in a header of ``size`` bytes (348 or 540), ``order`` "<" or
    ">"."""
    layout = _FIELDS[size]
    described = {
        "names": list(layout),
        "formats": [kind for kind, _ in layout.values()],
        "offsets": [offset for _, offset in layout.values()],
        "itemsize": size,
    }
    return np.dtype(described).newbyteorder(order)  # type: ignore[call-overload]


def _fields(content: bytes, size: int, order: str) -> Any:
    return np.frombuffer(content[:size], header_dtype(size, order))[0]


def _sizes(fields: Any, path: Path) -> tuple[int, ...]:
    rank, *lengths = (int(n) for n in fields["dim"])
    if not 1 <= rank <= 7 or min(lengths[:rank]) < 1:
        what = f"{path}: its header claims {rank} axes of {lengths[: max(0, min(rank, 7))]} voxels"
        raise InputError("unreadable", what, DAMAGED)
    return tuple(lengths[:rank])


def _type(fields: Any, path: Path) -> tuple[str, np.dtype | None]:
    code, bits = int(fields["datatype"]), int(fields["bitpix"])
    if code in _NOT_SCALAR:
        return _NOT_SCALAR[code], None
    if code not in TYPES:
        hint = "store it as integers or floats of at most 64 bits"
        raise InputError("unreadable", f"{path}: voxels of the type {code} are not read", hint)
    dtype = np.dtype(TYPES[code]).newbyteorder(fields.dtype["datatype"].byteorder)
    if bits != 8 * dtype.itemsize:
        what = f"{path}: its header says {dtype.name} (type {code}) and {bits} bits, which contradict each other"
        raise InputError("unreadable", what, DAMAGED)
    return dtype.name, dtype


def _scaling(fields: Any, path: Path) -> tuple[float, float]:
    """nifti1.h: a slope of 0 means that values are not scaled; NaN, as nibabel writes it, as well."""
    slope, intercept = float(fields["scl_slope"]), float(fields["scl_inter"])
    if slope == 0 or np.isnan(slope):
        return 1.0, 0.0
    if not np.isfinite([slope, intercept]).all():
        what = f"{path}: values are to be scaled with slope {slope:g} and intercept {intercept:g}"
        raise InputError("unreadable", what, "export the volume again")
    return slope, intercept


def _offset(fields: Any, path: Path, least: int) -> int:
    offset = float(fields["vox_offset"])
    if not np.isfinite(offset) or offset != int(offset) or offset < least:
        what = f"{path}: its header says that the voxels begin at byte {offset:g}, which cannot be"
        raise InputError("unreadable", what, "the header is damaged: export the volume again")
    return int(offset)


def _late(start: int, least: int) -> Finding:
    message = f"the header says that the voxels begin at byte {start}, {start - least} bytes behind its end"
    return Finding("warning", "voxels-late", message, "check that the picture is not shifted, or export it again")


def _end_of_extensions(file: Path, size: int, fields: Any, encoding: Encoding) -> int:
    """Before which byte no voxel can lie in a single file: the end of the last extension, where there is one.

    nifti1.h: the first of the four bytes after the header is not 0 then, and each extension begins with its length, a
    multiple of 16. What has no such length, or would reach beyond the start of the voxels that the header states, is
    none, unless it is the first.
    """
    least, said = size + _EXTENSION_BYTES, float(fields["vox_offset"])
    order = fields.dtype["datatype"].byteorder
    with reading(file), gzip.open(file) if encoding == "gzip" else file.open("rb") as stream:
        stream.seek(size)
        if stream.read(_EXTENSION_BYTES)[:1] in (b"", b"\0"):
            return least
        end = least
        while end == least or end < said:
            stream.seek(end)
            content = stream.read(8)
            if len(content) < 8:
                break
            length, code = (int(n) for n in np.frombuffer(content, np.dtype("i4").newbyteorder(order)))
            is_one = 16 <= length <= _LONGEST_EXTENSION and length % 16 == 0 and 0 <= code <= _LARGEST_EXTENSION_CODE
            if not is_one or (end > least and end + length > said):
                break
            end += length
    return end


def _forms(fields: Any) -> NiftiForms:
    def numbers(name: str, count: int) -> Any:
        return tuple(float(value) for value in fields[name][:count])

    return NiftiForms(
        pixdim=numbers("pixdim", 4),
        xyzt_units=int(fields["xyzt_units"]),
        qform_code=int(fields["qform_code"]),
        sform_code=int(fields["sform_code"]),
        quaternion=numbers("quatern", 3),
        offset=numbers("qoffset", 3),
        srow=tuple((float(x), float(y), float(z), float(shift)) for x, y, z, shift in fields["srow"]),
    )
