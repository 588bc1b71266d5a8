"""A model of each earlier version is loaded and segments as it did; the starter bundle is the one that was
published."""

from pathlib import Path

import numpy as np
import pytest

from CrossModalSegLib.bundles.bundle import load_bundle
from CrossModalSegLib.bundles.bundle_library import import_bundle
from CrossModalSegLib.inference.inference import Segmenter
from Testing.kept.versions import KEPT
from Testing.tiny_bundle import LEFT, RIGHT, TISSUE, dice, true_labels, two_balls
from Testing.volumes import grid_around, points_of, sampled

STARTER = Path(__file__).resolve().parents[2] / "CrossModalSeg" / "Resources" / "Bundles" / "brain-mr-pair"
GRID = grid_around((5.0, -10.0, 15.0), (27, 30, 28), (4.0, 4.0, 4.0))
ALL = pytest.mark.parametrize("kept", KEPT, ids=lambda kept: kept.folder.name)


@ALL
def test_the_model_is_whole_and_segments(kept):
    bundle = load_bundle(kept.bundles / "tiny")
    bundle.verify()
    assert bundle.sha256 == kept.facts["bundle"]
    scans = {modality: sampled(two_balls, GRID, modality) for modality in bundle.modalities}
    result = Segmenter(bundle, "cpu").segment(scans)
    truth = true_labels(points_of(GRID))
    for modality in bundle.modalities:
        labels = result.modalities[modality].labels
        assert set(np.unique(labels).tolist()) == {0, TISSUE, LEFT, RIGHT}
        assert min(dice(labels, truth, value) for value in (TISSUE, LEFT, RIGHT)) > 0.85, modality


@ALL
def test_the_model_that_a_site_has_made_names_its_parent_and_its_cases(kept):
    section = load_bundle(kept.folder / "site" / "models" / "tiny-site-1").metadata["crossmodalseg"]
    assert section["parent"] == kept.facts["bundle"]
    learnt = {kept.case(what) for what in ("corrected", "approved", "fork")}
    assert set(section["training"]["cases"]) == learnt


@ALL
def test_the_model_is_imported_into_the_user_s_own(kept, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("CROSSMODALSEG_BUNDLES", raising=False)
    assert import_bundle(kept.bundles / "tiny").sha256 == kept.facts["bundle"]


def test_the_starter_bundle_is_the_one_of_the_version_that_it_says():
    """Another one with the same version would be another model under the same name: results name both."""
    bundle = load_bundle(STARTER)
    bundle.verify()
    (first,) = [kept for kept in KEPT if kept.folder.name == "0.1.0"]
    if bundle.version == "0.1.0":
        assert bundle.sha256 == first.facts["starter bundle"]
    assert bundle.read_weights()
