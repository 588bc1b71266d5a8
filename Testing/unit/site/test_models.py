"""The site's own models: a candidate appears among them whole or not at all, and nothing is written over."""

import json
from pathlib import Path

import pytest

from CrossModalSegLib.atomic import write_atomically
from CrossModalSegLib.bundles.bundle import load_bundle
from CrossModalSegLib.cli import main
from CrossModalSegLib.errors import BundleError, ConfigError, DataError, InputError
from CrossModalSegLib.site.case_store import CaseStore
from CrossModalSegLib.site.check import verify_site
from CrossModalSegLib.site.finetune_base import newest
from CrossModalSegLib.site.models import adopt, next_name, site_models
from CrossModalSegLib.site.repair import repair_site
from CrossModalSegLib.site.runs import finished_run, give_up, require_free_name, unfinished_run
from Testing.tiny_bundle import LABEL_MAP, intensity_bundle


def add_run(site: Path, time: str, decision: str) -> Path:
    """A finished run as a fine-tuning leaves it, with a candidate."""
    folder = site / "runs" / time
    candidate = intensity_bundle(folder / "tiny-site-1", spacing=float(time))
    write_atomically(folder / "plan.json", "{}")
    verdict = {"decision": decision, "reasons": ["for a test"]}
    content = {"verdict": verdict, "candidate": {"name": "tiny-site-1", "sha256": candidate.sha256}}
    write_atomically(folder / "metrics.json", json.dumps(content))
    return folder


@pytest.fixture
def site(tmp_path):
    CaseStore(tmp_path / "site").create(LABEL_MAP, ("T1w", "T2w"))
    return tmp_path / "site"


def test_a_candidate_is_adopted_once_and_is_loaded_by_its_folder(site):
    candidate = add_run(site, "1", "promote") / "tiny-site-1"
    first, again = adopt(site, candidate), adopt(site, candidate)
    assert first.path == again.path == (site / "models" / "tiny-site-1").resolve()
    assert load_bundle(first.path).sha256 == load_bundle(candidate).sha256


def test_another_model_of_the_same_name_stays_and_what_is_adopted_last_is_the_newest(site):
    adopted = [adopt(site, add_run(site, str(number), "promote") / "tiny-site-1") for number in (1, 2, 3)]
    assert [model.name for model in adopted] == ["tiny-site-1", "tiny-site-2", "tiny-site-3"]
    assert [model.sha256 for model in site_models(site)] == [model.sha256 for model in adopted]
    assert newest(site_models(site)).name == "tiny-site-3"
    assert next_name(site, "tiny-site-1") == "tiny-site-4"


def test_a_copy_that_an_earlier_version_numbered_its_own_way_is_newer_than_what_it_is_a_copy_of(site):
    for number, name in enumerate(("tiny-site-1", "tiny-site-1-2"), start=1):
        intensity_bundle(site / "models" / name, spacing=float(number))
    assert newest(site_models(site)).name == "tiny-site-1-2"
    assert next_name(site, "tiny-site-1-2") == "tiny-site-2"


def test_a_model_with_a_name_of_its_own_gets_a_number_where_the_name_is_taken(site):
    candidate = add_run(site, "1", "promote") / "tiny-site-1"
    intensity_bundle(site / "models" / "mine", spacing=2.0)
    candidate = candidate.rename(candidate.with_name("mine"))
    assert adopt(site, candidate).name == "mine-2"


def test_a_damaged_candidate_is_not_adopted_and_leaves_nothing(site):
    candidate = add_run(site, "1", "promote") / "tiny-site-1"
    (candidate / "docs" / "README.md").write_text("changed")
    with pytest.raises(BundleError, match="bundle-corrupt"):
        adopt(site, candidate)
    assert not (site / "models").exists()


def test_a_damaged_model_is_put_right_by_adopting_it_again(site):
    candidate = add_run(site, "1", "promote") / "tiny-site-1"
    model = adopt(site, candidate)
    (model.path / "docs" / "README.md").write_text("changed")
    adopt(site, candidate)
    load_bundle(model.path)


def test_a_damaged_model_is_found_by_verify_and_set_aside_by_repair(site):
    model = adopt(site, add_run(site, "1", "promote") / "tiny-site-1")
    assert verify_site(site).is_whole
    (model.path / "docs" / "README.md").write_text("changed")
    (damage,) = verify_site(site).damages
    assert damage.path == model.path
    assert "docs/README.md" in damage.what
    repair_site(site)
    assert verify_site(site).is_whole
    assert site_models(site) == []
    assert (site / "quarantine" / "models" / "tiny-site-1").is_dir()


def test_site_adopt_takes_over_what_had_too_little_evidence_and_refuses_what_was_worse(site, capsys):
    add_run(site, "1", "insufficient-evidence")
    add_run(site, "2", "keep")
    assert main(["site", "adopt", str(site)]) == 2  # the newest
    assert "error[kept-parent]: the candidate of run 2 was found worse: for a test" in capsys.readouterr().err
    assert main(["site", "adopt", str(site), "3"]) == 2
    assert "error[no-such-run]" in capsys.readouterr().err
    assert main(["site", "adopt", str(site), "1"]) == 0
    assert f"segment --bundle {(site / 'models' / 'tiny-site-1').resolve()}" in capsys.readouterr().out
    assert main(["site", "models", str(site)]) == 0
    said = capsys.readouterr().out
    assert "tiny-site-1 0.0.1, from no other model: " in said
    assert "run 2: keep: for a test" in said


def test_runs_without_a_result_are_unfinished(site):
    add_run(site, "1", "keep")
    (site / "runs" / "2").mkdir()
    write_atomically(site / "runs" / "2" / "plan.json", "{}")
    assert unfinished_run(site).name == "2"
    assert finished_run(site).name == "1"


def begin_run(site: Path, time: str) -> Path:
    """A run that has a plan and no result."""
    (site / "runs" / time).mkdir(parents=True)
    write_atomically(site / "runs" / time / "plan.json", "{}")
    return site / "runs" / time


def test_a_run_that_a_later_one_has_overtaken_is_not_gone_on_with(site):
    for time in ("1", "2", "4"):
        begin_run(site, time)
    assert unfinished_run(site).name == "4"
    add_run(site, "3", "keep")
    assert unfinished_run(site).name == "4"
    add_run(site, "5", "keep")
    with pytest.raises(DataError, match="nothing-to-resume"):
        unfinished_run(site)


def test_a_run_that_was_given_up_is_not_gone_on_with(site):
    give_up(begin_run(site, "1"), ConfigError("budget-too-small", "1 minute", "give more"))
    with pytest.raises(DataError, match="nothing-to-resume"):
        unfinished_run(site)


@pytest.mark.parametrize(
    "name", ["candidate", "Parent", "lock", "plan.json", "report.HTML", "../x", ".x", "", "a/b", "x" * 101]
)
def test_a_name_that_a_run_cannot_hold_is_refused(name):
    with pytest.raises(InputError, match="bad-name"):
        require_free_name(name)
    require_free_name("our-brain_model 2.1")
