"""Asking the worker what the chosen scans show: whether they lie on each other, and whether each is what it is given as."""

import shutil
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from CrossModalSegApp.process.temporary import new_temporary_folder
from CrossModalSegApp.process.worker_client import WorkerClient
from CrossModalSegApp.scene.scene_io import export_volume
from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.errors import CrossModalSegError
from CrossModalSegLib.imaging.content_findings import Contents
from CrossModalSegLib.protocol import Done, Event, Failed, Request

Answer = Callable[[Contents], None]


class ContentsInquiry:
    """Only the last question is answered."""

    def __init__(self, worker: WorkerClient):
        self._worker = worker
        self._latest = ""

    def ask(self, bundle: Bundle, volumes: Mapping[str, Any], answer: Answer) -> None:
        """Ask about volume nodes by modality and return; ``answer`` is called with what was found, or never.

        Nobody has asked for it, so that what goes wrong on the way is not told: the run itself tells. Never where something
        else was asked meanwhile, or `forget` was called. Raises what `export_volume` raises.
        """
        self._latest = request_id = uuid.uuid4().hex[:12]
        folder = new_temporary_folder()
        try:
            for modality, node in volumes.items():
                export_volume(node, folder / f"{modality}.nrrd", modality)
        except (CrossModalSegError, OSError):
            shutil.rmtree(folder, ignore_errors=True)
            raise
        inputs = {modality: str(folder / f"{modality}.nrrd") for modality in volumes}

        def on_event(event: Event) -> None:
            if isinstance(event, Done | Failed):
                shutil.rmtree(folder, ignore_errors=True)
                if isinstance(event, Done) and request_id == self._latest:
                    answer(Contents.from_json(event.result))

        self._worker.submit(Request(request_id, "look", {"bundle": str(bundle.path), "inputs": inputs}), on_event)

    def forget(self) -> None:
        """Whatever is still on its way no longer matters."""
        self._latest = ""
