"""The panel in Slicer: signals in, state out. What happens is in logic.py; each section has a file of its own."""

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from CrossModalSegApp.logic.case_selection import candidates
from CrossModalSegApp.logic.logic import SegmentationLogic
from CrossModalSegApp.process.run_state import Outcome, RunState, RunStatus
from CrossModalSegApp.qt.adaptation_panel import AdaptationPanel
from CrossModalSegApp.qt.case_setup import CaseSetup
from CrossModalSegApp.qt.correct_panel import CorrectPanel
from CrossModalSegApp.qt.dialogs import Dialogs
from CrossModalSegApp.qt.parameters import ShownParameters
from CrossModalSegApp.qt.ranking_panel import RankingPanel
from CrossModalSegApp.qt.result_panel import ResultPanel
from CrossModalSegApp.qt.review_panel import ReviewPanel
from CrossModalSegApp.qt.run_panel import RunPanel
from CrossModalSegApp.qt.site_panel import SitePanel
from CrossModalSegApp.qt.views_panel import ViewsPanel
from CrossModalSegApp.qt.wrapped_labels import WrappedLabels
from CrossModalSegApp.scene.case_nodes import CaseNodes
from CrossModalSegApp.scene.opened_case import OpenedCase
from CrossModalSegLib.bundles.bundle_metadata import INTENDED_USE, SECTION
from CrossModalSegLib.errors import CrossModalSegError

_SETTLE_MS = 200  # volumes are named and filled only after they have been added to the scene


class ModulePanel(VTKObservationMixin):
    """The whole panel, inside ``widget`` (the module's ScriptedLoadableModuleWidget).

    ``parameter_node`` gives the module's parameter node of the scene. Nodes of the scene are held on to between `enter`
    and `exit` only. ``ready`` is asked before each run and may install packages; False stops the run.
    """

    def __init__(
        self,
        widget: Any,
        logic: SegmentationLogic,
        parameter_node: Callable[[], Any],
        ready: Callable[[], bool],
        dialogs: Dialogs | None = None,
    ):
        super().__init__()
        self._logic, self._parameter_node, self._ready = logic, parameter_node, ready
        self._dialogs = dialogs or Dialogs()
        self._root = slicer.util.loadUI(widget.resourcePath("UI/CrossModalSeg.ui"))
        widget.layout.addWidget(self._root)
        self._root.setMRMLScene(slicer.mrmlScene)
        self.ui: Any = slicer.util.childWidgetVariables(self._root)
        self._parameters: ShownParameters | None = None
        self._known_scans: frozenset[str] = frozenset()
        self._is_shown = False
        self._labels = WrappedLabels(self._root)
        self._views = ViewsPanel(self.ui, lambda: self._parameters.crossfade if self._parameters else 0.0)
        self._run = RunPanel(self.ui)
        self._setup = CaseSetup(self.ui, logic, self._dialogs, self._render, self._show_preview)
        self._review = ReviewPanel(self.ui, self._views.jump_to)
        self._correct = CorrectPanel(self.ui, self._dialogs, self._show_chosen)
        self._adaptation = AdaptationPanel(
            self.ui, logic, self._dialogs, ready, self._device, self._setup.list_models, self._look_at_site
        )
        self._ranking = RankingPanel(self.ui, logic, self._dialogs, ready, self._device, self._look_at_site)
        self._site = SitePanel(self.ui, logic, self._dialogs, self._open_case, self._use_site)
        self._result = ResultPanel(self.ui, self._dialogs, self._show_case)
        self._settle = qt.QTimer()
        self._settle.setSingleShot(True)
        self._settle.setInterval(_SETTLE_MS)
        self._settle.timeout.connect(self._take_in_scene)
        self._shortcuts = [self._shortcut("N", self._review.go_next), self._shortcut("P", self._review.go_previous)]
        self.ui.segmentButton.clicked.connect(self._segment_or_cancel)
        self._observe_scene()
        logic.listen(self._on_status)
        self._result.fill([])
        self._render()

    # --- what Slicer calls

    def enter(self) -> None:
        """The module is shown: take up the scene's parameter node."""
        self._is_shown = True
        self._take_up()
        for shortcut in self._shortcuts:
            shortcut.setEnabled(True)

    def exit(self) -> None:
        """Another module is shown: views and keys are its own again. A run goes on."""
        self._is_shown = False
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)
        self._let_go()

    def close(self) -> None:
        """The panel goes away: a run is stopped, and the worker ends."""
        self.exit()
        self.removeObservers()
        self._logic.forget(self._on_status)
        self._adaptation.close()
        self._ranking.close()
        self._logic.close()
        for shortcut in self._shortcuts:
            shortcut.deleteLater()

    # --- the scene

    def _observe_scene(self) -> None:
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._on_start_close)
        for event in (scene.EndCloseEvent, scene.EndImportEvent):
            self.addObserver(scene, event, self._on_new_scene)
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent):
            self.addObserver(scene, event, self._on_nodes_changed)
        self.addObserver(scene, scene.NodeAboutToBeRemovedEvent, self._on_node_goes)

    def _on_start_close(self, _scene: Any, _event: str) -> None:
        if self._logic.status.state is RunState.IDLE:
            self._logic.forget_outcome()
        self._logic.cancel(_("The scene was closed."))
        self._let_go()

    def _on_new_scene(self, _scene: Any, _event: str) -> None:
        """Begin anew: a parameter node comes before what it refers to, and its model may be another one."""
        if self._is_shown:
            self._let_go()
            self._take_up()

    def _on_nodes_changed(self, _scene: Any, _event: str) -> None:
        if self._parameters is not None:
            self._settle.start()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_node_goes(self, _scene: Any, _event: str, node: Any) -> None:
        """A place whose scan goes is empty; left alone, its selector would take a neighbour when the node is gone."""
        self._setup.let_go_of(node)

    def _take_in_scene(self) -> None:
        """Nodes have come or gone, as they do all the time: nothing is touched that is not new or gone itself.

        New scans are chosen for empty places, a run whose scan has gone is ended, and results are listed.
        """
        if self._parameters is None:
            return
        self._logic.require_scans()
        now = _scan_ids()
        new, self._known_scans = now - self._known_scans, now
        self._setup.offer_scans()
        if new:
            self._setup.suggest(only=new)
        self._setup.changed()
        self._result.fill(self._logic.cases())

    def _take_up(self) -> None:
        if self._parameters is not None or slicer.mrmlScene.IsClosing():
            return
        self._known_scans = _scan_ids()
        self._parameters = ShownParameters(self._parameter_node(), _bindings(self.ui))
        self._parameters.AddObserver(vtk.vtkCommand.ModifiedEvent, self._on_parameters)
        self._setup.offer_scans()
        self._setup.connect(self._parameters)
        self._result.fill(self._logic.cases())
        self._render()

    def _let_go(self) -> None:
        """Hold on to no node of the scene any more."""
        self._settle.stop()
        self._views.let_go()
        self._setup.disconnect()
        self._correct.let_go()
        self._result.fill([])
        if self._parameters is not None:
            self._parameters.disconnect()
            self._parameters = None
        self._render()

    def _on_parameters(self, _node: Any, _event: str) -> None:
        if self._parameters is not None:
            self._setup.changed()
            self._views.fade()

    # --- a run

    def _segment_or_cancel(self, *_args: object) -> None:
        if self._logic.status.state is not RunState.IDLE:
            self._logic.cancel()
        elif self._setup.can_start and self._may_start():
            self._start()

    def _may_start(self) -> bool:
        """Packages are there, and the user agrees where corrections exist."""
        corrected = self._logic.corrected_cases(self._setup.volumes, self._setup.bundle)
        question = _("These scans have a corrected segmentation. It stays; the new one is added beside it. Go on?")
        return (not corrected or self._dialogs.confirm(question)) and self._ready()

    def _start(self) -> None:
        try:
            self._logic.start(self._setup.volumes, self._setup.bundle, self._parameters.device.value)
        except CrossModalSegError as error:
            self._dialogs.show_error(error)

    def _on_status(self, status: RunStatus) -> None:
        if status.state is RunState.IDLE and status.outcome is Outcome.DONE:
            self._result.fill(self._logic.cases())
        self._render()

    # --- a result

    def _show_case(self, case: CaseNodes | None) -> None:
        self._run.note(case.notice if case else "")
        self._review.show(case.review if case else None)
        self._correct.show(case)
        self._site.show_case(case)
        self._show_chosen()

    def _show_chosen(self) -> None:
        self._views.show(self._result.case, self._correct.modality)

    def _show_preview(self, is_shown: bool) -> None:
        self._views.show_preview(tuple(self._setup.volumes.values()) if is_shown else ())

    def _open_case(self, opened: OpenedCase) -> None:
        """A case of the site was loaded: its scans are the chosen ones, its labels the result that is shown."""
        self._known_scans = _scan_ids()
        self._setup.choose(opened.volumes)
        self._result.fill(self._logic.cases())

    def _use_site(self, folder: Path | None) -> None:
        """The site's own models are among those to choose from; one of them, or another, is adapted to it."""
        self._logic.use_site(folder)
        self._setup.list_models()
        self._adaptation.show_site(folder)
        self._ranking.show_site(folder)

    def _look_at_site(self) -> None:
        self._site.look()

    def _device(self) -> str:
        return self._parameters.device.value if self._parameters else "auto"

    def _shortcut(self, key: str, action: Callable[[], None]) -> Any:
        """A key of the main window, off until the module is shown."""
        shortcut = qt.QShortcut(slicer.util.mainWindow() or self._root)
        shortcut.setKey(qt.QKeySequence(key))
        shortcut.activated.connect(action)
        shortcut.setEnabled(False)
        return shortcut

    # --- rendering

    def _render(self) -> None:
        bundle = self._setup.bundle
        use = bundle.metadata[SECTION]["intended_use"] if bundle else INTENDED_USE
        private = _("Everything is computed on this computer. Nothing leaves it.")
        self.ui.privacyLabel.text = f"{escape(private)}<br><b>{escape(use)}</b>"
        is_idle = self._logic.status.state is RunState.IDLE
        for section in (self.ui.modelSection, self.ui.scansSection, self.ui.preflightSection, self.ui.deviceSelector):
            section.enabled = is_idle
        self._site.show_scans(bundle, self._setup.volumes)
        self._adaptation.show_model(bundle)
        self._ranking.show_model(bundle)
        self._run.render(self._logic.status, self._parameters is not None and self._setup.can_start)


def _bindings(ui: Any) -> dict[str, Any]:
    """The widgets by the parameter that they name. Slicer's ``connectGui`` does this too, but cannot be undone."""
    widgets = {widget.property("SlicerParameterName"): widget for widget in vars(ui).values()}
    return {name: widget for name, widget in widgets.items() if name}


def _scan_ids() -> frozenset[str]:
    return frozenset(node.GetID() for node in candidates(slicer.mrmlScene))
