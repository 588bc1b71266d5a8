"""Makes the Slicer fixtures known to the tests of this folder."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from mrml_scene import layout_logic, mrml_scene, slicer_logics, slicer_terminologies  # noqa: F401
from scene_volumes import add_volume, linear_node, oblique_grid, put_under, rigid_matrix

from Testing.slicer.desktop.desktop import desktop, python_slicer, slicer_names  # noqa: F401


@pytest.fixture
def scan(mrml_scene):  # noqa: F811
    """An oblique volume under a rigid transform."""
    grid = oblique_grid(3, size_mm=40)
    node = add_volume(mrml_scene, grid, np.random.default_rng(0).normal(size=grid.shape_kji).astype(np.float32))
    put_under(node, linear_node(mrml_scene, rigid_matrix(np.random.default_rng(0))))
    return node
