"""The order of the site's work list: the chosen model scores the cases, and can be stopped."""

from collections.abc import Callable

from trame_server import Server

from CrossModalSegApp.logic.logic import SegmentationLogic
from CrossModalSegApp.logic.wording import command_words, sentence
from CrossModalSegApp.process.background_command import CommandStatus
from CrossModalSegApp.process.run_state import Outcome
from CrossModalSegApp.web.dialogs import Dialogs
from CrossModalSegApp.web.page_state import PageState
from CrossModalSegApp.web.scans_section import ScansSection
from CrossModalSegApp.web.site_section import SiteSection
from CrossModalSegLib.errors import CrossModalSegError

_ENDED = {Outcome.CANCELLED: "Stopped. What was scored is kept.", Outcome.DONE: "Done: the work list is in order."}


class RankingSection:
    """Scores the cases of ``site`` with the model that is chosen in ``scans``, on what ``device`` says."""

    def __init__(
        self,
        server: Server,
        logic: SegmentationLogic,
        scans: ScansSection,
        site: SiteSection,
        dialogs: Dialogs,
        device: Callable[[], str],
    ):
        self._logic, self._scans, self._site, self._dialogs, self._device = logic, scans, site, dialogs, device
        self._folder = ""  # of the site whose cases are scored, or were
        self._state = PageState(server, "ranking", is_running=False, lines=[], error="", hint="")
        self._state.on("start", self._start)
        self._state.on("cancel", logic.ranking.cancel)
        logic.ranking.listen(self._on_status)

    def _start(self) -> None:
        bundle, folder = self._scans.bundle, self._site.folder
        if bundle is None or not folder or self._logic.ranking.status.is_running:
            return
        self._folder = folder
        try:
            self._logic.rank(folder, bundle, self._device())
        except CrossModalSegError as error:
            self._dialogs.show_error(error)

    def _on_status(self, status: CommandStatus) -> None:
        words = command_words(status) or _ENDED.get(status.outcome, "")
        elsewhere = f"In {self._folder}:" if self._folder != self._site.folder else ""
        with self._state.flushed():
            self._state.show(
                is_running=status.is_running,
                lines=[line for line in (elsewhere, words, *status.plan) if line],
                error=status.error.message if status.error else "",
                hint=sentence(status.error.hint) if status.error else "",
            )
            if status.outcome is not Outcome.NONE:
                self._site.look()
