"""A DICOM study of two MR series that the bundles of `tiny_bundle` segment, and a node as a process."""

import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from scripts.dicom_study import Study, write_mr_series
from Testing.orthanc import free_port
from Testing.tiny_bundle import two_balls
from Testing.volumes import grid_around, points_of

GRID = grid_around((5, -10, 15), (24, 28, 24), (4, 4, 4))
OTHER_GRID = grid_around((5, -10, 15), (28, 30, 20), (3.75, 3.75, 5))
_STORED = 4000.0


def write_pair(folder: Path, study: Study | None = None) -> Study:
    """A T1w of 24 slices and a T2w of 20 slices, with values as the bundle expects them."""
    study = study or Study()
    for number, (grid, description) in enumerate(((GRID, "t1 mprage"), (OTHER_GRID, "t2 tse")), start=1):
        array = two_balls(points_of(grid))
        slope = float(np.ptp(array)) / _STORED
        rescale = {"RescaleSlope": f"{slope:.8f}", "RescaleIntercept": "0", "RescaleType": "US"}
        write_mr_series(folder / str(number), array, grid, study, description, number, **rescale)
    return study


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.dcm") if path.is_file())


def count_volumes(item: Dataset) -> int:
    """Measurements of a volume (SCT 118565006) in the tree of a report."""
    own = item.get("ConceptNameCodeSequence")
    is_volume = bool(own) and own[0].CodeValue == "118565006"
    return is_volume + sum(count_volumes(one) for one in item.get("ContentSequence") or [])


@dataclass
class NodeProcess:
    """``crossmodalseg node`` in a process of its own, which may be killed and started again."""

    folder: Path
    bundle: Path
    archive_port: int
    port: int = field(default_factory=free_port)
    status_port: int = field(default_factory=free_port)
    settings: str = "quiet_seconds = 2\nretry_seconds = 1\nstructure_set = true"
    further: str = ""
    process: subprocess.Popen[bytes] | None = None

    @property
    def config(self) -> Path:
        return self.folder / "pacs.toml"

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config.write_text(
            f'[node]\nport = {self.port}\nstatus_port = {self.status_port}\nfolder = "node"\ndevice = "cpu"\n'
            f'bundle = "{self.bundle}"\nsend_to = ["archive"]\n{self.settings}\n'
            f'[peers.archive]\nae_title = "ORTHANC"\naddress = "127.0.0.1"\n'
            f"port = {self.archive_port}\nmay_send = true\n"
            f"{self.further}",
            encoding="utf-8",
        )
        command = [sys.executable, "-m", "CrossModalSegLib.cli", "node", str(self.config)]
        with (self.folder / "node.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if b"listens" in line:
                return
        raise RuntimeError(self.log)

    @property
    def log(self) -> str:
        return (self.folder / "node.log").read_text(encoding="utf-8")

    def kill(self) -> None:
        """As `kill -9` does it."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """As a service is stopped; returns the exit code."""
        return self._end(signal.SIGTERM)

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def _end(self, how: signal.Signals) -> int:
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.send_signal(how)
        code = self.process.wait(timeout=60)
        self.process.stdout.close()
        return code

    def status(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.status_port}/status.json", timeout=30) as answer:
            return dict(json.loads(answer.read()))

    def wait_for(self, state: str, seconds: float = 120) -> dict[str, Any]:
        """The status once a study is in this state."""
        return eventually(lambda: facts if (facts := self.status())["counts"].get(state) else None, seconds, self)


def eventually(found: Callable[[], Any], seconds: float, node: NodeProcess | None = None) -> Any:
    """What ``found`` returns once it is true."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if value := found():
            return value
        time.sleep(0.1)
    raise AssertionError(f"nothing after {seconds} s" + (f"\n{node.log}\n{node.status()}" if node else ""))
