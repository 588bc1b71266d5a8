"""Which case next: promising ones first, unlike each other, and unlike those that are done."""

import json
from types import SimpleNamespace

import pytest

from CrossModalSegLib.errors import DataError
from CrossModalSegLib.site.work_list import CaseScore, Ranking, greedy_order, read_ranking, work_list, write_ranking


def order_of(waiting, done=(), limit=None):
    return [index for index, _gain in greedy_order(waiting, done, limit)]


def test_without_features_the_order_is_that_of_the_scores():
    scores = [CaseScore(0.1, 0.1), CaseScore(0.9, 0.8), CaseScore(0.5, 0.2)]
    assert order_of(scores) == [1, 2, 0]
    assert order_of(scores, limit=1) == [1]


def test_both_scores_count_alike_whatever_their_units():
    """Ranks of uncertainty 0, 1/2, 1 and of disagreement 1, 1/2, 0: all equal, so the first comes first."""
    gains = greedy_order([CaseScore(1, 900), CaseScore(2, 800), CaseScore(3, 700)], [])
    assert gains == [(0, 0.5), (1, 0.5), (2, 0.5)]


def test_a_twin_of_the_first_waits_for_one_that_is_unlike_it():
    """Ranks 1, 2/3, 1/3, 0. After the first, its twin gains 2/3, and the other one 1/3 + 1/2 for its distance."""
    scores = [CaseScore(3, 3, (0.0,)), CaseScore(2, 2, (0.0,)), CaseScore(1.9, 1.9, (5.0,)), CaseScore(0, 0, (0.0,))]
    assert order_of(scores) == [0, 2, 1, 3]


def test_cases_like_those_that_are_done_already_come_later():
    waiting = [CaseScore(1, 1, (0.0, 1.0)), CaseScore(1, 1, (4.0, 1.0))]
    assert order_of(waiting, [CaseScore(0, 0, (0.0, 1.0))]) == [1, 0]
    assert order_of(waiting, [CaseScore(0, 0, (4.0, 1.0))]) == [0, 1]


def test_no_case_or_one_case_is_a_list_too():
    assert order_of([]) == []
    assert greedy_order([CaseScore(0, 0, (1.0,))], []) == [(0, 0.5)]


def case(name, trusted=None, is_excluded=False, patient=""):
    return SimpleNamespace(id=name, trusted=trusted, is_excluded=is_excluded, patient=patient)


def test_corrected_cases_are_not_listed_and_those_without_scores_come_last():
    cases = [case("a"), case("b", trusted="revision"), case("c"), case("d"), case("out", is_excluded=True)]
    ranking = Ranking(
        "model", {"b": CaseScore(9, 9), "c": CaseScore(1, 1), "d": CaseScore(2, 2), "gone": CaseScore(3, 3)}
    )
    items = work_list(cases, ranking)
    assert [item.case.id for item in items] == ["d", "c", "a"]
    assert [item.reason for item in items] == [
        "uncertainty 2, disagreement 2",
        "uncertainty 1, disagreement 1",
        "not scored yet",
    ]
    assert [item.case.id for item in work_list(cases, ranking, 2)] == ["d", "c"]


def site_with(others_corrected):
    """A patient of whom the model has learnt, with a corrected case and a waiting one; corrected ones that it does not
    know; three waiting cases of two such patients; one whose patient nobody knows."""
    cases = [case("done", "revision", patient="learnt"), case("a", patient="learnt")]
    cases += [case(f"judge {n}", "revision", patient=f"other {n}") for n in range(others_corrected)]
    return [*cases, case("b", patient="x"), case("c", patient="x"), case("d", patient="y"), case("e")]


RANKED = Ranking("model", {name: CaseScore(9 - place, 9 - place) for place, name in enumerate("abcde")})


@pytest.mark.parametrize(("others_corrected", "expected"), [(0, "bdace"), (1, "bacde"), (2, "abcde"), (3, "abcde")])
def test_patients_whom_the_model_does_not_know_come_first_until_two_are_corrected(others_corrected, expected):
    items = work_list(site_with(others_corrected), RANKED, learnt={"learnt"})
    assert "".join(item.case.id for item in items) == expected
    judges = [item for item in items if item.judges]
    assert "".join(item.case.id for item in judges) == expected[: max(0, 2 - others_corrected)]
    assert all(item.reason.startswith("not known to the model, to judge the next one; uncertainty ") for item in judges)


def test_of_an_unknown_patient_the_most_promising_case_comes_first():
    scores = {
        "a": CaseScore(9, 9),
        "b": CaseScore(1, 1),
        "c": CaseScore(8, 8),
        "d": CaseScore(2, 2),
        "e": CaseScore(0, 0),
    }
    items = work_list(site_with(1), Ranking("model", scores), learnt={"learnt"})
    assert [item.case.id for item in items] == ["c", "a", "d", "b", "e"]


def test_a_corrected_case_that_is_excluded_judges_nothing():
    cases = [*site_with(1), case("out", "revision", is_excluded=True, patient="another")]
    assert [item.case.id for item in work_list(cases, RANKED, learnt={"learnt"})] == ["b", "a", "c", "d", "e"]


def test_where_no_model_has_learnt_here_all_cases_are_alike():
    assert [item.case.id for item in work_list(site_with(0), RANKED)] == list("abcde")


def test_a_short_list_has_the_unknown_ones_and_no_more():
    assert [item.case.id for item in work_list(site_with(0), RANKED, 1, {"learnt"})] == ["b"]
    assert [item.case.id for item in work_list(site_with(0), Ranking("", {}), 3, {"learnt"})] == ["b", "d", "a"]


def test_a_ranking_is_read_back_as_it_was_written(tmp_path):
    ranking = Ranking("model 1.0", {"a": CaseScore(0.25, 0.5, (1.0, 2.0)), "b": CaseScore(0.0, 0.0, (0.0, -1.5))})
    write_ranking(tmp_path, ranking)
    assert read_ranking(tmp_path) == ranking
    assert read_ranking(tmp_path / "another") == Ranking("", {})


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"scores": {}}', '{"model": "m", "scores": {"a": {"uncertainty": 1}}}', '{"model": 1, "scores": 2}'],
)
def test_a_damaged_ranking_is_refused(tmp_path, content):
    (tmp_path / "ranking.json").write_text(content)
    with pytest.raises(DataError, match="bad-ranking"):
        read_ranking(tmp_path)


def test_numbers_that_are_none_are_refused(tmp_path):
    with pytest.raises(DataError, match="bad-ranking"):
        CaseScore(float("nan"), 0)
    with pytest.raises(DataError, match="bad-ranking"):
        CaseScore(0, -1)
    scores = {"a": {"uncertainty": 1, "disagreement": 1, "features": [float("inf")]}}
    (tmp_path / "ranking.json").write_text(json.dumps({"model": "m", "scores": scores}))
    with pytest.raises(DataError, match="bad-ranking"):
        read_ranking(tmp_path)
    with pytest.raises(DataError, match="features"):
        greedy_order([CaseScore(1, 1, (1.0,)), CaseScore(1, 1)], [])
