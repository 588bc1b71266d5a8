"""``crossmodalseg archive`` on this computer: a killed worker's chunk is submitted again, and the results are those of
``segment --cases``."""

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from CrossModalSegLib.cli import main
from Testing.Benchmarks.archive.cases import make_cases

pytest.importorskip("submitit", reason="submitit is not installed: pip install 'crossmodalseg[cluster]'")
REPOSITORY = Path(__file__).resolve().parents[3]


def segmentations(output: Path) -> dict[str, bytes]:
    return {str(file.relative_to(output)): file.read_bytes() for file in output.glob("*/*_segmentation.seg.nrrd")}


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="processes are killed")
def test_an_archive_whose_worker_is_killed_has_the_results_of_one_process(tmp_path):
    table, bundle = make_cases(tmp_path, 4, bad=1)
    options = ["--cases", str(table), "--bundle", str(bundle), "--device", "cpu", "--quick-check"]
    assert main(["segment", *options, "--output", str(tmp_path / "plain")]) == 1
    output = tmp_path / "archive"
    command = [sys.executable, "-m", "CrossModalSegLib.cli", "archive", *options, "--output", str(output)]
    command += ["--chunk", "2", "--parallel", "1", "--cpus", "1"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    submitting = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    deadline = time.monotonic() + 120
    while not list(output.glob("c*/report.json")):
        assert time.monotonic() < deadline
        assert submitting.poll() is None
        time.sleep(0.05)
    (worker,) = [
        one for one in psutil.Process(submitting.pid).children(recursive=True) if "_submit" in str(one.cmdline())
    ]
    worker.kill()
    told, _ = submitting.communicate(timeout=240)
    assert submitting.returncode == 1
    assert "3 done, 1 failed" in told
    assert segmentations(output) == segmentations(tmp_path / "plain")
    rows = list(csv.DictReader((output / "results.csv").read_text().splitlines()))
    assert [row["state"] for row in rows] == ["done", "done", "done", "failed"]
    assert '"losses": {"1": 1}' in (output / ".cases" / "archive.json").read_text()


def test_an_engine_that_is_not_there_is_one_line(tmp_path, capsys, monkeypatch):
    table, bundle = make_cases(tmp_path, 1)
    monkeypatch.setenv("PATH", str(tmp_path))
    command = ["archive", "--cases", str(table), "--bundle", str(bundle), "--output", str(tmp_path / "out")]
    assert main([*command, "--engine", "slurm"]) == 2
    assert capsys.readouterr().err.startswith("error[no-slurm]")
    assert main([*command, "--slurm", "partition"]) == 2
    assert "NAME=VALUE" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option", ["--gpus=-1", "--memory=nan", "--memory=-4", "--memory=much", "--chunk=0", "--minutes=-5"]
)
def test_an_amount_that_cannot_be_is_one_line(tmp_path, capsys, option):
    with pytest.raises(SystemExit) as ended:
        main(["archive", "--cases", str(tmp_path / "cases.csv"), "--output", str(tmp_path / "out"), option])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "error[usage]" in told
    assert option.partition("=")[0] in told
    assert not (tmp_path / "out").exists()
