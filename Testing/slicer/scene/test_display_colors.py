"""The colours in which structures are seen: on black, on white, beside their neighbours, by everybody."""

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scene_volumes import add_volume

from CrossModalSegApp.scene.display_colors import display_colors
from CrossModalSegApp.scene.segmentation_nodes import add_segmentation
from CrossModalSegLib.bundles.bundle import load_bundle
from Testing.color_vision import ciede2000, contrast, difference, lightness, seen_by_deuteranopes
from Testing.label_neighbours import shares
from Testing.tiny_bundle import LABEL_MAP, RIGHT
from Testing.web_head import FIRST_GRID

BRAIN = [structure.name for structure in load_bundle("brain-mr-pair").label_map.structures]
NEIGHBOURS = json.loads((Path(__file__).parents[2] / "brain_neighbours.json").read_text())
UNKNOWN = [f"structure {number}" for number in range(7)]


@pytest.mark.parametrize("name", [*BRAIN, *UNKNOWN])
def test_every_colour_stands_out_on_black_and_on_white(name):
    color = display_colors([*BRAIN, *UNKNOWN])[name]
    assert contrast(color, (0, 0, 0)) >= 3
    assert contrast(color, (1, 1, 1)) >= 3


def test_neighbours_in_the_brain_differ_for_people_with_deuteranopia():
    colors = {name: seen_by_deuteranopes(color) for name, color in display_colors(BRAIN).items()}
    close = [pair for pair in NEIGHBOURS if difference(*(colors[name] for name in pair)) < 20]
    assert len(NEIGHBOURS) > 100
    assert not close


@pytest.mark.parametrize("name", [name for name in BRAIN if name.startswith("left ")])
def test_left_and_right_differ_in_shade(name):
    colors = display_colors(BRAIN)
    left, right = colors[name], colors[name.replace("left", "right")]
    assert abs(lightness(left) - lightness(right)) >= 5
    assert difference(left, right) >= 5


def test_structures_that_are_not_known_differ_from_each_other_as_neighbours_have_to():
    colors = [seen_by_deuteranopes(color) for color in display_colors(UNKNOWN).values()]
    assert min(difference(*pair) for pair in combinations(colors, 2)) >= 20


def test_a_segmentation_shows_them_and_keeps_the_colours_of_the_label_map(mrml_scene):
    volume = add_volume(mrml_scene, FIRST_GRID, np.zeros(FIRST_GRID.shape_kji, np.float32), "scan")
    node = add_segmentation(volume, np.full(FIRST_GRID.shape_kji, RIGHT, np.uint16), LABEL_MAP, "labels")
    names = [structure.name for structure in LABEL_MAP.structures]
    for structure in LABEL_MAP.structures:
        segment_id = f"Segment_{structure.value}"
        shown = node.GetDisplayNode().GetSegmentColor(segment_id)
        assert tuple(shown[i] for i in range(3)) == pytest.approx(display_colors(names)[structure.name])
        own = np.array(node.GetSegmentation().GetSegment(segment_id).GetColor())
        np.testing.assert_allclose(255 * own, structure.color, atol=0.5)


def test_the_difference_of_colours_is_that_of_the_published_pairs():
    """Sharma, Wu and Dalal 2005, table 1."""
    assert ciede2000((50, 2.6772, -79.7751), (50, 0, -82.7485)) == pytest.approx(2.0425, abs=1e-4)
    assert ciede2000((50, 2.49, -0.001), (50, -2.49, 0.0009)) == pytest.approx(7.1792, abs=1e-4)
    assert ciede2000((50, 2.5, 0), (73, 25, -18)) == pytest.approx(27.1492, abs=1e-4)
    assert ciede2000((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387)) == pytest.approx(1.2644, abs=1e-4)
    assert ciede2000((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514)) == pytest.approx(0.9082, abs=1e-4)


def test_surfaces_are_counted_in_faces():
    """A cube of one voxel in the face of a larger one has 5 faces with it and 1 with the outside."""
    labels = np.zeros((5, 5, 5), np.uint16)
    labels[1:4, 1:4, 1:4] = 1
    labels[1, 2, 2] = 2
    assert shares(labels) == {(1, 2): pytest.approx(5 / 6)}
