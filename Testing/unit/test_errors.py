"""What exceptions of Python, NumPy, torch and SimpleITK mean to the user: real ones, wherever they can be made."""

import errno
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from CrossModalSegLib.cli import main
from CrossModalSegLib.commands import doctor
from CrossModalSegLib.errors import DataError, InputError, read_error, typed_error
from Testing.conftest import REPOSITORY
from Testing.unprivileged import ordinary_user, reachable_folder

MORE_THAN_THERE_IS = 1 << 60


def raised(action) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which kind it is, is what is asked
        action()
    return caught.value


def link_to_itself(path: Path) -> Path:
    path.symlink_to(path)
    return path


def test_memory_that_is_not_there_is_told_alike_by_all_libraries():
    actions = [
        lambda: torch.empty(MORE_THAN_THERE_IS),
        lambda: torch.zeros((2, 10**11, 10**11)),
        lambda: np.empty(MORE_THAN_THERE_IS, np.uint8),
        lambda: sitk.Image([100_000, 100_000, 100_000], sitk.sitkFloat64),
        lambda: bytearray(MORE_THAN_THERE_IS),
    ]
    for action in actions:
        told = typed_error(raised(action))
        assert told is not None
        assert (told.code, "crop" in told.hint) == ("out-of-memory", True)
        assert "\n" not in told.message
    library = ImportError("libtorch_cpu.so: failed to map segment from shared object", name="torch._C")
    assert typed_error(library).code == "out-of-memory"


def test_what_the_system_and_libraries_say_has_a_code_of_its_own(tmp_path):
    with reachable_folder() as folder, ordinary_user():
        no_right = raised(lambda: (folder / "new").write_text("x"))
    cases = {
        "not-found": raised((tmp_path / "none").read_bytes),
        "path-too-long": raised((tmp_path / ("x" * 300)).read_bytes),
        "cannot-read": no_right,
        "cannot-write": OSError(errno.ENOSPC, "No space left on device", "/full/disk"),
        "gpu-fault": RuntimeError("CUDA error: an illegal memory access was encountered"),
        "cannot-read ": raised((link_to_itself(tmp_path / "loop") / "scan.nii").resolve),
        "packages-missing": raised(lambda: __import__("no_such_package")),
    }
    for code, error in cases.items():
        told = typed_error(error)
        assert told is not None
        assert told.code == code.strip()
        assert told.hint
    for fault in (
        ValueError("ours"),
        KeyError("ours"),
        RuntimeError("ours"),
        AssertionError(),
        OSError("without number"),
    ):
        assert typed_error(fault) is None


def test_an_error_that_is_typed_already_stays_as_it_is():
    error = InputError("constant", "the value 3", "check the file")
    assert typed_error(error) is error


def test_why_a_file_cannot_be_read_is_said_with_its_path(tmp_path):
    error = read_error("case table /x", raised((tmp_path / "none").read_bytes), DataError)
    assert isinstance(error, DataError)
    assert str(error) == "error[not-found]: case table /x: No such file or directory (check the path)"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError("Unable to allocate 30 GiB\nfor an array"),
         ("error[out-of-memory]: MemoryError: "
         "Unable to allocate 30 GiB for an array (close other programs or crop the volumes)")),
        (PermissionError(13, "Permission denied", "/a/b"),
         ("error[cannot-read]: /a/b: Permission denied "
         "(ask for the right to read it, or copy it to a folder of your own)")),
        (OSError(28, "No space left on device", "/a/b"),
         ("error[cannot-write]: /a/b: No space left on device "
         "(check that the disk has space)")),
    ],
)  # fmt: skip
def test_the_command_line_tells_it_in_one_line(error, line, monkeypatch, capsys):
    def fail(_):
        raise error

    monkeypatch.setattr(doctor, "run", fail)
    assert main(["doctor"]) == 2
    assert capsys.readouterr().err == f"{line}\n"


READ_WITH_LITTLE_MEMORY = """
import resource, sys
from CrossModalSegLib.cli import main
import CrossModalSegLib.inference.evaluation
limit = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() + 300_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
sys.exit(main(["evaluate", "--prediction", sys.argv[1], "--reference", sys.argv[1]]))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="address space is measured as on Linux")
@pytest.mark.parametrize(
    "suffix", [".nii", *(pytest.param(kind, marks=pytest.mark.slow) for kind in (".nrrd", ".mha"))]
)
def test_a_scan_that_does_not_fit_into_memory_is_one_line(suffix, tmp_path):
    with reachable_folder() as folder:
        image = sitk.Image([64, 64, 64], sitk.sitkUInt8)
        image.SetDirection([1, 0, 0, 0, 1, 0, 0, 0, 1])
        path = folder / f"scan{suffix}"
        sitk.WriteImage(image, path, useCompression=False)
        grow(path, suffix, 900)
        run = subprocess.run(
            [sys.executable, "-c", READ_WITH_LITTLE_MEMORY, path],
            capture_output=True, text=True, check=False, cwd=REPOSITORY,
        )  # fmt: skip
    assert run.returncode == 2, run.stderr
    assert run.stderr.startswith("error[out-of-memory]: ")
    assert run.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def grow(path: Path, suffix: str, edge: int) -> None:
    """Make a whole, sparse scan of ``edge``³ bytes of the small one."""
    content = path.read_bytes()
    header = content[: len(content) - 64**3]
    if suffix == ".nii":
        header = header[:42] + np.array([edge] * 3, "<i2").tobytes() + header[48:]
    else:
        header = header.replace(b"64 64 64", f"{edge} {edge} {edge}".encode())
    path.write_bytes(header)
    with path.open("r+b") as stream:
        stream.truncate(len(header) + edge**3)
