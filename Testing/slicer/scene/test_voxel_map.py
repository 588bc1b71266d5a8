"""From voxels to voxels through transforms: interpolated where that is good enough, exact where it is not."""

import numpy as np
import pytest
from scene_volumes import bspline, displacement_grid, oblique_grid, rigid_matrix, thin_plate

from CrossModalSegApp.scene.node_geometry import transformed
from CrossModalSegApp.scene.voxel_map import VoxelMap
from Testing.volumes import grid_around, points_of

pytestmark = pytest.mark.usefixtures("mrml_scene")

SOURCE, TARGET = oblique_grid(0, size_mm=60), oblique_grid(1, size_mm=60)


def exact_indices(source, target, transform):
    return transformed(transform, points_of(source)) @ target.ras_to_ijk[:3, :3].T + target.ras_to_ijk[:3, 3]


def linear(matrix):
    import slicer
    import vtk

    transform = vtk.vtkTransform()
    transform.SetMatrix(slicer.util.vtkMatrixFromArray(matrix))
    return transform


@pytest.mark.parametrize("make", [bspline, displacement_grid, thin_plate])
def test_every_voxel_is_mapped_to_within_a_fraction_of_a_voxel(make):
    transform = make(np.random.default_rng(0))
    for direction in (transform, transform.GetInverse()):
        voxels = VoxelMap(SOURCE, TARGET, direction)
        errors = np.linalg.norm(voxels.slab(0, SOURCE.shape_kji[0]) - exact_indices(SOURCE, TARGET, direction), axis=-1)
        assert errors.max() < 0.5
        assert np.quantile(errors, 0.99) < 0.12


def test_slabs_are_pieces_of_the_whole():
    voxels = VoxelMap(SOURCE, TARGET, bspline(np.random.default_rng(0)))
    whole = voxels.slab(0, 9)
    np.testing.assert_array_equal(np.concatenate([voxels.slab(0, 4), voxels.slab(4, 9)]), whole)


def test_a_linear_map_is_exact_from_its_corners_alone():
    transform = linear(rigid_matrix(np.random.default_rng(0)))
    voxels = VoxelMap(SOURCE, TARGET, transform, is_linear=True)
    expected = exact_indices(SOURCE, TARGET, transform)
    np.testing.assert_allclose(voxels.slab(0, SOURCE.shape_kji[0]), expected, atol=1e-9)


def test_a_transform_with_cracks_is_evaluated_at_every_voxel():
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    field = vtk.vtkImageData()
    field.SetDimensions(61, 61, 61)
    field.SetOrigin(-30, -30, -30)
    field.AllocateScalars(vtk.VTK_DOUBLE, 3)
    vtk_to_numpy(field.GetPointData().GetScalars())[:] = np.random.default_rng(0).uniform(-2, 2, (61**3, 3))
    rough = vtk.vtkGridTransform()
    rough.SetDisplacementGridData(field)
    grid = grid_around((0, 0, 0), (20, 20, 20), (1.0, 1.0, 1.0))
    voxels = VoxelMap(grid, TARGET, rough)
    assert not voxels.is_interpolated
    expected = exact_indices(grid, TARGET, rough)
    np.testing.assert_allclose(voxels.slab(3, 9), expected[3:9], atol=1e-9)
    point = voxels.vtk_transform().TransformPoint(4.0, 5.0, 6.0)
    np.testing.assert_allclose(point, expected[6, 5, 4], atol=1e-6)


def test_vtk_gets_the_same_map():
    transform = bspline(np.random.default_rng(2))
    voxels = VoxelMap(SOURCE, TARGET, transform)
    assert voxels.is_interpolated
    slab = voxels.slab(0, SOURCE.shape_kji[0])
    for i, j, k in np.random.default_rng(0).integers(0, SOURCE.shape_ijk, (50, 3)):
        np.testing.assert_allclose(voxels.vtk_transform().TransformPoint(i, j, k), slab[k, j, i], atol=1e-4)
