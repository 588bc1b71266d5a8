"""A Slurm cluster of one node on this computer, with a configuration and key of its own, for as long as a block.

Needs Debian's packages slurm-wlm and munge, and root. It listens on 127.0.0.1 only, and leaves nothing behind.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue")
SECONDS_TO_START = 60


class NoSlurmError(Exception):
    """Why it cannot be started here."""


@contextmanager
def one_node(folder: Path, cpus: int, memory_mb: int) -> Iterator[dict[str, str]]:
    """Give the environment in which ``sbatch`` and ``squeue`` reach the cluster. Raises NoSlurmError."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None and not Path("/usr/sbin", name).exists()]
    if missing:
        raise NoSlurmError(f"{', '.join(missing)} not installed: apt-get install slurm-wlm munge")
    if os.geteuid() != 0:
        raise NoSlurmError("slurmd and munged need root")
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier cluster
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
    (folder / "slurm.conf").write_text(_configuration(folder, cpus, memory_mb))
    processes: list[subprocess.Popen[bytes]] = []

    def start(*command: str) -> None:
        log = (folder / f"{Path(command[0]).name}.out").open("ab")
        path = environment["PATH"] + ":/usr/sbin"
        with log:
            process = subprocess.Popen(command, env=environment | {"PATH": path}, stdout=log, stderr=log)
        processes.append(process)

    try:
        start("/usr/sbin/munged", "--foreground", "--force", *_munge(folder))
        _wait_for("munged", (folder / "munge.socket").exists, processes, folder)
        start("/usr/sbin/slurmctld", "-D")
        start("/usr/sbin/slurmd", "-D", "-N", _node())
        _wait_for("slurmd", lambda: _is_idle(environment), processes, folder)
        yield environment
        _wait_for("the end of the jobs", lambda: not _queue(environment), processes, folder)
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait()


def _munge(folder: Path) -> list[str]:
    key = folder / "munge.key"
    if not key.exists():
        key.touch(0o600)
        key.write_bytes(os.urandom(1024))
    places = {"key-file": key, "socket": "munge.socket", "pid-file": "munge.pid", "log-file": "munge.log"}
    places["seed-file"] = "munge.seed"
    return [f"--{name}={folder / place}" for name, place in places.items()]


def _configuration(folder: Path, cpus: int, memory_mb: int) -> str:
    node, control_port, node_port = _node(), _free_port(), _free_port()
    return f"""ClusterName=one
SlurmctldHost={node}(127.0.0.1)
SlurmctldPort={control_port}
SlurmdPort={node_port}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
AuthInfo=socket={folder / "munge.socket"}
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder / "state"}
SlurmdSpoolDir={folder / "spool"}
SlurmctldPidFile={folder / "slurmctld.pid"}
SlurmdPidFile={folder / "slurmd.pid"}
SlurmctldLogFile={folder / "slurmctld.log"}
SlurmdLogFile={folder / "slurmd.log"}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
ReturnToService=2
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName={node} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory_mb} State=UNKNOWN
PartitionName=all Nodes={node} Default=YES MaxTime=INFINITE State=UP
"""


def _node() -> str:
    return socket.gethostname().partition(".")[0]


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def _queue(environment: dict[str, str]) -> str:
    command = ["squeue", "--noheader"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout.strip()


def _is_idle(environment: dict[str, str]) -> bool:
    command = ["sinfo", "--noheader", "--format=%T"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.stdout.split() == ["idle"]


def _wait_for(what: str, is_there, processes: list[subprocess.Popen[bytes]], folder: Path) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while not is_there():
        ended = [process for process in processes if process.poll() is not None]
        if ended or time.monotonic() > deadline:
            logs = sorted([*folder.glob("*.out"), *folder.glob("*.log")])
            said = "\n".join(f"{log.name}: {line}" for log in logs for line in log.read_text().splitlines()[-6:])
            raise NoSlurmError(f"{what} does not start:\n{said}")
        time.sleep(0.2)
