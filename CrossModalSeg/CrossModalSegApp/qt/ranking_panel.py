"""Ordering the work list: a model scores the cases of the site, and can be stopped."""

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from CrossModalSegApp.logic.logic import SegmentationLogic
from CrossModalSegApp.logic.wording import button_words, command_words, error_html
from CrossModalSegApp.process.background_command import CommandStatus
from CrossModalSegApp.process.run_state import Outcome
from CrossModalSegApp.qt.dialogs import Dialogs
from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.errors import CrossModalSegError


class RankingPanel:
    """Renders the status of a ranking.

    ``ready`` is asked before a start and may install packages, ``device`` says what to compute on, ``on_end`` is called
    when the work list may have another order. A ranking waits while the model is adapted: both would compute.
    """

    def __init__(
        self,
        ui: Any,
        logic: SegmentationLogic,
        dialogs: Dialogs,
        ready: Callable[[], bool],
        device: Callable[[], str],
        on_end: Callable[[], None],
    ):
        self._ui, self._logic, self._dialogs, self._ready, self._device = ui, logic, dialogs, ready, device
        self._on_end = on_end
        self._folder: Path | None = None
        self._bundle: Bundle | None = None
        ui.rankButton.clicked.connect(self._start_or_cancel)
        logic.ranking.listen(self._on_status)
        logic.adaptation.listen(self._on_adaptation)
        self._render()

    def show_site(self, folder: Path | None) -> None:
        """The site folder; None where there is no site yet."""
        self._folder = folder
        self._render()

    def show_model(self, bundle: Bundle | None) -> None:
        """The model that is chosen: it is the one to score with."""
        self._bundle = bundle
        self._render()

    def close(self) -> None:
        """Listen no more."""
        self._logic.ranking.forget(self._on_status)
        self._logic.adaptation.forget(self._on_adaptation)

    def _start_or_cancel(self, *_args: object) -> None:
        if self._logic.ranking.status.is_running:
            self._logic.ranking.cancel()
        elif self._folder is not None and self._bundle is not None and self._ready():
            try:
                self._logic.rank(self._folder, self._bundle, self._device())
            except CrossModalSegError as error:
                self._dialogs.show_error(error)

    def _on_status(self, status: CommandStatus) -> None:
        self._render()
        if status.outcome is not Outcome.NONE:
            self._on_end()

    def _on_adaptation(self, _status: CommandStatus) -> None:
        self._render()

    def _render(self) -> None:
        status, ui = self._logic.ranking.status, self._ui
        is_possible = self._folder is not None and self._bundle is not None
        ui.rankButton.text = button_words(status, _("Order by gain"), _("Cancel ordering"))
        ui.rankButton.enabled = status.is_running or (is_possible and not self._logic.adaptation.status.is_running)
        ui.rankLabel.text = _words(status)
        ui.rankLabel.visible = bool(ui.rankLabel.text)


def _words(status: CommandStatus) -> str:
    if status.error is not None:
        return error_html(status.error)
    stopped = _("Stopped. What was scored is kept.") if status.outcome is Outcome.CANCELLED else ""
    return "<br>".join(map(escape, filter(None, (command_words(status) or stopped, *status.plan))))
