"""Where samples come from: labels stay with their image, modalities with their grids, seeds with their samples."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from CrossModalSegLib.datasets.datalist import read_datalist
from CrossModalSegLib.errors import ConfigError, DataError
from CrossModalSegLib.imaging.geometry import model_grid
from CrossModalSegLib.imaging.volume import Volume, write_volume
from CrossModalSegLib.preprocess import IntensityRule, normalise
from CrossModalSegLib.synthesis.samples import Sample
from CrossModalSegLib.synthesis.synthesis import SynthesisConfig
from CrossModalSegLib.training.case_patch import inner_centre, labelled_centre, sample_linear
from CrossModalSegLib.training.config import NetworkConfig, SemiSupervisedConfig, TrainingConfig
from CrossModalSegLib.training.sources import CaseSource, MixedSource, SynthesisSource, UnlabelledSource
from CrossModalSegLib.training.training_case import TrainingCase, training_case
from CrossModalSegLib.training.training_data import build_source, build_unlabelled_source, choose_label_map
from Testing.volumes import grid_around, points_of, rotation

CPU = torch.device("cpu")
SEEDS = range(10)
CONFIG = TrainingConfig(
    modalities=("A", "B"),
    spacing=2.0,
    patch=(16, 16, 16),
    network=NetworkConfig(channels=(4, 8)),
    intensity={name: IntensityRule("window", 0, 1) for name in ("A", "B")},  # intensities as they are
    synthesis=SynthesisConfig(single_probability=0, displacement_probability=0, noise=0, bias=0, gamma=0, elastic=3.0),
)


def with_synthesis(**changes) -> TrainingConfig:
    return replace(CONFIG, synthesis=replace(CONFIG.synthesis, **changes))


def with_semi(**changes) -> TrainingConfig:
    return replace(CONFIG, semi_supervised=replace(CONFIG.semi_supervised, **changes))


NO_CUT_OUT = SemiSupervisedConfig(cut_out=0)


def ball(points: np.ndarray) -> np.ndarray:
    """1 within 12 mm of (6, -4, 2), 0 elsewhere."""
    return (np.linalg.norm(points - [6.0, -4.0, 2.0], axis=-1) < 12).astype(np.float32)


def ball_case(presence=(True, True)) -> TrainingCase:
    """A bright ball labelled 1 in a (28, 28, 28) grid, in both modalities."""
    planted = torch.from_numpy(ball(points_of(grid_around((0, 0, 0), (28, 28, 28), (2, 2, 2)))))
    there = torch.tensor(presence).view(2, 1, 1, 1)
    covered = torch.ones(planted.shape, dtype=torch.bool)
    return TrainingCase(
        planted.expand(2, -1, -1, -1) * there, covered & there, (planted * there).to(torch.uint8), tuple(presence)
    )


def equal(one: Sample, other: Sample) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.tensors, other.tensors, strict=True))


# patches of cases


def test_a_label_stays_with_its_image_under_deformation():
    source = CaseSource([ball_case()], CONFIG)
    bright_voxels = dark_voxels = 0
    for seed in SEEDS:
        sample = source.sample(seed)
        for (image, covered), labels in zip(sample.volumes, sample.labels, strict=True):
            # An interpolated 1 lies among voxels of 1 alone, so that the nearest is one of them; likewise 0.
            assert (labels[image > 0.999] == 1).all()
            assert (labels[(image < 0.001) & (covered > 0)] == 0).all()
            assert ((image > 0.5) == (labels == 1)).float().mean() > 0.97
            bright_voxels += int((image > 0.999).sum())
            dark_voxels += int((image < 0.001).sum())
    assert bright_voxels > 2000
    assert dark_voxels > 2000


def test_both_modalities_of_a_case_get_one_deformation_and_intensities_of_their_own():
    for seed in SEEDS:
        plain = CaseSource([ball_case()], CONFIG).sample(seed)
        assert torch.equal(plain.volumes[0], plain.volumes[1])
        varied = CaseSource([ball_case()], with_synthesis(noise=0.1, bias=0.3, gamma=0.4)).sample(seed)
        assert torch.equal(varied.labels[0], varied.labels[1])
        assert not torch.allclose(varied.volumes[0, 0], varied.volumes[1, 0], atol=1e-3)


def test_intensities_vary_and_stay_with_the_label():
    for seed in SEEDS:
        sample = CaseSource([ball_case()], with_synthesis(noise=0.1, bias=0.3, gamma=0.4)).sample(seed)
        inside, outside = (sample.volumes[0, 0][sample.labels[0] == label] for label in (1, 0))
        if len(inside) > 50 and len(outside) > 50:
            assert inside.mean() > outside.mean() + 0.3


def test_a_patch_holds_a_labelled_voxel_at_least_two_times_out_of_three():
    source = CaseSource([ball_case()], CONFIG)
    assert sum(bool((source.sample(seed).labels == 1).any()) for seed in range(60)) >= 36


def test_a_case_without_any_label_still_gives_samples():
    case = ball_case()
    sample = CaseSource([replace(case, labels=torch.zeros_like(case.labels))], CONFIG).sample(0)
    assert (sample.labels == 0).all()


def test_the_same_seed_gives_the_same_sample_and_seeds_go_round_the_cases():
    other = ball_case()
    source = CaseSource([ball_case(), replace(other, images=other.images * 0.5)], CONFIG)
    assert equal(source.sample(7), source.sample(7))
    assert not equal(source.sample(7), source.sample(9))
    assert max(source.sample(seed).volumes[:, 0].max() for seed in (1, 3, 5)) == pytest.approx(0.5)
    assert max(source.sample(seed).volumes[:, 0].max() for seed in (0, 2, 4)) == pytest.approx(1.0)


def test_what_a_modality_does_not_cover_is_marked_and_has_neither_intensity_nor_label():
    case = ball_case()
    case.covered[1, :, :, 14:] = False
    met = 0
    for seed in SEEDS:
        sample = CaseSource([case], CONFIG).sample(seed)
        outside = sample.volumes[1, 1] == 0
        met += int(outside.any() and (~outside).any())
        assert (sample.volumes[1, 0][outside] == 0).all()
        assert (sample.labels[1][outside] == 0).all()
    assert met > 3


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_a_case_with_one_modality_keeps_it(probability):
    for seed in SEEDS:
        sample = CaseSource([ball_case((False, True))], with_synthesis(single_probability=probability)).sample(seed)
        assert sample.presence.tolist() == [False, True]
        assert (sample.volumes[0] == 0).all()
        assert (sample.labels[0] == 0).all()


def test_a_single_probability_of_one_leaves_either_modality_of_a_pair():
    source = CaseSource([ball_case()], with_synthesis(single_probability=1))
    assert {tuple(source.sample(seed).presence.tolist()) for seed in range(12)} == {(True, False), (False, True)}


def test_position_channels_say_where_a_voxel_lies_in_the_case():
    """The ball lies 6 mm to the right, 4 mm behind and 2 mm above the centre, whatever the patch and its turn."""
    config = with_synthesis(elastic=0, position_error=0, rotation=10, scaling=0, shear=0)
    source = CaseSource([ball_case()], replace(config, patch=(32, 32, 32)))
    places = []
    for seed in range(12):
        sample = source.sample(seed)
        labels = sample.labels[0] == 1
        rim = torch.ones_like(labels)
        rim[1:-1, 1:-1, 1:-1] = False
        if labels.any() and not (labels & rim).any():  # the whole ball
            place = 100 * sample.position[:, labels].mean(1)
            turn = np.linalg.norm([6, 4, 2]) * np.radians(20)  # a turn by up to 10 degrees about each of three axes
            assert np.allclose(place, [2, -4, 6], atol=turn)
            places.append(place)
    assert len(places) > 2
    assert torch.allclose(torch.stack(places).mean(0), torch.tensor([2.0, -4.0, 6.0]), atol=1.5)


# displaced pairs


def test_a_displaced_second_modality_keeps_its_labels_and_the_pair_is_not_aligned():
    source = CaseSource([ball_case()], with_synthesis(displacement_probability=1))
    overlaps = []
    for seed in SEEDS:
        sample = source.sample(seed)
        assert not sample.aligned
        first, second = sample.labels == 1
        overlaps.append(overlap(first, second))
        for (image, _), labels in zip(sample.volumes, sample.labels, strict=True):
            assert (labels[image > 0.999] == 1).all()
            assert ((image > 0.5) == (labels == 1)).float().mean() > 0.97
    assert min(overlaps) < 0.8


def test_a_displacement_lies_within_its_bounds():
    config = with_synthesis(
        displacement_probability=1, displacement=4, displacement_rotation=0, displacement_elastic=0, rotation=0, shear=0,
        scaling=0, elastic=0
    )  # fmt: skip
    source = CaseSource([ball_case()], replace(config, patch=(32, 32, 32)))
    shifts = []
    for seed in range(20):
        first, second = source.sample(seed).labels == 1
        if min(first.sum(), second.sum()) > 800:  # nearly the whole ball of 12 mm
            centres = [mask.nonzero().float().mean(0) * config.spacing for mask in (first, second)]
            shifts.append(centres[0] - centres[1])
    shifts = torch.stack(shifts)
    assert len(shifts) > 5
    assert shifts.abs().max() < 5
    assert (shifts.abs().amax(0) > 1).all()


def test_a_pair_is_aligned_where_the_case_is_and_no_displacement_is_drawn():
    assert CaseSource([ball_case()], CONFIG).sample(0).aligned
    assert not CaseSource([replace(ball_case(), aligned=False)], CONFIG).sample(0).aligned
    assert {
        bool(CaseSource([ball_case()], with_synthesis(displacement_probability=0.5)).sample(n).aligned) for n in SEEDS
    } == {
        True,
        False,
    }


# sides


def sided_case() -> TrainingCase:
    """Left of the middle labelled 1, right of it 2; brighter towards the right."""
    case = ball_case()
    labels = torch.ones_like(case.labels)
    labels[..., 14:] = 2
    return replace(case, labels=labels, images=torch.linspace(0, 1, 28).expand(2, 28, 28, 28).contiguous())


@pytest.mark.parametrize("displaced", [0.0, 1.0])
def test_left_stays_left_in_every_sample(displaced):
    config = with_synthesis(displacement_probability=displaced, rotation=15, scaling=0.3, shear=0.05)
    labelled, unlabelled = CaseSource([sided_case()], config), UnlabelledSource([sided_case()], config)
    met = 0
    for seed in range(30):
        sample, views = labelled.sample(seed), unlabelled.sample(seed)
        for labels in sample.labels:
            left, right = ((labels == value).nonzero().float() for value in (1, 2))
            if min(len(left), len(right)) > 200:
                met += 1
                assert left[:, 2].mean() < right[:, 2].mean()
        for image, covered in (*views.weak.flatten(0, 1), *views.strong):
            place = covered.nonzero().float()[:, 2]
            assert torch.corrcoef(torch.stack([image[covered > 0], place]))[0, 1] > 0.5
    assert met > 20


# samples without labels


def test_both_views_of_an_unlabelled_sample_have_one_geometry():
    source = UnlabelledSource([ball_case()], with_semi(cut_out=0))
    for seed in SEEDS:
        sample = source.sample(seed)
        assert all(torch.equal(weak, sample.strong) for weak in sample.weak)  # nothing varies here but the geometry
        assert torch.equal(sample.strong[0], sample.strong[1])
        assert sample.aligned


def test_the_teacher_is_given_a_displaced_pair_as_it_was_acquired_on_both_grids():
    """The ball looks alike in both modalities: on one grid both are equal, although the student sees them displaced."""
    source = UnlabelledSource([ball_case()], with_synthesis(displacement_probability=1.0))
    for seed in SEEDS:
        sample = source.sample(seed)
        assert torch.equal(sample.weak[:, 0], sample.weak[:, 1])
        assert not torch.allclose(sample.weak[0, 0], sample.weak[1, 0], atol=1e-2)
        assert (bool(sample.aligned), bool(sample.registered)) == (False, True)
        for m in range(2):
            assert torch.equal(sample.weak[m, m, 1], sample.strong[m, 1])


def test_a_pair_that_was_acquired_displaced_is_not_registered():
    source = UnlabelledSource([replace(ball_case(), aligned=False)], with_synthesis(displacement_probability=0.0))
    assert not source.sample(0).registered


def test_intensities_vary_in_the_strong_view_only():
    quiet, loud = (
        UnlabelledSource([ball_case()], replace(with_synthesis(noise=n, bias=n, gamma=n), semi_supervised=NO_CUT_OUT))
        for n in (0.0, 0.3)
    )
    for seed in SEEDS:
        assert torch.equal(quiet.sample(seed).weak, loud.sample(seed).weak)
        assert torch.equal(loud.sample(seed).strong[:, 1], loud.sample(seed).weak[0, :, 1])
        assert not torch.allclose(loud.sample(seed).strong[:, 0], loud.sample(seed).weak[0, :, 0], atol=1e-3)


def test_boxes_are_cut_out_of_the_strong_view_and_differ_between_modalities():
    source = UnlabelledSource([ball_case()], with_semi(cut_out=1.0))
    for seed in SEEDS:
        sample = source.sample(seed)
        changed = sample.strong[:, 0] != sample.weak[0, :, 0]
        assert (changed.float().mean((1, 2, 3)) < 0.25).all()
        assert changed.any()
        assert not torch.equal(changed[0], changed[1])
        assert torch.equal(sample.strong[:, 1], sample.weak[0, :, 1])


def test_the_labels_of_an_unlabelled_case_make_no_difference():
    case = ball_case()
    other = replace(case, labels=torch.randint(0, 9, case.labels.shape, dtype=torch.uint8))
    for seed in SEEDS:
        one, two = (UnlabelledSource([c], with_synthesis(noise=0.1)).sample(seed) for c in (case, other))
        assert all(torch.equal(a, b) for a, b in zip(one.tensors, two.tensors, strict=True))


def test_the_teacher_sees_what_the_case_has_and_the_student_now_and_then_less():
    source = UnlabelledSource([ball_case()], with_synthesis(single_probability=0.5))
    samples = [source.sample(seed) for seed in range(30)]
    assert all(sample.presence.tolist() == [True, True] for sample in samples)
    assert {tuple(sample.shown.tolist()) for sample in samples} == {(True, True), (True, False), (False, True)}
    single = UnlabelledSource([ball_case((False, True))], with_synthesis(single_probability=0.5)).sample(0)
    assert single.presence.tolist() == single.shown.tolist() == [False, True]


def test_unlabelled_patches_lie_inside_the_case():
    # 28 voxels and a patch of 16 leave room for 12; nothing is bent, and an eighth of the patch may stick out.
    config = with_synthesis(rotation=0, scaling=0, shear=0, elastic=0)
    source = UnlabelledSource([ball_case()], config)
    outside = [1 - source.sample(seed).weak[0, 0, 1].mean().item() for seed in range(30)]
    assert max(outside) <= 1 - (14 / 16) ** 3 + 1e-6
    large = UnlabelledSource([ball_case()], replace(config, patch=(40, 40, 40))).sample(0).weak[0, 0, 1]
    assert large.sum() == 28**3  # a small case is whole in a large patch


# intensities


def test_intensities_are_normalised_by_the_whole_scan_as_in_inference():
    """A patch of a dim part stays dim: its own percentiles do not stretch it."""
    case = ball_case()
    ramp = torch.linspace(0, 100, 28).expand(2, 28, 28, 28).contiguous()
    dim = torch.zeros_like(case.labels)
    dim[:, 5, 5, 5] = 1
    config = replace(CONFIG, intensity={}, patch=(8, 8, 8))
    whole = normalise(ramp[0], torch.ones(28, 28, 28, dtype=torch.bool), IntensityRule())
    source = CaseSource([replace(case, images=ramp, labels=dim)], config)
    for seed in SEEDS:
        sample = source.sample(seed)
        if sample.labels.any():
            assert sample.volumes[0, 0].max() < whole[0, 0, 20]


# linear sampling


def test_linear_sampling_by_hand():
    image = torch.arange(24.0).view(2, 3, 4)  # 12 k + 4 j + i
    at = torch.tensor([[0.5, 1.5, 2.25], [1, 0, 3], [0.75, 2, 0]]).T.reshape(3, 3, 1, 1)
    assert sample_linear(image, at).flatten().tolist() == pytest.approx([6 + 6 + 2.25, 12 + 3, 9 + 8])


def test_linear_sampling_is_zero_outside():
    image = torch.ones(4, 4, 4)
    at = torch.tensor([[-1.5, 1, 1], [1, 5, 1], [1, 1, 1]]).T.reshape(3, 3, 1, 1)
    assert sample_linear(image, at).flatten().tolist() == pytest.approx([0, 0, 1])


# volumes onto the model grid


def scans() -> dict[int, tuple[Volume, tuple]]:
    """The ball in two scans: one straight, one oblique, left-handed, shifted and coarser; each with its own labels."""
    direction = rotation((10, -15, 20))
    direction[:, 0] *= -1
    grids = {
        0: grid_around((0, 0, 0), (32, 30, 28), (2, 2, 2)),
        1: grid_around((8, 0, 0), (22, 24, 20), (2.5, 2.5, 3.0), direction),
    }
    return {
        slot: (
            Volume(ball(points_of(grid)) + 0.05, grid, "AB"[slot]),
            (7 * ball(points_of(grid)).astype(np.int16), grid),
        )
        for slot, grid in grids.items()
    }


def overlap(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_scans_on_different_grids_come_onto_one_grid_with_their_labels():
    both = scans()
    case = training_case({s: v for s, (v, _) in both.items()}, {s: l for s, (_, l) in both.items()}, (0, 3, 7), 2.0)
    assert case.presence == (True, True)
    assert case.labels.unique().tolist() == [0, 2]  # 7 is channel 2
    assert overlap(case.labels[0] == 2, case.labels[1] == 2) > 0.85
    for slot in range(2):
        assert overlap(case.images[slot] > 0.5, case.labels[slot] == 2) > 0.85
        assert (case.images[slot][~case.covered[slot]] == 0).all()


def test_labels_stay_in_place_in_scans_half_a_voxel_apart():
    grids = [grid_around(centre, (32, 30, 28), (2, 2, 2)) for centre in ((0, 0, 0), (1, 1, 1))]
    volumes = {slot: Volume(ball(points_of(grid)) + 0.05, grid, "AB"[slot]) for slot, grid in enumerate(grids)}
    labels = {slot: (ball(points_of(grid)).astype(np.int16), grid) for slot, grid in enumerate(grids)}
    case = training_case(volumes, labels, (0, 1), 2.0)
    places = points_of(model_grid(list(volumes.values()), (2.0, 2.0, 2.0)))
    for slot, (own, grid) in labels.items():
        moved = places[case.labels[slot].numpy() > 0].mean(axis=0) - points_of(grid)[own > 0].mean(axis=0)
        assert np.abs(moved).max() < 0.1  # mm; always rounded upwards, it would be 1 mm along each axis


def test_an_absent_modality_of_a_case_is_empty():
    volume, labels = scans()[1]
    case = training_case({1: volume}, {1: labels}, (0, 7), 2.0)
    assert case.presence == (False, True)
    assert not case.covered[0].any()
    assert not case.images[0].any()
    assert not case.labels[0].any()
    assert case.labels[1].any()


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.float32, np.float64])
def test_label_maps_of_any_number_type_are_read(kind):
    volume, (labels, grid) = scans()[0]
    case = training_case({0: volume}, {0: (labels.astype(kind), grid)}, (0, 7), 2.0)
    assert overlap(case.labels[0] == 1, case.images[0] > 0.5) > 0.9


@pytest.mark.parametrize("other", [-1, 3, 500])
def test_values_that_the_label_map_does_not_have_become_background(other):
    volume, (labels, grid) = scans()[0]
    expected = training_case({0: volume}, {0: (labels, grid)}, (0, 7), 2.0)
    labels = np.where(labels == 0, other, labels)
    assert torch.equal(training_case({0: volume}, {0: (labels, grid)}, (0, 7), 2.0).labels, expected.labels)


# several sources


class Numbers:
    """A source whose samples say who gave them and for which seed."""

    def __init__(self, name: int):
        self.name = name

    device = torch.device("cpu")

    def sample(self, seed: int) -> tuple[int, int]:
        return self.name, seed


def test_mixed_sources_take_turns_and_each_meets_every_seed():
    mixed = MixedSource([Numbers(0), Numbers(1)])
    assert [mixed.sample(seed) for seed in range(6)] == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2)]


# from files


def write_case(folder: Path) -> None:
    folder.mkdir(parents=True)
    for slot, (volume, (labels, grid)) in scans().items():
        name = "AB"[slot]
        write_volume(folder / f"{name}.nii.gz", volume.array, volume.grid)
        write_volume(folder / f"label_{name}.nii.gz", labels, grid)


def write_map(path: Path, **values: int) -> None:
    """A label map with the ball as ``inside`` and all around it as ``outside``."""
    grid = grid_around((0, 0, 0), (24, 24, 24), (2, 2, 2))
    planted = ball(points_of(grid)) > 0
    write_volume(path, np.where(planted, values["inside"], values["outside"]).astype(np.int16), grid)


def built(path: Path, config: TrainingConfig = CONFIG):
    entries = read_datalist(path, config.modalities).training
    label_map = choose_label_map(config, entries)
    return label_map, build_source(entries, config, label_map, CPU)


def test_a_folder_of_cases_gives_a_source_and_a_label_map_of_the_values_met(tmp_path):
    write_case(tmp_path / "one")
    label_map, source = built(tmp_path)
    assert label_map.channels == (0, 7)
    assert isinstance(source, CaseSource)
    assert set(torch.cat([source.sample(seed).labels.flatten() for seed in range(3)]).tolist()) == {0, 1}


def test_a_folder_of_label_maps_gives_synthetic_pairs_map_after_map(tmp_path):
    write_map(tmp_path / "a.nii.gz", inside=5, outside=0)
    write_map(tmp_path / "b.nii.gz", inside=9, outside=0)
    label_map, source = built(tmp_path)
    assert label_map.channels == (0, 5, 9)
    assert isinstance(source, SynthesisSource)
    assert source.sample(0).labels.unique().tolist() == [0, 1]
    assert source.sample(1).labels.unique().tolist() == [0, 2]
    assert equal(source.sample(4), source.sample(4))


def test_cases_and_label_maps_of_one_list_alternate(tmp_path):
    write_case(tmp_path / "one")
    write_map(tmp_path / "map.nii.gz", inside=7, outside=0)
    case = {name: f"one/{name}.nii.gz" for name in ("A", "B", "label_A", "label_B")}
    entries = str({"training": [case, {"label": "map.nii.gz"}]}).replace("'", '"')
    (tmp_path / "list.json").write_text(entries)
    _, source = built(tmp_path / "list.json")
    assert isinstance(source, MixedSource)
    assert [type(part) for part in source.sources] == [SynthesisSource, CaseSource]
    assert source.sample(0).volumes.shape == source.sample(1).volumes.shape


def test_cases_without_labels_give_a_source_of_their_own_and_no_label_file_is_read(tmp_path):
    write_case(tmp_path / "one")
    write_case(tmp_path / "two")
    for name in "AB":
        (tmp_path / "two" / f"label_{name}.nii.gz").unlink()
    datalist = read_datalist(tmp_path, CONFIG.modalities)
    label_map = choose_label_map(CONFIG, datalist.training)
    source = build_unlabelled_source(datalist.unlabelled, CONFIG, label_map)
    assert isinstance(source, UnlabelledSource)
    assert len(source.cases) == 1
    assert source.sample(0).presence.tolist() == [True, True]
    assert build_unlabelled_source([], CONFIG, label_map) is None
    assert build_unlabelled_source(datalist.unlabelled, with_semi(batch=0), label_map) is None


def test_no_entries_give_no_source(tmp_path):
    write_map(tmp_path / "a.nii.gz", inside=5, outside=0)
    label_map, _ = built(tmp_path)
    assert build_source([], CONFIG, label_map, CPU) is None


def test_a_named_label_map_is_taken_from_the_library_or_from_a_file(tmp_path):
    assert len(choose_label_map(replace(CONFIG, label_map="brain_mr_pair"), []).structures) == 32
    (tmp_path / "own.json").write_text('{"structures": [{"value": 4, "name": "liver", "color": [1, 2, 3]}]}')
    assert choose_label_map(replace(CONFIG, label_map=str(tmp_path / "own.json")), []).channels == (0, 4)


def test_data_without_any_label_are_refused(tmp_path):
    write_map(tmp_path / "a.nii.gz", inside=0, outside=0)
    with pytest.raises(ConfigError) as caught:
        built(tmp_path)
    assert caught.value.code == "no-labels"


def test_a_label_map_with_nothing_to_segment_is_named(tmp_path):
    write_map(tmp_path / "a.nii.gz", inside=5, outside=0)
    write_map(tmp_path / "empty.nii.gz", inside=0, outside=0)
    with pytest.raises(DataError, match=r"empty\.nii\.gz") as caught:
        built(tmp_path)
    assert caught.value.code == "no-labels"
    assert "a.nii.gz" not in caught.value.message


def test_a_map_whose_structures_are_merged_into_others_has_something_to_segment(tmp_path):
    write_map(tmp_path / "a.nii.gz", inside=5, outside=0)
    write_map(tmp_path / "b.nii.gz", inside=6, outside=0)
    (tmp_path / "own.json").write_text('{"structures": [{"value": 5, "name": "liver", "color": [1, 2, 3]}]}')
    config = replace(with_synthesis(merge={6: 5}), label_map=str(tmp_path / "own.json"))
    _, source = built(tmp_path, config)
    assert source.sample(1).labels.unique().tolist() == [0, 1]


def test_more_labels_than_a_byte_holds_are_refused(tmp_path):
    grid = grid_around((0, 0, 0), (24, 24, 24), (2, 2, 2))
    write_volume(tmp_path / "a.nii.gz", (np.arange(24**3) % 300).reshape(grid.shape_kji).astype(np.int16), grid)
    with pytest.raises(ConfigError, match="299") as caught:
        built(tmp_path)
    assert caught.value.code == "too-many-labels"


def corner_case(size: int) -> TrainingCase:
    """Label 1 in the first voxel of a cube."""
    labels = torch.zeros((2, size, size, size), dtype=torch.uint8)
    labels[:, 0, 0, 0] = 1
    return TrainingCase(torch.zeros(labels.shape), torch.ones(labels.shape, dtype=torch.bool), labels, (True, True))


@pytest.mark.parametrize("draw", [labelled_centre, inner_centre])
@pytest.mark.parametrize(("size", "lowest", "highest"), [(40, 7.5, 31.5), (12, 5.5, 5.5)])
def test_a_patch_leaves_its_case_by_an_eighth_at_most(draw, size, lowest, highest):
    case, generator = corner_case(size), torch.Generator().manual_seed(0)
    centres = torch.stack([draw(case, (16, 16, 16), generator) for _ in range(50)])
    assert centres.min() >= lowest - 2
    assert centres.max() <= highest + 2
    assert centres.max() - centres.min() > 2  # and is not always at the same place


def test_most_patches_are_as_near_to_a_label_as_the_border_lets_them():
    case, generator = corner_case(40), torch.Generator().manual_seed(0)
    centres = torch.stack([labelled_centre(case, (16, 16, 16), generator) for _ in range(60)])
    near = (centres <= 9.5).all(dim=1).sum()  # 7.5 is as near as it gets
    assert 30 <= near <= 50  # two out of three, and a few by chance
