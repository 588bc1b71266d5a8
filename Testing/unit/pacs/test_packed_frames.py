"""Bits that are packed while they are read, against NumPy's packing of all of them at once."""

import io

import numpy as np
import pytest

from CrossModalSegLib.pacs.packed_frames import PackedFrames


@pytest.mark.parametrize(("count", "shape"), [(5, (8, 4)), (7, (3, 5)), (1, (1, 1)), (3, (9, 13))])
@pytest.mark.parametrize("step", [1, 3, 1000])
def test_reads_as_all_bits_one_after_the_other(count, shape, step):
    frames = np.random.default_rng(count).random((count, *shape)) < 0.5
    wanted = np.packbits(frames.ravel(), bitorder="little").tobytes()
    wanted += b"\0" * (len(wanted) % 2)
    buffer = PackedFrames(lambda: iter(frames), count, frames[0].size)
    for _time in range(2):  # it is read again from its beginning
        pieces = [*iter(lambda: buffer.read(step), b"")]
        assert b"".join(pieces) == wanted
        assert buffer.tell() == buffer.seek(0, io.SEEK_END) == len(wanted)
        buffer.seek(0)


def test_begins_at_the_beginning_only():
    buffer = PackedFrames(lambda: iter(np.ones((1, 4, 4), bool)), 1, 16)
    with pytest.raises(io.UnsupportedOperation):
        buffer.seek(1)
