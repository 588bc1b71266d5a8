"""Names decide where both sides have them; property by property, and against a translation done voxel by voxel."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from CrossModalSegLib.errors import LabelError
from CrossModalSegLib.label_translation import by_names, in_values_of, joined, relabel
from CrossModalSegLib.labels import LabelMap, Structure

NAMES = ("left hippocampus", "right hippocampus", "brain stem", "Tumor", "tumor core", "CSF")


def label_map(**values):
    """Underscores in names are spaces."""
    return LabelMap(tuple(Structure(value, name.replace("_", " "), (1, 2, 3)) for name, value in values.items()))


maps = st.lists(st.sampled_from(NAMES), min_size=1, unique=True).flatmap(
    lambda names: st.lists(st.integers(1, 300), min_size=len(names), max_size=len(names), unique=True).map(
        lambda values: LabelMap(tuple(Structure(v, n, (0, 0, 0)) for v, n in zip(values, names, strict=True)))
    )
)


@given(maps, maps, st.randoms(use_true_random=False))
def test_each_voxel_keeps_its_name_or_is_told_as_missing(own, wanted, random):
    labels = np.array([random.choice(own.channels) for _ in range(60)])
    found = by_names(labels, own, wanted)
    names = {0: "", **{one.value: one.name for one in wanted.structures}}
    known = {one.name for one in wanted.structures}
    for before, after in zip(labels.tolist(), found.labels.tolist(), strict=True):
        name = own.by_value(before).name if before else ""
        assert names[after] == (name if name in known else "")
    missing = {one.name for one in found.missing}
    assert missing == {own.by_value(value).name for value in set(labels.tolist()) - {0}} - known


@given(st.lists(maps, min_size=1, max_size=4))
def test_joined_maps_have_each_name_once_and_each_value_once(each):
    common = joined(each)
    assert {one.name for one in common.structures} == {one.name for some in each for one in some.structures}
    assert len(set(common.values)) == len(common.values)
    assert all(common.by_name(one.name).value == one.value for one in each[0].structures)


def test_exchanged_values_are_exchanged_back():
    own, wanted = label_map(left=1, right=2), label_map(right=1, left=2)
    assert by_names(np.array([0, 1, 2, 1]), own, wanted).labels.tolist() == [0, 2, 1, 2]


def test_capitals_and_spaces_do_not_matter_where_names_are_told_apart_without():
    own = label_map(Left__Hippocampus=5)
    assert by_names(np.array([5]), own, label_map(left_hippocampus=17)).labels.tolist() == [17]
    both = LabelMap((Structure(1, "A", (0, 0, 0)), Structure(2, "a", (0, 0, 0))))
    assert by_names(np.array([1, 2]), both, both).labels.tolist() == [1, 2]


def test_two_structures_that_would_become_one_are_refused():
    own = LabelMap((Structure(1, "Liver", (0, 0, 0)), Structure(2, "liver ", (0, 0, 0))))
    with pytest.raises(LabelError, match="ambiguous-names"):
        by_names(np.array([1, 2]), own, label_map(liver=1, spleen=2))


def test_values_that_the_file_does_not_name_are_refused():
    with pytest.raises(LabelError, match=r"unknown-label-values.*voxels hold 9"):
        by_names(np.array([1, 9]), label_map(liver=1), label_map(liver=1))


def test_all_structures_that_are_unknown_are_named():
    own = label_map(liver=1, tumour=2, cyst=3)
    with pytest.raises(LabelError, match=r"unknown-label.*a\.seg\.nrrd.*'tumour', 'cyst'"):
        in_values_of(np.array([1, 2, 3]), own, label_map(liver=4), "a.seg.nrrd")
    assert in_values_of(np.array([1, 2, 3]), None, label_map(liver=4), "a.nii.gz").tolist() == [1, 2, 3]


def test_relabelling_follows_the_table_and_leaves_nothing_that_it_does_not_have():
    labels = np.array([0, 1, 300, 255, -4], np.int16)
    assert relabel(labels, {1: 7, 300: 1, 2: 9}).tolist() == [0, 7, 1, 0, 0]
    assert relabel(np.array([5, 255], np.uint8), {5: 2, 1000: 3}).tolist() == [2, 0]
    assert relabel(labels, {}).tolist() == [0] * 5
    assert relabel(labels, {1: 300}).dtype == np.uint16
