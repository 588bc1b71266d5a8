"""Asking the worker something in the background."""

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from CrossModalSegApp.process.worker_client import WorkerClient
from CrossModalSegLib.protocol import Done, Event, Failed, Request


class Question:
    """One ``action`` of the worker; only the last time that it is asked for is answered, and not after `forget`."""

    def __init__(self, worker: WorkerClient, action: str):
        self._worker, self._action = worker, action
        self._latest = ""

    def ask(self, arguments: Mapping[str, Any], answer: Callable[[Done | Failed], None]) -> None:
        """Ask and return; ``answer`` is called later, or never."""
        self._latest = request_id = uuid.uuid4().hex[:12]

        def on_event(event: Event) -> None:
            if isinstance(event, Done | Failed) and request_id == self._latest:
                answer(event)

        self._worker.submit(Request(request_id, self._action, dict(arguments)), on_event)

    def forget(self) -> None:
        """Whatever is still on its way no longer matters."""
        self._latest = ""
