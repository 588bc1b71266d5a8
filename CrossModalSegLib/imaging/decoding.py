"""From the bytes of a file to those of its voxels: decompressed, checked and counted to the end of the file."""

import bz2
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal, cast

import numpy as np

from CrossModalSegLib.errors import InputError, read_error

Encoding = Literal["raw", "gzip", "zlib", "bzip2", "hex", "text"]

CHUNK_BYTES = 1 << 20
DAMAGED = "the file is damaged or not fully copied: copy or export it again"
GZIP_MAGIC = b"\x1f\x8b"
_ACCEPT_ZLIB_AND_GZIP = 47
# How many bytes of voxels may come from one byte in the file: what each method can do at most, generously.
_LARGEST_RATIO = {"raw": 1, "gzip": 1100, "zlib": 1100, "bzip2": 100_000, "hex": 0.5}


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """What goes wrong in reading ``path``: InputError ``truncated`` or ``unreadable``, and those of
    `errors.read_error`."""
    try:
        yield
    except EOFError as error:
        raise InputError("truncated", f"{path} ends in the middle of the data", DAMAGED) from error
    except (OSError, zlib.error, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise read_error(str(path), error) from error
        raise InputError("unreadable", f"{path}: {error}", DAMAGED) from error


def refuse_impossible(file: Path, encoding: Encoding, start: int, skip: int, size: int, width: int) -> None:
    """Before memory is asked for: can the file hold ``size`` bytes of voxels (of ``width`` each) at all?

    Raises InputError ``truncated``, ``not-found``, ``unreadable``.
    """
    with reading(file):
        present = file.stat().st_size
    if encoding == "text":
        possible = float(width * (present - start + 1) // 2)  # a digit and a space each
    else:
        possible = _LARGEST_RATIO[encoding] * (present - start) - skip
    if possible < size:
        what = f"{file} of {present} bytes cannot hold the {size} bytes of voxels that the header claims"
        raise InputError("truncated", what, DAMAGED)


def counted(
    file: Path, encoding: Encoding, start: int, skip: int, size: int, length: int | None = None
) -> Iterator[tuple[int, bytes]]:
    """Pieces of the ``size`` bytes that lie in ``file``, decoded, each with its position among them.

    Raises InputError ``truncated`` where there are fewer, ``extra-bytes`` where there are more, be it zeros (air, if
    the header has the sizes or the start wrong), ``unreadable`` where a checksum is wrong or the encoding is violated.
    """
    if length is not None:
        _refuse_length(file, start, length)
    position = -skip
    with reading(file):
        for chunk in _decoded(file, encoding, start):
            inside = chunk[max(0, -position) : max(0, size - position)]
            if inside:
                yield max(position, 0), inside
            position += len(chunk)
            if position > size:
                what = f"{file} holds more than the {size} bytes of voxels that the header claims"
                hint = "header and voxels do not belong together: export the volume again"
                raise InputError("extra-bytes", what, hint)
    if position < size:
        raise InputError("truncated", f"{file} holds {max(position, 0)} of {size} bytes of voxels", DAMAGED)


def text_values(file: Path, start: int, count: int, dtype: np.dtype) -> np.ndarray:
    """``count`` numbers written as text. Raises InputError ``truncated``, ``extra-bytes``, ``unreadable``."""
    with reading(file):
        words = file.read_bytes()[start:].replace(b",", b" ").split()
        if len(words) != count:
            code = "truncated" if len(words) < count else "extra-bytes"
            raise InputError(code, f"{file} holds {len(words)} of {count} numbers", DAMAGED)
        numbers = np.array(words, dtype="S").astype(np.float64)
        values = numbers.astype(dtype.newbyteorder("=")) if _fit(numbers, dtype) else None
    if values is None:
        raise InputError("unreadable", f"{file} holds numbers that are no {dtype.name}", DAMAGED)
    return values


def _fit(numbers: np.ndarray, dtype: np.dtype) -> bool:
    if not np.issubdtype(dtype, np.integer):
        return True
    limits = np.iinfo(dtype)
    return bool((np.rint(numbers) == numbers).all() and ((numbers >= limits.min) & (numbers <= limits.max)).all())


def _refuse_length(file: Path, start: int, length: int) -> None:
    with reading(file):
        present = file.stat().st_size - start
    if present < length:
        raise InputError("truncated", f"{file} holds {present} of {length} compressed bytes", DAMAGED)
    with reading(file), file.open("rb") as stream:
        stream.seek(start + length)
        is_over = not any(piece.strip(b"\0") for piece in _pieces(stream))
    if not is_over:
        raise InputError("extra-bytes", f"{file} holds {present} compressed bytes, its header says {length}", DAMAGED)


def _decoded(file: Path, encoding: Encoding, start: int) -> Iterator[bytes]:
    with file.open("rb") as stream:
        stream.seek(start)
        if encoding == "gzip":
            yield from _pieces(cast(BinaryIO, gzip.GzipFile(fileobj=stream)))
        elif encoding == "bzip2":
            yield from _unpacked(stream)
        elif encoding == "zlib":
            yield from _inflated(stream)
        elif encoding == "hex":
            yield bytes.fromhex(stream.read().decode("ascii"))
        else:
            yield from _pieces(stream)


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    while piece := stream.read(CHUNK_BYTES):
        yield piece


def _inflated(stream: BinaryIO) -> Iterator[bytes]:
    """A zlib stream, whose checksum zlib itself compares at the end. Raises EOFError where the end is missing."""
    inflater = zlib.decompressobj(_ACCEPT_ZLIB_AND_GZIP)
    for piece in _pieces(stream):
        left = piece
        while not inflater.eof:
            decoded = inflater.decompress(left, CHUNK_BYTES)
            if decoded:
                yield decoded
            left = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            if not decoded:
                break
        if inflater.eof and left.strip(b"\0"):
            raise ValueError(f"{len(left)} bytes follow the compressed data")
    if not inflater.eof:
        raise EOFError


def _unpacked(stream: BinaryIO) -> Iterator[bytes]:
    """Streams of bzip2 behind each other, whose checksums it compares. BZ2File would pass over what follows them.

    Raises EOFError where an end is missing, OSError where something else than zeros follows.
    """
    unpacker = bz2.BZ2Decompressor()
    for piece in _pieces(stream):
        left = piece
        while left or not (unpacker.eof or unpacker.needs_input):
            if unpacker.eof:
                if not left.strip(b"\0"):
                    break
                unpacker = bz2.BZ2Decompressor()
            decoded = unpacker.decompress(left, CHUNK_BYTES)
            if decoded:
                yield decoded
            left = unpacker.unused_data
    if not unpacker.eof:
        raise EOFError
