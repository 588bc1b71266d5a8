"""A command that is attended: it runs as it would alone, says which process it is, and ends with whoever wanted it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from CrossModalSegLib import __version__

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = "import sys; print(__name__, sys.argv[1:], sys.stdin.read() == '', flush=True)\n"
posix = pytest.mark.skipif(os.name != "posix", reason="process groups of POSIX")


def start(folder: Path, program: str, *arguments: str) -> "subprocess.Popen[bytes]":
    (folder / "program.py").write_text(program)
    command = [sys.executable, "-u", "-m", "CrossModalSegLib.attended", "program", *arguments]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(folder)])}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)


def test_it_says_its_id_and_then_is_the_program_with_its_arguments_and_no_input(tmp_path):
    with start(tmp_path, PROGRAM, "a", "--b") as process:
        assert json.loads(process.stdout.readline()) == {"event": "ready", "version": __version__, "pid": process.pid}
        assert process.stdout.read() == b"__main__ ['a', '--b'] True\n"
    assert process.returncode == 0


def test_its_exit_code_is_the_program_s(tmp_path):
    with start(tmp_path, "import sys; sys.exit(5)") as process:
        process.stdout.read()
    assert process.returncode == 5


@posix
def test_when_its_stdin_closes_it_ends_with_all_that_it_has_started(tmp_path):
    program = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
time.sleep(600)
"""
    with start(tmp_path, program) as process:
        process.stdout.readline()
        assert os.getpgid(process.pid) == process.pid
        process.stdin.close()
        assert process.stdout.read() == b"", "it ends when the last one that could write has ended"
