"""The command line: bad input is one line and exit code 2, and nothing heavy is loaded before it is needed."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from CrossModalSegLib import __version__
from CrossModalSegLib.cli import COMMANDS, main
from CrossModalSegLib.commands import doctor
from CrossModalSegLib.errors import DataError
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.volume import write_volume


def exit_code(*arguments: object) -> int:
    """What the process would exit with: argparse leaves by SystemExit, commands return."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as leaving:
        return int(leaving.code or 0)


def assert_one_error_line(capsys, code: str) -> str:
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"error[{code}]: ")
    assert printed.err.endswith(")\n")
    assert printed.err.count("\n") == 1
    return printed.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "COMMAND"),
        (["segmnt"], "segmnt"),
        (["evaluate"], "--prediction"),
        (["evaluate", "--prediction", "p", "--reference", "r", "--tolerance", "-1"], "'-1' is no length in mm"),
        (["evaluate", "--prediction", "p", "--reference", "r", "--tolerance", "two"], "two"),
        (["evaluate", "--prediction", "p", "--reference", "r", "--ignore", "25;57"], "'25;57' is no list of integers"),
        (["doctor", "--deep"], "--deep"),
    ],
)
def test_wrong_arguments_are_one_line_that_names_them_and_points_to_the_help(capsys, arguments, said):
    assert exit_code(*arguments) == 2
    line = assert_one_error_line(capsys, "usage")
    assert said in line
    assert "--help" in line


def test_a_missing_file_is_one_line_with_its_name(capsys, tmp_path):
    missing = tmp_path / "missing.nii.gz"
    assert exit_code("evaluate", "--prediction", missing, "--reference", missing) == 2
    assert str(missing) in assert_one_error_line(capsys, "not-found")


def test_a_refused_evaluation_writes_no_scores(capsys, tmp_path):
    write_volume(tmp_path / "p.nrrd", np.ones((4, 4, 4), dtype=np.uint8), Grid((4, 4, 4), np.eye(4)))
    write_volume(tmp_path / "r.nrrd", np.ones((4, 4, 5), dtype=np.uint8), Grid((4, 4, 5), np.eye(4)))
    scores = tmp_path / "scores.json"
    files = ["--prediction", tmp_path / "p.nrrd", "--reference", tmp_path / "r.nrrd"]
    assert exit_code("evaluate", *files, "--json", scores) == 2
    assert_one_error_line(capsys, "grids-differ")
    assert not scores.exists()


def test_an_error_that_lists_several_problems_is_still_one_line(capsys, monkeypatch):
    def fail(_args):
        raise DataError("bad-table", "row 2: no T1w\n  row 3: no T2w", "correct the table")

    monkeypatch.setattr(doctor, "run", fail)
    assert exit_code("doctor") == 2
    assert "row 2: no T1w; row 3: no T2w (correct the table)" in assert_one_error_line(capsys, "bad-table")


def test_an_interrupt_exits_with_130_and_no_traceback(capsys, monkeypatch):
    def interrupt(_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "run", interrupt)
    assert exit_code("doctor") == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_fault_of_our_own_keeps_its_traceback(monkeypatch):
    def fault(_args):
        raise ZeroDivisionError

    monkeypatch.setattr(doctor, "run", fault)
    with pytest.raises(ZeroDivisionError):
        main(["doctor"])


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_each_command_shows_an_example(capsys, command):
    assert exit_code(command, "--help") == 0
    assert f"crossmodalseg {command} " in capsys.readouterr().out.split("example", maxsplit=1)[1]


def test_the_overview_lists_every_command(capsys):
    assert exit_code("--help") == 0
    shown = capsys.readouterr().out
    assert all(f"\n    {command} " in shown for command in COMMANDS)


def test_the_version_is_the_librarys(capsys):
    assert exit_code("--version") == 0
    assert capsys.readouterr().out == f"crossmodalseg {__version__}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["segment", "--help"], ["bundle", "list"]])
def test_torch_is_not_loaded_before_it_is_needed(arguments):
    code = (
        "import sys\nfrom CrossModalSegLib.cli import main\n"
        f"try: main({arguments})\nexcept SystemExit: pass\n"
        "sys.exit('torch' in sys.modules or 'monai' in sys.modules)"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


def test_doctor_reports_versions_hardware_and_where_bundles_are_looked_for(capsys, monkeypatch, tmp_path):
    (tmp_path / "damaged" / "configs").mkdir(parents=True)
    (tmp_path / "damaged" / "configs" / "metadata.json").write_text("{")
    monkeypatch.setenv("CROSSMODALSEG_BUNDLES", str(tmp_path))
    assert exit_code("doctor") == 0
    shown = capsys.readouterr().out
    assert f"CrossModalSeg: {__version__}\n" in shown
    assert all(topic in shown for topic in ("torch ", "SimpleITK ", "bfloat16 units: ", "GiB free"))
    assert f"looked in {tmp_path}: 1 found" in shown
    assert "damaged: error[bundle-invalid]" in shown


def test_doctor_shows_the_home_folder_as_a_tilde(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "surname")
    monkeypatch.setenv("CROSSMODALSEG_BUNDLES", str(tmp_path / "surname" / "models"))
    assert exit_code("doctor") == 0
    shown = capsys.readouterr().out
    assert "looked in ~/models" in shown
    assert "surname" not in shown


def test_doctor_reports_a_torch_that_does_not_load(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert exit_code("doctor") == 0
    assert "torch does not load" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", "--prediction", "", "--reference", "labels.nrrd"],
        ["segment", "--input", "T1w=t1.nii.gz", "--output", ""],
        ["finetune", " "],
        ["train", "--data", "", "--output", "run"],
        ["site", "list", ""],
        ["site", "add", "site", "--from", ""],
    ],
)
def test_a_path_that_is_empty_is_not_the_current_folder(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert exit_code(*arguments) == 2
    assert "the path is empty" in assert_one_error_line(capsys, "usage")
    assert list(tmp_path.iterdir()) == []


def test_a_current_folder_that_was_removed_is_one_line(tmp_path, monkeypatch, capsys):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert main(["bundle", "list"]) == 2
    assert capsys.readouterr().err.startswith("error[not-found]: the current folder was removed (")
