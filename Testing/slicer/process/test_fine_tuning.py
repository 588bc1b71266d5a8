"""Fine-tuning from the module: its process, its progress, its end, and the models that come of it.

The process is real; in the place of the command it is a few lines of Python that say what the command says.
"""

import json
import shutil
import time
from pathlib import Path

import pytest

from CrossModalSegApp.logic.logic import SegmentationLogic
from CrossModalSegApp.process.fine_tuning import can_resume, latest_result
from CrossModalSegApp.process.run_state import Outcome
from CrossModalSegApp.process.subprocess_worker import SubprocessWorkerProcess
from CrossModalSegApp.process.worker_client import WorkerClient
from CrossModalSegLib import attended
from CrossModalSegLib.atomic import write_atomically
from CrossModalSegLib.bundles.bundle import load_bundle
from CrossModalSegLib.errors import InputError
from CrossModalSegLib.site.case_store import CaseStore
from CrossModalSegLib.site.models import adopt
from Testing.tiny_bundle import LABEL_MAP, intensity_bundle

COMMAND = """
import json, sys, time
from pathlib import Path

def say(event, **facts):
    facts = {"result": facts} if event == "done" else facts
    print(json.dumps({"event": event, "id": "", **facts}), flush=True)

def step(fraction, left):
    say("progress", stage="training final", fraction=0.0, overall=fraction, seconds_left=left, words="step 1 of 2")

say("message", text=" ".join(sys.argv[1:]))
"""


def stub(folder: Path, body: str) -> Path:
    """A library whose command line does ``body``."""
    return library_with(folder / "library", COMMAND + body)


def library_with(folder: Path, command: str) -> Path:
    """A library in ``folder`` whose command line is the program ``command``; it is attended as the real one is."""
    package = folder / "CrossModalSegLib"
    package.mkdir(parents=True)
    for module in ("__init__", "attended", "errors", "protocol"):
        shutil.copy(Path(attended.__file__).with_name(f"{module}.py"), package)
    (package / "cli.py").write_text(command)
    return folder


@pytest.fixture
def make_logic(mrml_scene, tmp_path):
    made = []

    def make(body: str) -> SegmentationLogic:
        made.append(SegmentationLogic(mrml_scene, WorkerClient(SubprocessWorkerProcess, library=stub(tmp_path, body))))
        return made[-1]

    yield make
    for logic in made:
        logic.close()


@pytest.fixture
def bundle(tmp_path):
    return intensity_bundle(tmp_path / "bundles" / "tiny")


def heard(logic):
    """The statuses from now on."""
    statuses = []
    logic.fine_tuning.listen(statuses.append)
    return statuses


def wait(logic, until, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not until() and time.monotonic() < deadline:
        logic.fine_tuning.wait(0.1)
    assert until()


def wait_for_end(logic):
    wait(logic, lambda: not logic.fine_tuning.status.is_running)
    return logic.fine_tuning.status


def test_the_command_is_started_with_model_and_minutes_and_tells_plan_progress_and_result(make_logic, bundle, tmp_path):
    logic = make_logic('step(0.5, 90); say("done", decision="promote", reasons=["r"], report="/r.html", bundle="/b")')
    statuses = heard(logic)
    logic.fine_tuning.start(tmp_path / "site", bundle, 15, "cpu")
    assert logic.fine_tuning.status.is_running
    with pytest.raises(InputError, match="busy"):
        logic.fine_tuning.start(tmp_path / "site", bundle, 15)
    status = wait_for_end(logic)
    command = f"finetune {tmp_path / 'site'} --base {bundle.path} --budget 15 --device cpu --events"
    assert status.plan == (command,)
    assert [(one.stage, one.fraction, one.seconds_left) for one in statuses if one.fraction] == [
        ("training final", 0.5, 90)
    ]
    assert status.outcome is Outcome.DONE
    assert (status.result.decision, status.result.report, status.result.is_offered) == (
        "promote", Path("/r.html"), True,
    )  # fmt: skip


def test_an_error_that_the_command_tells_is_the_outcome(make_logic, bundle, tmp_path):
    logic = make_logic('say("error", code="site-data", message="no labels", hint="add some"); sys.exit(2)')
    logic.fine_tuning.start(tmp_path / "site", bundle, 15)
    status = wait_for_end(logic)
    assert status.outcome is Outcome.FAILED
    assert (status.error.code, status.error.message, status.error.hint) == ("site-data", "no labels", "add some")


def test_a_process_that_dies_is_told_with_its_last_words(make_logic, bundle, tmp_path):
    logic = make_logic('print("no memory", file=sys.stderr, flush=True); import os; os._exit(3)')
    logic.fine_tuning.start(tmp_path / "site", bundle, 15)
    status = wait_for_end(logic)
    assert status.error.code == "fine-tuning-died"
    assert "exit code 3" in status.error.message
    assert "no memory" in status.error.message


def test_a_listener_that_fails_keeps_neither_others_nor_the_one_who_waits_from_what_comes(
    make_logic, bundle, tmp_path, caplog
):
    def failing(_status):
        raise OSError("the share is gone")

    logic = make_logic('step(0.5, 90); say("done", decision="promote", reasons=["r"], report="/r.html", bundle="/b")')
    logic.fine_tuning.listen(failing)
    statuses = heard(logic)
    logic.fine_tuning.start(tmp_path / "site", bundle, 15)
    assert wait_for_end(logic).outcome is Outcome.DONE
    assert statuses[-1].outcome is Outcome.DONE
    assert "the share is gone" in caplog.text


def test_cancel_kills_the_process_and_it_can_be_resumed(make_logic, bundle, tmp_path):
    logic = make_logic("step(0.5, 90); time.sleep(0 if '--resume' in sys.argv else 600)")
    logic.fine_tuning.start(tmp_path / "site", bundle, 15)
    wait(logic, lambda: logic.fine_tuning.status.fraction == 0.5)
    process = logic.fine_tuning._process
    logic.fine_tuning.cancel()
    assert logic.fine_tuning.status.outcome is Outcome.CANCELLED
    assert not process.is_running
    logic.fine_tuning.resume(tmp_path / "site")
    assert f"finetune {tmp_path / 'site'} --resume --device auto --events" in wait_for_end(logic).plan


def test_closing_the_module_kills_the_process(make_logic, bundle, tmp_path):
    logic = make_logic("step(0.5, 90); time.sleep(600)")
    logic.fine_tuning.start(tmp_path / "site", bundle, 15)
    process = logic.fine_tuning._process
    logic.close()
    assert not process.is_running


def test_lines_that_are_no_events_do_no_harm(make_logic, bundle, tmp_path):
    logic = make_logic('print("a warning"); print("{}"); print("[1]"); step(0.5, None)')
    statuses = heard(logic)
    logic.fine_tuning.start(tmp_path / "site", bundle, 15)
    wait_for_end(logic)
    assert any(one.fraction == 0.5 for one in statuses)


# ranking


def test_the_cases_are_ranked_by_a_command_of_its_own_beside_a_fine_tuning(make_logic, bundle, tmp_path):
    logic = make_logic('step(0.5, 90); say("done", scored=3, left_out=1)')
    statuses = []
    logic.ranking.listen(statuses.append)
    logic.ranking.start(tmp_path / "site", bundle, "cpu")
    with pytest.raises(InputError, match=r"busy.*a ranking is going on already"):
        logic.ranking.start(tmp_path / "site", bundle)
    while logic.ranking.status.is_running:
        logic.ranking.wait(0.1)
    command = f"site rank {tmp_path / 'site'} --bundle {bundle.path} --device cpu --events"
    assert logic.ranking.status.plan == (command,)
    assert logic.ranking.status.outcome is Outcome.DONE
    assert 0.5 in [one.fraction for one in statuses]
    assert not logic.fine_tuning.status.is_running


def test_closing_the_module_kills_a_ranking_too(make_logic, bundle, tmp_path):
    logic = make_logic("time.sleep(600)")
    logic.ranking.start(tmp_path / "site", bundle)
    process = logic.ranking._process
    logic.close()
    assert not process.is_running


# models


def add_run(site: Path, decision: str, parent: str | None = None) -> Path:
    """A finished run with a candidate, as the command leaves it."""
    folder = site / "runs" / "20260101-000000"
    candidate = intensity_bundle(folder / "tiny-site-1", spacing=3.0, parent=parent)
    write_atomically(folder / "plan.json", "{}")
    write_atomically(folder / "report.html", "<html></html>")
    verdict = {"decision": decision, "reasons": ["mean Dice higher"]}
    write_atomically(folder / "metrics.json", json.dumps({"verdict": verdict, "candidate": {"name": candidate.name}}))
    return folder


def test_the_site_s_models_are_listed_and_found_by_name(make_logic, tmp_path):
    logic = make_logic("")
    CaseStore(tmp_path / "site").create(LABEL_MAP, ("T1w", "T2w"))
    folder = add_run(tmp_path / "site", "insufficient-evidence")
    result = latest_result(tmp_path / "site")
    assert (result.decision, result.bundle) == ("insufficient-evidence", folder / "tiny-site-1")
    assert not can_resume(tmp_path / "site")
    model = adopt(tmp_path / "site", result.bundle)
    assert model.name not in [one.name for one in logic.bundles()]
    logic.use_site(tmp_path / "site")
    assert logic.bundle("tiny-site-1").sha256 == load_bundle(model.path).sha256
    logic.use_site(None)
    assert model.name not in [one.name for one in logic.bundles()]


def test_a_run_without_a_result_can_be_resumed(tmp_path):
    write_atomically_in(tmp_path / "runs" / "1" / "plan.json")
    assert can_resume(tmp_path)
    assert latest_result(tmp_path) is None


def write_atomically_in(file: Path) -> None:
    file.parent.mkdir(parents=True)
    write_atomically(file, "{}")
