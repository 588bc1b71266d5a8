"""The model grid and resampling: places and values known beforehand, whatever way a volume is stored."""

import numpy as np
import pytest

from CrossModalSegLib.errors import GeometryError
from CrossModalSegLib.imaging.geometry import body_box, coverage, model_grid, overlap_fraction, resample_to
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.volume import Volume
from Testing.volumes import (
    HEAD_BOX,
    grid_around,
    head,
    points_of,
    ramp,
    random_grid,
    rotation,
    sampled,
    stored_otherwise,
)

HEAD_GRID = grid_around((5, -10, 15), (84, 100, 90), (2.5, 2.5, 2.5))
TOLERANCE_MM = 4.0  # a voxel of the coarse grid


def between_voxel_centres(source: Grid, target: Grid) -> np.ndarray:
    """Bool of the target's shape: where linear interpolation needs no voxel beyond the source's outermost ones."""
    index = points_of(target) @ source.ras_to_ijk[:3, :3].T + source.ras_to_ijk[:3, 3]
    return ((index >= 0) & (index <= np.array(source.shape_ijk) - 1)).all(axis=-1)


# resampling


@pytest.mark.parametrize("seed", range(6))
def test_a_ramp_is_exact_on_any_oblique_anisotropic_or_left_handed_grid(seed):
    source, target = random_grid(seed), random_grid(seed + 100, size_mm=60.0)
    array, covered = resample_to(sampled(ramp, source), target)
    exact = between_voxel_centres(source, target)
    assert exact.mean() > 0.3
    assert covered[exact].all()
    coarse = np.linalg.norm(np.ptp(target.ijk_to_ras[:3, :3], axis=1))  # samples of a voxel reach beyond its centre
    inner = between_voxel_centres(grid_inside(source, coarse), target)
    assert inner.any()
    assert np.abs(array - ramp(points_of(target)))[inner].max() < 1e-3


def grid_inside(grid: Grid, rim_mm: float) -> Grid:
    """``grid`` without a rim of at least ``rim_mm`` on each side."""
    rim = [int(np.ceil(rim_mm / s)) for s in grid.spacing_ijk]
    offset = np.eye(4)
    offset[:3, 3] = rim
    i, j, k = (n - 2 * r for n, r in zip(grid.shape_ijk, rim, strict=True))
    return Grid((k, j, i), grid.ijk_to_ras @ offset)


@pytest.mark.parametrize("seed", range(3))
def test_a_ramp_survives_the_way_there_and_back(seed):
    volume = sampled(ramp, random_grid(seed, size_mm=60.0))
    world = grid_around((0, 0, 0), (70, 70, 70), (2.0, 2.0, 2.0))
    array, covered = resample_to(volume, world)
    back, _ = resample_to(Volume(array, world, "T1w"), volume.grid)
    inner, _ = resample_to(Volume(covered.astype(np.float32), world, "T1w"), volume.grid)
    safe = (inner > 0.9999) & between_voxel_centres(grid_inside(volume.grid, 6.0), volume.grid)
    assert safe.sum() > 100
    assert np.abs(back - volume.array)[safe].max() < 2e-3


def test_a_volume_on_its_own_grid_stays_as_it_is():
    volume = sampled(head, random_grid(3))
    array, covered = resample_to(volume, volume.grid)
    assert covered.all()
    assert np.abs(array - volume.array).max() < 1e-2


def test_resampled_arrays_are_float32_and_zero_outside_the_field_of_view():
    array, covered = resample_to(sampled(ramp, grid_around((0, 0, 0), (20, 20, 20), (1, 1, 1))), HEAD_GRID)
    assert array.dtype == np.float32
    assert covered.dtype == bool
    assert array.shape == covered.shape == HEAD_GRID.shape_kji
    assert (array[~covered] == 0).all()
    assert (array[covered] != 0).all()


def test_thin_plates_are_averaged_not_skipped():
    # one slice in four is bright: a mean of 100 at any phase
    grid = grid_around((0, 0, 0), (16, 16, 64), (2, 2, 0.5))
    plates = np.zeros(grid.shape_kji, np.float32)
    plates[::4] = 400.0
    for shift in (0.0, 0.3, 0.9):
        target = grid_around((0, 0, shift), (16, 16, 12), (2, 2, 2))
        array, _ = resample_to(Volume(plates, grid, "T1w"), target)
        assert array == pytest.approx(100.0, abs=1.0)


def test_an_axis_that_is_as_fine_as_the_target_is_not_smoothed():
    grid = grid_around((0, 0, 0), (8, 8, 32), (1, 1, 0.25))
    stripes = np.zeros(grid.shape_kji, np.float32)
    stripes[:, :, ::2] = 100.0
    array, _ = resample_to(Volume(stripes, grid, "T1w"), grid_around((0, 0, 0), (8, 8, 8), (1, 1, 1)))
    assert np.array_equal(array, stripes[::4])


def test_thick_targets_are_processed_in_slabs_without_seams(monkeypatch):
    volume = sampled(head, random_grid(5))
    target = grid_around((0, 0, 0), (20, 21, 22), (4, 4, 4))
    whole, _ = resample_to(volume, target)
    monkeypatch.setattr("CrossModalSegLib.imaging.geometry._SLAB_SAMPLES", 3000)
    slabs, _ = resample_to(volume, target)
    assert np.allclose(whole, slabs, atol=1e-3)


# coverage and overlap


def test_coverage_ends_at_the_outer_edges_of_the_outer_voxels():
    source = Grid((4, 4, 4), np.diag([2.0, 2.0, 2.0, 1.0]))  # from -1 to 7 mm
    row = np.eye(4)
    row[:3, 3] = [-1.5, 3, 3]
    target = Grid((1, 1, 19), row @ np.diag([0.5, 1, 1, 1]))  # -1.5, -1.0 ... 7.5 mm
    assert coverage(source, target)[0, 0].tolist() == [False, *[True] * 17, False]


def test_coverage_is_not_judged_by_intensity():
    grid = grid_around((0, 0, 0), (20, 20, 20), (2, 2, 2))
    array = np.zeros(grid.shape_kji, np.float32)
    array[10, 10, 10] = 1.0
    _, covered = resample_to(Volume(array, grid, "T1w"), grid_around((0, 0, 0), (10, 10, 10), (2, 2, 2)))
    assert covered.all()


@pytest.mark.parametrize("seed", range(4))
def test_coverage_agrees_with_the_voxels_that_a_point_falls_into(seed):
    source, target = random_grid(seed), random_grid(seed + 50, size_mm=140.0)
    index = points_of(target) @ source.ras_to_ijk[:3, :3].T + source.ras_to_ijk[:3, 3]
    nearest = np.rint(index)
    expected = ((nearest >= 0) & (nearest < source.shape_ijk)).all(axis=-1)
    assert 0.1 < expected.mean() < 0.9
    assert (coverage(source, target) == expected).mean() > 0.9999


@pytest.mark.parametrize(("shift", "share"), [(0, 1.0), (16, 0.75), (32, 0.5), (48, 0.25), (64, 0.0), (500, 0.0)])
def test_overlap_of_boxes_shifted_by_a_known_part(shift, share):
    a = grid_around((0, 0, 0), (64, 32, 16), (1, 2, 4))
    b = grid_around((shift, 0, 0), (128, 64, 32), (0.5, 1, 2))
    assert overlap_fraction(a, b) == pytest.approx(share, abs=1e-6)


def test_overlap_is_a_share_of_the_smaller_field_of_view():
    small = grid_around((0, 0, 0), (10, 10, 10), (1, 1, 1), rotation((30, 40, 50)))
    large = grid_around((0, 0, 0), (10, 10, 10), (10, 10, 10))
    assert overlap_fraction(small, large) == overlap_fraction(large, small) == 1.0


def test_overlap_of_a_cube_with_the_same_cube_turned_by_45_degrees():
    # the common octagon has 2 (sqrt 2 - 1) of the square's area
    cube = grid_around((0, 0, 0), (20, 20, 20), (1, 1, 1))
    turned = grid_around((0, 0, 0), (20, 20, 20), (1, 1, 1), rotation((0, 0, 45)))
    assert overlap_fraction(cube, turned) == pytest.approx(2 * (np.sqrt(2) - 1), abs=0.01)


# the body


def with_noise(volume: Volume, offset: float, spread: float) -> Volume:
    random = np.random.default_rng(0)
    return Volume(volume.array + random.normal(offset, spread, volume.array.shape), volume.grid, volume.modality)


def z_scored(volume: Volume, outside: float) -> Volume:
    inside = volume.array > 0
    scored = (volume.array - volume.array[inside].mean()) / volume.array[inside].std()
    return Volume(np.where(inside, scored, outside), volume.grid, volume.modality)


def as_ct(volume: Volume, padding: float) -> Volume:
    """Air at -1000 HU with noise, tissue at -100 to 60 HU, and ``padding`` outside a cylinder about the slices'
    axis."""
    array = np.where(volume.array > 300, (volume.array - 800.0) * 0.2, -1000.0)
    array += np.random.default_rng(0).normal(0, 20, array.shape)
    radius = np.linalg.norm((points_of(volume.grid) - [5, -10, 15])[..., :2], axis=-1)
    array[radius > 0.5 * min(volume.grid.extent_mm[:2])] = padding
    return Volume(array, volume.grid, "CT")


HEAD = sampled(head, HEAD_GRID)


@pytest.mark.parametrize(
    "volume",
    [
        HEAD,
        Volume(HEAD.array + np.where(HEAD.array > 0, 0, np.random.default_rng(0).uniform(-50, 50, HEAD.array.shape)),
               HEAD_GRID, "T1w"),
        Volume(np.abs(with_noise(HEAD, 0, 40).array), HEAD_GRID, "T1w"),
        with_noise(HEAD, 300, 15),
        z_scored(HEAD, outside=-3.2),
        z_scored(HEAD, outside=0.0),
        as_ct(HEAD, padding=-1000),
        as_ct(HEAD, padding=-3024),
        Volume(HEAD.array * 1e-6, HEAD_GRID, "T1w"),
    ],
    ids=["zero", "noise +-50", "magnitude noise", "offset", "z-scored", "z-scored at 0", "CT", "padded CT", "tiny"],
)  # fmt: skip
def test_the_head_is_found_before_any_background(volume):
    assert np.abs(body_box(volume) - HEAD_BOX).max() <= TOLERANCE_MM


def test_a_bright_spot_of_metal_does_not_hide_the_head():
    array = HEAD.array.copy()
    array[40:46, 40:46, 40:46] = 30000.0  # 15 mm wide
    assert np.abs(body_box(Volume(array, HEAD_GRID, "T1w")) - HEAD_BOX).max() <= TOLERANCE_MM


def test_a_marker_beside_the_head_does_not_widen_the_box():
    array = HEAD.array.copy()
    array[2:5, 2:5, 50:53] = 900.0
    assert np.abs(body_box(Volume(array, HEAD_GRID, "T1w")) - HEAD_BOX).max() <= TOLERANCE_MM


def test_two_legs_are_both_in_the_box():
    def legs(points):
        left = np.linalg.norm(points[..., :2] - [-60, 0], axis=-1) < 40
        right = np.linalg.norm(points[..., :2] - [60, 0], axis=-1) < 30
        return 500.0 * (left | right)

    box = body_box(sampled(legs, grid_around((0, 0, 0), (80, 50, 20), (4, 4, 4))))
    assert np.abs(box[:, 0] - [-100, 90]).max() <= TOLERANCE_MM


def test_a_crop_inside_the_body_is_kept_whole():
    crop = grid_around((5, -10, 15), (40, 50, 36), (1, 1, 1))
    textured = with_noise(sampled(head, crop), 0, 60)
    lower, upper = body_box(textured)
    assert (lower <= crop.corners_ras().min(axis=0)).all()
    assert (upper >= crop.corners_ras().max(axis=0)).all()


@pytest.mark.parametrize(
    ("around", "spread", "inside"),
    [(50.0, 5.0, -100.0), (200.0, 40.0, 400.0)],
    ids=["fat in soft tissue, HU", "bright structure in noisy tissue"],
)
def test_a_structure_is_not_taken_for_the_body_where_tissue_fills_the_corners(around, spread, inside):
    grid = grid_around((0, 0, 0), (40, 40, 40), (2, 2, 2))
    ball = np.linalg.norm(points_of(grid), axis=-1) < 24
    array = np.random.default_rng(0).normal(np.where(ball, inside, around), spread)
    lower, upper = body_box(Volume(array, grid, "CT"))
    assert lower.tolist() == [-40, -40, -40]
    assert upper.tolist() == [40, 40, 40]


def test_noise_without_a_body_is_kept_whole():
    noise = with_noise(Volume(np.zeros(HEAD_GRID.shape_kji), HEAD_GRID, "T1w"), 0, 10)
    lower, upper = body_box(noise)
    assert (lower <= HEAD_GRID.corners_ras().min(axis=0)).all()
    assert (upper >= HEAD_GRID.corners_ras().max(axis=0)).all()


@pytest.mark.parametrize("angles", [(20, 0, 0), (0, -35, 10), (45, 45, 45)])
def test_the_box_of_an_oblique_scan_is_that_of_a_straight_one(angles):
    oblique = grid_around((5, -10, 15), (110, 110, 70), (2.0, 2.0, 3.5), rotation(angles) @ np.diag([1, 1, -1]))
    assert np.abs(body_box(sampled(head, oblique)) - HEAD_BOX).max() <= TOLERANCE_MM


def test_the_box_of_a_head_cut_off_by_an_oblique_slab_ends_where_the_slab_does():
    slab = grid_around((5, -10, 15), (60, 70, 12), (4, 4, 4), rotation((40, 0, 0)))
    fine = grid_around((5, -10, 15), (80, 100, 90), (2, 2, 2))
    seen = points_of(fine)[(head(points_of(fine)) > 300) & coverage(slab, fine)]
    expected = [seen.min(axis=0), seen.max(axis=0)]
    assert np.abs(body_box(sampled(head, slab)) - expected).max() <= TOLERANCE_MM + 2


# the model grid


def test_the_model_grid_runs_along_the_world_in_steps_from_the_edge_of_the_finest_scan():
    coarse = sampled(head, random_grid(7, size_mm=260.0))
    fine = sampled(head, grid_around((5.3, -10.1, 15.7), (80, 90, 84), (2.0, 2.0, 2.0)))
    grid = model_grid([coarse, fine], (1.5, 2.0, 3.0))
    assert np.array_equal(grid.direction, np.eye(3))
    assert grid.spacing_ijk == (1.5, 2.0, 3.0)
    steps = (grid.corners_ras() - fine.grid.corners_ras().min(axis=0)) / grid.spacing_ijk
    assert np.allclose(steps, np.rint(steps), atol=1e-3)


def test_a_scan_along_the_world_with_the_model_s_spacing_is_not_interpolated():
    for origin in ((0, 0, 0), (0.5, 0.25, -0.3), (1, 1, 1)):
        affine = np.diag([2.0, 2.0, 2.0, 1.0])
        affine[:3, 3] = origin
        array = np.random.default_rng(0).normal(100, 30, (9, 8, 7)).astype(np.float32)  # a crop without background
        for volume in stored_otherwise(Volume(array, Grid(array.shape, affine), "T1w")):
            grid = model_grid([volume], (2.0, 2.0, 2.0))
            assert grid.shape_kji == array.shape
            assert np.abs(resample_to(volume, grid)[0] - array).max() < 0.2  # of 30: steps of the grid are rounded


def test_the_model_grid_covers_the_head_and_its_margin_and_little_more():
    grid = model_grid([HEAD], (2.0, 2.0, 2.0), margin_mm=10.0)
    lower, upper = grid.corners_ras().min(axis=0), grid.corners_ras().max(axis=0)
    assert np.abs(lower - (HEAD_BOX[0] - 10)).max() <= TOLERANCE_MM + 2
    assert np.abs(upper - (HEAD_BOX[1] + 10)).max() <= TOLERANCE_MM + 2
    assert (lower <= HEAD_BOX[0]).all()
    assert (upper >= HEAD_BOX[1]).all()


def test_the_model_grid_does_not_reach_beyond_the_fields_of_view():
    # the head fills the field of view and is cut off at the top: no margin there
    cut = sampled(head, grid_around((5, -10, -5), (80, 90, 44), (2.5, 2.5, 2.5)))  # -60 to 50 mm
    grid = model_grid([cut], (2.0, 2.0, 2.0))
    assert grid.corners_ras()[:, 2].max() == 50.0
    assert grid.corners_ras()[:, 2].min() == -60.0


def test_two_scans_share_the_union_of_their_bodies():
    top = sampled(head, grid_around((5, -10, 55), (80, 90, 32), (2.5, 2.5, 2.5)))  # 15 to 95 mm
    bottom = sampled(head, grid_around((5, -10, -25), (70, 80, 20), (3, 3, 4)), "T2w")  # -65 to 15 mm
    both = model_grid([top, bottom], (2.0, 2.0, 2.0))
    whole = model_grid([HEAD], (2.0, 2.0, 2.0))
    assert np.abs(both.corners_ras() - whole.corners_ras()).max() <= TOLERANCE_MM + 2 + 10


def test_scans_in_all_48_storage_orders_give_one_model_grid_and_one_image():
    # the outer edges, at odd millimetres, are voxel centres of the model grid: rounding must not decide
    original = sampled(head, grid_around((5, -10, 15), (40, 46, 42), (4.0, 4.0, 4.0)))
    grid = model_grid([original], (2.0, 2.0, 2.0), margin_mm=40.0)
    image, covered = resample_to(original, grid)
    assert covered.all()
    for other in stored_otherwise(original):
        assert model_grid([other], (2.0, 2.0, 2.0), margin_mm=40.0).is_close(grid, tolerance_mm=1e-9)
        other_image, other_covered = resample_to(other, grid)
        assert np.array_equal(other_covered, covered)
        assert np.abs(other_image - image).max() < 1e-2


def test_oblique_scans_in_all_48_storage_orders_give_one_model_grid_and_one_image():
    direction = rotation((10, -20, 30))
    original = sampled(head, grid_around((5, -10, 15), (34, 36, 28), (6.0, 6.0, 7.0), direction))
    grid = model_grid([original], (5.0, 5.0, 5.0))
    image, covered = resample_to(original, grid)
    assert 0.5 < covered.mean() < 1.0
    for other in stored_otherwise(original):
        assert model_grid([other], (5.0, 5.0, 5.0)).is_close(grid, tolerance_mm=1e-9)
        other_image, other_covered = resample_to(other, grid)
        assert np.array_equal(other_covered, covered)
        assert np.abs(other_image - image).max() < 1e-2


@pytest.mark.parametrize("rounding", [-1e-5, 1e-5])
def test_rounding_in_a_header_moves_neither_the_grid_nor_the_coverage(rounding):
    exact = sampled(head, grid_around((4, -10, 16), (20, 22, 20), (8, 8, 8)))  # edges on multiples of 2 mm
    affine = exact.grid.ijk_to_ras + rounding * np.eye(4)
    affine[:3, 3] += rounding
    affine[3, 3] = 1.0
    rounded = Volume(exact.array, Grid(exact.grid.shape_kji, affine), "T1w")
    grid = model_grid([exact], (2.0, 2.0, 2.0), margin_mm=40.0)
    assert model_grid([rounded], (2.0, 2.0, 2.0), margin_mm=40.0).is_close(grid, tolerance_mm=1e-9)
    on_the_edge = Grid(exact.grid.shape_kji, exact.grid.ijk_to_ras @ index_shift(0.5))
    assert (coverage(rounded.grid, on_the_edge) == coverage(exact.grid, on_the_edge)).all()
    assert coverage(exact.grid, on_the_edge).all()


def index_shift(voxels: float) -> np.ndarray:
    """4x4: a shift of the indices along all axes."""
    shift = np.eye(4)
    shift[:3, 3] = voxels
    return shift


@pytest.mark.parametrize("spacing", [(0, 1, 1), (1, -1, 1), (1, 1, np.nan)])
def test_a_useless_spacing_is_refused(spacing):
    with pytest.raises(GeometryError, match="bad-spacing"):
        model_grid([HEAD], spacing)


def test_real_brains_are_within_the_model_grid(data_folder):
    from CrossModalSegLib.imaging.volume import read_volume

    patient = data_folder / "open-ms" / "patient07"
    volumes = [read_volume(patient / f"{name}.nii.gz", name) for name in ("T1", "FLAIR")]
    grid = model_grid(volumes, (2.0, 2.0, 2.0))
    brain = np.argwhere(volumes[0].array != 0)[:, ::-1]  # exact zero outside
    points = brain[::50] @ volumes[0].grid.ijk_to_ras[:3, :3].T + volumes[0].grid.ijk_to_ras[:3, 3]
    index = points @ grid.ras_to_ijk[:3, :3].T + grid.ras_to_ijk[:3, 3]
    assert (index >= -0.5).all()
    assert (index <= np.array(grid.shape_ijk) - 0.5).all()
    assert np.prod(grid.extent_mm) < 0.56 * np.prod(volumes[0].grid.extent_mm)
