"""The buttons that fine-tune a model to the site, take over the new one, and lead back."""

from html import escape
from typing import Any

from slicer.i18n import tr as _

from CrossModalSegApp.logic.fine_tuning_presenter import FineTuningPresenter, FineTuningSectionState
from CrossModalSegApp.qt.rich_text import error_html, lines_html, show_text


class FineTuningPanel:
    """Draws the state of a `FineTuningPresenter`."""

    def __init__(self, ui: Any, presenter: FineTuningPresenter):
        self._ui, self._presenter = ui, presenter
        ui.fineTuneButton.clicked.connect(self._clicked)
        ui.useModelButton.clicked.connect(lambda *_args: presenter.use_result())
        ui.previousModelButton.clicked.connect(lambda *_args: presenter.go_back())
        presenter.listen(self._draw)

    def _clicked(self, *_args: object) -> None:
        self._presenter.start_or_cancel(self._ui.budgetSpin.value, self._ui.keepGeneralCheck.checked)

    def _draw(self) -> None:
        state, ui = self._presenter.state, self._ui
        ui.fineTuneButton.text, ui.fineTuneButton.enabled = state.button, state.is_enabled
        ui.budgetSpin.enabled = ui.keepGeneralCheck.enabled = not state.is_running
        ui.fineTuneBar.visible = state.is_running
        ui.fineTuneBar.value = state.percent
        show_text(ui.fineTuneLabel, _text(state))
        ui.useModelButton.enabled = state.can_use
        ui.previousModelButton.enabled = bool(state.previous)
        back = _("Back to {name}").format(name=state.previous) if state.previous else _("Back to the previous model")
        ui.previousModelButton.text = back


def _text(state: FineTuningSectionState) -> str:
    if state.error:
        return error_html(state.error, state.hint)
    if not state.verdict or state.report is None:
        return lines_html(state.lines)
    report = f'<a href="{state.report.resolve().as_uri()}">{escape(_("Open the report"))}</a>'
    return "<br>".join([f"<b>{escape(state.verdict)}</b>", lines_html(state.summary), report])
