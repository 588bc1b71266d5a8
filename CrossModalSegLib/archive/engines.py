"""Where the chunks of an archive run: jobs of Slurm or processes of this computer, both by submitit."""

import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil
import submitit

from CrossModalSegLib.errors import CrossModalSegError
from CrossModalSegLib.own_process import THREADS

MOST_JOBS_AT_ONCE = 1000  # in one array; Slurm's own limit is 1001 unless it is configured


class ClusterError(CrossModalSegError):
    """A scheduler that is not there or refuses a job."""


@dataclass(frozen=True)
class Resources:
    """Of one chunk's process. ``minutes``: after which it is ended. ``more``: further options of Slurm by name."""

    cpus: int
    memory_gb: float
    minutes: int
    gpus: int = 0
    more: Mapping[str, str] | None = None


class Engine(Protocol):
    """Starts ``crossmodalseg`` in jobs, and says what became of them. A job goes on when this process ends."""

    def submit(self, commands: Sequence[list[str]]) -> list[str]:
        """Start one job for each list of arguments; returns their names. Raises ClusterError."""

    def alive(self, jobs: Iterable[str]) -> set[str]:
        """Those that wait or run."""

    def exit_code(self, job: str) -> int | None:
        """Of a job that has come to its end; None for one that has not, and never will if it is not alive."""

    def cancel(self, jobs: Collection[str]) -> None:
        """End them."""


class LocalEngine:
    """Processes of this computer. They go on when this one ends."""

    def __init__(self, folder: Path, resources: Resources):
        self._folder = folder
        self._executor = submitit.LocalExecutor(folder)
        self._executor.update_parameters(
            timeout_min=resources.minutes, gpus_per_node=resources.gpus, cpus_per_task=resources.cpus
        )
        self._cpus = resources.cpus
        self._started: dict[str, submitit.Job[int]] = {}

    def submit(self, commands: Sequence[list[str]]) -> list[str]:
        """One process for each."""
        jobs = [self._executor.submit(run_command, command, self._cpus) for command in commands]
        self._started |= {job.job_id: job for job in jobs}
        return [job.job_id for job in jobs]

    def alive(self, jobs: Iterable[str]) -> set[str]:
        """Those whose process is there: no other one that has got its number since."""
        for job in self._started.values():
            job.done()  # takes note of the end of a process of ours
        return {job for job in jobs if self._process(job) is not None}

    def exit_code(self, job: str) -> int | None:
        """As noted by the job at its end."""
        return _noted_code(submitit.LocalJob(self._folder, job))

    def cancel(self, jobs: Collection[str]) -> None:
        """Interrupt them."""
        for job in jobs:
            process = self._process(job)
            if process is not None:
                process.send_signal(signal.SIGINT)

    def _process(self, job: str) -> psutil.Process | None:
        try:
            process = psutil.Process(int(job))
            is_ours = str(self._folder) in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return None
        return process if is_ours else None


class SlurmEngine:
    """Jobs of Slurm, in arrays of which ``parallel`` run at a time. Raises ClusterError ``no-slurm``."""

    def __init__(self, folder: Path, resources: Resources, parallel: int):
        self._folder, self._cpus = folder, resources.cpus
        try:
            self._executor = submitit.SlurmExecutor(folder)
        except RuntimeError as error:
            raise ClusterError("no-slurm", "srun is not there", "use --engine local, or a node of a cluster") from error
        self._executor.update_parameters(
            job_name="crossmodalseg",
            time=resources.minutes,
            mem=f"{round(resources.memory_gb * 1024)}MB",
            cpus_per_task=resources.cpus,
            ntasks_per_node=1,
            array_parallelism=parallel,
            use_srun=False,
            **({"gpus_per_node": resources.gpus} if resources.gpus else {}),
            additional_parameters=dict(resources.more or {}),
        )

    def submit(self, commands: Sequence[list[str]]) -> list[str]:
        """One job array; Raises ClusterError ``not-submitted``."""
        try:
            with self._executor.batch():
                jobs = [self._executor.submit(run_command, command, self._cpus) for command in commands]
        except (submitit.core.utils.FailedJobError, subprocess.CalledProcessError) as error:
            what = " ".join(str(error).split())
            raise ClusterError("not-submitted", f"Slurm refuses the job: {what}", "check the options") from error
        return [job.job_id for job in jobs]

    def alive(self, jobs: Iterable[str]) -> set[str]:
        """Those that the queue lists; all of them where it does not answer, as nothing is known then."""
        jobs = set(jobs)
        command = ["squeue", "--noheader", "--array", "--format=%i", f"--user={os.getuid()}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return jobs & set(done.stdout.split()) if done.returncode == 0 else jobs

    def exit_code(self, job: str) -> int | None:
        """As noted by the job at its end."""
        return _noted_code(submitit.SlurmJob(self._folder, job))

    def cancel(self, jobs: Collection[str]) -> None:
        """Cancel them."""
        if jobs:
            subprocess.run(["scancel", *sorted(jobs)], check=False, capture_output=True)


def run_command(arguments: list[str], cpus: int) -> int:
    """In a job: ``crossmodalseg`` with ``arguments`` on so many processors; returns its exit code."""
    os.environ[THREADS] = str(cpus)
    sys.argv = ["crossmodalseg", *arguments]
    try:
        runpy.run_module("CrossModalSegLib.cli", run_name="__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _noted_code(job: "submitit.Job[int]") -> int | None:
    """None as well for a job that ended by an exception, which is one that is lost."""
    if not job.paths.result_pickle.exists():
        return None
    outcome, code = submitit.core.utils.pickle_load(job.paths.result_pickle)
    return code if outcome == "success" and isinstance(code, int) else None
