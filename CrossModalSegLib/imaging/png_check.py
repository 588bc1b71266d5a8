"""Whether a PNG file is whole: ITK's reader fills up what is missing.

Source: PNG specification (https://www.w3.org/TR/png/), 5.3 chunk layout, 11.2.1 IHDR, 7.2 scanlines.
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from CrossModalSegLib.errors import InputError
from CrossModalSegLib.imaging.decoding import DAMAGED, reading

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # per pixel, by colour type


def refuse_damaged_png(path: Path) -> None:
    """Raise InputError ``truncated`` or ``unreadable`` where checksums, end mark or number of bytes are wrong."""
    with reading(path):
        content = path.read_bytes()
        if not content.startswith(_SIGNATURE):
            raise ValueError("it is no PNG file")
        header, pixels = b"", []
        for name, data in _chunks(content):
            if name == b"IHDR":
                header = data
            elif name == b"IDAT":
                pixels.append(data)
        expected = _scanline_bytes(header)
        present = len(zlib.decompress(b"".join(pixels)))
    if present != expected:
        raise InputError("truncated", f"{path} holds {present} of {expected} bytes of pixels", DAMAGED)


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and data up to the end mark. Raises EOFError without one, ValueError where a checksum is wrong."""
    position, name = len(_SIGNATURE), b""
    while name != b"IEND":
        if len(content) < position + 12:
            raise EOFError
        (length,) = struct.unpack(">I", content[position : position + 4])
        name, data = content[position + 4 : position + 8], content[position + 8 : position + 8 + length]
        checksum = content[position + 8 + length : position + 12 + length]
        if len(checksum) < 4:
            raise EOFError
        if zlib.crc32(name + data).to_bytes(4, "big") != checksum:
            raise ValueError(f"the checksum of its part {name.decode('latin-1')} is wrong")
        yield name, data
        position += 12 + length


def _scanline_bytes(header: bytes) -> int:
    """Of the whole picture, each line with its filter byte; raises ValueError for what slices of labels are not."""
    if len(header) != 13:
        raise ValueError("it has no header")
    width, height, depth, colour, _method, _filter, interlaced = struct.unpack(">IIBBBBB", header)
    if colour not in _SAMPLES or interlaced:
        raise ValueError("it is stored interlaced, or in unknown colours")
    return height * (1 + (width * _SAMPLES[colour] * depth + 7) // 8)
