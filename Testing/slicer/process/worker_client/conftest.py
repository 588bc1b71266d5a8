"""Clients of the worker process, with both ways to start one: Python's own, and QProcess (on PySide6, not in Slicer).

The workers are real processes; where one has to misbehave, it is a few lines of Python in the place of the real one.
"""

import importlib
import os
import sys
import textwrap
import types

import pytest

from CrossModalSegApp.process.subprocess_worker import SubprocessWorkerProcess
from CrossModalSegApp.process.worker_client import WorkerClient


@pytest.fixture(scope="session")
def qt() -> types.ModuleType:
    """What the module finds under the name ``qt`` in Slicer, as far as processes are concerned."""
    widgets = pytest.importorskip(
        "PySide6.QtWidgets", reason="PySide6 is not installed: pip install PySide6-Essentials"
    )
    from PySide6 import QtCore

    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    module = types.ModuleType("qt")
    for name in ("QCoreApplication", "QProcess", "QProcessEnvironment", "QTimer"):
        setattr(module, name, getattr(QtCore, name))
    # Other tests need a QApplication, and there can be only one application object.
    module.application = widgets.QApplication.instance() or widgets.QApplication(["tests"])
    return module


@pytest.fixture
def qt_worker_process(qt, monkeypatch):
    monkeypatch.setitem(sys.modules, "qt", qt)
    monkeypatch.delitem(sys.modules, "CrossModalSegApp.qt.worker_process", raising=False)
    yield importlib.import_module("CrossModalSegApp.qt.worker_process").QtWorkerProcess
    monkeypatch.delitem(sys.modules, "CrossModalSegApp.qt.worker_process")
    qt.application.processEvents()


@pytest.fixture(params=["subprocess", "qt"])
def process_factory(request):
    is_qt = request.param == "qt"
    return request.getfixturevalue("qt_worker_process") if is_qt else SubprocessWorkerProcess


@pytest.fixture
def make_client(process_factory):
    """Makes clients that are closed after the test."""
    clients = []

    def make(**arguments) -> WorkerClient:
        clients.append(WorkerClient(process_factory, **arguments))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


PRELUDE = """
import json, os, signal, subprocess, sys, time
from pathlib import Path

def say(data):
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()

def event(name, **fields):
    return json.dumps({"event": name, **fields}, ensure_ascii=False).encode() + b"\\n"

def progress(stage):
    return event("progress", id=request["id"], stage=stage, fraction=0.0, overall=0.0, seconds_left=None, words='')

def done(**result):
    return event("done", id=request["id"], result=result)

say(event("ready", version="0", pid=os.getpid()))
for line in sys.stdin:
    request = json.loads(line)
"""


@pytest.fixture
def client_of(make_client, tmp_path):
    """Makes a client whose worker does ``body`` for each ``request``."""

    def make(body: str, **arguments) -> WorkerClient:
        package = tmp_path / "library" / "CrossModalSegLib"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "worker.py").write_text(PRELUDE + textwrap.indent(textwrap.dedent(body), "    "), encoding="utf-8")
        return make_client(library=tmp_path / "library", **arguments)

    return make
