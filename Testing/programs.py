"""Programs that are not ours and that tests ask: they skip, with what to install, where one is not there."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

VIEWER = Path(__file__).parent / "viewer"


def run_program(name: str, install: str, *arguments: object) -> str:
    """Run ``name``, which ``install`` installs, beside this Python or elsewhere; what it says on stdout and stderr.

    It has to succeed.
    """
    program = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed: {install}")
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def run_viewer(script: str, *arguments: object) -> str:
    """Run one of the scripts in ``Testing/viewer`` with cornerstone's adapters; what it prints on stdout."""
    if shutil.which("node") is None or not (VIEWER / "node_modules").is_dir():
        pytest.skip("cornerstone's adapters are not installed: npm ci --prefix Testing/viewer")
    command = ["node", str(VIEWER / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
