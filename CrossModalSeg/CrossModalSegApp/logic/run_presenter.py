"""The section Segment: whether a run may start, how far it is, and how the last one ended."""

from dataclasses import dataclass

from CrossModalSegApp.logic.logic import SegmentationLogic
from CrossModalSegApp.logic.presenter import Host, Presenter
from CrossModalSegApp.logic.scans_presenter import ScansPresenter
from CrossModalSegApp.logic.translation import tr as _
from CrossModalSegApp.logic.wording import sentence, stage_words
from CrossModalSegApp.process.run_state import Outcome, RunState, RunStatus
from CrossModalSegApp.scene.case_nodes import CaseNodes


@dataclass(frozen=True)
class RunSectionState:
    """``words``: what a run that goes on is doing; ``outcome``, or ``error`` with its ``hint``: how the last one
    ended."""

    is_idle: bool
    can_start: bool
    is_cancellable: bool
    reason: str
    percent: int
    words: str
    outcome: str
    error: str
    hint: str


class RunPresenter(Presenter):
    """Runs what is chosen in ``scans``."""

    def __init__(self, logic: SegmentationLogic, scans: ScansPresenter, host: Host):
        super().__init__(host)
        self._logic, self._scans = logic, scans
        self._notice: str | None = None  # of the result that is shown
        self._is_starting = False
        logic.listen(self._on_status)

    @property
    def state(self) -> RunSectionState:
        status, error = self._logic.status, self._logic.status.error
        is_idle = status.state is RunState.IDLE and not self._is_starting
        return RunSectionState(
            is_idle=is_idle,
            can_start=is_idle and self._scans.can_start,
            is_cancellable=status.is_cancellable,
            reason=self._scans.reason if is_idle else "",
            percent=round(100 * status.fraction),
            words="" if is_idle else _progress(status),
            outcome=self._outcome(status) if is_idle else "",
            error=error.message if error else "",
            hint=sentence(error.hint) if error else "",
        )

    def show_case(self, case: CaseNodes | None) -> None:
        """The result that is shown, None without any; it says what its run had to tell."""
        self._notice = case.notice if case else None
        self.changed()

    def start(self) -> None:
        """Segment; a result that was corrected by hand stays, after asking."""
        bundle = self._scans.bundle
        if not self.state.can_start or bundle is None:
            return
        if self._logic.corrected_cases(self._scans.volumes, bundle):
            question = _("These scans have a corrected segmentation. It stays; the new one is added beside it. Go on?")
            self._host.dialogs.ask(question, _("Segment again"), self._start_soon)
        else:
            self._start_soon()

    def cancel(self) -> None:
        self._logic.cancel()

    def close(self) -> None:
        """Listen no more."""
        self._logic.forget(self._on_status)

    def _start_soon(self) -> None:
        """Writing the scans takes a moment: it is said before."""
        if self.state.can_start and self._host.ready():
            self._is_starting = True
            self.changed()
            self._host.soon(self._start)

    def _start(self) -> None:
        self._is_starting = False
        bundle = self._scans.bundle
        if bundle is not None and self._logic.status.state is RunState.IDLE:
            self._tried(lambda: self._logic.start(self._scans.volumes, bundle, self._host.device()))
        self.changed()

    def _on_status(self, _status: RunStatus) -> None:
        self.changed()

    def _outcome(self, status: RunStatus) -> str:
        if status.outcome is Outcome.DONE and self._notice is not None:  # else it is of other scans
            return f"{_('Done.')} {self._notice}".strip()
        if status.outcome is Outcome.CANCELLED:
            return f"{_('Cancelled.')} {status.reason or _('The scene is as it was.')}"
        return ""


def _progress(status: RunStatus) -> str:
    return stage_words(status.stage or "writing the scans", "", status.seconds_left)
