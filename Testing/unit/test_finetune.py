"""``crossmodalseg finetune``, end to end on a tiny site: what it decides, what it writes, and how it goes on."""

import hashlib
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from CrossModalSegLib import early_stop, finetune, finetune_timing, finetune_training
from CrossModalSegLib.bundle import load_bundle, publish_bundle
from CrossModalSegLib.case_files import CaseFiles
from CrossModalSegLib.case_store import CaseStore
from CrossModalSegLib.cli import main
from CrossModalSegLib.errors import InputError
from CrossModalSegLib.finetune_scoring import CaseScorer
from CrossModalSegLib.forgetting import between
from CrossModalSegLib.frozen_cases import frozen_cases
from CrossModalSegLib.inference import Segmenter
from CrossModalSegLib.label_mapping import same_structures
from CrossModalSegLib.labels import LabelMap, Structure
from CrossModalSegLib.learnt_cases import learnt_by
from CrossModalSegLib.segmentation_io import write_segmentation
from CrossModalSegLib.site_data import SiteData, structure_ml
from CrossModalSegLib.site_runs import unfinished_run
from CrossModalSegLib.volume import write_volume
from CrossModalSegLib.work_list import CaseScore, Ranking, write_ranking
from Testing.tiny_bundle import LABEL_MAP, LEFT, RIGHT, TISSUE, intensity_bundle
from Testing.tiny_site import labels, make_site, scan, site_grid

to_grid, segment = finetune_training.prepared, CaseScorer._segment
QUICK = """
finetune = { most_iterations = 4, validations = 1 }
training = { loss_stride = 2 }
"""


def prepare(folder: Path, corrected: int, unlabelled: int, **more) -> Path:
    folder.mkdir(exist_ok=True)
    intensity_bundle(folder / "tiny", (16, 16, 16), 4.0)
    (folder / "quick.toml").write_text(QUICK)
    make_site(folder / "site", corrected, unlabelled, **more)
    return folder


def run(folder: Path, *more: object, new: bool = True) -> int:
    arguments = ["--base", folder / "tiny", "--device", "cpu"]
    if new:
        arguments += ["--budget", 30, "--config", folder / "quick.toml"]
    return main(["finetune", str(folder / "site"), *map(str, arguments), *map(str, more)])


def run_folder(folder: Path) -> Path:
    (found,) = (folder / "site" / "runs").iterdir()
    return found


def weights_of(folder: Path) -> dict[str, np.ndarray]:
    return load_bundle(run_folder(folder) / "tiny-site-1").read_weights()


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def blank(tmp_path_factory) -> Path:
    """A site with two corrected cases and one without labels; a site's secret salt decides the order of its cases."""
    return prepare(tmp_path_factory.mktemp("blank"), 2, 1)


@pytest.fixture(scope="module")
def done(blank, tmp_path_factory) -> Path:
    """The same site after a run."""
    folder = tmp_path_factory.mktemp("two") / "done"
    shutil.copytree(blank, folder)
    assert run(folder) == 0
    return folder


# what a run leaves


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


# what the gate decides


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
    assert "base tiny-site-1 0.0.1+site.1" in capsys.readouterr().err
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
        "insufficient-evidence: the parent has learnt from cases of 2 of the corrected patients, who cannot be judged on;"
    )
    (case,) = (case for case in CaseStore(folder / "site").cases() if not case.labels)
    known = learnt_by(load_bundle(parent))
    assert {kind: len(cases) for kind, cases in known.items()} == {"labelled": 2, "unlabelled": 1}
    assert known["unlabelled"] == {hashlib.sha256(case.id.encode()).hexdigest()}
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
    assert learnt_by(bundle) == {"labelled": {hashlib.sha256(learnt.encode()).hexdigest()}, "unlabelled": set()}


# stopping and going on


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["limit_plan", "score_parent", "score_candidate", "conclude"])
def test_a_run_that_was_stopped_goes_on_to_the_same_weights(blank, done, tmp_path, monkeypatch, capsys, stage):
    folder = tmp_path / "again"
    shutil.copytree(blank, folder)
    real = getattr(finetune, stage)

    def stopped(*arguments):
        real(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(finetune, stage, stopped)
        assert run(folder) == 130
    if stage == "conclude":  # all had been written
        assert run(folder, "--resume", new=False) == 2
        assert "nothing-to-resume" in capsys.readouterr().err
    else:
        assert run(folder, "--resume", new=False) == 0
    assert same(weights_of(folder), weights_of(done))


@pytest.mark.slow
def test_a_case_that_is_added_meanwhile_does_not_change_the_run_that_goes_on(tmp_path, monkeypatch):
    folder = prepare(tmp_path / "again", 2, 1)
    with monkeypatch.context() as patch:
        patch.setattr(finetune, "make_schedule", _interrupt)
        assert run(folder) == 130
    begun = json.loads((unfinished_run(folder / "site") / "plan.json").read_text())["cases"]
    make_site(folder / "site", 3, 1)
    assert run(folder, "--resume", new=False) == 0
    assert json.loads((run_folder(folder) / "metrics.json").read_text())["verdict"]["site"]["mean"]["patients"] == 2
    assert (
        load_bundle(run_folder(folder) / "tiny-site-1").metadata["crossmodalseg"]["training"]["cases"].keys()
        == begun.keys()
    )


@pytest.mark.slow
def test_no_more_cases_are_learnt_from_than_there_is_time_for_and_that_is_said(tmp_path, monkeypatch, capsys):
    folder = prepare(tmp_path, 4, 4)
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


def _interrupt(*_arguments):
    raise KeyboardInterrupt


def test_resuming_does_not_take_another_plan(done, capsys):
    assert run(done, "--resume", "--output", "other", new=False) == 2
    assert "error[plan-fixed]: --resume with --output" in capsys.readouterr().err


# what it refuses, and what it only says


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
    assert "none of the 1 cases has corrected labels" in capsys.readouterr().err


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


def test_a_plan_that_cannot_be_read_is_one_line(blank, tmp_path, capsys):
    folder = tmp_path / "again"
    shutil.copytree(blank, folder)
    (folder / "site" / "runs" / "1").mkdir(parents=True)
    (folder / "site" / "runs" / "1" / "plan.json").write_text('{"name": "old"}')
    assert run(folder, "--resume", new=False) == 2
    assert re.search(r"error\[bad-run\]: .*plan.json", capsys.readouterr().err)


def test_structures_that_the_base_does_not_have_need_a_mapping(tmp_path, capsys):
    folder = tmp_path
    with_frozen_case(folder / "tiny")
    (folder / "quick.toml").write_text(QUICK)
    spot = LabelMap((Structure(7, "bright spot", (9, 9, 9)),))
    case = CaseFiles(
        {"T1w": scan(0, "T1w"), "T2w": scan(0, "T2w")},
        {"T1w": (np.where(labels(0) == LEFT, 7, 0).astype(np.uint16), site_grid(0))},
        spot,
        {"name": "tiny", "modalities": ["T1w", "T2w"]},
        "p",
    )
    CaseStore(folder / "site").save_correction(case)
    assert run(folder) == 2
    assert 'error[labels-differ]: the bundle has no 7 "bright spot"' in capsys.readouterr().err

    assert run(folder, "--propose-mapping", folder / "mapping.json") == 0
    assert 'new structure "bright spot" (7), whose head begins as background' in capsys.readouterr().out
    mapping = json.loads((folder / "mapping.json").read_text())
    assert mapping == {"map": {"7": None}, "start": {}}
    mapping["start"]["7"] = LEFT
    (folder / "mapping.json").write_text(json.dumps(mapping))

    assert run(folder, "--mapping", folder / "mapping.json") == 0
    said = capsys.readouterr().err
    assert "taken from the parent's segmentation: tissue, left bright ball, right bright ball" in said
    start = load_file(run_folder(folder) / "training" / "final" / "start.safetensors")["heads.0.weight"]
    base = torch.from_numpy(load_bundle(folder / "tiny").read_weights()["heads.0.weight"]).float()
    assert torch.equal(start[:, :4], base), "what the parent knows stays"
    assert not torch.allclose(start[:, 4], base[:, 2], atol=0.1), "no longer a copy of the left ball"
    final = run_folder(folder) / "training" / "final"
    state = torch.load(final / "checkpoint.pt", weights_only=True)
    share = json.loads((run_folder(folder) / "metrics.json").read_text())["share"]
    there = between(load_file(final / "start.safetensors"), state["average"], share)
    assert same(weights_of(folder), {name: tensor.half().float().numpy() for name, tensor in there.items()})
    grown = load_bundle(run_folder(folder) / "tiny-site-1")
    assert grown.label_map.values == (2, LEFT, RIGHT, 7)
    assert grown.network["classes"] == 5
    Segmenter(grown, "cpu")
    (frozen,) = frozen_cases(grown, {value: value for value in grown.label_map.values})
    assert frozen.values == (2, LEFT, RIGHT)

    wanted = weights_of(folder)
    stop_at_the_end(folder)
    assert run(folder, "--resume", new=False) == 0
    assert same(weights_of(folder), wanted)
    stop_at_the_end(folder)
    (final / "start.safetensors").unlink()
    capsys.readouterr()
    assert run(folder, "--resume", new=False) == 2
    assert re.search(r"error\[bad-run\]: .*no start.safetensors", capsys.readouterr().err)


def stop_at_the_end(folder: Path) -> None:
    """As if the run had been killed before it published."""
    shutil.rmtree(run_folder(folder) / "tiny-site-1")
    (run_folder(folder) / "metrics.json").unlink()


def with_frozen_case(folder: Path) -> None:
    """The tiny bundle with a frozen T1w."""
    plain, volume = intensity_bundle(folder.with_name("plain"), (16, 16, 16), 4.0), scan(5, "T1w")
    write_volume(folder.with_name("T1w.nrrd"), volume.array, volume.grid)
    write_segmentation(folder.with_name("T1w.seg.nrrd"), labels(5), site_grid(5), LABEL_MAP)
    files = {f"frozen/one/{name}": folder.with_name(name).read_bytes() for name in ("T1w.nrrd", "T1w.seg.nrrd")}
    publish_bundle(folder, plain.metadata, plain.read_weights(), "A card.\n", more_files=files)


def test_progress_as_events_is_one_line_of_json_each_and_ends_with_the_outcome(tmp_path, capsys):
    folder = prepare(tmp_path, 1, 0)
    assert run(folder, "--events") == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    progress = [event for event in events if event["event"] == "progress"]
    assert progress
    assert all(set(event) == {"event", "stage", "fraction", "seconds_left", "words"} for event in progress)
    assert all(0 <= event["fraction"] <= 1 for event in progress)
    assert "1 corrected case of 1 patient" in next(event["text"] for event in events if event["event"] == "message")
    assert events[-1]["event"] == "done"
    assert events[-1]["decision"] == "insufficient-evidence"
    assert len(events[-1]["reasons"]) == 1
    assert Path(events[-1]["report"]).is_file()
    assert Path(events[-1]["bundle"]).is_dir()


def test_an_error_is_an_event_too(tmp_path, capsys):
    folder = prepare(tmp_path, 0, 1)
    assert run(folder, "--events") == 2
    (event,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (event["event"], event["code"]) == ("failed", "site-data")
    assert "none of the 1 cases" in event["message"]
    assert event["hint"]


@pytest.mark.slow
def test_where_there_is_no_time_to_leave_cases_out_a_model_comes_without_evidence(tmp_path, monkeypatch, capsys):
    folder = prepare(tmp_path, 2, 0)
    monkeypatch.setattr(finetune_timing, "time_steps", lambda _run: 35.0)  # 30 minutes: about 48 steps in all
    assert run(folder) == 0
    assert "insufficient-evidence: corrected cases of 0 patients could be held out" in capsys.readouterr().out
    plan = json.loads((run_folder(folder) / "plan.json").read_text())
    assert [training["name"] for training in plan["trainings"]] == ["final"]
