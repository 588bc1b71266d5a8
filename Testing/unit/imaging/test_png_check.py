"""PNG slices of label maps: damaged ones are refused, whatever a library makes of them."""

import zlib

import numpy as np
import pytest
import SimpleITK as sitk

from CrossModalSegLib.errors import InputError
from CrossModalSegLib.imaging.png_check import refuse_damaged_png


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30)).astype(np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(pixels), tmp_path / "slice.png")
    return tmp_path / "slice.png"


def test_whole_pictures_pass(picture):
    refuse_damaged_png(picture)


def test_every_changed_byte_and_every_cut_is_refused(picture):
    content = picture.read_bytes()
    for place in range(0, len(content), 7):
        picture.write_bytes(content[:place] + bytes([content[place] ^ 0x20]) + content[place + 1 :])
        with pytest.raises(InputError, match=r"slice\.png"):
            refuse_damaged_png(picture)
        picture.write_bytes(content[:place])
        with pytest.raises(InputError, match=r"slice\.png"):
            refuse_damaged_png(picture)


def test_too_few_pixels_with_good_checksums_are_refused(picture):
    content = picture.read_bytes()
    at = content.index(b"IDAT") - 4
    data = zlib.compress(bytes(19 * 31))
    part = b"IDAT" + data
    end = content[content.index(b"IEND") - 4 :]
    picture.write_bytes(content[:at] + len(data).to_bytes(4, "big") + part + zlib.crc32(part).to_bytes(4, "big") + end)
    with pytest.raises(InputError, match="589 of 620 bytes") as caught:
        refuse_damaged_png(picture)
    assert caught.value.code == "truncated"
