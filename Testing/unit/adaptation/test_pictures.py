"""Pictures of the report: seen as radiologists look at slices, however they are stored."""

import base64
import io

import numpy as np
import pytest
from matplotlib.image import imread

from CrossModalSegLib.adaptation.pictures import BeforeAfter, draw
from CrossModalSegLib.imaging.volume import Volume
from Testing.tiny_bundle import LABEL_MAP, LEFT, TISSUE
from Testing.volumes import grid_around, points_of, stored_otherwise


def half_red() -> tuple[Volume, np.ndarray]:
    """A scan without contrast; what is left of the patient's middle is ``LEFT``, the rest ``TISSUE``."""
    grid = grid_around((0, 0, 0), (12, 10, 8), (2, 2, 2))
    labels = np.where(points_of(grid)[..., 0] < 0, LEFT, TISSUE).astype(np.uint16)
    return Volume(labels.astype(np.float32), grid, "T1w"), labels


@pytest.mark.parametrize("number", [0, 2, 5])
def test_the_patient_s_left_is_on_the_right_however_the_scan_is_stored(number):
    volume, _ = half_red()
    stored = [
        one for one in stored_otherwise(volume) if abs(one.grid.direction[0, 0]) > 0.5 and one.grid.direction[2, 2]
    ]
    turned = stored[number]
    labels = turned.array.astype(np.uint16)
    picture = imread(io.BytesIO(base64.b64decode(draw(BeforeAfter(turned, labels, labels, labels), LABEL_MAP))))
    first = picture[40:-10, 10 : picture.shape[1] // 3 - 10, :3]
    blue, green = first[..., 2] - first[..., 1], first[..., 1] - first[..., 2]  # TISSUE is blue, LEFT is green
    middle = first.shape[1] // 2
    assert blue[:, : middle - 20].mean() > 0.1 > blue[:, middle + 20 :].mean()
    assert green[:, middle + 20 :].mean() > 0.1 > green[:, : middle - 20].mean()
