"""A locator: the model looks at the anatomy alone, and what lies elsewhere is never labelled."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from CrossModalSegLib.adaptation.label_mapping import same_structures
from CrossModalSegLib.adaptation.site_data import DataCase, prepared
from CrossModalSegLib.bundles.bundle import load_bundle, read_bundle
from CrossModalSegLib.bundles.bundle_metadata import LOCATOR_FILE
from CrossModalSegLib.errors import BundleError
from CrossModalSegLib.imaging.geometry import cut_grid, model_grid
from CrossModalSegLib.imaging.volume import Volume, write_volume
from CrossModalSegLib.inference.inference import NOT_FOUND, Segmenter
from CrossModalSegLib.inference.locator import Located
from CrossModalSegLib.training.config import NetworkConfig, TrainingConfig
from CrossModalSegLib.training.trained_bundle import TrainedModel, publish_trained
from Testing.tiny_bundle import HEAD_CENTRE, LEFT, RIGHT, TISSUE, intensity_bundle, two_balls
from Testing.volumes import grid_around, points_of, sampled

WIDE = grid_around(HEAD_CENTRE, (90, 64, 60), (2.0, 2.0, 2.0))


def with_something_else(points: np.ndarray) -> np.ndarray:
    """The head with two balls, and a bar of tissue 16 mm to the right of it."""
    bar = (np.abs(points[..., 0] - (HEAD_CENTRE[0] + 64)) < 6) & (np.abs(points - HEAD_CENTRE)[..., 1:] < 30).all(
        axis=-1
    )
    return np.where(bar, 400.0, two_balls(points))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return intensity_bundle(tmp_path_factory.mktemp("bundles") / "located", located=True)


@pytest.fixture(scope="module")
def segmenter(bundle):
    return Segmenter(bundle, "cpu")


def test_what_lies_elsewhere_is_labelled_without_a_locator_and_not_with_one(bundle, segmenter):
    scan = sampled(with_something_else, WIDE)
    elsewhere = points_of(WIDE)[..., 0] > HEAD_CENTRE[0] + 52
    everywhere = Segmenter(replace(bundle, locator=None), "cpu").segment({"T1w": scan})
    located = segmenter.segment({"T1w": scan})
    assert (everywhere.modalities["T1w"].labels[elsewhere] == TISSUE).sum() > 1000
    assert not located.modalities["T1w"].labels[elsewhere].any()
    assert located.fallbacks == ()


def test_the_model_sees_the_anatomy_alone_and_tells_sides_from_its_middle(segmenter):
    """The bar moves the body's middle by 15 mm to the right, and with it what counts as left; the anatomy's it does
    not."""
    plain = segmenter.segment({"T1w": sampled(two_balls, WIDE)})
    result = segmenter.segment({"T1w": sampled(with_something_else, WIDE)})
    assert result.model_grid.shape_kji == plain.model_grid.shape_kji
    assert np.prod(result.model_grid.shape_kji) < 0.8 * np.prod(
        model_grid([sampled(with_something_else, WIDE)], (2.0,) * 3).shape_kji
    )
    for value in (LEFT, RIGHT):
        assert np.array_equal(result.modalities["T1w"].labels == value, plain.modalities["T1w"].labels == value)


def test_where_no_anatomy_is_found_the_whole_scan_is_looked_at_and_that_is_told(segmenter):
    dark = Volume(sampled(two_balls, WIDE).array * 0.15, WIDE, "T1w")
    result = segmenter.segment({"T1w": dark})
    assert result.fallbacks == (NOT_FOUND,)


def test_nothing_further_from_the_anatomy_than_the_reach_is_labelled():
    grid = grid_around((0, 0, 0), (41, 3, 3), (1.0, 1.0, 1.0))
    distance = np.abs(points_of(grid)[..., 0]).astype(np.float32)  # from the plane x = 0
    within = Located(distance, grid, np.zeros((2, 3)), 5.0).within(grid).numpy()
    assert np.array_equal(within[1, 1], distance[1, 1] <= 5.0)


def test_a_grid_is_cut_to_whole_voxels_around_a_box():
    grid = grid_around((0, 0, 0), (20, 10, 6), (2.0, 2.0, 2.0))  # edges at ±20, ±10, ±6 mm
    part, (k, j, i) = cut_grid(grid, np.array([[-7.0, -40.0, 0.0], [9.5, 3.0, 2.0]]))
    assert (i, j, k) == (slice(6, 15), slice(0, 7), slice(3, 4))  # from -8 to 10, from -10 to 4, from 0 to 2 mm
    assert part.shape_ijk == (9, 7, 1)
    assert np.allclose(points_of(part), points_of(grid)[k, j, i])


def test_a_box_beside_the_grid_leaves_one_voxel():
    grid = grid_around((0, 0, 0), (4, 4, 4), (2.0, 2.0, 2.0))
    assert cut_grid(grid, np.array([[50.0] * 3, [60.0] * 3]))[0].shape_kji == (1, 1, 1)


def copied(bundle, folder, **changes):
    """The bundle with other locator settings, hashes as they were."""
    shutil.copytree(bundle.path, folder)
    file = folder / "configs" / "metadata.json"
    content = json.loads(file.read_text())
    content["crossmodalseg"]["locator"] |= changes
    file.write_text(json.dumps(content))
    (folder / "configs" / "metadata.sha256").unlink()
    return folder


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"spacing_mm": 0}, "locator.spacing_mm 0 is no length above 0"),
        ({"reach_mm": "far"}, "locator.reach_mm far"),
        ({"threshold": 1.5}, "locator.threshold 1.5"),
        ({"patch_size": [32, 32]}, "locator.patch_size"),
        ({"network": 5}, "locator.network 5"),
    ],
)
def test_settings_of_a_locator_that_cannot_be_are_refused(bundle, tmp_path, changes, said):
    with pytest.raises(BundleError, match=rf"bundle-invalid.*{said}"):
        read_bundle(copied(bundle, tmp_path / "copy", **changes))


def test_a_locator_whose_weights_are_damaged_or_do_not_fit_is_refused(bundle, tmp_path):
    folder = copied(bundle, tmp_path / "other", network={"classes": 2, "channels": [2], "stem_stride": 1})
    with pytest.raises(BundleError, match=r"bundle-network.*do not fit the locator"):
        Segmenter(load_bundle(folder), "cpu")
    file = folder / LOCATOR_FILE
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(BundleError, match=rf"bundle-corrupt.*{LOCATOR_FILE}"):
        load_bundle(folder)
    file.unlink()
    with pytest.raises(BundleError, match=rf"bundle-corrupt.*{LOCATOR_FILE}"):
        load_bundle(folder)


def test_a_model_that_is_trained_from_a_bundle_with_a_locator_has_it_too(bundle, tmp_path):
    weights = {name: torch.from_numpy(array) for name, array in bundle.read_weights().items()}
    config = TrainingConfig(network=NetworkConfig((3,), 1, "gated"), modalities=("T1w", "T2w"), patch=(32, 40, 36))
    model = TrainedModel(config, bundle.label_map, weights, {}, locator=bundle.read_locator())
    child = publish_trained(tmp_path / "child", model)
    assert child.locator == bundle.locator
    assert (child.path / LOCATOR_FILE).read_bytes() == (bundle.path / LOCATOR_FILE).read_bytes()
    load_bundle(child.path)  # its hash is among those that are checked


def test_a_case_to_learn_from_is_what_the_model_will_see(bundle, tmp_path):
    scan = sampled(with_something_else, WIDE)
    case = DataCase("1", "p", {"T1w": tmp_path / "scan.nrrd"}, {}, ())
    write_volume(tmp_path / "scan.nrrd", scan.array, scan.grid)
    made = prepared(case, bundle, same_structures(bundle.label_map, bundle.label_map), None)
    seen = Segmenter(bundle, "cpu").segment({"T1w": scan}).model_grid
    assert made.images.shape[1:] == seen.shape_kji
