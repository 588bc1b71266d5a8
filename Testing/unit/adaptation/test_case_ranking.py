"""Which case next: what a model is unsure of and where its modalities disagree, in numbers worked by hand."""

import json
import math

import pytest
import torch

from CrossModalSegLib.adaptation.case_ranking import disagreement, rank_site, uncertainty
from CrossModalSegLib.cli import main
from CrossModalSegLib.inference.inference import Segmenter
from CrossModalSegLib.site.work_list import read_ranking, work_list
from Testing.tiny_bundle import intensity_bundle
from Testing.tiny_site import make_site


def certain(labels: list[int]) -> torch.Tensor:
    """(3, 1, 1, n) one-hot probabilities."""
    return torch.nn.functional.one_hot(torch.tensor(labels), 3).T.float().view(3, 1, 1, -1)


def test_what_is_certain_has_no_uncertainty_and_an_even_choice_has_all_of_it():
    even = torch.full((3, 1, 1, 4), 1 / 3)
    assert uncertainty([certain([0, 1, 2, 2])]) == pytest.approx(0, abs=1e-5)
    assert uncertainty([even]) == pytest.approx(1)
    assert uncertainty([even, certain([1, 1])]) == pytest.approx(0.5)


def test_certain_background_does_not_dilute_the_uncertainty():
    half = torch.tensor([0.0, 0.5, 0.5]).view(3, 1, 1, 1)
    padded = torch.cat([certain([0] * 99), half], dim=3)
    assert uncertainty([padded]) == pytest.approx(math.log(2) / math.log(3))
    assert uncertainty([certain([0, 0])]) == 0


def test_the_disagreement_is_one_minus_the_mean_dice_of_the_structures_that_either_shows():
    first, second = certain([1, 1, 2, 0]), certain([1, 0, 0, 0])
    assert disagreement({"T1w": first, "T2w": second}) == pytest.approx(1 - (2 / 3 + 0) / 2)
    assert disagreement({"T1w": first, "T2w": first}) == 0
    assert disagreement({"T1w": first}) == 0


def test_a_site_is_ranked_and_going_on_scores_only_what_is_missing(tmp_path):
    segmenter = Segmenter(intensity_bundle(tmp_path / "tiny", (16, 16, 16), 4.0), "cpu")
    store = make_site(tmp_path / "site", 1, 2)
    told: list[tuple[int, int]] = []
    rank_site(store, segmenter, lambda done, of: told.append((done, of)), limit=2)
    waiting = {case.id for case in store.cases() if case.trusted is None}
    assert set(read_ranking(store.folder).scores) == waiting  # those that wait for correction come first
    ranking = rank_site(store, segmenter, lambda done, of: told.append((done, of)))
    assert told == [(0, 2), (1, 2), (0, 1)]
    assert read_ranking(store.folder) == ranking
    items = work_list(store.cases(), ranking)
    assert {item.case.id for item in items} == waiting
    assert all(item.gain is not None for item in items)


def test_a_case_that_cannot_be_read_is_named_and_the_others_are_scored(tmp_path, capsys):
    intensity_bundle(tmp_path / "tiny", (16, 16, 16), 4.0)
    store = make_site(tmp_path / "site", 0, 4)
    first, second, third, fourth = store.cases()
    first.volumes["T1w"].write_bytes(first.volumes["T1w"].read_bytes()[:-100])
    store.exclude(second.id)
    asked = ["site", "rank", str(store.folder), "--bundle", str(tmp_path / "tiny"), "--device", "cpu", "--limit", "1"]
    assert main(asked) == 1
    assert f"case {first.id} is left out: error[" in capsys.readouterr().err
    assert main(asked) == 1
    assert set(read_ranking(store.folder).scores) == {third.id, fourth.id}


def test_a_program_is_told_by_events(tmp_path, capsys):
    intensity_bundle(tmp_path / "tiny", (16, 16, 16), 4.0)
    store = make_site(tmp_path / "site", 0, 2)
    first = store.cases()[0]
    first.volumes["T1w"].unlink()
    asked = ["site", "rank", str(store.folder), "--bundle", str(tmp_path / "tiny"), "--device", "cpu", "--events"]
    assert main(asked) == 1
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events] == ["progress", "message", "progress", "message", "done"]
    assert f"case {first.id} is left out: " in events[1]["text"]
    assert {"stage", "fraction", "seconds_left", "words"} <= set(events[2])
    assert events[-1]["result"] == {"scored": 1, "left_out": 1}
    (store.folder / "site.json").unlink()
    assert main(asked) == 2
    (event,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (event["event"], event["code"]) == ("error", "not-a-site")


def test_the_command_ranks_with_the_bundle_that_is_named(tmp_path, capsys):
    intensity_bundle(tmp_path / "tiny", (16, 16, 16), 4.0)
    store = make_site(tmp_path / "site", 0, 1)
    assert main(["site", "rank", str(store.folder), "--bundle", str(tmp_path / "tiny"), "--device", "cpu"]) == 0
    assert "scored by tiny: 1 case\n" in capsys.readouterr().err
    assert len(read_ranking(store.folder).scores) == 1
