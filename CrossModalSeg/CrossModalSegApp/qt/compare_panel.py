"""The section Compare: with what, and the figures of both."""

from typing import Any

from slicer.i18n import tr as _

from CrossModalSegApp.logic.compare_presenter import ComparePresenter
from CrossModalSegApp.qt.selector import Selector
from CrossModalSegApp.qt.tables import fill_table

_NOTHING = "nothing"  # an id that no result has


class ComparePanel:
    """Draws the state of a `ComparePresenter`."""

    def __init__(self, ui: Any, presenter: ComparePresenter):
        self._ui, self._presenter = ui, presenter
        self._selector = Selector(ui.compareSelector, presenter.choose)
        self._table: Any = None  # that is shown
        ui.compareAgainButton.clicked.connect(lambda *_args: presenter.choose(presenter.state.current))
        presenter.listen(self._draw)

    def _draw(self) -> None:
        state, ui = self._presenter.state, self._ui
        ui.compareSection.visible = state.is_there
        self._selector.show(((_NOTHING, _("nothing")), *state.others), state.current or _NOTHING)
        ui.compareTable.visible = ui.compareLabel.visible = ui.compareAgainButton.visible = bool(state.current)
        ui.compareLabel.text = state.summary
        if (state.columns, state.rows) != self._table:
            self._table = (state.columns, state.rows)
            fill_table(ui.compareTable, state.columns, state.rows, numbers_from=1)
