"""PythonSlicer as it is in Slicer: a program of its own that starts Python as its child, waits, and passes on how it
ended."""

import sys
from pathlib import Path

# The shell gives 128 and the number of the signal where its child was killed, as Slicer's launcher does.
_LAUNCHER = """#!/bin/sh
{before}
"{python}" "$@"
exit $?
"""


def write_launcher(folder: Path, before: str = "") -> Path:
    """``PythonSlicer`` in ``folder``; ``before`` is done first. Killing it leaves its child alone."""
    folder.mkdir(parents=True, exist_ok=True)
    launcher = folder / "PythonSlicer"
    launcher.write_text(_LAUNCHER.format(python=sys.executable, before=before))
    launcher.chmod(0o755)
    return launcher
