"""The frozen cases that the starter's publishing step puts into the bundle: crops of synthetic scans in several
contrasts."""

import importlib.util
import statistics
from pathlib import Path

import numpy as np
import pytest

from CrossModalSegLib.adaptation.frozen_cases import frozen_cases
from CrossModalSegLib.adaptation.scoring import CaseScorer
from CrossModalSegLib.bundles.bundle import bundle_search_path, load_bundle
from CrossModalSegLib.imaging.volume import read_volume
from CrossModalSegLib.inference.inference import Segmenter

STEP = Path(__file__).parents[3] / "training_cli" / "publish_starter.py"


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    spec = importlib.util.spec_from_file_location("publish_starter", STEP)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.frozen_files()


@pytest.fixture(scope="module")
def carrying(files):
    """The starter bundle, which carries them."""
    starter = load_bundle(next(p for p in bundle_search_path() if (p / "brain-mr-pair").is_dir()) / "brain-mr-pair")
    assert {name: (starter.path / name).read_bytes() for name in files} == files
    return starter


@pytest.fixture(scope="module")
def cases(carrying):
    return frozen_cases(carrying, {value: value for value in carrying.label_map.values})


def test_they_are_pairs_and_single_scans_of_several_contrasts_and_small(files, cases):
    assert {case.id: tuple(sorted(case.scans)) for case in cases} == {
        "map-18-t1w-t2w": ("T1w", "T2w"),
        "map-19-flair": ("T2w",),
        "map-19-t1w": ("T1w",),
        "map-20-t1w-flair": ("T1w", "T2w"),
    }
    assert sum(map(len, files.values())) < 1_000_000


def test_their_contrasts_are_those_of_their_names(cases):
    """Fluid is dark in T1w and FLAIR and bright in T2w; white matter is the brightest in T1w."""
    for case in cases:
        volumes, references = case.volumes(), case.reference()
        for name, volume in volumes.items():
            labels, grid = references[name]
            assert grid.is_close(volume.grid)
            white, fluid, cortex = (
                float(volume.array[np.isin(labels, of)].mean()) for of in ([2, 41], [4, 43], [3, 42])
            )
            if name == "T1w":
                assert white > cortex > fluid
            elif "t2w" in case.id:
                assert fluid > cortex > white
            else:
                assert cortex > fluid


def test_a_structure_that_is_cut_away_is_not_asked_for(cases):
    for case in cases:
        shown = set.intersection(*(set(np.unique(labels).tolist()) - {0} for labels, _ in case.reference().values()))
        assert set(case.values) <= shown
        assert len(case.values) >= 28


def test_the_starter_segments_them_as_well_as_whole_scans(cases, carrying, tmp_path):
    scorer = CaseScorer(Segmenter(carrying, "cpu"), {}, carrying.label_map, tmp_path)
    (t1w,) = scorer.score(next(case for case in cases if case.id == "map-19-t1w")).values()
    assert statistics.fmean(numbers["dice"] for numbers in t1w.values()) > 0.7


def test_a_scan_is_what_its_file_says(cases):
    for case in cases:
        for name, path in case.scans.items():
            assert read_volume(path, name).grid.spacing_ijk == pytest.approx((1.5, 1.5, 1.5))
