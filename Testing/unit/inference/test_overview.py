"""The overview picture: the patient's right on the left, up is up, one row per modality, outlines where the labels
are."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from scipy import ndimage

from CrossModalSegLib.imaging.volume import Volume
from CrossModalSegLib.inference.inference import ModalityResult
from CrossModalSegLib.inference.overview import write_overview
from Testing.tiny_bundle import BALLS, LABEL_MAP, LEFT, RIGHT, TISSUE, true_labels, two_balls
from Testing.volumes import grid_around, points_of, rotation, sampled, stored_otherwise

GRID = grid_around((5.0, -10.0, 15.0), (40, 44, 42), (2.8, 2.8, 2.8))
OBLIQUE = grid_around((8.0, -6.0, 12.0), (24, 44, 40), (4.0, 2.6, 2.6), rotation((90, 10, 20)) @ np.diag([1, -1, 1]))
COLOURS = {TISSUE: (0, 0, 1), LEFT: (0, 1, 0), RIGHT: (1, 0, 0)}


def marked_on_the_right(points: np.ndarray) -> np.ndarray:
    """A head of 400 with one bright ball, on the patient's right."""
    ball = np.linalg.norm(points - BALLS[RIGHT], axis=-1) < 13.0
    return np.where(ball, 1000.0, np.minimum(two_balls(points), 400.0))


def result_of(volume: Volume, labels: np.ndarray) -> ModalityResult:
    return ModalityResult(volume, labels, np.ones(labels.shape, np.float32), torch.zeros((1, 1, 1, 1)))


def picture(path: Path, results: dict[str, ModalityResult]) -> np.ndarray:
    """(rows, columns, 3) of the overview of ``results``, 0 to 1."""
    write_overview(path, results, LABEL_MAP, "a title")
    return imread(path)[..., :3]


def panels(image: np.ndarray) -> list[list[np.ndarray]]:
    """The panels by row and column: what is large and is not the page's colour."""
    page = np.array([16, 16, 16]) / 255
    parts, _ = ndimage.label(np.abs(image - page).max(axis=-1) > 0.02)
    boxes = [box for box in ndimage.find_objects(parts) if (box[0].stop - box[0].start) > 100]
    boxes.sort(key=lambda box: box[0].start)
    rows = [sorted(boxes[n : n + 3], key=lambda box: box[1].start) for n in range(0, len(boxes), 3)]
    return [[image[box] for box in row] for row in rows]


def centre_of(colour: tuple[float, ...], panel: np.ndarray) -> np.ndarray:
    """(down, right) of the pixels of nearly this colour, as a fraction of the panel."""
    found = np.argwhere(np.abs(panel - colour).max(axis=-1) < 0.25)
    assert len(found), f"nothing of colour {colour}"
    return found.mean(axis=0) / panel.shape[:2]


@pytest.fixture(scope="module")
def both_rows(tmp_path_factory):
    first = sampled(marked_on_the_right, GRID)
    second = sampled(marked_on_the_right, OBLIQUE, "T2w")
    results = {
        "T1w": result_of(first, true_labels(points_of(GRID))),
        "T2w": result_of(second, true_labels(points_of(OBLIQUE))),
    }
    return panels(picture(tmp_path_factory.mktemp("pictures") / "overview.png", results))


def test_there_is_a_row_per_modality_with_three_planes(both_rows):
    assert [len(row) for row in both_rows] == [3, 3]


@pytest.mark.parametrize("row", [0, 1])
@pytest.mark.parametrize("plane", [0, 1])
def test_what_is_on_the_patients_right_is_on_the_left(both_rows, row, plane):
    panel = both_rows[row][plane]
    marker = centre_of((1, 1, 1), panel)
    right, left = centre_of(COLOURS[RIGHT], panel), centre_of(COLOURS[LEFT], panel)
    assert max(marker[1], right[1]) < 0.45
    assert left[1] > 0.5
    assert np.abs(marker - right).max() < 0.03  # the outline lies around what it outlines
    assert right[0] < left[0]  # the right ball is further to the front, and further up


@pytest.mark.parametrize("row", [0, 1])
def test_the_sagittal_plane_faces_right_and_cuts_the_right_side(both_rows, row):
    panel = both_rows[row][2]
    right, tissue = centre_of(COLOURS[RIGHT], panel), centre_of(COLOURS[TISSUE], panel)
    assert not (np.abs(panel - COLOURS[LEFT]).max(axis=-1) < 0.25).any()
    assert right[1] > tissue[1]  # 5 mm in front of the head's centre
    assert right[0] < tissue[0]  # and 5 mm above it


@pytest.mark.parametrize("plane", [0, 1, 2])
def test_both_rows_show_the_same_place_at_the_same_size(both_rows, plane):
    first, second = (row[plane] for row in both_rows)
    assert np.abs(np.subtract(first.shape, second.shape)).max() <= 1
    assert np.abs(centre_of(COLOURS[RIGHT], first) - centre_of(COLOURS[RIGHT], second)).max() < 0.03


def test_a_volume_looks_the_same_however_it_is_stored(tmp_path):
    volume = sampled(two_balls, GRID)
    storages = zip(
        stored_otherwise(volume), stored_otherwise(Volume(true_labels(points_of(GRID)), GRID, "labels")), strict=True
    )
    chosen = [pair for number, pair in enumerate(storages) if number in (0, 13, 47)]
    pictures = [
        picture(tmp_path / "overview.png", {"T1w": result_of(scan, labels.array.astype(np.uint16))})
        for scan, labels in chosen
    ]
    assert all(np.abs(one - other).mean() < 0.005 for one, other in pairwise(pictures))


def test_what_a_modality_does_not_cover_is_grey_and_not_black(tmp_path):
    half = grid_around((5.0, -10.0, -6.0), (40, 44, 15), (2.8, 2.8, 2.8))  # the lower part only
    results = {
        "T1w": result_of(sampled(two_balls, GRID), true_labels(points_of(GRID))),
        "T2w": result_of(sampled(two_balls, half, "T2w"), true_labels(points_of(half))),
    }
    whole, part = (row[1] for row in panels(picture(tmp_path / "overview.png", results)))
    grey = np.array([40, 40, 40]) / 255
    top = slice(0, part.shape[0] // 3)
    assert (np.abs(part[top] - grey).max(axis=-1) < 0.01).mean() > 0.9
    assert (np.abs(whole[top] - grey).max(axis=-1) < 0.01).mean() < 0.5


def test_a_result_without_any_label_still_has_its_picture(tmp_path):
    volume = sampled(two_balls, GRID)
    image = picture(tmp_path / "overview.png", {"T1w": result_of(volume, np.zeros(GRID.shape_kji, np.uint16))})
    assert [len(row) for row in panels(image)] == [3]


def test_one_modality_has_one_row_and_the_legend_names_what_is_seen(tmp_path, monkeypatch):
    seen = {}

    def legend(_figure, _label_map, shown):
        seen["values"] = shown

    monkeypatch.setattr("CrossModalSegLib.inference.overview._legend", legend)
    volume = sampled(two_balls, GRID)
    labels = true_labels(points_of(GRID))
    labels[labels == LEFT] = 0
    assert len(panels(picture(tmp_path / "overview.png", {"T1w": result_of(volume, labels)}))) == 1
    assert seen["values"] == {TISSUE, RIGHT}
