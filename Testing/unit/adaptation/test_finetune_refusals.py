"""What a fine-tuning refuses, each in one line and before anything is computed, and what it only says."""

import json
import re
import shutil

import numpy as np
import pytest

from CrossModalSegLib.site.case_files import CaseFiles
from CrossModalSegLib.site.case_store import CaseStore
from Testing.tiny_bundle import LABEL_MAP, intensity_bundle
from Testing.tiny_finetune import prepare, run, run_folder
from Testing.tiny_site import labels, scan, site_grid


def test_all_that_is_wrong_with_the_data_is_told_at_once(tmp_path, capsys):
    folder = prepare(tmp_path, 2, 1)
    first, second = (case for case in CaseStore(folder / "site").cases() if case.labels)
    file = first.labels["T1w"]
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    second.volumes["T2w"].unlink()
    assert run(folder) == 2
    said = capsys.readouterr().err
    assert said.startswith("error[site-data]: ")
    assert f"case {first.id}" in said
    assert "SHA-256 differs" in said
    assert f"case {second.id}: no file" in said
    assert said.count("\n") == 1
    assert not (folder / "site" / "runs").exists()


def test_a_patient_without_any_structure_is_learnt_from_and_judged_on_and_a_damaged_scan_without_labels_left_out(
    tmp_path, capsys
):
    folder = prepare(tmp_path, 1, 2)
    store = CaseStore(folder / "site")
    healthy = CaseFiles(
        {name: scan(9, name) for name in ("T1w", "T2w")},
        {name: (np.zeros_like(labels(9)), site_grid(9)) for name in ("T1w", "T2w")},
        LABEL_MAP,
        {"name": "tiny", "modalities": ["T1w", "T2w"]},
        "healthy",
    )
    empty = store.save_correction(healthy).id
    damaged = next(case for case in store.cases() if case.status == "unlabelled")
    damaged.volumes["T1w"].write_bytes(damaged.volumes["T1w"].read_bytes()[:-100])
    assert run(folder) == 0
    said = capsys.readouterr().err
    assert "2 corrected cases of 2 patients, 1 case without labels" in said
    for words in (f"case {damaged.id} is left out: ", f"case {empty}: the labels of T1w show no structure"):
        assert words in said
        assert words in (run_folder(folder) / "report.html").read_text()
    content = json.loads((run_folder(folder) / "metrics.json").read_text())
    dice = content["scores"]["candidate"][empty]["T1w"]["left bright ball"]["dice"]
    assert dice in (0.0, 1.0), "nothing was there: found or not found"


def test_a_site_without_corrections_is_refused(tmp_path, capsys):
    folder = prepare(tmp_path, 0, 1)
    assert run(folder) == 2
    assert "1 case, and none has corrected labels" in capsys.readouterr().err


def test_a_name_that_the_site_s_models_have_already_is_refused(tmp_path, capsys):
    folder = prepare(tmp_path, 1, 0)
    intensity_bundle(folder / "site" / "models" / "mine", (16, 16, 16), 4.0)
    assert run(folder, "--output", "mine") == 2
    assert "error[output-exists]: the site has a model mine already" in capsys.readouterr().err


def test_wrong_settings_are_refused_before_anything_is_computed(tmp_path, capsys):
    folder = prepare(tmp_path, 1, 0)
    for text, said in (
        ("training = { iterations = 5 }", "follows from the budget"),
        ("training = { lerning_rate = 1.0 }", "training.lerning_rate: unknown name"),
        ("gate = { structure_fall = -1 }", "structure_fall"),
        ("finetune = { folds = 1 }", "folds: must be at least 2"),
        ("networks = {}", "networks: unknown name"),
    ):
        (folder / "quick.toml").write_text(text)
        assert run(folder) == 2
        assert said in capsys.readouterr().err
    assert not (folder / "site" / "runs").exists()


@pytest.mark.slow
def test_a_budget_that_is_too_small_says_what_would_do_and_is_not_gone_on_with(tmp_path, capsys):
    folder = prepare(tmp_path, 2, 0)
    assert run(folder, "--budget", "0.01") == 2
    assert re.search(r"error\[budget-too-small\].*give --budget \d+ or more", capsys.readouterr().err)
    assert not (run_folder(folder) / "prepared").exists()
    assert run(folder, "--resume", new=False) == 2
    assert "error[nothing-to-resume]" in capsys.readouterr().err


@pytest.mark.parametrize("minutes", ["inf", "nan", "-1", "0"])
def test_a_budget_that_is_no_time_is_refused(blank, capsys, minutes):
    assert run(blank, "--budget", minutes) == 2
    assert f"error[config]: --budget {minutes}" in capsys.readouterr().err


def test_a_name_that_a_run_needs_for_itself_is_refused_before_anything_is_computed(blank, capsys):
    assert run(blank, "--output", "candidate") == 2
    assert "error[bad-name]: the name 'candidate' for the new model" in capsys.readouterr().err
    assert not (blank / "site" / "runs").exists()


def test_a_site_where_no_run_can_be_written_is_one_line(blank, tmp_path, capsys):
    folder = tmp_path / "again"
    shutil.copytree(blank, folder)
    (folder / "site" / "runs").write_text("a file")
    assert run(folder) == 2
    assert re.search(r"error\[cannot-write\]: .*runs", capsys.readouterr().err)
