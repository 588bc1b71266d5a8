"""Frames of one bit per voxel that are packed while they are written: a large series has gigabytes of them."""

import io
from collections.abc import Callable, Iterable, Iterator

import numpy as np


class PackedFrames(io.BufferedIOBase):
    """Reads, from its beginning, as the bits of ``count`` frames of ``size`` voxels each (PS3.5 8.2): the next frame
    goes on in the byte in which the last one has ended, and the length is even.

    ``frames`` gives the frames, bool arrays, each time it is called. pydicom takes such a buffer as a value, asks for
    its length, and reads it in pieces.
    """

    def __init__(self, frames: Callable[[], Iterable[np.ndarray]], count: int, size: int):
        self._frames, self._length = frames, (count * size + 15) // 16 * 2
        self._at, self._rest = 0, b""
        self._pieces: Iterator[bytes] = iter(())

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """To the beginning or the end. Raises `io.UnsupportedOperation` for another place."""
        target = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._length}[whence]
        if target == 0:
            self._rest, self._pieces = b"", packed(self._frames())
        elif target != self._length:
            raise io.UnsupportedOperation(f"seek to {target} of {self._length}")
        self._at = target
        return target

    def read(self, size: int | None = -1) -> bytes:
        if self._at == 0:
            self.seek(0)
        wanted = self._length - self._at
        if size is not None and size >= 0:
            wanted = min(size, wanted)
        pieces, there = [self._rest], len(self._rest)
        while there < wanted:
            pieces.append(next(self._pieces, b"\0"))  # the last byte of an odd number
            there += len(pieces[-1])
        held = b"".join(pieces)
        piece, self._rest = held[:wanted], held[wanted:]
        self._at += wanted
        return piece


def packed(frames: Iterable[np.ndarray]) -> Iterator[bytes]:
    """The bits of ``frames``, first voxel in the lowest one; zeros fill the last byte."""
    rest = np.zeros(0, bool)
    for frame in frames:
        bits = np.concatenate([rest, frame.ravel()])
        whole = len(bits) // 8 * 8
        yield np.packbits(bits[:whole], bitorder="little").tobytes()
        rest = bits[whole:]
    yield np.packbits(rest, bitorder="little").tobytes()
