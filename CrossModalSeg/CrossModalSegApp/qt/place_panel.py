"""The line below the two-scan layout's button: what there is below the mouse, or at the crosshair."""

from typing import Any

from CrossModalSegApp.logic.place_presenter import PlacePresenter


class PlacePanel:
    """Draws the state of a `PlacePresenter`."""

    def __init__(self, ui: Any, presenter: PlacePresenter):
        self._label, self._presenter = ui.placeLabel, presenter
        presenter.listen(self._draw)

    def _draw(self) -> None:
        state = self._presenter.state
        readings = (f"{one.modality} {one.intensity} {one.structure}".strip() for one in state.readings)
        self._label.text = "   ".join(filter(None, [state.place, state.distance, *readings]))
