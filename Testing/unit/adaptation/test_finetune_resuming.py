"""A fine-tuning that was stopped goes on to the same model."""

import json
import re
import shutil

import pytest

from CrossModalSegLib.adaptation import finetune
from CrossModalSegLib.bundles.bundle import load_bundle
from CrossModalSegLib.site.runs import unfinished_run
from Testing.tiny_finetune import prepare, run, run_folder, same, weights_of
from Testing.tiny_site import make_site


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["limit_plan", "score_parent", "score_held_out", "score_frozen", "conclude"])
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


def _interrupt(*_arguments):
    raise KeyboardInterrupt


def test_resuming_does_not_take_another_plan(done, capsys):
    assert run(done, "--resume", "--output", "other", new=False) == 2
    assert "error[plan-fixed]: --resume with --output" in capsys.readouterr().err


def test_a_plan_that_cannot_be_read_is_one_line(blank, tmp_path, capsys):
    folder = tmp_path / "again"
    shutil.copytree(blank, folder)
    (folder / "site" / "runs" / "1").mkdir(parents=True)
    (folder / "site" / "runs" / "1" / "plan.json").write_text('{"name": "old"}')
    assert run(folder, "--resume", new=False) == 2
    assert re.search(r"error\[bad-run\]: .*plan.json", capsys.readouterr().err)
