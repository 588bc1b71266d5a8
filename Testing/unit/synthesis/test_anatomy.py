"""Anatomies that the maps do not have: borders move by as many millimetres as drawn, lesions stay in their tissue."""

from dataclasses import replace

import pytest
import torch

from CrossModalSegLib.synthesis import anatomy
from CrossModalSegLib.synthesis.anatomy import CoarseField, Growth, LesionConfig
from CrossModalSegLib.synthesis.deformation import sample_nearest
from CrossModalSegLib.synthesis.synthesis import ContrastPrior
from Testing.unit.synthesis.test_synthesis import CHANNELS, LEFT, LESION, PLAIN, STILL, VALUES, pairs, synthesizer

SIZE = 60
CORE, REST = 3, 1


def ball(radius_mm: float, spacing_mm: float = 1.0) -> torch.Tensor:
    """(SIZE,)³ map of a ball of the label CORE in the label REST."""
    axis = (torch.arange(SIZE) - (SIZE - 1) / 2) * spacing_mm
    k, j, i = torch.meshgrid(axis, axis, axis, indexing="ij")
    return torch.where(k**2 + j**2 + i**2 < radius_mm**2, CORE, REST)


def everywhere() -> torch.Tensor:
    """(3, D, H, W) the coordinates of the map's own voxels."""
    axis = torch.arange(SIZE).float()
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"))


def grown(labels: torch.Tensor, amount: float, spacing_mm: float = 1.0) -> torch.Tensor:
    """The map after its core has grown by ``amount`` mm."""
    fields = anatomy.growth_fields(labels, spacing_mm, [[CORE]])
    field = CoarseField(amount / spacing_mm * fields[0].float(), anatomy.CELL_MM / spacing_mm)
    return sample_nearest(labels, everywhere() + field.at(everywhere()))


def radius_of(labels: torch.Tensor, spacing_mm: float = 1.0) -> float:
    return float((3 * (labels == CORE).sum() / (4 * torch.pi)) ** (1 / 3)) * spacing_mm


@pytest.mark.parametrize(("amount", "moved"), [(-3.0, -2.26), (-1.5, -1.38), (1.5, 1.38), (3.0, 2.26), (5.0, 2.98)])
@pytest.mark.parametrize("spacing", [1.0, 1.5])
def test_a_border_moves_by_the_distance_at_which_the_pull_has_fallen_to_it(amount, moved, spacing):
    change = radius_of(grown(ball(16.0, spacing), amount, spacing), spacing) - 16.0
    assert change == pytest.approx(moved, rel=0.2)  # d = a · exp(−d² / 2σ²) with σ = 3.3 mm, by hand


def test_what_lies_far_from_the_border_stays_where_it_is():
    field = CoarseField(anatomy.growth_fields(ball(10.0), 1.0, [[CORE]])[0].float(), anatomy.CELL_MM)
    moved = field.at(everywhere())
    assert float(moved[:, 0, 0].norm(dim=0).max()) < 0.02  # 30 mm away
    assert float(moved.norm(dim=0).max()) == pytest.approx(1, abs=0.15)  # at the border


def test_several_structures_move_at_once_and_a_structure_that_is_not_drawn_stays():
    fields = torch.ones(2, 3, 2, 2, 2)
    always, never = Growth((1,), 2.0, 0.0, 1.0), Growth((2,), 5.0, 5.0, 0.0)
    for seed in range(5):
        total = anatomy.draw_growth(fields, [always, never], 1.0, torch.Generator().manual_seed(seed))
        assert 0 <= float(total.values.amin()) == float(total.values.amax()) <= 2


def test_labels_and_both_scans_show_the_same_changed_anatomy():
    growth = (Growth((LEFT, LESION), 3.0, 3.0, 1.0),)
    plain, changed = (pairs(growth=drawn, **STILL) for drawn in ((), growth))
    volumes = [float((sample.labels[0] == CHANNELS.index(LEFT)).sum()) for sample in changed]
    before = [float((sample.labels[0] == CHANNELS.index(LEFT)).sum()) for sample in plain]
    assert min(volumes) < 0.9 * min(before)
    assert max(volumes) > 1.1 * max(before)
    assert all(torch.equal(sample.labels[0], sample.labels[1]) for sample in changed)


def test_lesions_lie_in_their_tissue_have_its_label_and_a_contrast_of_their_own():
    prior = ContrastPrior("T1w", 1.0, dict.fromkeys(VALUES, 0.5) | {LESION: 1.0}, spread=0.0)
    lesions = LesionConfig(1.0, {LEFT: LESION})
    changes = {**STILL, "contrast": (prior,), "lesions": lesions, "merge": {LESION: LEFT}}
    made = synthesizer(replace(PLAIN, **changes))
    labels = torch.full((24, 24, 24), LEFT)
    labels[:, :, 12:] = VALUES[2]  # the other side has none
    source = made.source(labels, 2.0)
    shares = []
    for seed in range(24):
        sample = made.sample(source, (16, 16, 16), 2.0, seed)
        assert set(sample.labels[0].unique().tolist()) == {CHANNELS.index(LEFT), CHANNELS.index(VALUES[2])}
        bright = sample.volumes[0, 0] > 0.8
        assert not bool((bright & (sample.labels[0] == CHANNELS.index(VALUES[2]))).any())
        shares.append(float(bright.float().mean()))
    assert max(shares) > 0.005
    assert max(shares) < 0.5


def test_lesions_are_more_frequent_near_what_they_gather_around():
    labels = torch.full((48, 48, 48), LEFT)
    labels[:8] = LESION
    near = anatomy.nearness(labels, 1.0, [LESION])
    inside = [anatomy.draw_lesions(near, 1.0, torch.Generator().manual_seed(seed)).values[0] > 0 for seed in range(300)]
    share = torch.stack(inside).float().mean(dim=(0, 2, 3))  # by k
    assert share[0] > 1.5 * share[-1] > 0


def test_without_growth_and_lesions_nothing_is_kept_or_drawn():
    source = synthesizer().source(torch.full((8, 8, 8), LEFT), 2.0)
    assert source.growth is None
    assert source.near is None
