"""``make test-slicer``: how Slicer is started, and that its result is make's."""

import os
import runpy
import shutil
import subprocess
import sys
import types
import unittest
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "scripts" / "test_in_slicer.py"


@pytest.fixture
def make():
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    environment = {name: value for name, value in os.environ.items() if name not in ("SLICER", "MAKEFLAGS")}

    def run(*arguments):
        command = ["make", "--no-print-directory", "-C", str(REPOSITORY), "test-slicer", *arguments]
        return subprocess.run(command, check=False, capture_output=True, text=True, env=environment)

    return run


@pytest.fixture
def slicer_that_ends_with(tmp_path):
    """A program in the place of Slicer, in a folder with a space: it prints its arguments and ends with a status."""

    def write(status):
        program = tmp_path / "3D Slicer" / "Slicer"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@"\nexit {status}\n')
        program.chmod(0o755)
        return program

    return write


def test_without_slicer_one_line_says_that_it_is_skipped(make):
    done = make()
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1
    assert "skipped" in done.stdout


def test_slicer_is_started_with_the_module_and_the_script(make, slicer_that_ends_with):
    done = make(f"SLICER={slicer_that_ends_with(0)}")
    assert done.returncode == 0, done.stderr
    arguments = ["--no-splash", "--no-main-window", "--testing"]
    arguments += ["--additional-module-paths", str(REPOSITORY / "CrossModalSeg"), "--python-script", str(SCRIPT)]
    assert done.stdout.splitlines()[-len(arguments) :] == arguments


def test_a_failure_in_slicer_is_a_failure_of_make(make, slicer_that_ends_with):
    assert make(f"SLICER={slicer_that_ends_with(1)}").returncode != 0


@pytest.mark.parametrize(("fails", "status"), [(False, 0), (True, 1)])
def test_the_script_ends_slicer_with_the_result_of_the_test(monkeypatch, fails, status):
    slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")

    class CrossModalSegTest(unittest.TestCase):
        def runTest(self):
            assert not fails

    module = types.ModuleType("CrossModalSeg")
    module.CrossModalSegTest = CrossModalSegTest
    monkeypatch.setitem(sys.modules, "CrossModalSeg", module)
    ended = []
    monkeypatch.setattr(slicer.util, "exit", ended.append)
    runpy.run_path(str(SCRIPT))
    assert ended == [status]
