"""The head of the page's tests in two scans."""

import numpy as np

from Testing.tiny_bundle import BALL_RADIUS, BALLS, LEFT, two_balls
from Testing.volumes import grid_around, rotation

FIRST_GRID = grid_around((5.0, -10.0, 15.0), (54, 60, 56), (2.0, 2.0, 2.0))
SECOND_GRID = grid_around((5.0, -14.0, 20.0), (56, 40, 52), (2.0, 2.5, 2.0), rotation((8.0, -5.0, 12.0)))
HERE = grid_around((5.0, -10.0, 15.0), (52, 58, 54), (2.0, 2.0, 2.0))
THERE = grid_around((5.0, -10.0, 27.0), (52, 58, 54), (2.0, 2.0, 2.0))  # of the same voxels that they lie 12 mm higher
BEHIND = np.array([20.0, -38.0, 15.0])  # RAS mm, well inside the head


def another_ball(points: np.ndarray) -> np.ndarray:
    """`two_balls` without the left one, and with one behind, so that there are places where the two scans disagree."""
    intensity = two_balls(points)
    intensity[np.linalg.norm(points - BALLS[LEFT], axis=-1) < BALL_RADIUS + 3] = 400.0
    intensity[np.linalg.norm(points - BEHIND, axis=-1) < BALL_RADIUS] = 1000.0
    return intensity
