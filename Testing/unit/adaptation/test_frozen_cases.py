"""Frozen cases: a bundle's own travel with it, hashed; the starter bundle has the sample pair."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from CrossModalSegLib.adaptation.frozen_cases import (
    SAMPLE_PAIR,
    frozen_cases,
    frozen_files,
    translated_files,
    with_modalities,
)
from CrossModalSegLib.adaptation.label_mapping import LabelMapping
from CrossModalSegLib.adaptation.site_data import DataCase
from CrossModalSegLib.bundles.bundle import bundle_search_path, load_bundle, publish_bundle
from CrossModalSegLib.bundles.bundle_metadata import LOCATOR_FILE
from CrossModalSegLib.errors import BundleError
from CrossModalSegLib.imaging.segmentation_io import write_segmentation
from CrossModalSegLib.imaging.volume import write_volume
from CrossModalSegLib.labels import LabelMap, Structure
from Testing.tiny_bundle import LABEL_MAP, LEFT, RIGHT, TISSUE, intensity_bundle
from Testing.tiny_site import labels, scan, site_grid

SAME = {value: value for value in LABEL_MAP.values}


@pytest.fixture(scope="module")
def carrying(tmp_path_factory):
    """A bundle with one frozen case."""
    folder = tmp_path_factory.mktemp("frozen")
    plain, volume = intensity_bundle(folder / "plain", (16, 16, 16), 4.0), scan(0, "T1w")
    write_volume(folder / "T1w.nrrd", volume.array, volume.grid)
    write_segmentation(folder / "T1w.seg.nrrd", labels(0), site_grid(0), LABEL_MAP)
    files = {f"frozen/one/{name}": (folder / name).read_bytes() for name in ("T1w.nrrd", "T1w.seg.nrrd")}
    return publish_bundle(folder / "carrying", plain.metadata, plain.read_weights(), "A card.\n", more_files=files)


def test_a_bundle_s_own_frozen_cases_are_read_in_values_of_the_new_model(carrying):
    (case,) = frozen_cases(carrying, {TISSUE: TISSUE, LEFT: 5, RIGHT: RIGHT})
    assert (case.id, set(case.scans), case.values) == ("one", {"T1w"}, (TISSUE, 5, RIGHT))
    reference = case.reference()["T1w"][0]
    assert ((reference == 5) == (labels(0) == LEFT)).all()
    assert ((reference == RIGHT) == (labels(0) == RIGHT)).all()


def test_they_are_handed_on_as_they_are(carrying):
    assert set(frozen_files(carrying)) == {"frozen/one/T1w.nrrd", "frozen/one/T1w.seg.nrrd"}


def test_a_bundle_with_other_values_and_a_new_structure_gets_them_in_its_values_and_is_not_scored_on_the_new_one(
    carrying, tmp_path
):
    renumbered = [replace(one, value=5) if one.value == LEFT else one for one in LABEL_MAP.structures]
    site = LabelMap((*renumbered, Structure(9, "spot", (9, 9, 9))))
    mapping = LabelMapping(LABEL_MAP, site, {TISSUE: TISSUE, 5: LEFT, RIGHT: RIGHT, 9: None})
    first = frozen_cases(carrying, mapping.translation)
    metadata = json.loads(json.dumps(carrying.metadata))
    metadata["crossmodalseg"] |= {"label_map": site.to_json()}
    metadata["crossmodalseg"]["network"] |= {"classes": 5}
    grown = mapping.grow({name: torch.from_numpy(array) for name, array in carrying.read_weights().items()})
    weights = {name: tensor.numpy() for name, tensor in grown.items()}
    files = translated_files(first, site)
    child = publish_bundle(tmp_path / "child", metadata, weights, "A card.\n", more_files=files)
    (case,) = frozen_cases(child, {value: value for value in site.values})
    assert (case.id, set(case.scans), case.values) == ("one", {"T1w"}, (TISSUE, 5, RIGHT))
    assert np.array_equal(case.reference()["T1w"][0], np.where(labels(0) == LEFT, 5, labels(0)))
    assert case.scans["T1w"].read_bytes() == first[0].scans["T1w"].read_bytes()


def test_a_frozen_case_is_taken_with_the_scans_that_the_site_has_alone():
    scans, labels = ({name: Path(f"{name}{end}") for name in ("T1w", "T2w")} for end in (".nrrd", ".seg.nrrd"))
    case = DataCase("one", "one", scans, labels, (1,))
    assert with_modalities(case, {"T1w", "T2w", "CT"}) is case
    alone = with_modalities(case, {"T1w", "CT"})
    assert alone is not None
    assert (alone.id, set(alone.scans), set(alone.labels)) == ("one T1w", {"T1w"}, {"T1w"})
    assert with_modalities(replace(case, labels={"T2w": labels["T2w"]}), {"T1w"}) is None


def test_a_frozen_case_that_was_changed_is_a_damaged_bundle(carrying):
    file = carrying.path / "frozen" / "one" / "T1w.nrrd"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"?")
    with pytest.raises(BundleError, match="frozen/one/T1w"):
        load_bundle(carrying.path)
    file.write_bytes(content)


def test_a_bundle_without_any_has_none_unless_it_knows_the_structures_of_the_sample_pair(tmp_path):
    assert frozen_cases(intensity_bundle(tmp_path / "tiny"), SAME) == []
    starter = next(place for place in bundle_search_path() if (place / "brain-mr-pair").is_dir()) / "brain-mr-pair"
    whole = load_bundle(starter)
    locator = {LOCATOR_FILE: (starter / LOCATOR_FILE).read_bytes()}
    bundle = publish_bundle(tmp_path / "without", whole.metadata, whole.read_weights(), "", more_files=locator)
    (case,) = frozen_cases(bundle, {value: value for value in bundle.label_map.values})
    assert case.id == SAMPLE_PAIR
    assert set(case.scans) == {"T1w", "T2w"}
    assert set(case.labels) == {"T1w"}  # the labels are true for the T1w alone
