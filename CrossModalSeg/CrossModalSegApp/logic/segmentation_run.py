"""One run at a time: scans out to the worker, progress, and the result into the scene; or nothing at all.

The scene is touched only at the very end, in one go, after the worker has finished and its files have been read.
"""

import logging
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from CrossModalSegApp.logic.scan_files import ScanFiles
from CrossModalSegApp.process.run_state import Outcome, RunState, RunTracker
from CrossModalSegApp.process.worker_client import CANCELLED, WorkerClient
from CrossModalSegApp.scene.case_nodes import CaseNodes
from CrossModalSegApp.scene.placed_scan import PlacedScan
from CrossModalSegApp.scene.rendering import one_render
from CrossModalSegApp.scene.result_import import RunOutput, import_result
from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.errors import CrossModalSegError, GeometryError, WorkerError
from CrossModalSegLib.protocol import Done, Event, Failed, Progress, Request
from CrossModalSegLib.temporary import new_temporary_folder

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunPlan:
    """What to segment: volume nodes by modality, the bundle, "auto", "cuda" or "cpu", and what the result replaces.

    ``has_surfaces`` is False where the view makes surfaces of its own.
    """

    volumes: Mapping[str, Any]
    bundle: Bundle
    device: str = "auto"
    replaces: CaseNodes | None = None
    has_surfaces: bool = True


@dataclass(frozen=True)
class _Run:
    """A run under way, with its folder of files."""

    id: str
    plan: RunPlan
    scans: Mapping[str, PlacedScan]
    folder: Path

    @property
    def output(self) -> Path:
        return self.folder / "output"


class SegmentationRunner:
    """Runs one `RunPlan` after another; ``tracker`` says how far it is, ``on_result`` gets the new nodes."""

    def __init__(
        self,
        scene: Any,
        worker: WorkerClient,
        files: ScanFiles,
        tracker: RunTracker,
        on_result: Callable[[CaseNodes], None],
    ):
        self._scene = scene
        self._worker = worker
        self._files = files
        self._tracker = tracker
        self._on_result = on_result
        self._run: _Run | None = None
        self._reason = ""  # why it is cancelled
        self._problem: CrossModalSegError | None = None  # that it is ended for

    def start(self, plan: RunPlan) -> None:
        """Write the scans and hand them to the worker; returns at once. Errors end the run as FAILED."""
        self._tracker.enter(RunState.STARTING, "writing the scans")
        self._reason, self._problem = "", None
        folder = new_temporary_folder()
        try:
            scans = {name: self._files.put(node, folder / f"{name}.nrrd") for name, node in plan.volumes.items()}
            self._run = _Run(uuid.uuid4().hex[:12], plan, scans, folder)
            request = self._request(self._run)
            self._tracker.enter(RunState.RUNNING, "starting")
            self._worker.submit(request, self._on_event)
        except (CrossModalSegError, OSError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            self._end(Outcome.FAILED, _typed(error))

    def cancel(self, reason: str = "") -> None:
        """Stop the run, if one can be stopped; the worker and all that it started are killed."""
        if self._tracker.status.is_cancellable:
            self._reason = reason
            self._tracker.enter(RunState.CANCELLING, "cancelling")
            self._worker.cancel()

    def require_scans(self) -> None:
        """End the run as FAILED with GeometryError ``volume-gone`` where a scan of it has left the scene."""
        try:
            for modality, scan in self._run.scans.items() if self._run is not None else ():
                scan.require_present(self._scene, modality)
        except GeometryError as error:
            if self._tracker.status.is_cancellable:
                self._problem = error
                self.cancel()

    def _request(self, run: _Run) -> Request:
        inputs = {modality: str(scan.path) for modality, scan in run.scans.items()}
        arguments = {"bundle": str(run.plan.bundle.path), "inputs": inputs, "output": str(run.output)}
        return Request(run.id, "segment", arguments | {"device": run.plan.device})

    def _on_event(self, event: Event) -> None:
        if self._run is None or getattr(event, "id", None) != self._run.id:
            return
        if isinstance(event, Progress):
            self._tracker.progress(event.stage, event.overall, event.seconds_left)
            self.require_scans()
        elif isinstance(event, Done):
            self._finish(event.result)
        elif isinstance(event, Failed) and event.code == CANCELLED:
            self._end(Outcome.FAILED if self._problem else Outcome.CANCELLED, self._problem)
        elif isinstance(event, Failed):
            self._end(Outcome.FAILED, WorkerError(event.code, event.message, event.hint))

    def _finish(self, report: dict[str, Any]) -> None:
        """Bring the result into the scene; it comes whole, or the scene stays as it was."""
        if self._tracker.status.state is RunState.CANCELLING:  # it was done before it could be stopped
            self._end(Outcome.CANCELLED)
            return
        assert self._run is not None
        run = self._run
        self._tracker.enter(RunState.IMPORTING, "showing the result")
        with one_render():
            self._import(run, report)

    def _import(self, run: _Run, report: dict[str, Any]) -> None:
        try:
            output = RunOutput(run.id, run.scans, run.output, report, run.plan.bundle)
            nodes = import_result(self._scene, output, run.plan.has_surfaces)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not leave the panel waiting for ever
            _log.exception("the result could not be brought into the scene")
            self._end(Outcome.FAILED, _typed(error))
            return
        if run.plan.replaces and not run.plan.replaces.is_corrected():  # by hand, while the run went on
            run.plan.replaces.remove()
        self._end(Outcome.DONE)
        self._on_result(nodes)

    def _end(self, outcome: Outcome, error: CrossModalSegError | None = None) -> None:
        self._files.forget()
        if self._run is not None:
            shutil.rmtree(self._run.folder, ignore_errors=True)
            self._run = None
        self._tracker.finish(outcome, error, self._reason if outcome is Outcome.CANCELLED else "")


def _typed(error: Exception) -> CrossModalSegError:
    if isinstance(error, CrossModalSegError):
        return error
    if isinstance(error, OSError):
        reason = error.strerror or str(error)
        return WorkerError("cannot-write", f"{error.filename}: {reason}", "check that the temporary folder has space")
    return WorkerError("internal", f"{type(error).__name__}: {error}", "report it, with Slicer's log")
