"""What a fine-tuning decides about its candidate, and what it judges it on."""

import hashlib
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from CrossModalSegLib.adaptation import finetune
from CrossModalSegLib.adaptation import timing as finetune_timing
from CrossModalSegLib.adaptation.cases import Request, make_plan
from CrossModalSegLib.adaptation.config import FinetuneConfig, FinetuneOptions
from CrossModalSegLib.adaptation.label_mapping import same_structures
from CrossModalSegLib.adaptation.plan import Schedule, describe_plan
from CrossModalSegLib.adaptation.site_data import SiteData
from CrossModalSegLib.bundles.bundle import load_bundle
from CrossModalSegLib.cli import main
from CrossModalSegLib.site.case_files import CaseFiles
from CrossModalSegLib.site.case_store import CaseStore
from CrossModalSegLib.site.learnt_cases import LearntCases, learnt_by
from CrossModalSegLib.site.work_list import CaseScore, Ranking, write_ranking
from CrossModalSegLib.training import early_stop
from CrossModalSegLib.training.forgetting import between
from CrossModalSegLib.training.processes import ALONE
from Testing.tiny_bundle import LABEL_MAP, LEFT, RIGHT, TISSUE
from Testing.tiny_finetune import prepare, run, run_folder, same, weights_of
from Testing.tiny_site import labels, scan

BETTER = """
finetune = { most_iterations = 30, validations = 1, anchor = 0.0, share = 1.0 }
training = { learning_rate = 0.004, decay = 0.2 }
"""


@pytest.mark.slow
def test_a_model_that_became_better_is_promoted_found_by_name_and_the_next_one_begins_with_it(tmp_path, capsys):
    folder = prepare(tmp_path, 3, 1, shift=290.0)  # a contrast that the base misreads
    (folder / "quick.toml").write_text(BETTER)
    assert run(folder) == 0
    assert capsys.readouterr().out.startswith("promote: mean Dice on 3 held-out patients")
    promoted = folder / "site" / "models" / "tiny-site-1"
    assert same(load_bundle(promoted).read_weights(), weights_of(folder))
    assert main(["site", "models", str(folder / "site")]) == 0
    assert "tiny-site-1 0.0.1+site.1, from" in capsys.readouterr().out
    assert main(["finetune", str(folder / "site"), "--dry-run", "--device", "cpu"]) == 0
    assert "parent tiny-site-1 0.0.1+site.1" in capsys.readouterr().err
    case = next(case for case in CaseStore(folder / "site").cases() if not case.labels)
    inputs = [part for name, path in case.volumes.items() for part in ("--input", f"{name}={path}")]
    asked = ["segment", *inputs, "--bundle", str(promoted), "--device", "cpu", "--output", str(folder / "out")]
    assert main(asked) == 0


@pytest.mark.slow
def test_what_is_judged_are_the_weights_at_the_end_not_those_that_were_best_on_the_judged_cases(tmp_path, monkeypatch):
    folder = prepare(tmp_path, 2, 0)
    (folder / "quick.toml").write_text("finetune = { most_iterations = 24, validations = 2 }\n")
    store = CaseStore(folder / "site")
    store.set_split(store.cases()[0].id, "held-out")
    monkeypatch.setattr(early_stop, "mean_dice", lambda entry: -entry["step"])  # the first validation is the best
    assert run(folder) == 0
    state = torch.load(run_folder(folder) / "training" / "final" / "checkpoint.pt", weights_only=True)
    assert [entry["step"] for entry in state["curve"]] == [12, 24]
    base = {name: torch.from_numpy(array) for name, array in load_bundle(folder / "tiny").read_weights().items()}
    half_way = between(base, state["average"], 0.5)
    assert same(weights_of(folder), {name: tensor.half().float().numpy() for name, tensor in half_way.items()})


def test_the_next_generation_is_not_judged_on_patients_whom_its_parent_has_learnt_from(done, tmp_path, capsys):
    folder = tmp_path / "next"
    shutil.copytree(done, folder)
    shutil.rmtree(folder / "site" / "runs")
    parent = run_folder(done) / "tiny-site-1"
    assert run(folder, "--base", parent) == 0
    assert capsys.readouterr().out.startswith(
        "insufficient-evidence: the parent has learnt from cases of 2 of the corrected patients, who cannot be "
        "judged on;"
    )
    (case,) = (case for case in CaseStore(folder / "site").cases() if not case.labels)
    known = learnt_by(load_bundle(parent))
    assert len(known.labelled) == 2
    assert known.unlabelled == {hashlib.sha256(case.id.encode()).hexdigest()}
    assert learnt_by(load_bundle(run_folder(folder) / "tiny-site-2")) == known


def test_the_work_list_begins_with_a_patient_whom_the_newest_model_does_not_know(done, tmp_path, capsys):
    folder = tmp_path / "next"
    shutil.copytree(done, folder)
    store = CaseStore(folder / "site")
    volumes = {name: scan(9, name) for name in ("T1w", "T2w")}
    new = store.add_unlabelled(CaseFiles(volumes, {}, LABEL_MAP, {}, "someone else")).id
    (known,) = (case.id for case in store.cases() if not case.labels and case.id != new)
    write_ranking(store.folder, Ranking("tiny", {known: CaseScore(2, 2), new: CaseScore(1, 1)}))

    def listed() -> list[str]:
        assert main(["site", "next", str(store.folder)]) == 0
        return [line.split()[1] for line in capsys.readouterr().out.splitlines()[1:3]]

    assert listed() == [known, new]
    assert main(["site", "adopt", str(store.folder)]) == 0
    capsys.readouterr()
    assert listed() == [new, known]


@pytest.mark.slow
def test_what_was_only_judged_on_is_told_apart_from_what_was_learnt_from(tmp_path):
    folder = prepare(tmp_path, 2, 0)
    store = CaseStore(folder / "site")
    judged, learnt = (case.id for case in store.cases())
    store.set_split(judged, "held-out")
    assert run(folder) == 0
    bundle = load_bundle(run_folder(folder) / "tiny-site-1")
    facts = bundle.metadata["crossmodalseg"]["training"]
    assert (set(facts["cases"]), set(facts["judged cases"])) == ({learnt}, {judged})
    assert learnt_by(bundle) == LearntCases(frozenset({hashlib.sha256(learnt.encode()).hexdigest()}))


def test_exchanged_structures_keep_the_parent(tmp_path, capsys):
    folder = prepare(tmp_path, 2, 0, exchanged=True)
    assert run(folder) == 0
    assert capsys.readouterr().out.startswith('keep: "left bright ball" and "right bright ball" look exchanged in')


def test_exchanged_structures_speak_against_the_labels_and_one_that_lies_on_another_only_makes_one_doubt(monkeypatch):
    mapping, shown = same_structures(LABEL_MAP, LABEL_MAP), labels(0)
    monkeypatch.setattr(finetune, "read_prediction", lambda *_: {"T1w": (shown, None)})

    def found(corrected: np.ndarray) -> tuple[list[str], list[str]]:
        case = SimpleNamespace(id="a", reference=lambda: {"T1w": (corrected, None)})
        run = SimpleNamespace(mapping=mapping, data=SiteData((case,), ()), folder=Path())
        return finetune.contradictions(run, {"a": {}})

    assert found(shown) == ([], [])
    (exchanged,), doubts = found(labels(0, exchanged=True))
    assert (exchanged.endswith("look exchanged in 1 of 1 corrected scans"), doubts) == (True, [])
    exchanged, (doubt,) = found(np.where(shown == LEFT, RIGHT, np.where(shown == RIGHT, TISSUE, shown)))
    assert (exchanged, 'lies on the model\'s "left bright ball"' in doubt) == ([], True)


@pytest.mark.slow
def test_one_corrected_case_is_enough_to_train_and_too_little_to_judge(tmp_path, capsys):
    folder = prepare(tmp_path, 1, 0)
    assert run(folder) == 0
    assert "insufficient-evidence: corrected cases of 0 patients could be held out" in capsys.readouterr().out


@pytest.mark.slow
def test_where_there_is_no_time_to_leave_cases_out_a_model_comes_without_evidence(tmp_path, monkeypatch, capsys):
    folder = prepare(tmp_path, 2, 0)
    monkeypatch.setattr(finetune_timing, "time_steps", lambda _run: 35.0)  # 30 minutes: about 48 steps in all
    assert run(folder) == 0
    assert "insufficient-evidence: corrected cases of 0 patients could be held out" in capsys.readouterr().out
    plan = json.loads((run_folder(folder) / "plan.json").read_text())
    assert [training["name"] for training in plan["trainings"]] == ["final"]


def test_the_last_training_goes_on_from_the_mean_of_the_folds(monkeypatch):
    began = {}

    def train(_run, training, _steps, start=None):
        began[training.name] = start
        return {"weight": torch.tensor({"fold-1": 1.0, "fold-2": 2.0, "final": 5.0}[training.name])}

    monkeypatch.setattr(finetune, "train_one", train)
    monkeypatch.setattr(finetune, "final_steps", lambda *_: 10)
    names = [SimpleNamespace(name=name) for name in ("fold-1", "fold-2", "final")]
    run = SimpleNamespace(plan=SimpleNamespace(folds=names[:2], final=names[2]), processes=ALONE)
    trained = finetune.train_all(run, Schedule(4, 10, 1.0))
    assert (began["fold-1"], began["fold-2"]) == (None, None)
    assert began["final"] == {"weight": torch.tensor(1.5)}
    assert trained["final"] == {"weight": torch.tensor(5.0)}
    run.plan.folds = []
    finetune.train_all(run, Schedule(4, 10, 1.0))
    assert began["final"] is None


def test_with_many_corrected_patients_cases_without_labels_are_left_out_unless_they_are_asked_for(tmp_path):
    folder = prepare(tmp_path, 3, 2)
    base = load_bundle(folder / "tiny")
    mapping = same_structures(LABEL_MAP, LABEL_MAP)

    def planned(below: int, **semi):
        config = FinetuneConfig(FinetuneOptions(unlabelled_below=below), semi_supervised=semi)
        return make_plan(folder / "site", base, mapping, Request(config, "new", "1", 10.0))

    plan, data = planned(4)
    assert (len(plan.unlabelled), len(data.unlabelled)) == (2, 2)
    plan, data = planned(3, pseudo_label=0.5)
    assert (len(plan.unlabelled), len(data.unlabelled)) == (0, 0)
    assert plan.config.semi_supervised == {"pseudo_label": 0.5, "batch": 0}
    assert "2 more without labels left out" in " ".join(describe_plan(plan, data, [], []))
    plan, data = planned(3, batch=1)
    assert (len(plan.unlabelled), len(data.unlabelled)) == (2, 2)


def test_a_patient_whose_labels_lie_elsewhere_is_named_and_nothing_is_promoted(tmp_path, capsys):
    folder = prepare(tmp_path, 2, 0)
    volumes = {name: scan(5, name) for name in ("T1w", "T2w")}
    moved = {name: (np.roll(labels(5), 12, axis=1), volume.grid) for name, volume in volumes.items()}
    facts = {"name": "tiny", "modalities": ["T1w", "T2w"]}
    case = CaseStore(folder / "site").save_correction(CaseFiles(volumes, moved, LABEL_MAP, facts, "patient 5"))
    assert run(folder) == 0
    said = capsys.readouterr().out
    assert said.startswith(("insufficient-evidence", "keep"))
    metrics = json.loads((run_folder(folder) / "metrics.json").read_text())
    told = [*metrics["verdict"]["reasons"]]
    assert metrics["verdict"]["decision"] == "keep" or any(case.id in words for words in told)
    assert not (folder / "site" / "models").exists()


def test_of_many_costs_the_greatest_are_told_and_the_rest_is_in_the_report():
    assert finetune._few(["a", "b"]) == "a; b"
    assert finetune._few(list("abcdefg")) == "a; b; c; d; e; and 2 more in the report"
