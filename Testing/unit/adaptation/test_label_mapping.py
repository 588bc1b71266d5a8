"""Label mappings: what is renamed, renumbered or new, and how the heads grow for it."""

import json

import numpy as np
import pytest
import torch

from CrossModalSegLib.adaptation.label_mapping import LabelMapping, propose_mapping, read_mapping, same_structures
from CrossModalSegLib.errors import LabelError
from CrossModalSegLib.label_translation import relabel
from CrossModalSegLib.labels import LabelMap, Structure
from CrossModalSegLib.network import CrossModalNetwork


def label_map(**values: int) -> LabelMap:
    return LabelMap(tuple(Structure(value, name, (1, 2, 3)) for name, value in values.items()))


BASE = label_map(left=17, right=53, stem=16)


def test_new_structures_come_after_those_of_the_base_which_keep_their_order():
    mapping = LabelMapping(BASE, label_map(tumour=500, lefty=1), {500: None, 1: 17})
    assert [(one.value, one.name) for one in mapping.label_map.structures] == [
        (1, "lefty"),
        (53, "right"),
        (16, "stem"),
        (500, "tumour"),
    ]
    assert mapping.translation == {17: 1, 53: 53, 16: 16}
    assert relabel(np.array([0, 17, 53]), mapping.translation).tolist() == [0, 1, 53]
    assert not mapping.is_identity


def test_what_the_site_does_not_label_comes_from_the_parent_and_never_over_a_correction():
    mapping = LabelMapping(BASE, label_map(left=17, tumour=500), {17: 17, 500: None})
    corrected, predicted = np.array([500, 17, 0, 0, 0]), np.array([53, 53, 53, 17, 0])
    # the last but one: the site labels "left", and says that there is none
    assert mapping.complete(corrected, predicted).tolist() == [500, 17, 53, 0, 0]


def test_the_heads_grow_by_a_rarer_copy_of_what_a_new_structure_begins_as():
    network = CrossModalNetwork(4, (3, 4), stem_stride=2)
    mapping = LabelMapping(BASE, label_map(tumour=500, cyst=501), {500: None, 501: None}, {500: 53})
    grown = CrossModalNetwork(6, (3, 4), stem_stride=2)
    grown.load_state_dict(mapping.grow(network.state_dict()))
    volumes, position = torch.rand(1, 2, 2, 8, 8, 8), torch.zeros(1, 3, 8, 8, 8)
    presence = torch.tensor([[True, True]])
    with torch.no_grad():
        before, after = network(volumes, position, presence), grown(volumes, position, presence)
    for old, new in zip(before, after, strict=True):
        assert torch.equal(new[:, :4], old)
        assert torch.allclose(new[:, 4], old[:, 2] - 2.0, atol=1e-5)  # 53 is channel 2
        assert torch.allclose(new[:, 5], old[:, 0] - 2.0, atol=1e-5)  # background


def test_the_same_structures_need_no_mapping_and_others_are_named():
    assert same_structures(BASE, label_map(right=53)).label_map.values == BASE.values
    assert same_structures(BASE, BASE).is_identity
    with pytest.raises(LabelError, match='no 53 "tumour"'):
        same_structures(BASE, label_map(tumour=53))


def test_a_proposal_goes_by_names():
    mapping = propose_mapping(BASE, LabelMap((Structure(1, "Left ", (0, 0, 0)), Structure(2, "cyst", (0, 0, 0)))))
    assert mapping.origin == {1: 17, 2: None}
    assert mapping.in_words() == [
        '"left" (17) becomes "Left " (1)',
        'new structure "cyst" (2), whose head begins as background',
        "not labelled by the site, taken from the parent's segmentation: right, stem",
    ]


def test_a_mapping_survives_its_file(tmp_path):
    mapping = LabelMapping(BASE, label_map(tumour=500, left=17), {500: None, 17: 17}, {500: 53})
    (tmp_path / "mapping.json").write_text(json.dumps(mapping.to_json()))
    assert read_mapping(tmp_path / "mapping.json", mapping.base, mapping.site) == mapping


@pytest.mark.parametrize(
    ("origin", "start", "said"),
    [
        ({}, {}, "17 is not mapped"),
        ({17: 99}, {}, "the bundle has no 99"),
        ({17: 17, 4: None}, {}, "the site has no 4"),
        ({17: 17}, {17: 53}, "17 begins as another structure, but is not new"),
        ({17: 53}, {}, "17"),  # the base's own 17 would be there twice
    ],
)
def test_a_mapping_that_cannot_be_is_refused(origin, start, said):
    with pytest.raises(LabelError, match=said):
        LabelMapping(BASE, label_map(left=17), origin, start)


SIDED = label_map(**{"left ball": 17, "right ball": 53, "stem": 16})


def test_names_that_keep_their_sides_are_fit_for_a_bundle_that_mirrors():
    renamed = label_map(**{"left bulb": 1, "right bulb": 2, "left cyst": 3, "right cyst": 4, "L4 root, lower": 5})
    LabelMapping(SIDED, renamed, {1: 17, 2: 53, 3: None, 4: None, 5: None}).require_sides()
    same_structures(SIDED, SIDED).require_sides()


@pytest.mark.parametrize(
    ("names", "origin", "said"),
    [
        (("Left-Ball", "Right-Ball"), (17, 53), "do not tell left from right: Left-Ball, Right-Ball"),
        (("ball L", "ball R"), (17, 53), "ball L, ball R"),
        (("left bulb", "right ball"), (17, 53), "there is no right bulb, left ball in the label map"),
        (("right ball", "left stem"), (53, None), "there is no right stem"),
        (("cyst L", "cyst_R"), (None, None), "cyst L, cyst_R"),
        (("LeftCyst", "rh-cyst"), (None, None), "LeftCyst, rh-cyst"),
    ],
)
def test_names_that_lose_a_side_are_refused_for_a_bundle_that_mirrors(names, origin, said):
    mapping = LabelMapping(SIDED, label_map(**{names[0]: 1, names[1]: 2}), {1: origin[0], 2: origin[1]})
    with pytest.raises(LabelError, match=said) as refused:
        mapping.require_sides()
    assert refused.value.code == "sides-lost"


def test_a_file_that_holds_no_mapping_is_refused(tmp_path):
    (tmp_path / "mapping.json").write_text("[]")
    with pytest.raises(LabelError, match=r"mapping\.json"):
        read_mapping(tmp_path / "mapping.json", BASE, BASE)
