"""How the worker process is started, and that events come without waiting."""

import os
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

from CrossModalSegApp.process import worker_client
from CrossModalSegApp.process.worker_client import NOT_STARTED, WorkerClient, default_python
from CrossModalSegLib.protocol import Done, Progress
from Testing.slicer.process.worker_client.talk import PING, answer, ask


def test_the_library_comes_first_and_the_rest_of_the_environment_stays(client_of, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/somewhere/else")
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "json.py").write_text("1 / 0")  # not taken for Python's own
    client = client_of("say(done(path=os.environ['PYTHONPATH'], seed=os.environ['PYTHONHASHSEED'], argv=sys.argv[1:]))")
    result = answer(client, PING).result
    assert result == {"path": f"{tmp_path / 'library'}{os.pathsep}/somewhere/else", "seed": "7", "argv": []}


def test_slicers_own_python_is_taken_where_there_is_one(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert default_python() == sys.executable
    program = tmp_path / ("PythonSlicer.exe" if os.name == "nt" else "PythonSlicer")
    program.touch(mode=0o755)
    assert Path(default_python()) == program


def test_the_client_loads_nothing_heavy_into_slicer():
    folders = [str(Path(worker_client.__file__).parents[level]) for level in (2, 3)]
    code = (
        f"import sys; sys.path[:0] = {folders}; import CrossModalSegApp.process.worker_client as c; print(*sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in run.stdout.split()}
    assert not {"torch", "monai", "numpy", "SimpleITK", "qt", "PySide6"} & loaded


@pytest.mark.parametrize("process_factory", ["qt"], indirect=True)
def test_without_waiting_slicers_event_loop_brings_the_events(qt, client_of):
    client = client_of("say(progress('network') + done())")
    listener = ask(client, PING)
    run_event_loop(qt, client)
    assert [type(event) for event in listener.events] == [Progress, Done]


def test_the_event_loop_also_tells_that_a_program_could_not_be_started(qt, qt_worker_process):
    client = WorkerClient(qt_worker_process, python="/no/such/program")
    listener = ask(client, PING)
    run_event_loop(qt, client)
    assert listener.answer.code == NOT_STARTED


def run_event_loop(qt: types.ModuleType, client: WorkerClient) -> None:
    while client.is_busy:
        qt.application.processEvents()
        time.sleep(0.01)
