"""``crossmodalseg finetune``, end to end on a tiny site: what a run leaves, and what it tells."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from CrossModalSegLib.adaptation.site_data import structure_ml
from CrossModalSegLib.bundles.bundle import load_bundle, publish_bundle
from CrossModalSegLib.errors import InputError
from CrossModalSegLib.inference.inference import Segmenter
from CrossModalSegLib.site.case_store import CaseStore
from Testing.tiny_bundle import LABEL_MAP, LEFT
from Testing.tiny_finetune import prepare, run, run_folder, same, weights_of
from Testing.tiny_site import labels, scan, site_grid


def test_four_steps_on_two_corrected_cases_give_a_candidate_that_is_not_promoted(done):
    metrics = json.loads((run_folder(done) / "metrics.json").read_text())
    assert metrics["verdict"]["decision"] in ("insufficient-evidence", "keep")
    assert metrics["verdict"]["site"]["mean"]["patients"] == 2
    assert not (done / "site" / "models").exists()


def test_the_candidate_carries_its_parent_its_cases_by_hash_and_its_configuration(done):
    bundle = load_bundle(run_folder(done) / "tiny-site-1")
    section = bundle.metadata["crossmodalseg"]
    assert section["parent"] == load_bundle(done / "tiny").sha256
    assert bundle.version == "0.0.1+site.1"
    cases = {case.id: case.sha256 for case in CaseStore(done / "site").cases() if case.labels}
    assert section["training"]["cases"] == cases
    assert section["training"]["judged cases"] == cases
    assert section["training"]["fine-tuning"]["finetune"]["most_iterations"] == 4
    assert section["scores"]["gate"]["held-out"]["mean"]["patients"] == 2


def test_the_candidate_segments(done):
    result = Segmenter(load_bundle(run_folder(done) / "tiny-site-1"), "cpu").segment({"T1w": scan(0, "T1w")})
    assert set(np.unique(result.modalities["T1w"].labels).tolist()) <= set(LABEL_MAP.channels)


def test_the_candidate_s_weights_differ_from_its_parent_s(done):
    assert not same(weights_of(done), load_bundle(done / "tiny").read_weights())


def test_the_report_needs_nothing_else_and_shows_curves_tables_and_pictures(done):
    text = (run_folder(done) / "report.html").read_text()
    assert not re.search(r"(src|href)=\"(?!data:)", text)
    assert "http" not in text
    for said in ("left bright ball", "fold-1", "To do it again", "sha256", "corrected cases", "Before and after"):
        assert said in text
    ball_ml = sum(structure_ml((labels(n), site_grid(n)))[LEFT] for n in range(2)) / 2
    assert f"<tr><td>left bright ball</td><td>4</td><td>{ball_ml:.2f}</td></tr>" in text
    assert text.count("data:image/png;base64,") >= 3 + 4  # curves of three trainings, two modalities of two cases


def test_neither_report_nor_plan_nor_metrics_hold_a_path(done):
    for name in ("report.html", "plan.json", "metrics.json", "schedule.json"):
        assert str(done) not in (run_folder(done) / name).read_text()


def test_folds_judge_every_case_by_a_training_that_did_not_learn_from_it(done):
    plan = json.loads((run_folder(done) / "plan.json").read_text())
    *folds, final = plan["trainings"]
    assert sorted(case for fold in folds for case in fold["judged"]) == sorted(plan["cases"])
    assert all(not set(fold["learnt"]) & set(fold["judged"]) for fold in folds)
    assert sorted(final["learnt"]) == sorted(plan["cases"])


@pytest.mark.slow
def test_the_child_of_a_model_that_needs_both_scans_needs_both_as_well(tmp_path):
    folder = prepare(tmp_path, 1, 0)
    plain = load_bundle(folder / "tiny")
    section = plain.metadata["crossmodalseg"] | {"requires_both": True}
    metadata = {**plain.metadata, "crossmodalseg": section}
    publish_bundle(folder / "tiny", metadata, plain.read_weights(), "A card.\n", overwrite=True)
    assert run(folder) == 0
    child = load_bundle(run_folder(folder) / "tiny-site-1")
    with pytest.raises(InputError, match="both"):
        Segmenter(child, "cpu").segment({"T1w": scan(0, "T1w")})


def test_progress_as_events_is_one_line_of_json_each_and_ends_with_the_outcome(tmp_path, capsys):
    folder = prepare(tmp_path, 1, 0)
    assert run(folder, "--events") == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    progress = [event for event in events if event["event"] == "progress"]
    assert progress
    assert all(
        set(event) == {"event", "id", "stage", "fraction", "overall", "seconds_left", "words"} for event in progress
    )
    assert all(0 <= event["overall"] <= 1 for event in progress)
    assert "1 corrected case of 1 patient" in next(event["text"] for event in events if event["event"] == "message")
    assert events[-1]["event"] == "done"
    result = events[-1]["result"]
    assert result["decision"] == "insufficient-evidence"
    assert len(result["reasons"]) == 1
    assert Path(result["report"]).is_file()
    assert Path(result["bundle"]).is_dir()


def test_an_error_is_an_event_too(tmp_path, capsys):
    folder = prepare(tmp_path, 0, 1)
    assert run(folder, "--events") == 2
    (event,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (event["event"], event["code"]) == ("error", "site-data")
    assert "1 case, and none has" in event["message"]
    assert event["hint"]
