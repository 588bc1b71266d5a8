"""Surfaces of labels, by arrays alone."""

import math

import numpy as np
import pytest
from vtk.util.numpy_support import vtk_to_numpy

from CrossModalSegApp.web.surfaces import make_surfaces
from CrossModalSegLib.imaging.grid import Grid
from Testing.volumes import grid_around, points_of, rotation

OBLIQUE = grid_around((10.0, -20.0, 30.0), (40, 36, 30), (1.2, 1.0, 2.5), rotation((10, -20, 30)))
MIRRORED = Grid(OBLIQUE.shape_kji, OBLIQUE.ijk_to_ras @ np.diag([1.0, 1.0, -1.0, 1.0]))
FINE = grid_around((0.0, 0.0, 0.0), (60, 60, 60), (1.0, 1.0, 1.0), np.eye(3))


def triangles_of(surface):
    """Corners (triangle, corner, RAS mm) and normals at them."""
    indices = vtk_to_numpy(surface.GetPolys().GetConnectivityArray()).reshape(-1, 3)
    points, normals = surface.GetPoints().GetData(), surface.GetPointData().GetNormals()
    return vtk_to_numpy(points)[indices], vtk_to_numpy(normals)[indices]


def enclosed(surface):
    """The volume in mm3; negative where triangles are turned inside out."""
    a, b, c = np.moveaxis(triangles_of(surface)[0].astype(float), 1, 0)
    return float((a * np.cross(b, c)).sum() / 6)


@pytest.mark.parametrize("grid", [OBLIQUE, MIRRORED], ids=["oblique", "mirrored"])
def test_a_surface_lies_around_its_structure_and_is_lit_from_without_and_there_is_none_of_nothing(grid):
    centre = points_of(grid)[tuple(size // 2 for size in grid.shape_kji)]
    labels = np.where(np.linalg.norm(points_of(grid) - centre, axis=-1) < 12, 300, 0).astype(np.uint16)
    made = make_surfaces(labels, grid, [300, 4])
    assert made[4].GetNumberOfPoints() == 0
    corners, normals = triangles_of(made[300])
    distances = np.linalg.norm(corners - centre, axis=-1)
    assert 10.0 < distances.min() < distances.max() < 13.5
    assert np.linalg.norm(corners.mean((0, 1)) - centre) < 0.25
    assert enclosed(made[300]) == pytest.approx(4 / 3 * math.pi * 12**3, rel=0.05)
    outwards = ((corners - centre) * normals).sum(-1) / distances
    assert outwards.min() > 0.5


def test_what_is_smaller_than_a_block_has_a_surface_where_it_is():
    """Two lesions of one voxel, so far apart that a block has eight."""
    labels = np.zeros(FINE.shape_kji, np.uint16)
    labels[2, 2, 2] = labels[54, 54, 54] = 7
    corners = triangles_of(make_surfaces(labels, FINE, [7])[7])[0].reshape(-1, 3)
    for place in ((2, 2, 2), (54, 54, 54)):
        there = FINE.ijk_to_ras[:3] @ [*place[::-1], 1.0]
        assert np.linalg.norm(corners - there, axis=1).min() < 2.0


def test_a_thin_sheet_has_no_holes():
    labels = np.zeros(FINE.shape_kji, np.uint16)
    labels[30, 5:55, 5:55] = 1
    corners = triangles_of(make_surfaces(labels, FINE, [1])[1])[0]
    size = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    assert size.sum() == pytest.approx(2 * 50 * 50, rel=0.15)
