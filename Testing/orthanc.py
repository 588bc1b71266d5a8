"""A real PACS for tests and the demo: Orthanc with a configuration of its own, on free ports of this computer."""

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("Orthanc")
MISSING = "Orthanc is not installed: apt-get install orthanc orthanc-dicomweb"
AE_TITLE = "ORTHANC"
_PLUGINS = Path("/usr/share/orthanc/plugins")
_SECONDS_TO_START = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Orthanc:
    """One server, which may be stopped and started again. ``modalities``: (AE title, port) of whom it sends to."""

    folder: Path
    modalities: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    http_port: int = field(default_factory=free_port)
    dicom_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def web_url(self) -> str:
        """Of its DICOMweb."""
        return f"{self.url}/dicom-web"

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "orthanc.json"
        file.write_text(json.dumps(self._configuration()), encoding="utf-8")
        assert PROGRAM is not None
        with (self.folder / "orthanc.log").open("ab") as log:
            self.process = subprocess.Popen([PROGRAM, file], stdout=log, stderr=log)
        for _ in range(10 * _SECONDS_TO_START):
            try:
                self.asked("/system")
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise RuntimeError(f"Orthanc did not start: {(self.folder / 'orthanc.log').read_text()[-2000:]}")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=30)
            self.process = None

    def asked(self, path: str, body: Any = None) -> Any:
        """The answer of its REST interface; with a ``body``, a POST. Raises OSError."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data), timeout=60) as answer:
            return json.loads(answer.read())

    def file(self, instance: str) -> bytes:
        with urllib.request.urlopen(f"{self.url}/instances/{instance}/file", timeout=60) as answer:
            return bytes(answer.read())

    def add(self, folder: Path) -> None:
        """Store all files of a folder."""
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            self.asked("/instances", file.read_bytes())

    def instances(self, modality: str) -> list[str]:
        """Its own names of the instances in series of this DICOM modality."""
        found = self.asked("/tools/find", {"Level": "Series", "Query": {"Modality": modality}})
        return [one for series in found for one in self.asked(f"/series/{series}")["Instances"]]

    def send_studies(self, modality: str) -> None:
        """C-STORE of all studies to one of its ``modalities``; waits for the end. Raises HTTPError."""
        self.asked(f"/modalities/{modality}/store", {"Resources": self.asked("/studies"), "Synchronous": True})

    def _configuration(self) -> dict[str, Any]:
        return {
            "Name": "test",
            "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "storage"),
            "Plugins": [str(plugin) for plugin in _PLUGINS.glob("libOrthancDicomWeb.so")],
            "HttpPort": self.http_port,
            "DicomPort": self.dicom_port,
            "DicomAet": AE_TITLE,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomAlwaysAllowGet": True,
            "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowStore": True,
            "UnknownSopClassAccepted": True,
            "OverwriteInstances": False,
            "DicomModalities": {name: [aet, "127.0.0.1", port] for name, (aet, port) in self.modalities.items()},
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }


@contextmanager
def running_orthanc(folder: Path, modalities: Mapping[str, tuple[str, int]] | None = None) -> Iterator[Orthanc]:
    server = Orthanc(folder, modalities or {})
    server.start()
    try:
        yield server
    finally:
        server.stop()
