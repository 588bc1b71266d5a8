"""``crossmodalseg segment``: bad input is one line and leaves nothing behind; a table of cases goes on and resumes."""

import gzip
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from CrossModalSegLib import staging
from CrossModalSegLib.cli import main
from CrossModalSegLib.commands import segment
from CrossModalSegLib.errors import InputError
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.segmentation_io import read_segmentation
from CrossModalSegLib.imaging.volume import write_volume
from CrossModalSegLib.inference import case_output
from Testing.tiny_bundle import intensity_bundle, two_balls
from Testing.volumes import grid_around, sampled

REPOSITORY = Path(__file__).resolve().parents[3]
GRID = grid_around((5.0, -10.0, 15.0), (27, 30, 28), (4.0, 4.0, 4.0))
OTHER = grid_around((5.0, -14.0, 20.0), (28, 20, 26), (4.0, 5.0, 4.0))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return intensity_bundle(tmp_path_factory.mktemp("bundles") / "tiny", (32, 36, 32), 4.0).path


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """A folder with a.nii.gz and b.nii.gz, two scans of one head."""
    folder = tmp_path_factory.mktemp("scans")
    write_volume(folder / "a.nii.gz", sampled(two_balls, GRID).array, GRID)
    write_volume(folder / "b.nii.gz", sampled(two_balls, OTHER).array, OTHER)
    return folder


def run(*arguments: object) -> int:
    return main(["segment", *map(str, arguments)])


def names(folder):
    return {entry.name for entry in folder.iterdir()}


def cases_in(output):
    """Names of what is there but for what processes share."""
    return names(output) - {".cases", "results.csv"}


def the_error_line(capsys, code: str) -> str:
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"error[{code}]: ")
    assert printed.err.endswith(")\n")
    assert printed.err.count("\n") == 1
    assert "\r" not in printed.err
    return printed.err


# --- one case


@pytest.mark.parametrize(("options", "is_told"), [([], True), (["--quick-check"], False)])
def test_a_displaced_pair_and_a_name_that_contradicts_are_told_unless_asked_not_to(
    bundle, scans, tmp_path, capsys, options, is_told
):
    away = OTHER.ijk_to_ras.copy()
    away[:3, 3] += (4, 8, 8)
    write_volume(tmp_path / "p01_T1w.nrrd", sampled(two_balls, OTHER).array, Grid(OTHER.shape_kji, away))
    pair = ["--input", f"T1w={scans / 'a.nii.gz'}", "--input", f"T2w={tmp_path / 'p01_T1w.nrrd'}"]
    assert run(*pair, "--output", tmp_path / "out", "--bundle", bundle, "--device", "cpu", *options) == 0
    told = capsys.readouterr().err
    assert ("warning[displaced]: T2w seems displaced by about 12 mm" in told) == is_told
    assert ("warning[modality-doubt]: p01_T1w.nrrd is given as T2w, but its name or header says T1w" in told) == is_told


def test_a_pair_is_segmented_and_summed_up_on_stdout(bundle, scans, tmp_path, capsys):
    pair = ["--input", f"T1w={scans / 'a.nii.gz'}", "--input", f"T2w={scans / 'b.nii.gz'}"]
    assert run(*pair, "--output", tmp_path / "out", "--bundle", bundle, "--device", "cpu") == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert all(words in printed.out for words in ("tissue", "right bright ball", "agreement", "Not for clinical use"))
    labels, grid, _ = read_segmentation(tmp_path / "out" / "T2w_segmentation.seg.nrrd")
    assert grid.is_close(OTHER)
    assert len(np.unique(labels)) == 4


def test_a_bundle_goes_by_name_and_a_modality_by_its_alias(bundle, scans, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CROSSMODALSEG_BUNDLES", str(bundle.parent))
    arguments = ["--input", f"FLAIR={scans / 'b.nii.gz'}", "--bundle", "tiny", "--format", "nii.gz"]
    assert run(*arguments, "--output", tmp_path / "out") == 0
    assert "FLAIR_segmentation.nii.gz" in names(tmp_path / "out")
    assert "FLAIR mL" in capsys.readouterr().out


def test_existing_results_need_overwrite(bundle, scans, tmp_path, capsys):
    arguments = ["--input", f"T1w={scans / 'a.nii.gz'}", "--output", tmp_path / "out", "--bundle", bundle]
    assert run(*arguments) == 0
    capsys.readouterr()
    assert run(*arguments) == 2
    assert "--overwrite" in the_error_line(capsys, "output-exists")
    assert run(*arguments, "--overwrite", "--save-probabilities") == 0
    assert "probabilities_T1w.npz" in names(tmp_path / "out")


def test_a_process_of_its_own_prints_results_on_stdout_and_one_error_line_on_stderr(bundle, scans, tmp_path):
    def process(path):
        command = [sys.executable, "-m", "CrossModalSegLib.cli", "segment", "--input", f"T1w={path}"]
        command += ["--output", str(tmp_path / "out"), "--bundle", str(bundle)]
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    (scans / "cut.nii.gz").write_bytes((scans / "a.nii.gz").read_bytes()[:-2000])
    refused = process(scans / "cut.nii.gz")
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert refused.stderr.startswith("error[truncated]: ")
    assert refused.stderr.count("\n") == 1
    assert names(tmp_path) == set()


def test_on_a_terminal_the_error_stands_on_a_line_of_its_own(bundle, scans, tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    def fail(*_arguments):
        raise InputError("late", "something", "do something")

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(case_output, "write_overview", fail)
    assert run("--input", f"T1w={scans / 'a.nii.gz'}", "--output", tmp_path / "out", "--bundle", bundle) == 2
    shown = terminal.getvalue()
    bar, error = shown.rsplit("\x1b[2K", 1)  # the bar was wiped
    assert "network" in bar
    assert error == "error[late]: something (do something)\n"


def test_a_scan_in_which_nothing_is_found_is_told_in_a_table_as_well(bundle, scans, tmp_path, capsys):
    dark = 0.1 * sampled(two_balls, OTHER).array  # the bundle takes all below 200 for background
    write_volume(tmp_path / "dark.nii.gz", dark, OTHER)
    (tmp_path / "cases.csv").write_text(f"case,T1w,T2w\none,{scans / 'a.nii.gz'},dark.nii.gz\n")
    assert run("--cases", tmp_path / "cases.csv", "--output", tmp_path / "out", "--bundle", bundle) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "nothing-found" in line]
    assert [line.partition(" (")[0] for line in told] == ["warning[nothing-found]: T2w: no structure was found."]
    (finding,) = [
        one
        for one in json.loads((tmp_path / "out/one/report.json").read_text())["preflight"]["findings"]
        if one["code"] == "nothing-found"
    ]
    assert finding["severity"] == "warning"


# --- bad input


def _with_time(folder):
    sitk.WriteImage(sitk.Image([6, 6, 6, 3], sitk.sitkFloat32), str(folder / "bad.nii.gz"))


def _with_colours(folder):
    sitk.WriteImage(sitk.Image([6, 6, 6], sitk.sitkVectorUInt8, 3), str(folder / "bad.nii.gz"))


def _with_nan(folder):
    array = sampled(two_balls, GRID).array.copy()
    array[3, 4, 5] = np.nan
    write_volume(folder / "bad.nii.gz", array, GRID)


def _constant(folder):
    write_volume(folder / "bad.nii.gz", np.full(GRID.shape_kji, 7.0, np.float32), GRID)


def _elsewhere(folder):
    away = grid_around((800.0, 0.0, 0.0), (27, 30, 28), (4.0, 4.0, 4.0))
    write_volume(folder / "bad.nii.gz", sampled(two_balls, GRID).array, away)


def _cut_short(folder):
    write_volume(folder / "whole.nii.gz", sampled(two_balls, GRID).array, GRID)
    whole = (folder / "whole.nii.gz").read_bytes()
    (folder / "bad.nii.gz").write_bytes(whole[: len(whole) // 2])


def _text(folder):
    (folder / "bad.nii.gz").write_bytes(gzip.compress(b"no image" * 100))


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda _folder: None, "not-found"),
        (_with_time, "not-3d"),
        (_with_colours, "not-scalar"),
        (_with_nan, "not-finite"),
        (_constant, "constant"),
        (_elsewhere, "no-overlap"),
        (_cut_short, "truncated"),
        (_text, "unreadable"),
    ],
)
def test_a_bad_scan_is_one_line_and_leaves_nothing(bundle, scans, tmp_path, capsys, make, code):
    make(tmp_path)
    before = names(tmp_path)
    pair = ["--input", f"T1w={scans / 'a.nii.gz'}", "--input", f"T2w={tmp_path / 'bad.nii.gz'}"]
    assert run(*pair, "--output", tmp_path / "new" / "out", "--bundle", bundle) == 2
    line = the_error_line(capsys, code)
    assert "bad.nii.gz" in line or code == "no-overlap"
    assert names(tmp_path) == before


@pytest.mark.parametrize(
    ("inputs", "code", "said"),
    [
        (["T1w=a.nii.gz", "PET=b.nii.gz"], "unknown-modality", "T1w, T2w"),
        (["T1w=a.nii.gz", "T1w=b.nii.gz"], "same-modality", "twice"),
        (["T2w=a.nii.gz", "FLAIR=b.nii.gz"], "same-modality", "both stand for T2w"),
        (["a.nii.gz"], "usage", "MODALITY=PATH"),
        (["T1w="], "usage", "MODALITY=PATH"),
        ([], "usage", "--cases"),
    ],
)
def test_wrong_names_are_one_line_and_leave_nothing(bundle, scans, tmp_path, capsys, monkeypatch, inputs, code, said):
    monkeypatch.chdir(scans)
    arguments = [word for entry in inputs for word in ("--input", entry)]
    assert run(*arguments, "--output", tmp_path / "out", "--bundle", bundle) == 2
    assert said in the_error_line(capsys, code)
    assert names(tmp_path) == set()


def test_an_unknown_bundle_is_one_line_that_lists_the_known_ones(bundle, scans, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("CROSSMODALSEG_BUNDLES", str(bundle.parent))
    arguments = ["--input", f"T1w={scans / 'a.nii.gz'}", "--output", tmp_path / "out"]
    assert run(*arguments, "--bundle", "no-such-model") == 2
    line = the_error_line(capsys, "bundle-not-found")
    assert "no-such-model" in line
    assert "tiny" in line
    assert names(tmp_path) == set()


def test_damaged_weights_are_one_line(bundle, scans, tmp_path, capsys):
    damaged = shutil.copytree(bundle, tmp_path / "damaged")
    weights = damaged / "models" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    arguments = ["--input", f"T1w={scans / 'a.nii.gz'}", "--output", tmp_path / "out"]
    assert run(*arguments, "--bundle", damaged) == 2
    assert "model.safetensors" in the_error_line(capsys, "bundle-corrupt")
    assert names(tmp_path) == {"damaged"}


# --- tables of cases


def write_table(folder: Path, *lines: str) -> Path:
    table = folder / "cases.csv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return table


def test_a_table_goes_on_after_a_failure_and_sums_up(bundle, scans, tmp_path, capsys):
    shutil.copytree(scans, tmp_path / "scans")
    table = write_table(
        tmp_path,
        "case,T1w,T2w",
        "both,scans/a.nii.gz,scans/b.nii.gz",
        "broken,scans/missing.nii.gz,scans/b.nii.gz",
        "second,,scans/b.nii.gz",  # an empty cell: absent
    )
    assert run("--cases", table, "--output", tmp_path / "out", "--bundle", bundle) == 1
    printed = capsys.readouterr()
    assert cases_in(tmp_path / "out") == {"both", "second"}
    assert "T1w_segmentation.seg.nrrd" not in names(tmp_path / "out" / "second")
    assert "2 done, 1 failed" in printed.out
    assert "error[not-found]" in printed.out  # the code in brackets must reach the table
    assert sum(line.startswith("error[") for line in printed.err.splitlines()) == 1
    assert "2/3 broken" in printed.err


def test_a_table_goes_on_after_a_fault_of_our_own_and_shows_its_traceback(bundle, scans, tmp_path, capsys, monkeypatch):
    table = write_table(tmp_path, "case,T1w", f"one,{scans / 'a.nii.gz'}", f"two,{scans / 'b.nii.gz'}")
    segment, calls = case_output.segment_case, []

    def fail_once(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise ZeroDivisionError("a fault")
        return segment(*arguments)

    monkeypatch.setattr(case_output, "segment_case", fail_once)
    assert run("--cases", table, "--output", tmp_path / "out", "--bundle", bundle) == 1
    printed = capsys.readouterr()
    assert cases_in(tmp_path / "out") == {"two"}
    assert "1 done, 1 failed" in printed.out
    assert "ZeroDivisionError: a fault" in printed.err


def test_a_table_is_taken_up_where_it_was_left(bundle, scans, tmp_path, capsys, monkeypatch):
    table = write_table(tmp_path, "case,T1w", f"one,{scans / 'a.nii.gz'}", f"two,{scans / 'b.nii.gz'}")
    arguments = ["--cases", table, "--output", tmp_path / "out", "--bundle", bundle]
    interrupting, done = [True], []
    real = case_output.segment_case

    def stopping(segmenter, inputs, output, options, report):
        if output.name == "two" and interrupting:
            interrupting.clear()
            raise KeyboardInterrupt
        done.append(output.name)
        return real(segmenter, inputs, output, options, report)

    monkeypatch.setattr(case_output, "segment_case", stopping)
    assert run(*arguments) == 130
    assert cases_in(tmp_path / "out") == {"one"}
    capsys.readouterr()
    assert run(*arguments) == 0
    assert done == ["one", "two"]  # the first is not done again
    assert "done before" in capsys.readouterr().out
    assert run(*arguments, "--overwrite") == 0
    assert done == ["one", "two", "one", "two"]


def test_sigterm_gives_the_claim_back_and_the_table_says_what_is_done(bundle, scans, tmp_path, monkeypatch):
    table = write_table(tmp_path, "case,T1w", f"one,{scans / 'a.nii.gz'}", f"two,{scans / 'b.nii.gz'}")
    real = case_output.segment_case

    def ended(segmenter, inputs, output, options, report):
        if output.name == "two":
            os.kill(os.getpid(), signal.SIGTERM)
        return real(segmenter, inputs, output, options, report)

    monkeypatch.setattr(case_output, "segment_case", ended)
    assert run("--cases", table, "--output", tmp_path / "out", "--bundle", bundle) == 130
    assert (tmp_path / "out" / "results.csv").read_text().splitlines()[2] == "two,open,,,"
    assert names(tmp_path / "out" / ".cases") == {"results.lock"}


def test_parts_are_each_nth_case_and_one_table_has_all(bundle, scans, tmp_path, capsys):
    rows = [f"{name},{scans / 'a.nii.gz'}" for name in ("one", "two", "three")]
    table = write_table(tmp_path, "case,T1w", *rows)
    options = ["--cases", table, "--output", tmp_path / "out", "--bundle", bundle, "--quick-check"]
    assert run(*options, "--part", "2/2") == 0
    assert cases_in(tmp_path / "out") == {"two"}
    assert run(*options, "--part", "1/2") == 0
    lines = (tmp_path / "out" / "results.csv").read_text().splitlines()
    assert [line.split(",")[:2] for line in lines[1:]] == [["one", "done"], ["two", "done"], ["three", "done"]]
    capsys.readouterr()
    assert run("--input", "T1w=a.nii.gz", "--output", tmp_path / "x", "--part", "1/2") == 2
    the_error_line(capsys, "usage")
    with pytest.raises(SystemExit):
        run(*options, "--part", "3/2")


def test_a_result_of_another_model_or_of_other_scans_is_not_taken_for_done(bundle, scans, tmp_path, capsys):
    folder = shutil.copytree(scans, tmp_path / "scans")
    table = write_table(tmp_path, "case,T1w", "one,scans/a.nii.gz")
    arguments = ["--cases", table, "--output", tmp_path / "out", "--bundle"]
    assert run(*arguments, bundle) == 0
    assert run(*arguments, bundle) == 0
    assert "done before" in capsys.readouterr().out
    before = files_below(tmp_path / "out" / "one")

    other = intensity_bundle(tmp_path / "other", (32, 36, 32), 3.0).path
    assert run(*arguments, other) == 1
    told = capsys.readouterr()
    assert "error[other-result]" in told.out
    assert "another model" in told.err
    assert run(*arguments, bundle, "--format", "nii.gz") == 1
    assert "other options" in capsys.readouterr().err
    shutil.copy(folder / "b.nii.gz", folder / "a.nii.gz")
    assert run(*arguments, bundle) == 1
    assert "other scans" in capsys.readouterr().err
    assert files_below(tmp_path / "out" / "one") == before
    assert run(*arguments, bundle, "--overwrite") == 0

    segmentation = tmp_path / "out" / "one" / "T1w_segmentation.seg.nrrd"
    content = segmentation.read_bytes()
    segmentation.unlink()
    capsys.readouterr()
    assert run(*arguments, bundle) == 1
    assert "lacks T1w_segmentation.seg.nrrd" in capsys.readouterr().err
    segmentation.write_bytes(content)

    (folder / "a.nii.gz").unlink()  # the result is there, and nothing says that it is another one
    assert run(*arguments, bundle) == 0


def test_a_result_of_a_version_that_did_not_note_its_origin_is_done(bundle, scans, tmp_path, capsys):
    table = write_table(tmp_path, "case,T1w", f"one,{scans / 'a.nii.gz'}")
    arguments = ["--cases", table, "--output", tmp_path / "out", "--bundle", bundle]
    assert run(*arguments) == 0
    report = tmp_path / "out" / "one" / "report.json"
    content = json.loads(report.read_text())
    del content["made of"]
    report.write_text(json.dumps(content))
    assert run(*arguments) == 0
    assert "done before" in capsys.readouterr().out


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["name,T1w", "one,a.nii.gz"], ['no column "case"']),
        (["case,T1w"], ["no row"]),
        ([], ['no column "case" among none']),
        (["case;T1w;T2w", "one;a.nii.gz;b.nii.gz"], ["separated by semicolons, not by commas"]),
        (["case\tT1w", "one\ta.nii.gz"], ["separated by tabs, not by commas"]),
        (["case,T1w,T2w,T1w", "one,a.nii.gz,b.nii.gz,c.nii.gz"], ['the column "T1w" is there 2 times']),
        (["case, T1w,T1w", "one,a.nii.gz,c.nii.gz"], ['the column "T1w" is there 2 times']),
        (["case,case,T1w", "one,two,a.nii.gz"], ['the column "case" is there 2 times']),
        (["case,T1w,", "one,a.nii.gz,b.nii.gz"], ["column 3 has no name"]),
        (["case,T1w", "on\x07e,a.nii.gz"], ["line 2", "no plain name"]),
        (["case,T1w", "one,a.nii.gz", "one,b.nii.gz", "two,", ",c.nii.gz"], ["line 3", '"one"', "line 4", "line 5"]),
        (["case,T1w", "one,a\0.nii.gz"], ["line 2", "NUL"]),
        (["case,T1w", '"on', 'e",a.nii.gz'], ["line 3", "no plain name"]),
        (["case,T1w", "../up,a.nii.gz", "..,a.nii.gz"], ["line 2", "line 3"]),
        (["case,T1w", "", "one,a.nii.gz", "two,b, c.nii.gz"], ["line 4: more cells than columns"]),
    ],
)
def test_all_that_is_wrong_with_a_table_is_one_line(bundle, tmp_path, capsys, lines, said):
    table = write_table(tmp_path, *lines)
    assert run("--cases", table, "--output", tmp_path / "out", "--bundle", bundle) == 2
    line = the_error_line(capsys, "case-table")
    assert all(words in line for words in said)
    assert names(tmp_path) == {"cases.csv"}


def test_a_table_that_is_not_there_or_no_text_is_one_line(bundle, tmp_path, capsys):
    assert run("--cases", tmp_path / "none.csv", "--output", tmp_path / "out", "--bundle", bundle) == 2
    the_error_line(capsys, "not-found")
    (tmp_path / "latin.csv").write_bytes("case,T1w\nMüller,a.nii.gz\n".encode("latin-1"))
    assert run("--cases", tmp_path / "latin.csv", "--output", tmp_path / "out", "--bundle", bundle) == 2
    assert "UTF-8" in the_error_line(capsys, "case-table")


def test_either_inputs_or_a_table(bundle, tmp_path, capsys):
    both = ["--input", "T1w=a.nii.gz", "--cases", tmp_path / "cases.csv"]
    assert run(*both, "--output", tmp_path / "out", "--bundle", bundle) == 2
    the_error_line(capsys, "usage")


def test_warnings_of_the_preflight_and_fallbacks_are_told_on_stderr(capsys):
    finding = {"severity": "warning", "code": "low-overlap", "message": "Only 20 %", "remedy": "look"}
    note = finding | {"severity": "info", "code": "note"}
    row = {"name": "tissue", "volume_ml": {"T1w": 1.0}, "confidence": {"T1w": None}}
    report = {
        "preflight": {"findings": [finding, note]},
        "fallbacks": ["out of memory on cuda"],
        "structures": [row],
        "agreement": None,
        "seconds": {},
        "device": "cpu",
        "peak_memory_gb": {"process": 1.0},
        "intended_use": "Research.",
    }
    segment._print_summary(json.loads(json.dumps(report)), Path("out"))
    printed = capsys.readouterr()
    assert printed.err == "warning[low-overlap]: Only 20 % (look)\nwarning[fallback]: out of memory on cuda\n"
    assert "1.00" in printed.out
    assert "out" in printed.out


# --- what libraries and the system raise, and runs that are killed

RAISED = {
    "out-of-memory": MemoryError("Unable to allocate 30 GiB"),
    "cannot-read": PermissionError(13, "Permission denied", "/a/scan.nii.gz"),
    "path-too-long": OSError(36, "File name too long", "/a/scan.nii.gz"),
    "cannot-write": OSError(28, "No space left on device", "/tmp/x"),
    "gpu-fault": RuntimeError("CUDA error: an illegal memory access\nwas encountered"),
}


@pytest.mark.parametrize("code", RAISED)
def test_what_a_library_raises_is_the_same_line_for_a_case_and_in_a_table(
    bundle, scans, tmp_path, capsys, monkeypatch, code
):
    def fail(*_):
        raise RAISED[code]

    monkeypatch.setattr(case_output, "read_volume", fail)
    output = ["--output", tmp_path / "out", "--bundle", bundle]
    assert run("--input", f"T1w={scans / 'a.nii.gz'}", *output) == 2
    line = the_error_line(capsys, code)
    table = write_table(tmp_path, "case,T1w", f"one,{scans / 'a.nii.gz'}")
    assert run("--cases", table, *output) == 1
    printed = capsys.readouterr()
    assert line.strip() in printed.err.splitlines()
    assert "Traceback" not in printed.err
    assert cases_in(tmp_path / "out") == set()


@pytest.mark.skipif(os.name != "posix", reason="processes are forked and locks are POSIX's")
@pytest.mark.parametrize("at", ["read_volume", "write_overview", "case_report"])
def test_a_batch_that_is_killed_leaves_nothing_that_the_same_command_does_not_clean(
    bundle, scans, tmp_path, monkeypatch, at
):
    monkeypatch.setattr(staging, "SECONDS_TO_LOCK", -1.0)
    table = write_table(tmp_path, "case,T1w", f"one,{scans / 'a.nii.gz'}", f"two,{scans / 'b.nii.gz'}")
    (tmp_path / "out" / "one").mkdir(parents=True)  # there and empty, as where a disk is mounted
    arguments = ["--cases", table, "--output", tmp_path / "out", "--bundle", bundle]
    child = os.fork()
    if child == 0:
        setattr(case_output, at, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        run(*arguments)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert [path for path in tmp_path.rglob(".*") if path.is_dir()]  # it had begun to write
    assert run(*arguments) == 0
    assert cases_in(tmp_path / "out") == {"one", "two"}
    assert "report.json" in names(tmp_path / "out" / "one")
    assert list(tmp_path.rglob(".*")) == [tmp_path / "out" / ".cases"]
    assert names(tmp_path / "out" / ".cases") == {"results.lock"}  # no claim is left
