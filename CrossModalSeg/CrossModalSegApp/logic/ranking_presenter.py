"""The order of the site's work list: the chosen model scores the cases, and can be stopped."""

from dataclasses import dataclass
from pathlib import Path

from CrossModalSegApp.logic.logic import SegmentationLogic
from CrossModalSegApp.logic.presenter import Host, Presenter
from CrossModalSegApp.logic.scans_presenter import ScansPresenter
from CrossModalSegApp.logic.site_presenter import SitePresenter
from CrossModalSegApp.logic.translation import tr as _
from CrossModalSegApp.logic.wording import button_words, command_words, sentence
from CrossModalSegApp.process.background_command import CommandStatus
from CrossModalSegApp.process.run_state import Outcome


@dataclass(frozen=True)
class RankingSectionState:
    """``lines``: what is going on, and what was found; or the ``error`` that it ended with, and its ``hint``."""

    button: str
    is_enabled: bool
    is_running: bool
    lines: tuple[str, ...]
    error: str
    hint: str


class RankingPresenter(Presenter):
    """Scores the cases of ``site`` with the model that is chosen; waits while a model is fine-tuned: both would
    compute."""

    def __init__(self, logic: SegmentationLogic, scans: ScansPresenter, site: SitePresenter, host: Host):
        super().__init__(host)
        self._logic, self._scans, self._site = logic, scans, site
        self._is_site = False
        self._folder = ""  # of the site whose cases are scored, or were
        logic.ranking.listen(self._on_status)
        logic.fine_tuning.listen(self._on_fine_tuning)

    @property
    def state(self) -> RankingSectionState:
        status = self._logic.ranking.status
        is_possible = self._is_site and self._scans.bundle is not None
        ended = {
            Outcome.CANCELLED: _("Stopped. What was scored is kept."),
            Outcome.DONE: _("Done: the work list is in order."),
        }
        words = command_words(status) or ended.get(status.outcome, "")
        elsewhere = _("In {folder}:").format(folder=self._folder) if self._folder != self._site.folder else ""
        return RankingSectionState(
            button=button_words(status, _("Sort by expected benefit"), _("Cancel sorting")),
            is_enabled=status.is_running or (is_possible and not self._logic.fine_tuning.status.is_running),
            is_running=status.is_running,
            lines=tuple(filter(None, (elsewhere, words, *status.plan))) if words else (),
            error=status.error.message if status.error else "",
            hint=sentence(status.error.hint) if status.error else "",
        )

    def show_site(self, is_site: bool) -> None:
        """Whether there is a site in the folder."""
        self._is_site = is_site
        self.changed()

    def start_or_cancel(self) -> None:
        if self._logic.ranking.status.is_running:
            self._logic.ranking.cancel()
            return
        bundle, folder = self._scans.bundle, self._site.folder
        if self.state.is_enabled and bundle is not None and self._host.ready():
            self._folder = folder
            self._tried(lambda: self._logic.ranking.start(Path(folder), bundle, self._host.device()))

    def close(self) -> None:
        """Listen no more."""
        self._logic.ranking.forget(self._on_status)
        self._logic.fine_tuning.forget(self._on_fine_tuning)

    def _on_status(self, status: CommandStatus) -> None:
        self.changed()
        if status.outcome is not Outcome.NONE:
            self._site.look()

    def _on_fine_tuning(self, _status: CommandStatus) -> None:
        self.changed()
