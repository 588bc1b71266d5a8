"""How far the candidate goes from its parent: as far as the frozen cases allow."""

from types import SimpleNamespace

import pytest

from CrossModalSegLib.adaptation import candidate as finetune_candidate
from CrossModalSegLib.adaptation.candidate import choose_share
from CrossModalSegLib.adaptation.config import FinetuneConfig, FinetuneOptions
from CrossModalSegLib.adaptation.plan import Plan, scored
from CrossModalSegLib.adaptation.site_data import DataCase

FROZEN = DataCase("f", "f", {}, {}, (1,))


def scores(left: float, right: float = 0.9) -> dict:
    return {"f": {"T1w": {"left": {"dice": left}, "right": {"dice": right}}}}


@pytest.fixture
def chosen(monkeypatch):
    """The share that is chosen when a structure of the frozen case loses ``loss`` Dice at the trained weights, another one
    ``other``, and both less on the way."""

    def choose(loss: float, other: float = 0.0, asked: float = 1.0, frozen: bool = True) -> float:
        config = FinetuneConfig(FinetuneOptions(share=asked))
        plan = SimpleNamespace(final=SimpleNamespace(name="final"))
        run = SimpleNamespace(config=config, frozen=[FROZEN] if frozen else [], plan=plan)
        monkeypatch.setattr(finetune_candidate, "weights_at", lambda _run, _name, _trained, share: share)
        monkeypatch.setattr(
            finetune_candidate,
            "score_candidate",
            lambda _run, _name, share, _cases: scores(0.9 - share * loss, 0.9 - share * other),
        )
        return choose_share(run, scores(0.9), {})

    return choose


def test_frozen_cases_are_scored_as_often_as_there_is_time_for_in_the_budget(chosen, monkeypatch):
    tried = []
    monkeypatch.setattr(finetune_candidate, "share_name", tried.append)
    chosen(0.5, other=0.5)
    assert len(tried) == scored(Plan("", "", {}, (), {}, (), {}, {}, 1.0), frozen=1)


def test_all_of_the_share_is_gone_where_nothing_is_forgotten(chosen):
    assert chosen(-0.1) == 1.0
    assert chosen(0.019, asked=0.5) == 0.5


def test_it_goes_back_until_nothing_falls_by_more_than_a_hundredth(chosen):
    assert chosen(0.014) == 0.7
    assert chosen(0.019) == 0.5


def test_where_a_single_structure_always_falls_the_mean_decides(chosen):
    assert chosen(0.04) == 0.5  # the mean falls by 0.02, 0.014, 0.01, 0.007


def test_where_even_the_smallest_share_forgets_too_much_it_is_taken_and_the_gate_will_say_so(chosen):
    assert chosen(0.5, other=0.5) == 0.35


def test_without_frozen_cases_the_share_is_the_one_asked_for(chosen):
    assert chosen(0.5, asked=0.5, frozen=False) == 0.5
