"""All sections of a view together: what follows in one of them from what happens in another."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from CrossModalSegApp.logic.adapt_presenter import AdaptPresenter
from CrossModalSegApp.logic.compare_presenter import ComparePresenter, review_words
from CrossModalSegApp.logic.export_presenter import ExportPresenter
from CrossModalSegApp.logic.fill_presenter import FillPresenter
from CrossModalSegApp.logic.fine_tuning_presenter import FineTuningPresenter
from CrossModalSegApp.logic.legend_presenter import LegendPresenter
from CrossModalSegApp.logic.logic import SegmentationLogic
from CrossModalSegApp.logic.place_presenter import PlacePresenter
from CrossModalSegApp.logic.presenter import Host
from CrossModalSegApp.logic.ranking_presenter import RankingPresenter
from CrossModalSegApp.logic.result_presenter import ResultPresenter
from CrossModalSegApp.logic.review_presenter import ReviewPresenter
from CrossModalSegApp.logic.run_presenter import RunPresenter
from CrossModalSegApp.logic.scans_presenter import ScansPresenter
from CrossModalSegApp.logic.site_presenter import SiteEvents, SitePresenter
from CrossModalSegApp.logic.windows_presenter import WindowsPresenter
from CrossModalSegApp.process.run_state import Outcome, RunState, RunStatus
from CrossModalSegApp.scene.case_nodes import CaseNodes
from CrossModalSegApp.scene.drawn_by_hand import DrawnByHand
from CrossModalSegApp.scene.opened_case import OpenedCase
from CrossModalSegApp.scene.review import ReviewList
from CrossModalSegApp.scene.review_region import Region


@dataclass(frozen=True)
class ViewEvents:
    """What a view does itself: show a result in its views and its editor, go to a place (mm, RAS), edit another
    structure (by label value), make labels (K, J, I) those that are edited in one step back, outline the region in
    question or none, draw what the legend shows or hides, show other segmentations by modality beside it, and take note
    of results that were saved or removed, and of a case of a site that was opened (folder, id, title)."""

    on_case: Callable[[CaseNodes | None], None]
    on_jump: Callable[[tuple[float, float, float]], None]
    on_structure: Callable[[int], None] = lambda _value: None
    on_put: Callable[[np.ndarray], None] = lambda _labels: None
    on_region: Callable[[Region | None], None] = lambda _region: None
    on_looks: Callable[[], None] = lambda: None
    on_compare: Callable[[Mapping[str, Any]], None] = lambda _nodes: None
    on_saved: Callable[[CaseNodes], None] = lambda _case: None
    on_gone: Callable[[str], None] = lambda _run_id: None
    on_site_case: Callable[[str, str, str], None] = lambda _site, _case, _title: None


class Sections:
    """The presenters, wired to each other."""

    def __init__(self, logic: SegmentationLogic, scans: ScansPresenter, host: Host, view: ViewEvents):
        self._logic, self._scans, self._view = logic, scans, view
        self._host = host
        self.run = RunPresenter(logic, scans, host)
        self.place, self.windows = PlacePresenter(host), WindowsPresenter(host)
        self.legend = LegendPresenter(host, view.on_structure, view.on_looks)
        self.review = ReviewPresenter(host, view.on_jump, self.legend.choose_named, view.on_region)
        self._drawn = DrawnByHand()
        self.adapt = AdaptPresenter(host, self._drawn, view.on_put)
        self.fill = FillPresenter(host, self._drawn, view.on_put, view.on_region)
        self.compare = ComparePresenter(host, logic.cases, self._on_compare)
        self.export = ExportPresenter(logic, host)
        self.result = ResultPresenter(logic, host, self._on_case, view.on_gone)
        self.site = SitePresenter(
            logic, scans, host, SiteEvents(self._on_open, self._on_look, view.on_saved, view.on_site_case)
        )
        self.ranking = RankingPresenter(logic, scans, self.site, host)
        self.fine_tuning = FineTuningPresenter(logic, scans, host, scans.list_models, self.site.look)
        self.result.listen(self.compare.look)
        logic.listen(self._on_status)
        scans.listen(self._scans_changed)

    def _scans_changed(self) -> None:
        """Another model or other scans are chosen, or something was found out about them."""
        self.run.changed()
        self.site.changed()
        self.ranking.changed()
        self.fine_tuning.show_model()
        if self.result.case is None:
            self.show_scans(self._scans.volumes)

    def show_scans(self, volumes: Mapping[str, Any]) -> None:
        """The views show these volume nodes by modality, without a result."""
        self.place.show_scans(volumes)
        self.windows.show(volumes)

    def show_edited(self, case: CaseNodes | None, modality: str) -> None:
        """The segmentation of ``modality`` is edited."""
        if case is None:
            self._drawn.forget()
        self.adapt.show(case, modality)
        self.fill.show(case, modality)

    def note_structure(self, value: int) -> None:
        """The structure with this label value is edited."""
        self.legend.note_current(value)
        self.fill.note_structure(value)

    def note_stroke(self, node: Any, box: tuple[slice, ...]) -> None:
        """Labels of a segmentation node have changed, in this box (K, J, I) of its scan."""
        self.adapt.note_stroke(node, box)
        self.fill.note_change()

    def look_at_corrections(self) -> None:
        """Voxels of the result that is shown have changed."""
        self.review.look()
        self._host.soon(self.legend.look)  # each may take a tenth of a second

    def choose_pointed(self) -> None:
        """Choose the structure below the mouse."""
        value = next(iter(self.place.values.values()), 0)
        if value:
            self.legend.choose(value)

    def close(self) -> None:
        """Listen no more, and hold on to no node."""
        self._logic.forget(self._on_status)
        self.legend.show_case(None)
        self.compare.show_case(None)
        self.show_edited(None, "")
        self.show_scans({})
        for presenter in (self.run, self.ranking, self.fine_tuning):
            presenter.close()

    def _on_status(self, status: RunStatus) -> None:
        if status.state is RunState.IDLE and status.outcome is Outcome.DONE:
            self.result.fill()

    def _on_case(self, case: CaseNodes | None) -> None:
        self.run.show_case(case)
        self.review.show(case)
        self.site.show_case(case)
        self.export.show_case(case)
        self._view.on_case(case)
        self.compare.show_case(case)  # after the views, which draw again when comparing ends: nodes may have gone
        self.legend.show_case(case)
        if case is None:
            self.show_scans(self._scans.volumes)
        else:
            self.place.show_case(case)
            self.windows.show(case.volumes)

    def _on_compare(self, nodes: Mapping[str, Any], differences: ReviewList | None) -> None:
        """The views show another result as well, and the review goes through what differs; or neither any more."""
        self._view.on_compare(nodes)
        if differences is not None:
            self.review.show_differences(differences, nodes, *review_words())
        else:
            self.review.show(self.result.case)

    def _on_open(self, opened: OpenedCase) -> None:
        """A case of the site was loaded: its scans are the chosen ones, its labels the result that is shown."""
        self._scans.choose(opened.volumes)
        self.result.fill()

    def _on_look(self, folder: Path | None, is_site: bool) -> None:
        """The site's own models are among those to choose from; one of them, or another, is fine-tuned to it."""
        self._logic.use_site(folder)
        self._scans.list_models()
        self.fine_tuning.show_site(folder if is_site else None)
        self.ranking.show_site(is_site)
