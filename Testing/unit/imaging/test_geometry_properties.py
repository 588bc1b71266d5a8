"""What holds for every grid: positions survive files, resampling and coverage, however the volume is stored."""

import tempfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from CrossModalSegLib.imaging.geometry import coverage, overlap_fraction, resample_to, world_grid_of
from CrossModalSegLib.imaging.grid import LPS_TO_RAS, Grid
from CrossModalSegLib.imaging.volume import WRITABLE, Volume, read_image, write_volume
from Testing.volumes import grid_around, grid_of_sitk, points_of, ramp, rotation, sampled

few = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
angles = st.tuples(*[st.floats(-180, 180)] * 3)
spacings = st.tuples(*[st.floats(0.3, 6.0)] * 3)
shapes = st.tuples(*[st.integers(2, 9)] * 3)
centres = st.tuples(*[st.floats(-300, 300)] * 3)


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """Oblique, anisotropic, left- or right-handed."""
    direction = rotation(draw(angles))
    if draw(st.booleans()):
        direction[:, draw(st.integers(0, 2))] *= -1
    return grid_around(draw(centres), draw(shapes), draw(spacings), direction)


@few
@given(grids())
def test_a_voxel_goes_to_space_and_back(grid):
    corner = np.array([*(n - 1 for n in grid.shape_ijk), 1.0])
    assert grid.ras_to_ijk @ grid.ijk_to_ras @ corner == pytest.approx(corner, abs=1e-6)
    assert grid.shear_degrees < 1e-4
    assert np.prod(grid.spacing_ijk) / 1000 == pytest.approx(grid.voxel_volume_ml)


@few
@given(grids())
def test_itk_places_every_voxel_where_the_grid_does(grid):
    image = sitk.Image(grid.shape_ijk, sitk.sitkUInt8)
    grid.to_sitk_geometry(image)
    last = [n - 1 for n in grid.shape_ijk]
    in_ras = LPS_TO_RAS[:3, :3] @ image.TransformIndexToPhysicalPoint(last)
    assert in_ras == pytest.approx((grid.ijk_to_ras @ [*last, 1])[:3], abs=1e-4)
    assert grid_of_sitk(image).is_close(grid, 1e-4)


@pytest.mark.parametrize("suffix", WRITABLE)
@few
@given(grids(), st.integers(0, 2**32 - 1))
def test_values_and_places_come_back_from_every_format(suffix, grid, seed):
    array = np.random.default_rng(seed).integers(0, 30000, grid.shape_kji).astype(np.int16)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"scan{suffix}"
        write_volume(path, array, grid)
        read, found = read_image(path)
        if suffix.startswith(".nii"):
            assert np.abs(nibabel.load(path).affine - grid.ijk_to_ras).max() < 1e-3
    assert np.array_equal(read, array)
    assert found.is_close(grid, 0.01)


@few
@given(grids(), grids())
def test_a_linear_function_of_space_is_the_same_on_every_grid_that_covers_it(grid, other):
    near = grid_around(tuple(grid.corners_ras().mean(axis=0)), other.shape_ijk, other.spacing_ijk, other.direction)
    factor = 2.0 * np.asarray(near.extent_mm).max() / np.asarray(grid.extent_mm).min()
    affine = np.array(grid.ijk_to_ras)  # stretched around its centre, so that it covers the other one
    centre = grid.corners_ras().mean(axis=0)
    affine[:3, :3] *= factor
    affine[:3, 3] = centre + factor * (grid.ijk_to_ras[:3, 3] - centre)
    array, covered = resample_to(sampled(ramp, Grid(grid.shape_kji, affine)), near)
    inner = coverage(Grid(tuple(n - 1 for n in grid.shape_kji), _half_a_voxel_in(affine)), near)
    assert covered[inner].all()
    scale = max(1.0, float(np.abs(ramp(points_of(near))).max()))
    assert np.abs(array - ramp(points_of(near)))[inner].max(initial=0.0) < 1e-3 * scale


def _half_a_voxel_in(affine: np.ndarray) -> np.ndarray:
    """Between the centres of the outer voxels nothing has to be continued."""
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ [0.5, 0.5, 0.5]
    return moved


@few
@given(grids(), st.floats(0.5, 8.0))
def test_the_world_grid_of_a_volume_covers_all_of_it(grid, spacing):
    world = world_grid_of(grid, spacing)
    low, high = world.corners_ras().min(axis=0), world.corners_ras().max(axis=0)
    if min(np.ptp(grid.corners_ras(), axis=0)) >= spacing:
        assert (grid.corners_ras() >= low - 1e-3).all()
        assert (grid.corners_ras() <= high + 1e-3).all()
    assert world.direction == pytest.approx(np.eye(3))


@few
@given(grids(), grids())
def test_overlap_does_not_depend_on_who_is_asked_first_and_is_a_share(one, other):
    assert overlap_fraction(one, other) == pytest.approx(overlap_fraction(other, one), abs=0.05)
    assert 0 <= overlap_fraction(one, other) <= 1
    assert overlap_fraction(one, one) == 1


@few
@given(grids())
def test_a_grid_covers_its_own_voxels_and_none_of_one_far_away(grid):
    assert coverage(grid, grid).all()
    away = grid.ijk_to_ras.copy()
    away[:3, 3] += 3 * np.linalg.norm(grid.extent_mm)
    assert not coverage(grid, Grid(grid.shape_kji, away)).any()


@few
@given(grids(), st.integers(0, 2**32 - 1))
def test_resampling_a_volume_onto_its_own_grid_changes_nothing(grid, seed):
    array = np.random.default_rng(seed).normal(100, 30, grid.shape_kji).astype(np.float32)
    again, covered = resample_to(Volume(array, grid, "T1w"), grid)
    assert covered.all()
    assert np.abs(again - array).max() < 1e-2


def test_directions_with_all_but_vanishing_parts_are_inverted_rightly():
    """ITK's decomposition fails on numbers such as 1e-310, and resampling then took voxels from elsewhere."""
    affine = np.diag([1.0, 1.5, 1.0, 1.0])
    affine[0, 1], affine[1, 0] = -2.91261487e-310, 1.94174325e-310
    array = np.random.default_rng(0).normal(100, 30, (2, 2, 2)).astype(np.float32)
    grid = Grid((2, 2, 2), affine)
    assert np.count_nonzero(grid.ijk_to_ras) == 4
    assert np.abs(resample_to(Volume(array, grid, "T1w"), grid)[0] - array).max() < 1e-3
