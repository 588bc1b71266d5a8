"""The button that sorts the work list, and how far that is."""

from typing import Any

from CrossModalSegApp.logic.ranking_presenter import RankingPresenter
from CrossModalSegApp.qt.rich_text import error_html, lines_html, show_text


class RankingPanel:
    """Draws the state of a `RankingPresenter`."""

    def __init__(self, ui: Any, presenter: RankingPresenter):
        self._ui, self._presenter = ui, presenter
        ui.rankButton.clicked.connect(lambda *_args: presenter.start_or_cancel())
        presenter.listen(self._draw)

    def _draw(self) -> None:
        state, ui = self._presenter.state, self._ui
        ui.rankButton.text, ui.rankButton.enabled = state.button, state.is_enabled
        show_text(ui.rankLabel, error_html(state.error, state.hint) if state.error else lines_html(state.lines))
