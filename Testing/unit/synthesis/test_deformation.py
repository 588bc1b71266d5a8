"""Random transforms: rotations that are rotations, fields of the promised size, labels read where they are."""

import math

import pytest
import torch

from CrossModalSegLib.synthesis import deformation

CPU = torch.device("cpu")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def grid_of(*shape: int) -> torch.Tensor:
    """(3, D, H, W) index of each voxel."""
    return torch.stack(torch.meshgrid(*(torch.arange(n).float() for n in shape), indexing="ij"))


# random numbers


def test_uniform_numbers_fill_their_range_and_follow_the_seed():
    numbers = deformation.uniform(-2, 6, (4000,), generator())
    assert numbers.min() >= -2
    assert numbers.max() < 6
    assert numbers.mean().item() == pytest.approx(2, abs=0.15)
    assert torch.equal(numbers, deformation.uniform(-2, 6, (4000,), generator()))


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_chance_happens_as_often_as_it_says(probability):
    random = generator()
    count = sum(deformation.chance(probability, random) for _ in range(1000))
    assert count == pytest.approx(1000 * probability, abs=60 if 0 < probability < 1 else 0)


# affine


@pytest.mark.parametrize("degrees", [(0, 0, 0), (30, 0, 0), (10, -20, 170), (-90, 45, 5)])
def test_rotation_matrices_are_orthonormal_and_proper(degrees):
    matrix = deformation.rotation_matrix(torch.tensor(degrees).float())
    assert torch.allclose(matrix @ matrix.T, torch.eye(3), atol=1e-6)
    assert torch.linalg.det(matrix).item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("axis", range(3))
def test_a_rotation_turns_about_its_own_axis_by_its_angle(axis):
    degrees = torch.zeros(3)
    degrees[axis] = 25.0
    matrix = deformation.rotation_matrix(degrees)
    unit = torch.eye(3)[axis]
    assert torch.allclose(matrix @ unit, unit)
    assert matrix.trace().item() == pytest.approx(1 + 2 * math.cos(math.radians(25)), abs=1e-6)


def test_an_affine_of_no_strength_is_the_identity():
    assert torch.allclose(deformation.random_affine(0, 0, 0, generator()), torch.eye(3))


def test_rotation_and_shear_keep_volume_and_scaling_stays_in_its_bounds():
    for seed in range(20):
        assert torch.linalg.det(deformation.random_affine(20, 0, 0.1, generator(seed))).item() == pytest.approx(
            1, abs=1e-5
        )
        lengths = deformation.random_affine(20, 0.15, 0, generator(seed)).norm(dim=0)
        assert lengths.min() >= 0.85 - 1e-5
        assert lengths.max() <= 1.15 + 1e-5


def test_patch_positions_are_millimetres_from_the_patch_centre():
    positions = deformation.patch_positions((3, 2, 1), 2.0, CPU)
    assert positions.shape == (3, 3, 2, 1)
    assert positions[0, :, 0, 0].tolist() == [-2, 0, 2]
    assert positions[1, 0, :, 0].tolist() == [-1, 1]
    assert positions[2, 0, 0].tolist() == [0]


def test_an_affine_maps_every_position_of_a_field():
    matrix = torch.tensor([[1.0, 2, 0], [0, 3, 0], [-1, 0, 1]])
    offset = torch.tensor([10.0, 20, 30])
    mapped = deformation.apply_affine(matrix, grid_of(2, 3, 4), offset)
    assert mapped.shape == (3, 2, 3, 4)
    assert mapped[:, 1, 2, 3].tolist() == [1 + 4 + 10, 6 + 20, -1 + 3 + 30]


# elastic


def test_elastic_displacement_is_its_knots_and_linear_between_them():
    field = deformation.random_elastic((5, 5, 5), knots=3, amplitude=2.0, generator=generator(1))
    knots = 2.0 * torch.randn((3, 3, 3, 3), generator=generator(1))
    assert torch.allclose(field[:, ::2, ::2, ::2], knots, atol=1e-5)
    assert torch.allclose(field[:, 1, 0, 0], (knots[:, 0, 0, 0] + knots[:, 1, 0, 0]) / 2, atol=1e-5)


def test_elastic_displacement_has_the_standard_deviation_asked_for():
    field = deformation.random_elastic((12, 12, 12), knots=12, amplitude=3.0, generator=generator())
    assert field.std().item() == pytest.approx(3.0, rel=0.05)
    assert field.mean().item() == pytest.approx(0, abs=0.15)


# fields on other grids, sampling


def test_a_refined_field_covers_the_same_extent_in_finer_steps():
    fine = deformation.refine(grid_of(4, 5, 6), 2.0)
    assert fine.shape == (3, 8, 10, 12)
    assert fine[0, 1:-1, 0, 0].tolist() == [0.25, 0.75, 1.25, 1.75, 2.25, 2.75]  # between the outermost centres
    assert fine[2, 0, 0, 1:4].tolist() == [0.25, 0.75, 1.25]


def test_a_field_refined_by_one_is_the_same_field():
    field = grid_of(2, 3, 4)
    assert deformation.refine(field, 1.0) is field


def test_sampling_at_the_voxels_themselves_gives_the_array():
    array = torch.arange(24).view(2, 3, 4)
    assert torch.equal(deformation.sample_nearest(array, grid_of(2, 3, 4)), array)


def test_sampling_takes_the_nearest_voxel():
    array = torch.arange(24).view(2, 3, 4)
    at = torch.tensor([[0.4, 0.6], [1.4, 1.6], [2.6, 0.4]]).view(3, 2, 1, 1)
    assert deformation.sample_nearest(array, at).flatten().tolist() == [array[0, 1, 3], array[1, 2, 0]]


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize(("place", "inside"), [(-0.6, False), (-0.4, True), (3.4, True), (3.6, False), (1e6, False)])
def test_sampling_outside_the_array_gives_zero(axis, place, inside):
    at = torch.ones(3)
    at[axis] = place
    array = torch.full((4, 4, 4), 7, dtype=torch.uint8)
    assert deformation.sample_nearest(array, at.view(3, 1, 1, 1)).item() == (7 if inside else 0)
