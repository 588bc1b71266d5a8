"""The review list: entries as the report has them, steps, ticks, and a saved scene that keeps all of it."""

import pytest
from mrml_scene import save_and_reload
from scene_volumes import node_ids

from CrossModalSegApp.scene.review import ReviewEntry, ReviewList, add_review


def place(number, structure="left hippocampus", **changes):
    plain = {"number": number, "ras_mm": [1.25, -20.5, 3.0625], "structure": structure, "modalities": ["T1w", "T2w"]}
    return plain | {"reason": "disagreement", "severity": 0.75, "volume_ml": 0.512} | changes


PLACES = [place(1), place(2, "brain stem", modalities=["T2w"], reason="uncertain"), place(3, "Läppchen, links")]


@pytest.fixture
def review(mrml_scene):
    return add_review(mrml_scene, PLACES, "review")


def test_entries_are_those_of_the_report_in_its_order(review):
    assert [entry.number for entry in review.entries] == [1, 2, 3]
    assert review.entries[0] == ReviewEntry(
        number=1,
        structure="left hippocampus",
        modalities=("T1w", "T2w"),
        reason="disagreement",
        severity=0.75,
        volume_ml=0.512,
        ras_mm=(1.25, -20.5, 3.062),
    )
    assert (review.entries[1].modalities, review.entries[1].reason) == (("T2w",), "uncertain")
    assert review.entries[2].structure == "Läppchen, links"


def test_next_and_previous_step_through_and_stay_at_the_ends(review):
    assert review.current is None
    assert [review.next().number for _ in range(4)] == [1, 2, 3, 3]
    assert review.current.number == 3
    assert [review.previous().number for _ in range(3)] == [2, 1, 1]


def test_previous_begins_at_the_first_entry_too(review):
    assert review.previous().number == 1


def test_an_entry_can_be_gone_to_by_its_number(review):
    assert review.go_to(2) == review.entries[1]
    assert review.next().number == 3


def test_ticks_are_set_and_taken_back_one_by_one(review):
    review.tick(2)
    assert [review.is_ticked(number) for number in (1, 2, 3)] == [False, True, False]
    review.tick(2, False)
    assert not review.is_ticked(2)


@pytest.mark.parametrize("action", ["go_to", "tick", "is_ticked"])
def test_a_number_that_is_not_there_is_an_error(review, action):
    with pytest.raises(KeyError, match="no number 4"):
        getattr(review, action)(4)


def test_without_places_there_is_nowhere_to_go(mrml_scene):
    review = add_review(mrml_scene, [], "review")
    assert len(review) == 0
    assert review.entries == ()
    assert review.next() is None
    assert review.previous() is None


def test_a_report_that_makes_no_sense_leaves_nothing_behind(mrml_scene):
    before = node_ids(mrml_scene)
    with pytest.raises(KeyError):
        add_review(mrml_scene, [{"number": 1}], "review")
    assert node_ids(mrml_scene) == before


def test_a_second_view_of_the_same_list_sees_the_same(review):
    review.tick(3)
    review.go_to(2)
    other = ReviewList(review.table)
    assert other.is_ticked(3)
    assert other.current.number == 2


def test_a_saved_scene_keeps_entries_ticks_and_the_current_one(mrml_scene, review, tmp_path):
    review.tick(2)
    review.go_to(3)
    entries = review.entries
    save_and_reload(mrml_scene, tmp_path / "review.mrb")
    loaded = ReviewList(mrml_scene.GetFirstNodeByName("review"))
    assert loaded.entries == entries
    assert [loaded.is_ticked(number) for number in (1, 2, 3)] == [False, True, False]
    assert loaded.current.number == 3


@pytest.mark.parametrize("places", [[], PLACES[:1]])
def test_a_list_without_ticks_or_without_places_is_kept_too(mrml_scene, places, tmp_path):
    entries = add_review(mrml_scene, places, "review").entries
    save_and_reload(mrml_scene, tmp_path / "review.mrb")
    loaded = ReviewList(mrml_scene.GetFirstNodeByName("review"))
    assert loaded.entries == entries
    assert not any(loaded.is_ticked(entry.number) for entry in entries)
    assert loaded.current is None
