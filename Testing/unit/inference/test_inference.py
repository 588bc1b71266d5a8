"""Inference: labels come out where they are in space, however the volumes are stored and whatever the window sees."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from CrossModalSegLib.bundles.bundle import read_bundle
from CrossModalSegLib.errors import BundleError, DeviceError, InputError
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.volume import Volume
from CrossModalSegLib.inference import inference
from CrossModalSegLib.inference.inference import (
    Segmenter,
    choose_device,
    load_network,
    modality_slot,
    windows_of,
)
from CrossModalSegLib.inference.model_input import ModelInput
from CrossModalSegLib.inference.sliding_window import Attempt, Windows, predict
from Testing.tiny_bundle import (
    BALLS,
    LEFT,
    RIGHT,
    TISSUE,
    dice,
    intensity_bundle,
    random_bundle,
    true_labels,
    two_balls,
)
from Testing.volumes import grid_around, points_of, rotation, sampled, stored_otherwise

CENTRE = (5.0, -10.0, 15.0)
STRAIGHT = grid_around(CENTRE, (56, 64, 60), (2.0, 2.0, 2.0))
OBLIQUE = grid_around((9.0, -4.0, 12.0), (44, 24, 60), (2.5, 5.0, 2.2), rotation((95, -20, 15)) @ np.diag([1, -1, 1]))
SIDES = {RIGHT: RIGHT, LEFT: LEFT}
CPU = Attempt(torch.device("cpu"), torch.device("cpu"), "on the CPU")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return intensity_bundle(tmp_path_factory.mktemp("bundles") / "by-intensity")


@pytest.fixture(scope="module")
def segmenter(bundle):
    return Segmenter(bundle, "cpu")


@pytest.fixture(scope="module")
def coarse_segmenter(tmp_path_factory):
    return Segmenter(intensity_bundle(tmp_path_factory.mktemp("bundles") / "coarse", (32, 36, 32), 3.5), "cpu")


@pytest.fixture(scope="module")
def noise_segmenter(tmp_path_factory):
    return Segmenter(random_bundle(tmp_path_factory.mktemp("bundles") / "random"), "cpu")


@pytest.fixture(scope="module")
def straight_result(segmenter):
    return segmenter.segment({"T1w": sampled(two_balls, STRAIGHT)}).modalities["T1w"]


def label_at(labels: np.ndarray, grid: Grid, point: np.ndarray) -> int:
    i, j, k = np.rint((grid.ras_to_ijk @ [*point, 1.0])[:3]).astype(int)
    return int(labels[k, j, i])


def silent(_stage, _fraction):
    pass


def model_input(volumes: torch.Tensor, presence=(True, True), spacing=2.0) -> ModelInput:
    shape = volumes.shape[-3:]
    return ModelInput(
        volumes, torch.tensor(presence), grid_around((0, 0, 0), (shape[2], shape[1], shape[0]), (spacing,) * 3)
    )


# --- geometry


def test_labels_are_where_the_anatomy_is(straight_result):
    truth = true_labels(points_of(STRAIGHT))
    assert min(dice(straight_result.labels, truth, value) for value in (TISSUE, LEFT, RIGHT)) > 0.97
    assert straight_result.labels.shape == STRAIGHT.shape_kji


def test_all_48_ways_to_store_a_volume_give_the_same_segmentation(coarse_segmenter):
    original = sampled(two_balls, grid_around(CENTRE, (31, 36, 33), (3.6, 3.5, 3.4)))
    expected = coarse_segmenter.segment({"T1w": original}).modalities["T1w"].labels
    assert min(dice(expected, true_labels(points_of(original.grid)), value) for value in (TISSUE, LEFT, RIGHT)) > 0.95
    stored_labels = stored_otherwise(Volume(expected, original.grid, "T1w"))
    for volume, labels in zip(stored_otherwise(original), stored_labels, strict=True):
        result = coarse_segmenter.segment({"T1w": volume}).modalities["T1w"].labels
        assert {value: label_at(result, volume.grid, centre) for value, centre in BALLS.items()} == SIDES
        assert (result == labels.array).mean() > 0.9999


@pytest.mark.parametrize("left_handed", [False, True])
def test_an_oblique_volume_with_thick_slices_has_the_labels_at_the_same_points(segmenter, left_handed):
    direction = rotation((25, -20, 35)) @ np.diag([1, 1, -1 if left_handed else 1])
    grid = grid_around(CENTRE, (60, 66, 36), (1.9, 1.7, 3.0), direction)
    assert grid.is_left_handed is left_handed
    labels = segmenter.segment({"T1w": sampled(two_balls, grid)}).modalities["T1w"].labels
    truth = true_labels(points_of(grid))
    assert min(dice(labels, truth, value) for value in (TISSUE, LEFT, RIGHT)) > 0.97


def test_two_volumes_of_different_grids_each_come_back_on_their_own(segmenter):
    volumes = {"T1w": sampled(two_balls, STRAIGHT), "T2w": sampled(two_balls, OBLIQUE, "T2w")}
    result = segmenter.segment(volumes)
    assert list(result.modalities) == ["T1w", "T2w"]
    for name, volume in volumes.items():
        own = result.modalities[name]
        assert own.labels.shape == volume.grid.shape_kji
        assert label_at(own.labels, volume.grid, BALLS[RIGHT]) == RIGHT
        assert min(dice(own.labels, true_labels(points_of(volume.grid)), value) for value in (TISSUE, RIGHT)) > 0.96


def test_the_first_modality_hardly_changes_when_the_second_is_displaced(segmenter):
    first = sampled(two_balls, STRAIGHT)
    turn = rotation((5, -5, 5))

    def displaced(points):
        return two_balls((points - CENTRE) @ turn + CENTRE + [5.0, -5.0, 5.0])

    aligned = segmenter.segment({"T1w": first, "T2w": sampled(two_balls, STRAIGHT, "T2w")}).modalities["T1w"]
    apart = segmenter.segment({"T1w": first, "T2w": sampled(displaced, OBLIQUE, "T2w")}).modalities["T1w"]
    assert min(dice(apart.labels, aligned.labels, value) for value in (TISSUE, LEFT, RIGHT)) > 0.99


def test_confidence_is_a_probability_and_lower_at_boundaries(straight_result):
    confidence = straight_result.confidence
    assert confidence.dtype == np.float32
    assert 0.25 <= confidence.min() < 0.9  # of four classes the best has at least a quarter
    assert confidence.max() <= 1.0
    assert label_at(confidence > 0.99, STRAIGHT, BALLS[RIGHT])


# --- modalities


def test_one_modality_alone_gives_only_its_own_result(segmenter, straight_result):
    result = segmenter.segment({"T2w": sampled(two_balls, STRAIGHT, "T2w")})
    assert list(result.modalities) == ["T2w"]
    assert np.array_equal(result.modalities["T2w"].labels, straight_result.labels)  # both heads are alike here


def test_an_absent_modality_is_not_the_same_as_an_empty_one(noise_segmenter):
    bundle, network = noise_segmenter.bundle, noise_segmenter.network
    volumes = torch.rand((2, 2, 24, 32, 30), generator=torch.Generator().manual_seed(1))
    empty = volumes.clone()
    empty[1, 0], empty[1, 1] = 0.0, 1.0
    alone = predict(network, model_input(volumes, (True, False)), windows_of(bundle), CPU, silent)
    without = predict(network, model_input(empty, (True, False)), windows_of(bundle), CPU, silent)
    both = predict(network, model_input(empty), windows_of(bundle), CPU, silent)
    assert set(alone) == {0}
    assert torch.equal(alone[0], without[0])  # what stands in the place of an absent modality does not count
    assert float((alone[0] - both[0]).abs().max()) > 0.01


def test_the_order_in_which_volumes_are_named_does_not_matter(noise_segmenter):
    grid = grid_around(CENTRE, (36, 40, 38), (3.0, 3.0, 3.0))
    volumes = {"T1w": sampled(two_balls, grid), "T2w": sampled(lambda points: 1000 - two_balls(points), grid, "T2w")}
    forth = noise_segmenter.segment(volumes).modalities
    back = noise_segmenter.segment(dict(reversed(volumes.items()))).modalities
    assert not np.array_equal(forth["T1w"].labels, forth["T2w"].labels)
    assert all(np.array_equal(forth[name].labels, back[name].labels) for name in volumes)


@pytest.mark.parametrize(("name", "slot"), [("T1w", 0), ("T2w", 1), ("t1W", 0), ("FLAIR", 1), ("flair", 1)])
def test_a_modality_goes_by_its_name_or_an_alias(bundle, name, slot):
    assert modality_slot(bundle, name) == slot


def test_an_unknown_modality_is_refused_with_the_known_ones(segmenter):
    with pytest.raises(InputError, match=r"unknown-modality.*CT.*T1w, T2w"):
        segmenter.segment({"CT": sampled(two_balls, STRAIGHT)})


def test_two_names_of_one_modality_are_refused(segmenter):
    volume = sampled(two_balls, STRAIGHT)
    with pytest.raises(InputError, match=r"same-modality.*T2w, FLAIR both stand for T2w"):
        segmenter.segment({"T2w": volume, "FLAIR": volume})


# --- sliding window


@pytest.mark.parametrize("shape", [(32, 40, 36), (33, 41, 37), (40, 90, 50), (7, 9, 8), (10, 80, 36)])
def test_a_constant_network_gives_a_constant_result_whatever_the_size(bundle, segmenter, shape):
    volumes = torch.ones((2, 2, *shape))
    volumes[:, 0] = 0.4
    probabilities = predict(segmenter.network, model_input(volumes), windows_of(bundle), CPU, silent)
    assert set(probabilities) == {0, 1}
    for values in probabilities.values():
        assert values.shape == (4, *shape)
        assert torch.allclose(values.sum(dim=0).float(), torch.ones(shape), atol=2e-3)  # windows add up to one
        assert float(values[1].min()) > 0.99


def test_where_nothing_is_covered_is_background_and_the_network_is_not_run(bundle, segmenter, monkeypatch):
    seen = []
    run = segmenter.network.features
    monkeypatch.setattr(segmenter.network, "features", lambda *inputs: seen.append(1) or run(*inputs))
    volumes = torch.zeros((2, 2, 32, 40, 144))
    volumes[0, 0, :, :, :20], volumes[0, 1, :, :, :20] = 0.4, 1.0
    values = predict(segmenter.network, model_input(volumes, (True, False)), windows_of(bundle), CPU, silent)[0]
    assert len(seen) == 2  # of the seven windows at 0, 18, 36 ... 108 those that start before 20
    assert float(values[0, :, :, 54:].min()) > 0.99
    assert float(values[1, :, :, :20].min()) > 0.99


@pytest.mark.parametrize("shape", [(20, 40, 66), (30, 20, 15)])
def test_the_network_is_told_its_place_in_the_body_in_every_window(bundle, segmenter, shape):
    """Left and right differ by the position channel alone, and the border between them is the middle of the grid."""
    volumes = torch.ones((2, 2, *shape))
    values = predict(segmenter.network, model_input(volumes), windows_of(bundle), CPU, silent)[0]
    left, right = values[2], values[3]
    middle = (shape[2] - 1) / 2
    columns = torch.arange(shape[2])
    assert bool((right > left)[:, :, columns > middle].all())
    assert bool((left > right)[:, :, columns < middle].all())


def test_progress_is_told_by_stage_and_fraction(segmenter):
    told = []
    segmenter.segment({"T1w": sampled(two_balls, STRAIGHT)}, lambda *what: told.append(what))
    stages = [stage for stage, _ in told]
    assert list(dict.fromkeys(stages)) == ["resampling", "network", "restoring"]
    fractions = [fraction for stage, fraction in told if stage == "network"]
    assert fractions == sorted(fractions)
    assert all(0 <= fraction <= 1 for fraction in fractions)


def test_stages_are_timed(segmenter):
    result = segmenter.segment({"T1w": sampled(two_balls, STRAIGHT)})
    assert list(result.seconds) == ["resampling", "network", "restoring"]
    assert result.device == "cpu"
    assert result.fallbacks == ()


# --- what can go wrong


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto").type == "cpu"
    with pytest.raises(DeviceError, match="no-gpu"):
        choose_device("cuda")


def fail_once(monkeypatch, name: str):
    """``inference.<name>`` runs out of memory the first time it is called."""
    real = getattr(inference, name)
    attempts = []

    def failing(*arguments):
        attempts.append(arguments)
        if len(attempts) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(*arguments)

    monkeypatch.setattr(inference, name, failing)
    return attempts


@pytest.mark.parametrize("step", ["predict", "restore"])
def test_without_memory_the_next_attempt_is_made_and_reported(segmenter, straight_result, monkeypatch, step):
    ladder = [replace(CPU, words="on the GPU"), CPU]
    monkeypatch.setattr(inference, "_attempts", lambda _device: iter(ladder))
    attempts = fail_once(monkeypatch, step)
    result = segmenter.segment({"T1w": sampled(two_balls, STRAIGHT)})
    assert len(attempts) == 2
    assert result.fallbacks == ("out of memory on the GPU",)
    assert np.array_equal(result.modalities["T1w"].labels, straight_result.labels)


def test_without_memory_on_the_last_attempt_the_error_says_what_was_tried(segmenter, monkeypatch):
    def fail(*_arguments):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(inference, "predict", fail)
    with pytest.raises(DeviceError, match=r"out-of-memory.*on the CPU"):
        segmenter.segment({"T1w": sampled(two_balls, STRAIGHT)})


def test_the_ladder_goes_from_the_gpu_over_main_memory_to_the_cpu():
    steps = [(step.device.type, step.accumulate.type) for step in inference._attempts(torch.device("cuda"))]
    assert steps == [("cuda", "cuda"), ("cuda", "cpu"), ("cpu", "cpu")]
    assert len(list(inference._attempts(torch.device("cpu")))) == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"network": {"classes": 4, "channels": [3], "stem_stride": 2}}, "weights do not fit"),
        ({"network": {"classes": 4, "layers": 7}}, "layers"),
        ({"patch_size": (24, 32, 26)}, "26"),
        ({"intensity": {"T1w": {"rule": "percentile"}, "T2w": {"percent": 3}}}, "percent"),
        ({"intensity": {"T1w": {"rule": "percentile"}, "T2w": {"rule": "rank"}}}, "rank"),
    ],
)
def test_a_bundle_whose_parts_do_not_fit_is_refused(noise_segmenter, changes, said):
    with pytest.raises(BundleError, match=rf"bundle-network.*{said}"):
        Segmenter(replace(noise_segmenter.bundle, **changes), "cpu")


def test_a_network_with_too_few_classes_for_the_label_map_is_refused(bundle):
    label_map = replace(bundle.label_map, structures=bundle.label_map.structures[:2])
    with pytest.raises(BundleError, match="4 classes for 2 structures"):
        load_network(replace(bundle, label_map=label_map))


def test_a_patch_of_a_single_cell_is_refused(bundle):
    stride = load_network(bundle).stride
    with pytest.raises(BundleError, match="single cell"):
        load_network(replace(bundle, patch_size=(stride,) * 3))


def test_swapped_weights_are_refused(bundle, noise_segmenter, tmp_path):
    folder = shutil.copytree(bundle.path, tmp_path / "swapped")
    shutil.copy(noise_segmenter.bundle.path / "models" / "model.safetensors", folder / "models")
    with pytest.raises(BundleError, match="bundle-network"):
        Segmenter(read_bundle(folder), "cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_gpu_gives_the_same_segmentation(bundle, straight_result):
    result = Segmenter(bundle, "cuda").segment({"T1w": sampled(two_balls, STRAIGHT)})
    on_gpu = result.modalities["T1w"]
    assert on_gpu.probabilities.device.type == "cpu"
    assert (on_gpu.labels == straight_result.labels).mean() > 0.9999


def test_islands_become_background_and_the_largest_piece_stays():
    probabilities = torch.zeros(3, 4, 5, 6)
    probabilities[0] = 1.0
    for channel, place in ((1, (slice(0, 2), slice(0, 2), slice(0, 2))), (2, (2, 0, 0)), (2, (3, 4, 5))):
        probabilities[(0, *place)] = 0.1
        probabilities[(channel, *place)] = 0.9
    inference.remove_islands(probabilities)
    labels = probabilities.argmax(dim=0)
    assert int((labels == 1).sum()) == 8
    assert labels[2, 0, 0] == 2  # another structure, but of the same piece
    assert probabilities[:, 3, 4, 5].tolist() == [1.0, 0.0, 0.0]


def test_a_bundle_of_one_piece_drops_what_lies_apart(bundle):
    apart = (slice(2, 5), slice(2, 5), slice(2, 5))  # in the air, in a corner
    scan = sampled(two_balls, STRAIGHT, "T1w")
    scan.array[apart] = 400.0
    kept = Segmenter(bundle, "cpu").segment({"T1w": scan}).modalities["T1w"]
    dropped = Segmenter(replace(bundle, single_component=True), "cpu").segment({"T1w": scan}).modalities["T1w"]
    assert kept.labels[apart].any()
    assert not dropped.labels[apart].any()
    elsewhere = np.ones(scan.array.shape, dtype=bool)
    elsewhere[:7, :7, :7] = False
    assert np.array_equal(kept.labels[elsewhere], dropped.labels[elsewhere])


def test_a_bundle_that_needs_both_scans_refuses_one_alone(bundle):
    scan = sampled(two_balls, STRAIGHT, "T2w")
    with pytest.raises(InputError, match=r"scan-missing.*needs both T1w and T2w; only T2w"):
        Segmenter(replace(bundle, requires_both=True), "cpu").segment({"T2w": scan})


def test_a_mirrored_prediction_has_left_and_right_in_their_places(bundle, segmenter):
    mirroring = replace(bundle, mirror=True)
    scan = sampled(two_balls, STRAIGHT, "T1w")
    straight = segmenter.segment({"T1w": scan}).modalities["T1w"].labels
    both = Segmenter(mirroring, "cpu").segment({"T1w": scan}).modalities["T1w"].labels
    for value in BALLS:
        assert dice(both, straight, value) > 0.99


def test_mirroring_makes_the_prediction_symmetric(noise_segmenter):
    """Of the scans mirrored left to right, it is the mirror image with the sides exchanged."""
    windows = Windows((24, 32, 24), 4, [0, 2, 1, 3])
    volumes = torch.rand((2, 2, 24, 32, 36), generator=torch.Generator().manual_seed(3))  # two windows side by side
    here = predict(noise_segmenter.network, model_input(volumes), windows, CPU, silent)
    there = predict(noise_segmenter.network, model_input(volumes.flip(-1)), windows, CPU, silent)
    for slot, one in here.items():
        assert float(one.std()) > 0.01
        assert torch.allclose(one.float(), there[slot].flip(-1)[[0, 2, 1, 3]].float(), atol=0.01)
