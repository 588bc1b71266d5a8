"""The Segment button, which becomes Cancel, with progress, time left, and how the last run ended."""

from html import escape
from typing import Any

from slicer.i18n import tr as _

from CrossModalSegApp.logic.run_presenter import RunPresenter
from CrossModalSegApp.qt.rich_text import error_html, show_text


class RunPanel:
    """Draws the state of a `RunPresenter`."""

    def __init__(self, ui: Any, presenter: RunPresenter):
        self._ui, self._presenter = ui, presenter
        ui.segmentButton.clicked.connect(self._clicked)
        presenter.listen(self._draw)

    def _clicked(self, *_args: object) -> None:
        if self._presenter.state.is_idle:
            self._presenter.start()
        else:
            self._presenter.cancel()

    def _draw(self) -> None:
        state, ui = self._presenter.state, self._ui
        ui.segmentButton.text = _("Segment") if state.is_idle else _("Cancel")
        ui.segmentButton.enabled = state.can_start if state.is_idle else state.is_cancellable
        ui.progressBar.visible = not state.is_idle
        ui.progressBar.value = state.percent
        said = error_html(state.error, state.hint) if state.error else escape(state.words or state.outcome)
        show_text(ui.statusLabel, said)
        for section in (ui.modelSection, ui.scansSection, ui.preflightSection, ui.deviceSelector):
            section.enabled = state.is_idle
