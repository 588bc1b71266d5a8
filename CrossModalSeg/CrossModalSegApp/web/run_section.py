"""The section Segment: start, progress, cancel, and how the last run ended."""

import asyncio
from collections.abc import Callable

from trame_server import Server

from CrossModalSegApp.logic.logic import SegmentationLogic
from CrossModalSegApp.logic.wording import outcome_words, progress_words, sentence
from CrossModalSegApp.process.run_state import Outcome, RunState, RunStatus
from CrossModalSegApp.web.dialogs import Dialogs
from CrossModalSegApp.web.page_state import PageState
from CrossModalSegApp.web.scans_section import ScansSection
from CrossModalSegLib.errors import CrossModalSegError

_CORRECTED = "These scans have a corrected segmentation. It stays; the new one is added beside it."
_DEVICES = {"auto": "Automatic", "cuda": "GPU", "cpu": "CPU"}


class RunSection:
    """Runs what is chosen in ``scans``; ``on_done`` is called when a new result is in the scene."""

    def __init__(
        self,
        server: Server,
        logic: SegmentationLogic,
        scans: ScansSection,
        dialogs: Dialogs,
        on_done: Callable[[], None],
    ):
        self._logic, self._scans, self._dialogs, self._on_done = logic, scans, dialogs, on_done
        self._notice = ""
        self._state = PageState(
            server,
            "run",
            devices=[{"name": name, "title": title} for name, title in _DEVICES.items()],
            device="auto",
            state=RunState.IDLE.value,
            can_start=False,
            reason="",
            is_cancellable=False,
            percent=0,
            words="",
            outcome="",
            error="",
            hint="",
        )
        self._state.on("device", self._choose_device)
        self._state.on("start", self._start)
        self._state.on("cancel", logic.cancel)
        logic.listen(self._on_status)

    @property
    def device(self) -> str:
        """What is to compute: auto, cuda or cpu."""
        return self._state["device"]

    def note(self, text: str) -> None:
        """What is shown beside the outcome of a finished run: the device, fallbacks."""
        self._notice = text
        self.render()

    def render(self) -> None:
        """Show the status of the logic as it is now."""
        status, error = self._logic.status, self._logic.status.error
        is_idle = status.state is RunState.IDLE
        is_elsewhere = status.outcome is Outcome.DONE and not self._notice  # of other scans than those that are chosen
        self._state.show(
            state=status.state.value,
            can_start=is_idle and self._scans.can_start,
            reason=self._scans.reason if is_idle else "",
            is_cancellable=status.is_cancellable,
            percent=round(100 * status.fraction),
            words="" if is_idle else progress_words(status),
            outcome="" if is_elsewhere else outcome_words(status, self._notice),
            error=error.message if error else "",
            hint=sentence(error.hint) if error else "",
        )

    def _choose_device(self, name: str) -> None:
        if name in _DEVICES:
            self._state.show(device=name)

    async def _start(self) -> None:
        bundle = self._scans.bundle
        if self._logic.status.state is not RunState.IDLE or bundle is None or not self._scans.can_start:
            return
        if self._logic.corrected_cases(self._scans.volumes, bundle):
            self._dialogs.ask(_CORRECTED, "Segment again", self._run)
        else:
            await self._announce()
            self._run()

    async def _announce(self) -> None:
        """Writing the scans takes a moment in which the page is not told of anything: tell it before."""
        with self._state.flushed():
            self._state.show(state=RunState.STARTING.value, can_start=False, words="Writing the scans", percent=0)
        await asyncio.sleep(0)

    def _run(self) -> None:
        bundle = self._scans.bundle
        try:
            if bundle is not None and self._logic.status.state is RunState.IDLE:
                self._logic.start(self._scans.volumes, bundle, self.device)
        except CrossModalSegError as error:
            self._dialogs.show_error(error)
        self.render()

    def _on_status(self, status: RunStatus) -> None:
        with self._state.flushed():
            self._scans.show_running(status.state is RunState.IDLE)
            self.render()
            if status.state is RunState.IDLE and status.outcome is Outcome.DONE:
                self._on_done()
