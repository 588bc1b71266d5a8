"""Grids: what an affine says about a volume, worked by hand."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from CrossModalSegLib.errors import GeometryError
from CrossModalSegLib.imaging.grid import Grid
from Testing.volumes import grid_of_sitk, random_grid, rotation


def affine(columns, origin=(0, 0, 0)):
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(columns, dtype=float).T
    matrix[:3, 3] = origin
    return matrix


def test_properties_of_a_sagittal_grid_are_those_worked_by_hand():
    # columns run backwards, rows downwards, slices to the left
    grid = Grid((4, 3, 2), affine([(0, -1, 0), (0, 0, -2), (-3, 0, 0)], origin=(10, 20, 30)))
    assert grid.spacing_ijk == (1, 2, 3)
    assert grid.shape_ijk == (2, 3, 4)
    assert grid.extent_mm == (2, 6, 12)
    assert grid.direction.tolist() == [[0, 0, -1], [-1, 0, 0], [0, -1, 0]]
    assert grid.is_left_handed  # (-A) x (-S) = +R, slices run to the left
    assert grid.obliquity_degrees == 0
    assert grid.voxel_volume_ml == pytest.approx(0.006)
    lower, upper = grid.corners_ras().min(axis=0), grid.corners_ras().max(axis=0)
    assert lower.tolist() == [10 - 10.5, 20 - 1.5, 30 - 5]
    assert upper.tolist() == [10 + 1.5, 20 + 0.5, 30 + 1]


def test_obliquity_is_the_angle_of_the_most_tilted_axis():
    grid = Grid((5, 5, 5), affine(rotation((0, 0, 12.0)).T * 2.0))
    assert grid.obliquity_degrees == pytest.approx(12.0)
    assert grid.shear_degrees == pytest.approx(0.0, abs=1e-6)


def test_obliquity_of_permuted_axes_is_zero():
    assert Grid((5, 5, 5), affine([(0, 0, 1), (-1, 0, 0), (0, 1, 0)])).obliquity_degrees == 0


def test_shear_is_the_deviation_from_right_angles():
    tilt = np.radians(8.0)
    grid = Grid((5, 5, 5), affine([(1, 0, 0), (0, 1, 0), (0, 3 * np.sin(tilt), 3 * np.cos(tilt))]))
    assert grid.shear_degrees == pytest.approx(8.0)
    assert grid.spacing_ijk == pytest.approx((1, 1, 3))


def test_volume_of_a_sheared_voxel_is_base_times_height():
    grid = Grid((5, 5, 5), affine([(2, 0, 0), (0, 2, 0), (0, 5, 5)]))
    assert grid.voxel_volume_ml == pytest.approx(2 * 2 * 5 / 1000)


@pytest.mark.parametrize("seed", range(6))
def test_ras_to_ijk_undoes_ijk_to_ras(seed):
    grid = random_grid(seed)
    assert np.allclose(grid.ras_to_ijk @ grid.ijk_to_ras, np.eye(4), atol=1e-12)
    assert grid.is_left_handed == bool(seed % 2)


@pytest.mark.parametrize("seed", range(4))
def test_simpleitk_maps_indices_to_the_same_points_in_lps(seed):
    grid = random_grid(seed)
    image = sitk.Image(*grid.shape_ijk, sitk.sitkUInt8)
    grid.to_sitk_geometry(image)
    index = [1.0, 2.0, 3.0]
    r, a, s, _ = grid.ijk_to_ras @ [*index, 1.0]
    assert image.TransformContinuousIndexToPhysicalPoint(index) == pytest.approx((-r, -a, s))
    assert grid_of_sitk(image).is_close(grid, tolerance_mm=1e-9)


@pytest.mark.parametrize("seed", range(2))
def test_nibabel_reads_the_same_affine_from_a_file_written_by_simpleitk(tmp_path, seed):
    grid = random_grid(seed)
    image = sitk.Image(*grid.shape_ijk, sitk.sitkUInt8)
    grid.to_sitk_geometry(image)
    sitk.WriteImage(image, str(tmp_path / "image.nii.gz"))
    assert np.allclose(nib.load(tmp_path / "image.nii.gz").affine, grid.ijk_to_ras, atol=1e-4)


def test_grids_that_differ_by_rounding_are_close_and_by_a_tenth_of_a_millimetre_are_not():
    grid = random_grid(0)
    moved = grid.ijk_to_ras.copy()
    moved[0, 3] += 1e-3
    assert grid.is_close(Grid(grid.shape_kji, moved))
    moved[0, 3] += 0.1
    assert not grid.is_close(Grid(grid.shape_kji, moved))


def test_grids_of_different_shape_are_not_close():
    assert not Grid((4, 5, 6), np.eye(4)).is_close(Grid((6, 5, 4), np.eye(4)))


def test_the_affine_cannot_be_changed_behind_the_grids_back():
    source = np.eye(4)
    grid = Grid((4, 5, 6), source)
    source[0, 0] = 7
    assert grid.spacing_ijk == (1, 1, 1)
    with pytest.raises(ValueError, match="read-only"):
        grid.ijk_to_ras[0, 0] = 7


@pytest.mark.parametrize(
    ("matrix", "code"),
    [
        (affine([(1, 0, 0), (0, 1, 0), (0, 0, 0)]), "singular-affine"),
        (affine([(1, 0, 0), (0, 1, 0), (1, 1, 0)]), "singular-affine"),
        (affine([(1, 0, 0), (0, np.nan, 0), (0, 0, 1)]), "bad-affine"),
        (affine([(1, 0, 0), (0, 1, 0), (0, 0, 1)], origin=(0, np.inf, 0)), "bad-affine"),
        (np.diag([1.0, 1.0, 1.0, 2.0]), "bad-affine"),
        (np.eye(3), "bad-affine"),
    ],
)
def test_unusable_affines_are_refused(matrix, code):
    with pytest.raises(GeometryError) as caught:
        Grid((4, 5, 6), matrix)
    assert caught.value.code == code


def test_tiny_voxels_are_not_taken_for_a_singular_affine():
    assert Grid((4, 5, 6), np.diag([1e-3, 1e-3, 1e-3, 1])).spacing_ijk == pytest.approx((1e-3,) * 3)


def test_a_shape_of_two_axes_is_refused():
    with pytest.raises(GeometryError, match="three sizes"):
        Grid((4, 5), np.eye(4))


def test_geometry_is_not_written_into_an_image_of_another_size():
    with pytest.raises(GeometryError, match="shape-mismatch"):
        Grid((4, 5, 6), np.eye(4)).to_sitk_geometry(sitk.Image(4, 5, 6, sitk.sitkUInt8))
