"""Plans: who is held out, how many steps fit a budget, and which model comes next."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from CrossModalSegLib.adaptation import finetune
from CrossModalSegLib.adaptation import timing as finetune_timing
from CrossModalSegLib.adaptation.cases import Request, make_plan
from CrossModalSegLib.adaptation.config import FinetuneConfig, FinetuneOptions
from CrossModalSegLib.adaptation.label_mapping import LabelMapping, same_structures
from CrossModalSegLib.adaptation.plan import (
    MARGIN,
    REPORT_SECONDS,
    VALIDATION_COST,
    Counts,
    Parent,
    Plan,
    Training,
    choose_trainings,
    describe_limit,
    describe_plan,
    fit_schedule,
    learning_order,
    read_plan,
    read_schedule,
    validations,
    with_cases,
    within_budget,
)
from CrossModalSegLib.adaptation.run import Finetuning, Pace
from CrossModalSegLib.adaptation.site_data import DataCase, SiteData
from CrossModalSegLib.adaptation.training import unlabelled_cases
from CrossModalSegLib.errors import ConfigError, DataError, LabelError, OutputError
from CrossModalSegLib.labels import LabelMap
from CrossModalSegLib.site.finetune_base import next_version
from CrossModalSegLib.site.models import next_name
from Testing.tiny_bundle import LABEL_MAP, LEFT, RIGHT, TISSUE, intensity_bundle
from Testing.tiny_site import make_site

CPU = torch.device("cpu")
OPTIONS = FinetuneOptions(validations=2, fold_share=0.5, folds=2)


def data(*patients: str, held_out: str = "", set_apart: str = "") -> SiteData:
    """One case per letter: the patient's, with a number."""
    return SiteData(
        tuple(
            DataCase(f"{p}{n}", p, {}, {}, (1,), held_out=p in held_out, set_apart=p in set_apart)
            for n, p in enumerate(patients)
        ),
        (),
    )


def plan(*trainings: Training, minutes: float = 10.0, case_seconds: float = 5.0) -> Plan:
    parent = Parent("old", "1", "0")
    return Plan(
        "new", "1", parent, trainings, {}, (), FinetuneConfig(), {"map": {}, "start": {}}, minutes, case_seconds
    )


def test_with_few_patients_every_one_is_judged_by_a_fold_that_did_not_learn_from_any_of_their_cases():
    first, second, final = choose_trainings(data("a", "b", "a", "c"), OPTIONS)
    assert (first.learnt, first.judged) == (("b1",), ("a0", "a2", "c3"))
    assert (second.learnt, second.judged) == (("a0", "a2", "c3"), ("b1",))
    assert (final.learnt, final.judged) == (("a0", "b1", "a2", "c3"), ())


def test_enough_held_out_patients_are_never_learnt_from():
    (final,) = choose_trainings(data(*"abcdefg", held_out="abcde"), OPTIONS)
    assert final.learnt == ("f5", "g6")
    assert len(final.judged) == 5


def test_patients_that_a_person_has_set_apart_are_never_learnt_from_however_few():
    (final,) = choose_trainings(data(*"abc", held_out="b", set_apart="a"), OPTIONS)
    assert (final.learnt, final.judged) == (("b1", "c2"), ("a0",))


def test_where_a_person_has_set_all_patients_apart_nothing_is_learnt_and_that_is_said():
    with pytest.raises(DataError, match="all 2 patients with corrected cases are held out") as refused:
        choose_trainings(data(*"aab", set_apart="ab"), OPTIONS)
    assert refused.value.code == "site-data"


def test_patients_whom_the_parent_has_learnt_from_are_learnt_from_again_but_not_judged_on():
    known = {"a", "b"}
    first, second, final = choose_trainings(data(*"abcd"), OPTIONS, known)
    assert (first.learnt, first.judged) == (("a0", "b1", "d3"), ("c2",))
    assert (second.learnt, second.judged) == (("a0", "b1", "c2"), ("d3",))
    assert final.learnt == ("a0", "b1", "c2", "d3")
    (final,) = choose_trainings(data(*"abcdefg", held_out="abcdefg"), OPTIONS, known)
    assert (final.learnt, final.judged) == (("a0", "b1"), ("c2", "d3", "e4", "f5", "g6"))
    for one_new in (known, {*known, "c"}):
        (final,) = choose_trainings(data(*"abc"), OPTIONS, one_new)
        assert (final.learnt, final.judged) == (("a0", "b1", "c2"), ())


def test_patients_set_apart_after_the_parent_has_learnt_from_them_are_neither_learnt_from_nor_judged_on():
    (final,) = choose_trainings(data(*"abc", set_apart="ab"), OPTIONS, {"a"})
    assert (final.learnt, final.judged) == (("c2",), ("b1",))
    (final,) = choose_trainings(data(*"abc", set_apart="a"), OPTIONS, {"a"})
    assert (final.learnt, final.judged) == (("b1", "c2"), ())


def test_no_training_learns_without_labels_from_a_patient_that_it_is_judged_on():
    first, second, final = choose_trainings(data(*"abc"), OPTIONS)
    known = data(*"abc")
    others = tuple(DataCase(f"{p}-other", p, {}, {}, (1,)) for p in "abcd")
    run = SimpleNamespace(cases={case.id: case for case in known.labelled}, data=replace(known, unlabelled=others))

    def seen(training: Training) -> str:
        return "".join(case.patient for case in unlabelled_cases(run, training))

    assert [seen(first), seen(second), seen(final)] == ["bd", "acd", "abcd"]


def test_cases_without_labels_of_held_out_patients_are_left_out(tmp_path):
    base, store = intensity_bundle(tmp_path / "tiny", (16, 16, 16), 4.0), make_site(tmp_path / "site", 1, 3)
    first, second, third = (case.id for case in store.cases() if not case.labels)
    store.set_split(second, "held-out")
    mapping = same_structures(base.label_map, LABEL_MAP)
    made, known = make_plan(store.folder, base, mapping, Request(FinetuneConfig(), "new", "1", 10.0))
    assert made.unlabelled == (first, third)
    assert [case.id for case in known.unlabelled] == [first, third]
    assert "1 more without labels left out: of held-out patients, nothing is learnt" in describe_plan(
        made, known, [], []
    )


def test_a_base_that_mirrors_refuses_names_without_sides_before_anything_is_computed(tmp_path):
    base = intensity_bundle(tmp_path / "tiny")
    names = {LEFT: "Left-Ball", RIGHT: "Right-Ball", TISSUE: "tissue"}
    renamed = LabelMap(tuple(replace(one, name=names[one.value]) for one in LABEL_MAP.structures))
    mapping = LabelMapping(LABEL_MAP, renamed, {value: value for value in renamed.values})
    with pytest.raises(LabelError, match="Left-Ball, Right-Ball"):
        make_plan(
            tmp_path / "nowhere", replace(base, mirror=True), mapping, Request(FinetuneConfig(), "new", "1", 10.0)
        )


def test_one_patient_is_learnt_from_and_nothing_is_judged():
    (final,) = choose_trainings(data("a", "a"), OPTIONS)
    assert (final.learnt, final.judged) == (("a0", "a1"), ())


def test_the_steps_fill_what_scoring_and_report_leave_of_the_time():
    one = plan(Training("final", ("a",), ()))
    made = fit_schedule(one, OPTIONS, seconds=500.0, step_seconds=2.0, frozen=3)
    assert made.final_steps == int((500 * MARGIN - REPORT_SECONDS - 3 * 5) / 2)  # each frozen case once
    general = replace(OPTIONS, keep_general=True)
    made = fit_schedule(one, general, seconds=500.0, step_seconds=2.0, frozen=3)
    assert made.final_steps == int((500 * MARGIN - REPORT_SECONDS - 4 * 3 * 5) / 2)  # each frozen case at four shares


def test_folds_share_their_part_and_validation_is_paid_for():
    folds = (Training("fold-1", ("a",), ("b",)), Training("fold-2", ("b",), ("a",)))
    made = fit_schedule(plan(*folds, Training("final", ("a", "b"), ())), OPTIONS, 500.0, 1.0, frozen=0)
    steps = 500 * MARGIN - REPORT_SECONDS - 2 * 4 * 5  # each held-out case at four shares
    assert made.final_steps == int(steps / 2)
    assert made.fold_steps == int(steps / 4 - 2 * 6 * VALIDATION_COST)  # 2 validations of 6 patches


def test_short_trainings_are_validated_less_often():
    options = FinetuneOptions(validations=10)
    assert [validations(steps, options) for steps in (4, 37, 1000)] == [1, 3, 10]  # 2.4 steps each, a fifth of the time
    one = plan(Training("final", ("a",), ("b",)), case_seconds=0.0)
    made = fit_schedule(one, options, seconds=(60 + REPORT_SECONDS) / MARGIN, step_seconds=1.0, frozen=0)
    assert made.final_steps == 50


def test_never_more_steps_than_asked_for():
    made = fit_schedule(plan(Training("final", ("a",), ())), FinetuneOptions(most_iterations=7), 1e6, 1.0, 0)
    assert made.final_steps == 7


def test_the_budget_that_is_asked_for_is_enough():
    small = plan(Training("fold-1", ("a",), ("b",)), Training("final", ("a", "b"), ()), minutes=0.5)
    with pytest.raises(ConfigError, match="give --budget") as refused:
        fit_schedule(small, OPTIONS, 30.0, 3.0, frozen=1)
    minutes = int(refused.value.hint.split()[2])
    fit_schedule(replace(small, budget_minutes=minutes), OPTIONS, minutes * 60, 3.0, frozen=1)


def test_no_more_cases_are_judged_than_there_is_time_for_and_no_training_goes_without():
    folds = [Training(f"fold-{n}", (), tuple("abcdef")) for n in range(2)]
    made = within_budget(plan(*folds, Training("final", (), ())), FinetuneOptions(evaluation_share=0.4), 10.0, 2)
    assert [len(one.judged) for one in made.trainings] == [2, 2, 0]  # 24 scorings: 2 frozen twice, 4 held out 5 times
    poor = within_budget(plan(*folds), FinetuneOptions(), 1e6, 2)
    assert [len(one.judged) for one in poor.trainings] == [1, 1]
    assert made.case_seconds == 10.0


def test_each_training_has_a_case_to_learn_from_however_few_are_taken_up():
    folds = (Training("fold-1", tuple("cd"), tuple("ab")), Training("fold-2", tuple("ab"), tuple("cd")))
    made = replace(plan(*folds, Training("final", tuple("abcd"), ())), counts=Counts(4, 3))
    order = learning_order(made)
    assert order == ("c", "a", "b", "d")
    taken = with_cases(made, order[:2], ("x",))
    assert [(one.learnt, one.judged) for one in taken.trainings] == [
        (("c",), ("a", "b")),
        (("a",), ("c", "d")),
        (("a", "c"), ()),
    ]
    assert describe_limit(taken) == "2 of 4 corrected cases and 1 of 3 cases without labels"
    assert describe_limit(with_cases(made, order, tuple("xyz"))) == ""


def test_the_parent_completes_the_labels_of_those_cases_alone_that_are_taken_up(monkeypatch):
    completed, ready = [], []
    monkeypatch.setattr(finetune_timing, "PREPARING_SHARE", 0.0)
    monkeypatch.setattr(finetune_timing, "FEWEST_TAKEN", 2)
    monkeypatch.setattr(finetune_timing, "parent_scorer", lambda *_: SimpleNamespace(score=completed.append))
    monkeypatch.setattr(finetune_timing, "prepared_case", lambda _run, case, _labelled: ready.append(case.id))
    mapping = SimpleNamespace(needs_parent=True)
    run = Finetuning(Path(), Path(), None, mapping, data(*"abcd"), plan(), CPU, Pace(lambda _: None))
    assert finetune_timing._prepare(run, ["a0", "b1", "c2", "d3"], True) == ["a0", "b1"]
    assert [case.id for case in completed] == ready == ["a0", "b1"]
    mapping.needs_parent = False
    assert finetune_timing._prepare(run, ["c2"], True) == ["c2"]
    assert len(completed) == 2, "labels that say all need no parent"


def test_a_plan_survives_its_file(tmp_path):
    made = plan(Training("final", ("a",), ("b",)))
    made.save(tmp_path / "run")
    assert read_plan(tmp_path / "run") == made


@pytest.mark.parametrize("damage", ["{", "[]", "{}", {"base": {"name": "old"}}, {"mapping": {}}, {"cases": {"a": 1}}])
def test_a_plan_that_is_damaged_or_of_another_version_is_refused_with_the_way_out(tmp_path, damage):
    plan(Training("final", ("a",), ("b",))).save(tmp_path)
    file = tmp_path / "plan.json"
    file.write_text(damage if isinstance(damage, str) else json.dumps(json.loads(file.read_text()) | damage))
    with pytest.raises(DataError, match=r"bad-run.*plan.json.*without --resume"):
        read_plan(tmp_path)


def test_a_damaged_schedule_is_refused(tmp_path):
    assert read_schedule(tmp_path) is None
    (tmp_path / "schedule.json").write_text('{"fold_steps": 3}')
    with pytest.raises(DataError, match="bad-run"):
        read_schedule(tmp_path)


def test_a_run_that_cannot_be_written_is_an_error_of_one_line(tmp_path):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(OutputError, match=r"cannot-write.*runs"):
        plan(Training("final", ("a",), ("b",))).save(tmp_path / "runs" / "now")


def test_models_are_counted_by_generation(tmp_path):
    assert next_name(tmp_path, "brain-mr-pair") == "brain-mr-pair-site-1"
    assert next_name(tmp_path, "brain-mr-pair-site-4") == "brain-mr-pair-site-5"
    (tmp_path / "models" / "brain-mr-pair-site-1").mkdir(parents=True)
    assert next_name(tmp_path, "brain-mr-pair") == "brain-mr-pair-site-2"
    assert next_version("brain-mr-pair-site-2", "0.1.0+site.1") == "0.1.0+site.2"


def test_frozen_crops_are_worth_the_time_that_their_size_takes(tmp_path):
    def case(name: str, size: int) -> DataCase:
        (tmp_path / name).write_bytes(b"x" * size)
        return DataCase(name, name, {"T1w": tmp_path / name}, {"T1w": tmp_path / name}, (1,))

    site = SiteData((case("a", 1000),), ())
    frozen = [case("half", 500), case("tiny", 1)]
    run = Finetuning(Path(), Path(), None, None, site, plan(Training("final", ("a",), ())), CPU, None)
    run.frozen = frozen
    assert finetune_timing.frozen_weight(run) == 0.5 + 0.2
    run.frozen = run.frozen_alike = [case("largest", 4000)]
    assert finetune_timing.frozen_weight(run) == 1.0


def test_a_case_takes_the_mean_of_what_the_parent_took_for_those_that_were_not_timed_before(tmp_path, monkeypatch):
    cases = [DataCase(name, name, {"T1w": tmp_path / name}, {}, (1,)) for name in "abc"]
    for case in cases:
        (tmp_path / case.id).write_bytes(b"x")
    training = Training("final", ("x",), ("a", "b", "c"))
    pace = SimpleNamespace(elapsed=50.0)
    run = Finetuning(Path(), tmp_path, None, None, SiteData(tuple(cases), ()), plan(training), CPU, pace)
    run.frozen = run.frozen_alike = []
    monkeypatch.setattr(run, "decide", lambda made: setattr(run, "plan", made))

    def score(known: str, taken: float) -> dict:
        for name in known:
            (tmp_path / "parent" / name).mkdir(parents=True)
            (tmp_path / "parent" / name / "scores.json").touch()
        monkeypatch.setattr(finetune, "score_parent", lambda _run: setattr(pace, "elapsed", pace.elapsed + taken) or {})
        return finetune.time_parent(run)

    score("a", 6.0)
    assert run.plan.case_seconds == 3.0
    score("b", 0.1)  # of a run that was stopped: one case says too little
    assert run.plan.case_seconds == 3.0
