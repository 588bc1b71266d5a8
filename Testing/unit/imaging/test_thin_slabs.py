"""Slabs thinner than the lattices that scans are looked at with: a warning and a result, or one line; never a
traceback."""

import numpy as np
import pytest

from CrossModalSegLib.errors import GeometryError
from CrossModalSegLib.imaging.geometry import body_box, coverage, model_grid, overlap_fraction, resample_to
from CrossModalSegLib.imaging.preflight import examine
from CrossModalSegLib.imaging.volume import Volume
from Testing.volumes import grid_around, head, rotation, sampled

SPACING = (1.5, 1.5, 1.5)


def slab(thickness, slices=3, degrees=(0.0, 0.0, 0.0), z=16.0, order=(0, 1, 2)):
    """``slices`` slices, together ``thickness`` mm thick, through the head; the thin axis is ``order[2]``."""
    shape, spacing = np.empty(3), np.empty(3)
    shape[list(order)] = (50, 56, slices)
    spacing[list(order)] = (3.0, 3.0, thickness / slices)
    grid = grid_around((5.0, -10.0, z), tuple(shape.astype(int)), tuple(spacing), rotation(degrees))
    return sampled(head, grid)


@pytest.mark.parametrize("z", [14.0, 15.3, 16.0, 17.9])
@pytest.mark.parametrize("thickness", [0.2, 0.9, 3.0, 7.0])
@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (2, 1, 0)])
def test_a_thin_slab_has_a_box_a_model_grid_and_samples(thickness, z, order):
    volume = slab(thickness, z=z, order=order)
    box = body_box(volume)
    assert np.isfinite(box).all()
    assert (box[1] > box[0]).all()
    grid = model_grid([volume], SPACING)
    array, covered = resample_to(volume, grid)
    assert covered.any()
    assert array[covered].max() > 500
    assert "small-field" in {one.code for one in examine([volume]).findings}


@pytest.mark.parametrize("thickness", [0.2, 0.9, 3.0])
@pytest.mark.parametrize("degrees", [(0.0, 30.0, 0.0), (45.0, 0.0, 0.0), (20.0, 35.0, 10.0)])
def test_an_oblique_thin_slab_is_looked_at_too(thickness, degrees):
    volume = slab(thickness, degrees=degrees)
    assert resample_to(volume, model_grid([volume], SPACING))[1].any()


def test_a_slab_thinner_than_a_voxel_of_the_model_lies_around_its_centre():
    volume = slab(0.4, slices=2, z=16.0)
    grid = model_grid([volume], SPACING)
    assert grid.shape_ijk[2] == 1
    assert grid.ijk_to_ras[2, 3] == pytest.approx(16.0)


def test_a_slab_beside_a_whole_scan_and_two_slabs_are_examined():
    whole = sampled(head, grid_around((5.0, -10.0, 15.0), (40, 50, 44), (4.0, 4.0, 4.0)), "T2w")
    thin = slab(0.9)
    for pair in ([thin, whole], [thin, Volume(slab(0.9, z=16.2).array, slab(0.9, z=16.2).grid, "T2w")]):
        preflight = examine(pair)
        assert preflight.field_of_view_overlap_percent > 50
    assert 0 <= overlap_fraction(slab(0.2, z=16.0).grid, slab(0.2, z=16.15).grid) < 0.5


def test_a_scan_between_the_points_of_the_grid_is_refused_and_not_segmented_as_nothing():
    volume = slab(0.2, slices=2, z=16.0)
    grid = grid_around((5.0, -10.0, 15.0), (40, 50, 44), (4.0, 4.0, 4.0))  # points at ... 13, 17 mm
    assert not coverage(volume.grid, grid).any()
    with pytest.raises(GeometryError, match=r"150 x 168 x 0\.2 mm") as caught:
        resample_to(volume, grid)
    assert caught.value.code == "too-thin"
