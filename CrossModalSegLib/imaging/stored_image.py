"""An image in files as its header describes it, and its voxels: each byte is decoded, counted and checked here.

No library is believed. ITK reads a damaged compressed MetaImage as zeros, or as what its memory held before, and a
NIfTI file that ends early as zeros; so the product decodes the bytes itself, and refuses a file with too few or too
many.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from CrossModalSegLib.errors import InputError
from CrossModalSegLib.imaging.decoding import Encoding, counted, refuse_impossible, text_values
from CrossModalSegLib.imaging.nifti_forms import NiftiForms
from CrossModalSegLib.imaging.placement import Placement
from CrossModalSegLib.plurals import some_of

MOST_VOXELS = 2**31  # of a volume: 8 GB as float32; no scan has more


@dataclass(frozen=True)
class StoredData:
    """Where the voxels lie: ``files`` hold equal parts of them, one after the other.

    In each file they are found after ``start`` bytes, and, once decoded, after ``skip``; or they are its last bytes
    (``is_last``), of those after ``start``.
    """

    files: tuple[Path, ...]
    encoding: Encoding = "raw"
    start: int = 0
    skip: int = 0
    length: int | None = None  # of the encoded bytes, where the header says it
    is_last: bool = False


@dataclass(frozen=True)
class ImageHeader:
    """What the header of an image says.

    ``sizes`` are voxels along i, j, k, and a fourth axis of several volumes; ``components`` values per voxel; ``kind``
    is their type in the file's own words, ``dtype`` NumPy's, with byte order, None where it is no plain number (colour,
    complex). A voxel's value is ``slope`` times what is stored plus ``intercept``. ``forms`` are a NIfTI file's own two
    statements of its place; ``fields`` an NRRD file's own keys.
    """

    path: Path
    sizes: tuple[int, ...]
    components: int
    kind: str
    dtype: np.dtype | None
    placement: Placement
    data: StoredData
    slope: float = 1.0
    intercept: float = 0.0
    forms: NiftiForms | None = None
    fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def shape_ijk(self) -> tuple[int, int, int]:
        i, j, k = (*self.sizes, 1, 1)[:3]
        return i, j, k

    @property
    def channels(self) -> int:
        """How many volumes the file holds."""
        return self.sizes[3] if len(self.sizes) > 3 else 1


def refuse_impossible_size(header: ImageHeader) -> None:
    """Raise InputError ``too-large`` or ``truncated`` where the files cannot hold what the header claims.

    Looks at their sizes alone, before any memory is asked for.
    """
    if _values(header) > MOST_VOXELS:
        sizes = " x ".join(map(str, header.sizes))
        raise InputError("too-large", f"{header.path}: {sizes} voxels", "crop or resample it, or export it again")
    data, part = header.data, _bytes_per_file(header)
    twice = [file.name for file, count in Counter(file.resolve() for file in data.files).items() if count > 1]
    if twice:
        what = f"{header.path}: its header names {some_of(twice)} more than once"
        raise InputError("unreadable", what, "correct the list of data files in the header, or export it again")
    for file in data.files:
        refuse_impossible(file, data.encoding, data.start, data.skip, part, _width(header))


def read_voxels(header: ImageHeader, channel: int = 0) -> np.ndarray:
    """The values of one volume of the file, scaled as the header says: (K, J, I), or (K, J, I, components).

    Integers that are not scaled keep their type. Raises InputError ``truncated``, ``extra-bytes``, ``unreadable``,
    ``too-large``, ``out-of-memory``.
    """
    refuse_impossible_size(header)
    try:
        stored = _texts(header, channel) if header.data.encoding == "text" else _bytes(header, channel)
    except MemoryError as error:
        what = f"{header.path}: {_values(header)} voxels do not fit into the memory"
        raise InputError("out-of-memory", what, "close other programs or crop the volumes") from error
    shape = (*header.shape_ijk[::-1], *([header.components] if header.components > 1 else []))
    return _scaled(stored.reshape(shape), header)


def _texts(header: ImageHeader, channel: int) -> np.ndarray:
    data, count, dtype = header.data, _bytes_per_file(header) // _width(header), _dtype(header)
    values = np.concatenate([text_values(file, data.start, count, dtype) for file in data.files])
    return values[channel * _values(header) : (channel + 1) * _values(header)]


def _bytes(header: ImageHeader, channel: int) -> np.ndarray:
    wanted = np.empty(_values(header) * _width(header), np.uint8)
    first, part = channel * len(wanted), _bytes_per_file(header)
    for position, chunk in _chunks(header.data, part):
        low, high = max(position, first), min(position + len(chunk), first + len(wanted))
        if low < high:
            wanted[low - first : high - first] = np.frombuffer(chunk, np.uint8)[low - position : high - position]
    dtype = _dtype(header)
    return wanted.view(dtype).astype(dtype.newbyteorder("="), copy=False)


def _dtype(header: ImageHeader) -> np.dtype:
    assert header.dtype is not None  # what has none is refused before
    return header.dtype


def _width(header: ImageHeader) -> int:
    return _dtype(header).itemsize


def _values(header: ImageHeader) -> int:
    """Of one volume."""
    return header.components * math.prod(header.shape_ijk)


def _chunks(data: StoredData, part: int) -> Iterator[tuple[int, bytes]]:
    """All voxels' bytes, in order, each piece with its position among them; to the very end of each file."""
    for number, file in enumerate(data.files):
        start = file.stat().st_size - part if data.is_last else data.start
        for position, chunk in counted(file, data.encoding, start, data.skip, part, data.length):
            yield number * part + position, chunk


def _bytes_per_file(header: ImageHeader) -> int:
    total, count = _values(header) * header.channels * _width(header), len(header.data.files)
    if total % count:
        what = f"{header.path}: {total} bytes of voxels cannot lie in {count} equal files"
        raise InputError("unreadable", what, "correct the list of data files in the header, or export it again")
    return total // count


def _scaled(values: np.ndarray, header: ImageHeader) -> np.ndarray:
    if header.slope == 1.0 and header.intercept == 0.0:
        return values
    kept = np.float64 if values.dtype.itemsize > 4 else np.float32
    scaled = np.empty(values.shape, kept)
    for plane, stored in zip(scaled, values, strict=True):  # by slice, to spare memory
        with np.errstate(over="ignore"):
            plane[:] = stored.astype(np.float64) * header.slope + header.intercept
    return scaled
