"""Leaving cells out keeps feature cells and voxels together, and gives every cell its turn."""

import math

import pytest
import torch

from CrossModalSegLib.training.cell_subset import CellSubset
from CrossModalSegLib.training.config import OptimisationConfig
from CrossModalSegLib.training.seeds import LABELLED, seed_of


def block_numbers(cells: tuple[int, int, int], block: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features (1, block³, d, h, w) that hold the labels (1, D, H, W) of their block: every voxel has its own
    number."""
    shape = [n * block for n in cells]
    labels = torch.arange(math.prod(shape)).view(1, *shape)
    split = labels.view(1, cells[0], block, cells[1], block, cells[2], block)
    return split.permute(0, 2, 4, 6, 1, 3, 5).reshape(1, block**3, *cells), labels


def copying_head(features: torch.Tensor, block: int) -> torch.Tensor:
    """Each cell's features as its block of voxels: (1, D, H, W)."""
    _, _, d, h, w = features.shape
    split = features.view(1, block, block, block, d, h, w).permute(0, 4, 1, 5, 2, 6, 3)
    return split.reshape(1, d * block, h * block, w * block)


@pytest.mark.parametrize("block", [1, 2])
@pytest.mark.parametrize("cells", [(4, 4, 4), (5, 4, 6)])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_thinning_out_keeps_each_feature_cell_with_its_block_of_labels(block, cells, stride):
    features, labels = block_numbers(cells, block)
    assert torch.equal(copying_head(features, block), labels)
    for seed in range(6):
        subset = CellSubset.draw(stride, seed)
        thin_features, thin_labels = subset.cells(features), subset.voxels(labels, block)
        assert torch.equal(copying_head(thin_features, block), thin_labels)


def test_thinning_out_by_two_leaves_an_eighth_and_every_cell_has_its_turn():
    features, labels = block_numbers((4, 4, 4), 2)
    met = set()
    for seed in range(60):
        subset = CellSubset.draw(2, seed)
        thin_features, thin_labels = subset.cells(features), subset.voxels(labels, 2)
        assert thin_features.shape == (1, 8, 2, 2, 2)
        assert thin_labels.shape == (1, 4, 4, 4)
        met.update(thin_labels.flatten().tolist())
    assert len(met) == labels.numel()


def test_a_step_is_thinned_out_alike_whoever_asks_and_otherwise_in_each_training():
    def offsets(seed: int) -> list[tuple[int, ...]]:
        return [CellSubset.of_step(OptimisationConfig(loss_stride=4, seed=seed), step).offsets for step in range(20)]

    def labelled(seed: int) -> list[tuple[int, ...]]:
        return [CellSubset.draw(4, seed_of(seed, LABELLED, step)).offsets for step in range(20)]

    assert offsets(0) == offsets(0)
    for other in (offsets(1), labelled(0), labelled(1)):
        same = sum(a == b for a, b in zip(offsets(0), other, strict=True))
        assert same < 5


def test_voxels_with_channels_before_them_are_thinned_out_alike():
    _, labels = block_numbers((4, 5, 6), 2)
    stacked = torch.stack([labels, -labels], dim=1)  # (1, 2, D, H, W)
    subset = CellSubset.draw(2, 3)
    assert torch.equal(subset.voxels(stacked, 2)[:, 1], -subset.voxels(labels, 2))
