"""The button Adapt locally, below the Segment Editor."""

from collections.abc import Callable, Sequence
from typing import Any

from CrossModalSegApp.logic.adapt_presenter import AdaptPresenter


class AdaptPanel:
    """Draws the state of an `AdaptPresenter`; ``place`` says where its user looks (RAS, mm)."""

    def __init__(self, ui: Any, presenter: AdaptPresenter, place: Callable[[], Sequence[float] | None]):
        self._ui, self._presenter, self._place = ui, presenter, place
        ui.adaptButton.clicked.connect(self._start)
        presenter.listen(self._draw)

    def _start(self, *_args: object) -> None:
        self._presenter.note_place(self._place())
        self._presenter.start()

    def _draw(self) -> None:
        state = self._presenter.state
        self._ui.adaptButton.enabled = state.can_start
        self._ui.adaptLabel.text = state.words
