"""Exchanged structures are found by where the parent model sees them, and what is merely inaccurate is not."""

import numpy as np
import pytest

from CrossModalSegLib.adaptation.label_contradictions import (
    Exchange,
    confusion,
    exchanges,
    in_words,
    mutual,
    odd_cases,
)

VALUES, NAMES = (17, 300), {17: "left", 300: "right"}


def two_boxes(left: int = 17, right: int = 300, shift: int = 0) -> np.ndarray:
    labels = np.zeros((4, 8, 20), dtype=np.uint16)
    labels[:, 2:6, 1 + shift : 7 + shift], labels[:, 2:6, 11 + shift : 17 + shift] = left, right
    return labels


def test_the_confusion_is_the_dice_of_every_corrected_with_every_predicted_structure():
    matrix = confusion(two_boxes(shift=2), two_boxes(), VALUES)
    assert matrix == pytest.approx(np.array([[4 / 6, 0.0], [0.0, 4 / 6]]))


def test_a_structure_that_was_not_labelled_has_no_row():
    matrix = confusion(two_boxes(right=0), two_boxes(), VALUES)
    assert matrix[0, 0] == 1
    assert np.isnan(matrix[1]).all()


def test_other_labels_count_as_background():
    assert confusion(two_boxes(right=999), two_boxes(left=5), VALUES)[0, 0] == 0


def test_structures_that_take_each_other_s_place_are_found_and_named_once():
    exchanged = confusion(two_boxes(300, 17), two_boxes(), VALUES)
    found = exchanges({"a": exchanged, "b": exchanged}, VALUES)
    assert in_words(found, NAMES) == ['"left" and "right" look exchanged in 2 of 2 corrected scans']
    assert mutual(found) == found


def test_labels_that_differ_much_but_lie_at_their_own_place_are_no_exchange():
    assert exchanges({"a": confusion(two_boxes(shift=3), two_boxes(), VALUES)}, VALUES) == []


def test_one_case_of_four_is_a_slip_and_two_are_not():
    right, wrong = (confusion(two_boxes(*labels), two_boxes(), VALUES) for labels in ((17, 300), (300, 17)))
    assert exchanges({"a": right, "b": wrong, "c": right, "d": right}, VALUES) == []
    assert len(exchanges({"a": right, "b": wrong, "c": wrong, "d": right}, VALUES)) == 2


def test_a_structure_labelled_by_another_s_name_is_told_one_way():
    both_left = two_boxes(17, 17)
    both_left[:, :, :10] = 0
    found = exchanges({"a": confusion(both_left, two_boxes(), VALUES)}, VALUES)
    assert in_words(found, NAMES) == ['what is labelled "left" lies on the model\'s "right" in 1 of 1 corrected scans']
    assert mutual(found) == []


def test_a_ring_of_structures_is_an_exchange_and_what_hangs_on_it_is_not():
    ring = [Exchange(value, other, ("a",), 1) for value, other in ((1, 2), (2, 3), (3, 1))]
    assert mutual([*ring, Exchange(4, 1, ("a",), 1)]) == ring


def test_a_case_whose_corrections_fit_its_scan_far_worse_than_the_others_is_named():
    (words,) = odd_cases({"a": 0.75, "b": 0.44, "c": 0.78, "d": 0.70})
    assert words.startswith("the corrections of case b agree with the model by 0.44, those of the others by 0.75")
    assert odd_cases({"a": 0.75, "b": 0.46, "c": 0.78, "d": 0.70}) == []
    assert len(odd_cases({"a": 0.75, "b": 0.1})) == 1
    assert odd_cases({"a": 0.1}) == odd_cases({}) == []
    assert odd_cases({"a": 0.0, "b": 0.0}) == [], "a structure that the parent does not have"
