"""The worker process of a program without views: one request at a time, answered when it returns."""

import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from CrossModalSegLib.errors import CrossModalSegError, WorkerError
from CrossModalSegLib.protocol import Done, Failed, Request, decode_event, encode

_IDLE_MINUTES = 60


class WarmWorker:
    """Starts the worker when it is needed, and again where it has ended."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def segment(
        self, bundle: str, inputs: Mapping[str, Path], output: Path, device: str, seg_type: str, structure_set: bool
    ) -> dict[str, Any]:
        """Segment in DICOM; returns what ``report.json`` holds.

        Raises the worker's CrossModalSegError as it is; WorkerError ``worker-died``.
        """
        arguments = {
            "bundle": bundle,
            "inputs": {name: str(path) for name, path in inputs.items()},
            "output": str(output),
            "device": device,
            "format": "dicom-seg",
            "seg_type": seg_type,
            "structure_set": structure_set,
        }
        return self._answer(Request(uuid.uuid4().hex[:8], "segment", arguments))

    def stop(self) -> None:
        """End the worker, whatever it is doing."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()  # which ends it at once
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()

    def _answer(self, request: Request) -> dict[str, Any]:
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(encode(request))
            process.stdin.flush()
            for line in process.stdout:
                event = decode_event(line)
                if isinstance(event, Done) and event.id == request.id:
                    return event.result
                if isinstance(event, Failed) and event.id in ("", request.id):
                    raise CrossModalSegError(event.code, event.message, event.hint)
        except (OSError, ValueError) as error:
            raise self._died() from error
        raise self._died()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            command = [sys.executable, "-m", "CrossModalSegLib.worker", "--idle-minutes", str(_IDLE_MINUTES)]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self._process

    def _died(self) -> WorkerError:
        self.stop()
        return WorkerError("worker-died", "the process that computes has ended", "see the log above for the reason")
