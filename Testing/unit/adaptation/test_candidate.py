"""How far the candidate goes from its parent: as far as held-out patients say, or as the frozen cases allow."""

from functools import partial
from types import SimpleNamespace

import pytest

from CrossModalSegLib.adaptation import candidate as finetune_candidate
from CrossModalSegLib.adaptation.candidate import allowed_share, weigh_shares
from CrossModalSegLib.adaptation.config import FinetuneConfig, FinetuneOptions
from CrossModalSegLib.adaptation.gate import Aim, GateRules, falls_grossly
from CrossModalSegLib.adaptation.plan import Parent, Plan, Training, count_scored
from CrossModalSegLib.adaptation.site_data import DataCase, SiteData

FROZEN = DataCase("f", "f", {}, {}, (1,))
GROSS = partial(falls_grossly, rules=GateRules(), aim=Aim(own=frozenset({"left"})))


def scores(left: float, right: float = 0.9, case: str = "f") -> dict:
    return {case: {"T1w": {"left": {"dice": left}, "right": {"dice": right}}}}


@pytest.fixture
def allowed(monkeypatch):
    """The share that is allowed when a structure of the frozen case loses ``loss`` Dice at the trained weights, another
    one ``other``, and both less on the way."""

    def choose(
        loss: float,
        other: float = 0.0,
        wanted: float = 1.0,
        frozen: bool = True,
        general: bool = True,
        alike: bool = True,
    ) -> float:
        config = FinetuneConfig(FinetuneOptions(keep_general=general))
        plan = SimpleNamespace(final=SimpleNamespace(name="final"))
        cases = [FROZEN] if frozen else []
        run = SimpleNamespace(config=config, frozen=cases, frozen_alike=cases if alike else [], plan=plan)
        monkeypatch.setattr(finetune_candidate, "weights_at", lambda _run, _name, _trained, share: share)
        monkeypatch.setattr(
            finetune_candidate,
            "score_candidate",
            lambda _run, _name, share, _cases: scores(0.9 - share * loss, 0.9 - share * other),
        )
        return allowed_share(run, scores(0.9), {}, wanted, GROSS)

    return choose


@pytest.mark.parametrize("general", [True, False])
def test_frozen_cases_are_scored_as_often_as_there_is_time_for_in_the_budget(allowed, monkeypatch, general):
    tried = []
    monkeypatch.setattr(finetune_candidate, "share_name", tried.append)
    allowed(0.2, other=0.0, general=general)
    options = FinetuneOptions(keep_general=general)
    plan = Plan("", "", Parent("", "", ""), (), {}, (), FinetuneConfig(), {}, 1.0)
    assert len(tried) == count_scored(plan, options, frozen=1)


def test_to_keep_what_is_general_all_of_the_share_is_gone_where_nothing_is_forgotten(allowed):
    assert allowed(-0.1) == 1.0
    assert allowed(0.019, wanted=0.5) == 0.5


def test_to_keep_what_is_general_it_goes_back_until_nothing_falls_by_more_than_a_hundredth(allowed):
    assert allowed(0.014) == 0.7
    assert allowed(0.019) == 0.5


def test_where_a_single_structure_always_falls_the_mean_decides(allowed):
    assert allowed(0.04) == 0.5  # the mean falls by 0.02, 0.014, 0.01, 0.007


def test_where_even_the_smallest_share_forgets_too_much_it_is_taken_and_the_gate_will_say_so(allowed):
    assert allowed(0.5, other=0.5) == 0.35


def test_without_frozen_cases_the_share_is_the_one_wanted(allowed):
    assert allowed(0.5, wanted=0.5, frozen=False) == 0.5
    assert allowed(0.5, frozen=False, general=False) == 1.0


def test_a_model_for_one_site_goes_back_from_a_gross_loss_alone(allowed):
    site = partial(allowed, general=False)
    assert site(0.39) == 1.0  # the mean falls by 0.195, which is allowed
    assert site(0.7, other=-0.7) == 0.75  # 0.2 and 0.375 remain of 0.9
    assert site(0.0, other=0.56) == 0.5  # not a structure that this site draws, but the mean: 0.28, 0.21, 0.14
    assert site(0.9, other=0.9, wanted=0.5) == 0.5, "nothing is small enough: the gate will say so"


def test_what_is_lost_on_modalities_that_the_site_does_not_have_stops_no_model_for_it(allowed):
    assert allowed(0.9, other=0.9, general=False, alike=False) == 1.0
    assert allowed(0.9, other=0.9, alike=False) == 0.35, "to keep what is general, all frozen cases count"


def weighed(monkeypatch, dice, trainings, **options) -> SimpleNamespace:
    """What the held-out cases say, where ``dice(case, share)`` is their score and the parent's is 0.5 each."""
    cases = {name: DataCase(name, name, {}, {}, (1,)) for one in trainings for name in one.judged}
    plan = SimpleNamespace(trainings=trainings, folds=trainings[:-1], final=trainings[-1])
    data = SiteData(tuple(cases.values()), ())
    config = FinetuneConfig(FinetuneOptions(**options))
    run = SimpleNamespace(config=config, plan=plan, data=data, cases=cases)
    monkeypatch.setattr(finetune_candidate, "weights_at", lambda _run, _name, _trained, share: share)

    def score(_run, _name, share, asked):
        return {k: v for one in asked for k, v in scores(dice(one.id, share), dice(one.id, share), one.id).items()}

    monkeypatch.setattr(finetune_candidate, "score_candidate", score)
    parent = {k: v for name in cases for k, v in scores(0.5, 0.5, name).items()}
    return weigh_shares(run, parent, {one.name: {} for one in trainings})


FOLDS = (Training("fold-1", ("b",), ("a",)), Training("fold-2", ("a",), ("b",)), Training("final", ("a", "b"), ()))


def test_all_patients_choose_how_far_the_candidate_goes_and_each_is_judged_where_the_others_choose(monkeypatch):
    def dice(case: str, share: float) -> float:
        best = {"a": 1.0, "b": 0.5}[case]
        return 0.6 - abs(share - best) * {"a": 0.2, "b": 0.1}[case]

    found = weighed(monkeypatch, dice, FOLDS)
    assert found.judged_at == {"a": 0.5, "b": 1.0}
    assert found.share == 1.0  # means: 0.55 − ..., and 0.575 at the end
    assert found.gains[1.0] == pytest.approx({"a": 0.1, "b": 0.05})


def test_the_best_share_is_taken_however_little_it_brings_and_of_equal_ones_the_nearest_to_the_parent(monkeypatch):
    assert weighed(monkeypatch, lambda _case, share: 0.6 if share == 0.5 else 0.6011, FOLDS).share == 0.25
    assert weighed(monkeypatch, lambda _case, share: 0.6 + 0.001 * share, FOLDS).share == 1.0


def test_patients_who_are_all_held_out_of_one_training_choose_for_each_other(monkeypatch):
    one = (Training("final", ("x",), ("a", "b", "c", "d")),)
    found = weighed(monkeypatch, lambda case, share: 0.6 + (0.1 if case in "ac" else -0.1) * share, one)
    assert found.judged_at == {"a": 0.25, "c": 0.25, "b": 1.0, "d": 1.0}


def test_a_single_patient_cannot_choose_and_be_judged(monkeypatch):
    one = (Training("final", ("x",), ("a",)),)
    found = weighed(monkeypatch, lambda _case, share: 0.5 + share / 10, one, share=0.4)
    assert (found.share, found.judged_at) == (0.4, {"a": 0.4})


def test_to_keep_what_is_general_held_out_patients_choose_nothing(monkeypatch):
    found = weighed(monkeypatch, lambda *_: pytest.fail("scored"), FOLDS, keep_general=True)
    assert (found.share, found.judged_at, found.gains) == (0.5, {"a": 0.5, "b": 0.5}, {})
