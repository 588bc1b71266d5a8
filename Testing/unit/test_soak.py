"""Two hundred runs in one worker: memory stays where it is, and nothing is left of them."""

import os
import shutil
from pathlib import Path

import psutil
import pytest

from CrossModalSegLib.imaging.volume import write_volume
from CrossModalSegLib.protocol import Done, Request
from Testing.running_worker import WORKER, RunningWorker
from Testing.tiny_bundle import intensity_bundle, two_balls
from Testing.volumes import grid_around, sampled

RUNS, SETTLED = 200, 40  # until then, libraries still fetch what they keep
MOST_GROWTH_BYTES = 40_000_000  # of some 500 MB, in 160 runs: a single array left behind per run would be more
GRID = grid_around((5.0, -10.0, 15.0), (36, 40, 38), (3.0, 3.0, 3.0))  # 220 kB as float32
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def state_of(process: psutil.Process) -> tuple[int, int, int]:
    """Open files, threads and child processes."""
    return process.num_fds(), process.num_threads(), len(process.children(recursive=True))


@pytest.mark.skipif(os.name != "posix", reason="files of a process are counted as on POSIX")
def test_two_hundred_runs_in_one_worker_leave_memory_files_and_processes_as_they_were(tmp_path):
    temporary, run = tmp_path / "temporary", tmp_path / "run"
    temporary.mkdir()
    run.mkdir()
    bundle = intensity_bundle(tmp_path / "bundle", (16, 16, 16), 8.0)
    write_volume(tmp_path / "a.nii.gz", sampled(two_balls, GRID).array, GRID)
    write_volume(tmp_path / "b.nrrd", sampled(two_balls, GRID).array, GRID)
    scans = {"T1w": str(tmp_path / "a.nii.gz"), "T2w": str(tmp_path / "b.nrrd")}
    given = {path.name for path in tmp_path.iterdir()}
    worker = RunningWorker(tmp_path / "stderr", WORKER, TMPDIR=str(temporary))
    process = psutil.Process(worker.pid)
    memory, states = [], []
    try:
        for number in range(RUNS):
            arguments = {"bundle": str(bundle.path), "inputs": scans, "output": str(run / "out"), "device": "cpu"}
            if number % 10 == 9:  # now and then one that is refused
                arguments["inputs"] = scans | {"T2w": str(Path(scans["T2w"]).with_name("none.nrrd"))}
            answer = worker.answer(Request(f"{number}", "segment", arguments))
            assert isinstance(answer, Done) is (number % 10 != 9), answer
            assert sorted(path.name for path in run.iterdir()) == (["out"] if number % 10 != 9 else [])
            shutil.rmtree(run / "out", ignore_errors=True)
            memory.append(process.memory_info().rss)
            states.append(state_of(process))
    finally:
        worker.end()
    settled = memory[SETTLED:]
    print("MB after runs:", *(f"{place}: {memory[place - 1] / 1e6:.0f}" for place in (1, 10, 40, 80, 120, 160, 200)))
    growth = sorted(settled[-20:])[10] - sorted(settled[:20])[10]
    assert growth < MOST_GROWTH_BYTES
    assert states[-1] == states[SETTLED]
    assert list(temporary.iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == given | {"stderr"}
    assert "Traceback" not in (tmp_path / "stderr").read_text()
