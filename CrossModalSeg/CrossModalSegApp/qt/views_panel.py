"""What Slicer's views show: the result that is chosen, in the usual views or a row per scan, or an alignment to look
at."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import qt
import slicer

from CrossModalSegApp.scene.case_nodes import CaseNodes
from CrossModalSegApp.scene.layout import TwoModalityLayout
from CrossModalSegApp.scene.region_outline import RegionOutline
from CrossModalSegApp.scene.rendering import one_render
from CrossModalSegApp.scene.result_display import ResultDisplay
from CrossModalSegApp.scene.review_region import Region


class ViewsPanel:
    """The button of the two-scan layout, and what it leads to; ``crossfade`` gives the fade that is chosen, 0 to 1."""

    def __init__(self, ui: Any, crossfade: Callable[[], float]):
        self._ui, self._crossfade = ui, crossfade
        self._layout, self._display = (
            TwoModalityLayout(slicer.mrmlScene, has_marks=True),
            ResultDisplay(slicer.mrmlScene),
        )
        self._region = RegionOutline(slicer.mrmlScene)
        self._case: CaseNodes | None = None
        self._modality: str | None = None
        self._compared: Sequence[Any] = ()  # segmentations that are shown beside the result's
        self._preview: Sequence[Any] = ()  # the scans of an alignment that is looked at
        self._place: tuple[float, float, float] | None = None  # that the review went to in this layout
        ui.layoutButton.toggled.connect(self._toggle)
        ui.uncertaintyButton.toggled.connect(lambda *_args: self._show_uncertainty())
        ui.previewFadeSlider.valueChanged.connect(self._layout.set_crossfade)

    def show(self, case: CaseNodes | None, modality: str | None) -> None:
        """Show this result and nothing else of this module; in the usual views, and in 3D, only that of
        ``modality``."""
        if case is not self._case:
            self._compared = ()  # that was for the other one, and may have gone
        self._case, self._modality = case, modality
        self._ui.layoutButton.enabled = case is not None
        self._ui.uncertaintyButton.enabled = bool(case and case.uncertainties)
        if case is None:
            self._ui.layoutButton.checked = False
        self._show()

    def show_compared(self, nodes: Mapping[str, Any]) -> None:
        """Outline these segmentations as well, in the two-scan layout; none of them ends it."""
        self._compared = tuple(nodes.values())
        if self._compared:
            self._ui.layoutButton.checked = True
        if self._ui.layoutButton.checked:
            self._show()

    def show_preview(self, scans: Sequence[Any]) -> None:
        """Show both scans, half of each, while an alignment is looked at; without any, what was shown before."""
        self._preview = scans
        if scans:
            self._layout.make_views(len(scans))
            with one_render():
                self._layout.enter(*scans)
                self._layout.set_crossfade(self._ui.previewFadeSlider.value)
            qt.QTimer.singleShot(0, self._fit)
        elif self._ui.layoutButton.checked:
            self._show()
        else:
            self._leave()

    def fade(self) -> None:
        """Another fade is chosen; that of a preview is its own."""
        if not self._preview:
            self._layout.set_crossfade(self._crossfade())

    def jump_to(self, ras: tuple[float, float, float]) -> None:
        """Show a place (mm, RAS) in all views of the two-scan layout."""
        self._ui.layoutButton.checked = True
        with one_render():
            self._place = ras
            self._layout.jump_to(ras)

    def outline_region(self, region: Region | None) -> None:
        """Outline what is in question, in all slices; None ends it."""
        with one_render():
            self._region.show(region)

    def release(self) -> None:
        """The former layout, as the module is left or the scene closes."""
        self._region.show(None)
        self._ui.layoutButton.checked = False
        self._display.forget()

    def _toggle(self, is_on: bool) -> None:
        self._ui.crossfadeSlider.enabled = is_on
        self._place = None
        if is_on:
            self._show()
            qt.QTimer.singleShot(0, self._fit)
        else:
            self._leave()

    def _show(self) -> None:
        case = self._case
        if case is None or not self._ui.layoutButton.checked:
            self._display.show(case, self._modality)
            return
        self._layout.make_views(len(case.volumes))
        with one_render():
            self._layout.enter(*case.rows(), compared=self._compared)
            modalities = list(case.volumes)
            self._layout.show_in_3d(modalities.index(self._modality) if self._modality in modalities else 0)
            self._layout.set_crossfade(self._crossfade())
            self._show_uncertainty()

    def _show_uncertainty(self) -> None:
        """Over the scans of the two-scan layout."""
        ui, case = self._ui, self._case
        is_wanted = ui.uncertaintyButton.checked and ui.layoutButton.checked and case is not None
        self._layout.show_uncertainties([case.uncertainties.get(name) for name in case.volumes] if is_wanted else [])

    def _leave(self) -> None:
        with one_render():
            self._layout.show_uncertainties([])
            self._layout.leave()
            self._display.forget()
            self._show()

    def _fit(self) -> None:
        """The views have their size only now; a place that was gone to meanwhile is gone to again."""
        with one_render():
            if self._layout.is_entered:
                self._layout.fit()
            if self._place is not None:
                self._layout.jump_to(self._place)
