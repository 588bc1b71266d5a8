"""Our own processes: threads that the machine has, that wait without spinning, and pictures whatever a notebook has
set."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from CrossModalSegLib.own_process import prepare_process, processor_count
from Testing.conftest import REPOSITORY

NOTEBOOK = "module://matplotlib_inline_that_is_not_installed.backend_inline"


def machine(folder: Path, group: str, files: dict[str, str]) -> Path:
    """What Linux tells a process in a control group, below ``folder`` instead of /."""
    for name, content in {"proc/self/cgroup": group, **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


@pytest.fixture
def eight_processors(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


V2 = "0::/user/job\n"
V1 = "3:cpuset:/\n2:cpu,cpuacct:/docker/abc\n0::/\n"


@pytest.mark.parametrize(
    ("group", "files", "count"),
    [
        (V2, {"sys/fs/cgroup/user/job/cpu.max": "200000 100000\n"}, 2),
        (V2, {"sys/fs/cgroup/user/job/cpu.max": "150000 100000\n"}, 2),
        (V2, {"sys/fs/cgroup/user/job/cpu.max": "50000 100000\n"}, 1),
        (V2, {"sys/fs/cgroup/user/job/cpu.max": "max 100000\n"}, 8),
        (V2, {"sys/fs/cgroup/user/job/cpu.max": "max 100000\n", "sys/fs/cgroup/user/cpu.max": "300000 100000\n"}, 3),
        (V2, {"sys/fs/cgroup/cpu.max": "400000 100000\n"}, 4),  # a container sees its own group as the root
        (V2, {"sys/fs/cgroup/cpu.max": "6400000 100000\n"}, 8),  # more than the affinity allows
        (V2, {}, 8),
        ("0::/../../outside\n", {"sys/fs/cgroup/cpu.max": "400000 100000\n"}, 4),
        (V1, {f"sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_{name}_us": text
              for name, text in [("quota", "300000"), ("period", "100000")]}, 3),
        (V1, {f"sys/fs/cgroup/cpu/cpu.cfs_{name}_us": text
              for name, text in [("quota", "-1"), ("period", "100000")]}, 8),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("eight_processors")
def test_no_more_threads_than_affinity_and_control_groups_allow(tmp_path, group, files, count):
    assert processor_count(machine(tmp_path, group, files)) == count


def test_without_control_groups_the_affinity_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5}, raising=False)
    assert processor_count(tmp_path) == 2


def test_what_the_user_has_set_stands_but_for_the_notebooks_backend():
    environment = {"OMP_NUM_THREADS": "3,2", "KMP_BLOCKTIME": "200", "MPLBACKEND": NOTEBOOK}
    prepare_process(environment)
    assert environment == {
        "OMP_NUM_THREADS": "3,2",
        "MKL_NUM_THREADS": "3",
        "OPENBLAS_NUM_THREADS": "3",
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "3",
        "OMP_WAIT_POLICY": "PASSIVE",
        "KMP_BLOCKTIME": "200",
        "OPENBLAS_THREAD_TIMEOUT": "4",
        "MPLBACKEND": "agg",
    }


# What each program does with torch's own settings, in place of its work.
PROGRAMS = {
    "command line": "from CrossModalSegLib import cli as program; "
    "from CrossModalSegLib.commands import doctor as place; name = 'run'",
    "worker": "from CrossModalSegLib import worker as program; place = program; name = 'serve'",
    "page": "from CrossModalSegApp.web import command as program; place = program; name = '_serve'",
}
LOOK = """
import os, sys
def look(*_):
    import SimpleITK, torch, matplotlib.pyplot as plt
    print(plt.get_backend().lower(), os.environ["OMP_WAIT_POLICY"], torch.get_num_threads(),
          SimpleITK.ProcessObject.GetGlobalDefaultNumberOfThreads())
    return 0
setattr(place, name, look)
program.main()
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="affinity of Linux")
@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_sets_its_process_before_libraries_are_loaded(program):
    unset = {name for name in os.environ if name.startswith(("OMP_", "MKL_", "KMP_", "ITK_", "OPENBLAS_"))}
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    environment |= {
        "MPLBACKEND": NOTEBOOK,
        "PYTHONPATH": os.pathsep.join(map(str, [REPOSITORY, REPOSITORY / "CrossModalSeg"])),
    }
    one = next(iter(os.sched_getaffinity(0)))
    arguments = ["doctor"] if program == "command line" else []
    done = subprocess.run(
        [sys.executable, "-c", PROGRAMS[program] + LOOK, *arguments],
        capture_output=True, text=True, check=False, env=environment, preexec_fn=lambda: os.sched_setaffinity(0, {one}),
    )  # fmt: skip
    assert done.stdout.split() == ["agg", "PASSIVE", "1", "1"], done.stderr


def test_a_notebook_that_calls_the_library_keeps_its_own_settings(monkeypatch, capsys):
    from CrossModalSegLib.cli import main

    monkeypatch.setenv("MPLBACKEND", NOTEBOOK)
    assert main(["bundle", "list"]) == 0
    assert os.environ["MPLBACKEND"] == NOTEBOOK
    assert "brain-mr-pair" in capsys.readouterr().out


@pytest.mark.parametrize("closed", [(1,), (0, 1, 2)])
def test_a_process_without_standard_streams_does_what_it_shall_and_no_file_takes_their_place(tmp_path, closed):
    """As after ``>&-``, or under some services."""
    script = (
        "import os, sys\n"
        f"for number in {closed}: os.close(number)\n"
        f"for number in {closed}: setattr(sys, ('stdin', 'stdout', 'stderr')[number], None)\n"
        "from CrossModalSegLib.cli import main\n"
        "sys.argv[1:] = ['bundle', 'list']\n"
        "assert main() == 0\n"
        f"stream = open({str(tmp_path / 'file')!r}, 'w')\n"
        "assert stream.fileno() > 2\n"
        "os.write(1, b'noise')\n"
        "stream.write('whole')\n"
    )
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "file").read_text() == "whole"
    assert ("brain-mr-pair" in run.stdout) == (1 not in closed)


@pytest.mark.parametrize(("started_by", "code"), [({"TORCHELASTIC_RUN_ID": "1"}, 3), ({}, -6)])
def test_one_of_several_processes_ends_before_python_clears_up_and_loses_nothing_that_it_said(started_by, code):
    script = (
        "import atexit, os\n"
        "from CrossModalSegLib.own_process import end_process\n"
        "atexit.register(os.abort)\n"  # as a thread does that is left at the end
        "print('published')\n"
        "end_process(3)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "TORCHELASTIC_RUN_ID"} | started_by
    run = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert run.returncode == code
    assert run.stdout.startswith("published") or not started_by
