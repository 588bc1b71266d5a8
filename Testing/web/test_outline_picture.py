"""The picture of a slice's labels, by arrays alone."""

import numpy as np

from CrossModalSegApp.web.outline_picture import Look, dashed_picture, laid_over, outline_picture

LOOK = Look(
    np.array([[0, 0, 0], [200, 10, 10], [10, 200, 10]], np.uint8),
    np.array([0, 1, 0], np.float32),
    np.array([0, 0.25, 0], np.float32),
)
WHITE = [255, 255, 255, 255]


def square(value):
    labels = np.zeros((9, 9), np.uint16)
    labels[2:7, 2:7] = value
    return labels


def test_in_white_what_is_seen_is_outlined_what_is_hidden_is_not_and_what_is_unknown_is():
    white = LOOK.in_white()
    assert outline_picture(square(1), white)[2, 4].tolist() == WHITE
    assert outline_picture(square(1), white)[4, 4, 3] == 0, "no fill"
    assert not outline_picture(square(2), white)[..., 3].any()
    assert outline_picture(square(3), white)[2, 4].tolist() == WHITE


def test_what_lies_above_hides_what_is_no_stronger_and_leaves_the_rest():
    above, below = outline_picture(square(1), LOOK), np.zeros((9, 9, 4), np.uint8)
    below[2, 2:7] = below[4, 4] = WHITE
    both = laid_over(below, above)
    assert both[2, 4].tolist() == [200, 10, 10, 255]
    assert both[4, 4].tolist() == WHITE, "stronger than a fill"
    assert both[5, 5].tolist() == above[5, 5].tolist()


def test_a_dashed_line_runs_around_a_region_white_and_black_by_turns():
    mask = square(1) > 0
    line = dashed_picture(mask)
    around = line[..., 3] > 0
    assert around.sum() == 20, "four sides of five pixels, without corners"
    assert not (around & mask).any()
    assert {tuple(color) for color in line[around][:, :3].tolist()} == {(0, 0, 0), (255, 255, 255)}
