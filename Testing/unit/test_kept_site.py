"""A site folder of each earlier version is opened and worked with: nothing in it is lost, and it goes on."""

import json

import numpy as np
import pytest

from CrossModalSegLib.bundles.bundle import load_bundle
from CrossModalSegLib.cli import main
from CrossModalSegLib.imaging.segmentation_io import read_segmentation
from CrossModalSegLib.imaging.volume import read_volume
from CrossModalSegLib.site.case_files import CaseFiles
from CrossModalSegLib.site.case_store import CaseStore
from CrossModalSegLib.site.models import site_models
from CrossModalSegLib.site.runs import finished_run
from Testing.kept.versions import KEPT
from Testing.tiny_bundle import LABEL_MAP, LEFT, TISSUE


@pytest.fixture(params=KEPT, ids=lambda kept: kept.folder.name)
def kept(request, monkeypatch):
    """One version's files; its model is installed."""
    monkeypatch.setenv("CROSSMODALSEG_BUNDLES", str(request.param.bundles))
    return request.param


@pytest.fixture
def site(kept, tmp_path):
    return kept.copy_site(tmp_path / "site")


def test_something_is_kept_of_the_first_version():
    assert "0.1.0" in {kept.folder.name for kept in KEPT}
    assert sum(file.stat().st_size for kept in KEPT for file in kept.folder.rglob("*") if file.is_file()) < 2_000_000


def test_every_case_is_listed_with_its_state(kept, site, capsys):
    assert main(["site", "list", str(site)]) == 0
    lines = {line.split()[0]: line.split(maxsplit=5)[1:] for line in capsys.readouterr().out.splitlines()[1:-1]}
    expected = {
        "corrected": ("corrected", "2", "training", ""),
        "approved": ("approved", "1", "training", ""),
        "held out": ("corrected", "1", "held-out", ""),
        "excluded": ("corrected", "1", "training", "excluded"),
        "fork": ("corrected", "3", "training", "fork"),
        "predicted": ("predicted", "-", "training", ""),
        "unlabelled": ("unlabelled", "-", "training", ""),
        "one scan": ("unlabelled", "-", "training", ""),
    }
    assert set(lines) == {kept.case(what) for what in expected}
    for what, (status, revision, split, note) in expected.items():
        told_status, scans, told_revision, told_split, *told_note = lines[kept.case(what)]
        assert (told_status, told_revision, told_split) == (status, revision, split), what
        assert scans == ("T1w" if what == "one scan" else "T1w+T2w")
        assert note in " ".join(told_note)
        assert bool(note) == bool(told_note), what


def test_every_file_is_whole(site, capsys):
    assert main(["site", "verify", str(site)]) == 0
    assert "8 cases and 9 revisions; damaged: 0" in capsys.readouterr().out


def test_the_work_list_is_in_the_order_of_the_scores_that_were_kept(kept, site, capsys):
    assert main(["site", "next", str(site)]) == 0
    text = capsys.readouterr().out
    ids = [kept.case(what) for what in ("one scan", "unlabelled", "predicted")]
    assert all(id_ in text for id_ in ids)
    assert sorted(ids, key=text.index) == ids, "as the version that wrote it listed them"
    assert "3 scored by tiny-site-1" in text


def test_the_site_s_model_and_the_run_that_it_came_from_are_told(kept, site, capsys):
    assert main(["site", "models", str(site)]) == 0
    text = capsys.readouterr().out
    assert f"tiny-site-1 0.0.1+site.1, from {kept.facts['bundle'][:12]}" in text
    assert f"run {kept.facts['run']}: insufficient-evidence" in text
    run = finished_run(site)
    assert (run.name, run.report.is_file(), len(run.summary)) == (kept.facts["run"], True, 2)
    assert load_bundle(run.candidate).sha256 == site_models(site)[0].sha256


def test_a_case_is_corrected_on_top_of_what_was_saved(kept, site):
    store = CaseStore(site)
    case = store.case(kept.case("corrected"))
    assert [revision.number for revision in case.revisions] == [1, 2]
    volumes = {modality: read_volume(path, modality) for modality, path in case.volumes.items()}
    labels = {modality: read_segmentation(path)[:2] for modality, path in case.labels.items()}
    changed = labels["T1w"][0]
    assert {TISSUE, LEFT} <= set(np.unique(changed).tolist())
    changed[changed == LEFT] = TISSUE
    files = CaseFiles(volumes, labels, LABEL_MAP, case.revisions[0].bundle, "patient 0")  # no id: the scans tell it
    saved = store.save_correction(files, "GH")
    assert (saved.id, saved.revision, saved.parent) == (case.id, 3, 2)
    again = store.case(case.id)
    np.testing.assert_array_equal(read_segmentation(again.labels["T1w"])[0], changed)
    assert main(["site", "approve", str(site), case.id, "--author", "GH"]) == 0
    assert store.case(case.id).status == "approved"
    assert main(["site", "verify", str(site)]) == 0


def test_the_next_fine_tuning_begins_with_the_site_s_model_and_the_same_cases(kept, site, capsys):
    assert main(["finetune", str(site), "--dry-run", "--device", "cpu", "--budget", "30"]) == 0
    told = capsys.readouterr()
    text = told.out + told.err
    assert "tiny-site-1 0.0.1+site.1" in text
    assert "tiny-site-2 0.0.1+site.2" in text
    assert "learnt from: 3 cases; judged on: 1 held-out" in text
    assert f"case {kept.case('excluded')} is left out" in text


@pytest.mark.slow
def test_a_fine_tuning_that_was_stopped_goes_on_or_is_to_be_started_anew(site, capsys):
    """A plan says what is done with these cases by that version: another may refuse it, in words."""
    (stopped,) = [plan.parent for plan in site.glob("runs/*/plan.json") if not (plan.parent / "metrics.json").exists()]
    if main(["finetune", str(site), "--resume", "--device", "cpu"]) == 0:
        cases = json.loads((stopped / "plan.json").read_text(encoding="utf-8"))["cases"]
        model = load_bundle(finished_run(site).candidate)
        assert model.name == "tiny-site-2"
        assert set(model.metadata["crossmodalseg"]["training"]["cases"]) < set(cases), "one is held out"
    else:
        assert "start a new run, without --resume" in capsys.readouterr().err
