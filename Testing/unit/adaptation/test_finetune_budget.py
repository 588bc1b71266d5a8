"""How much a fine-tuning takes up in the time it is given, and what it says of that before it begins."""

import json

import pytest

from CrossModalSegLib.adaptation import timing as finetune_timing
from CrossModalSegLib.adaptation import training as finetune_training
from CrossModalSegLib.adaptation.scoring import CaseScorer
from CrossModalSegLib.bundles.bundle import load_bundle
from Testing.tiny_finetune import QUICK, prepare, run, run_folder

to_grid, segment = finetune_training.prepared, CaseScorer._segment


@pytest.mark.slow
def test_no_more_cases_are_learnt_from_than_there_is_time_for_and_that_is_said(tmp_path, monkeypatch, capsys):
    folder = prepare(tmp_path, 4, 4)
    (folder / "quick.toml").write_text(QUICK.replace("validations = 1", "validations = 1, unlabelled_below = 6"))
    monkeypatch.setattr(finetune_timing, "FEWEST_TAKEN", 2)
    monkeypatch.setattr(finetune_timing, "PREPARING_SHARE", 0.0)
    assert run(folder) == 0
    assert "there was time to learn from 2 of 4 corrected cases and 2 of 4 cases without labels\n" in (
        capsys.readouterr().out
    )
    plan = json.loads((run_folder(folder) / "plan.json").read_text())
    *folds, final = plan["trainings"]
    assert (len(final["learnt"]), len(plan["unlabelled"])) == (2, 2)
    assert all(fold["learnt"] and set(fold["learnt"]) <= set(final["learnt"]) for fold in folds)
    assert sum(len(fold["judged"]) for fold in folds) == 4
    facts = load_bundle(run_folder(folder) / "tiny-site-1").metadata["crossmodalseg"]["training"]
    assert (set(facts["cases"]), facts["unlabelled cases"]) == (set(final["learnt"]), 2)
    assert (run_folder(folder) / "report.html").read_text().count("2 of 4, for which there was time") == 2


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(tmp_path, capsys):
    folder = prepare(tmp_path, 2, 1)
    before = sorted(folder.rglob("*"))
    assert run(folder, "--dry-run") == 0
    said = capsys.readouterr().err
    assert "2 corrected cases of 2 patients, 1 case without labels, 3 structures" in said
    assert "2 trainings of 4 steps and one of 4 at" in said
    assert sorted(folder.rglob("*")) == before


def test_a_dry_run_prepares_and_scores_a_few_of_many_cases_and_estimates_the_rest(tmp_path, monkeypatch, capsys):
    folder = prepare(tmp_path, 5, 4)
    (folder / "quick.toml").write_text(QUICK.replace("validations = 1", "validations = 1, unlabelled_below = 6"))
    prepared, scored = [], []
    monkeypatch.setattr(
        finetune_training, "prepared", lambda case, *rest: prepared.append(case) or to_grid(case, *rest)
    )
    monkeypatch.setattr(
        CaseScorer, "_segment", lambda self, case, target: scored.append(case) or segment(self, case, target)
    )
    monkeypatch.setattr(finetune_timing, "FEWEST_TAKEN", 3)
    monkeypatch.setattr(finetune_timing, "PREPARING_SHARE", 0.0)
    assert run(folder, "--dry-run") == 0
    assert (len(prepared), len(scored)) == (4, 1)
    said = capsys.readouterr().err
    assert "there will be time to learn from about 3 of 5 corrected cases and 3 of 4 cases without labels" in said
