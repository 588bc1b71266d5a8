"""The panel in Slicer: signals in, state out. What happens is in logic.py; each section has a file of its own."""

from collections.abc import Callable
from html import escape
from typing import Any

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from CrossModalSegApp.logic.case_selection import candidates
from CrossModalSegApp.logic.keys import shared_keys_words
from CrossModalSegApp.logic.logic import SegmentationLogic
from CrossModalSegApp.logic.presenter import Host
from CrossModalSegApp.logic.scans_presenter import ScansPresenter
from CrossModalSegApp.logic.sections import Sections, ViewEvents
from CrossModalSegApp.process.run_state import RunState
from CrossModalSegApp.qt.adapt_panel import AdaptPanel
from CrossModalSegApp.qt.compare_panel import ComparePanel
from CrossModalSegApp.qt.correct_panel import CorrectPanel
from CrossModalSegApp.qt.dialogs import Dialogs
from CrossModalSegApp.qt.fine_tuning_panel import FineTuningPanel
from CrossModalSegApp.qt.legend_panel import LegendPanel
from CrossModalSegApp.qt.model_panel import ModelPanel
from CrossModalSegApp.qt.parameters import ParameterStore, ShownParameters
from CrossModalSegApp.qt.place_panel import PlacePanel
from CrossModalSegApp.qt.ranking_panel import RankingPanel
from CrossModalSegApp.qt.result_panel import ResultPanel
from CrossModalSegApp.qt.review_panel import ReviewPanel
from CrossModalSegApp.qt.run_panel import RunPanel
from CrossModalSegApp.qt.scans_panel import ScansPanel
from CrossModalSegApp.qt.site_panel import SitePanel
from CrossModalSegApp.qt.views_panel import ViewsPanel
from CrossModalSegApp.qt.wrapped_labels import WrappedLabels
from CrossModalSegApp.scene.case_nodes import CaseNodes
from CrossModalSegApp.scene.pointed_place import Pointer

_SETTLE_MS = 200  # volumes are named and filled only after they have been added to the scene
_POINTING_MS = 50  # between two readings of what is below the mouse
_EXAMINE_MS = 300  # after the last change of what is chosen


class ModulePanel(VTKObservationMixin):
    """The whole panel, inside ``widget`` (the module's ScriptedLoadableModuleWidget).

    ``parameter_node`` gives the module's parameter node of the scene. Nodes of the scene are held on to between `enter`
    and `exit` only. ``ready`` is asked before each run and may install packages; False stops the run. So is
    ``ready_to_export`` before something is written in DICOM.
    """

    def __init__(
        self,
        widget: Any,
        logic: SegmentationLogic,
        parameter_node: Callable[[], Any],
        ready: Callable[[], bool],
        ready_to_export: Callable[[], bool] = lambda: True,
    ):
        super().__init__()
        self._logic, self._parameter_node = logic, parameter_node
        dialogs = Dialogs()
        self._root = slicer.util.loadUI(widget.resourcePath("UI/CrossModalSeg.ui"))
        widget.layout.addWidget(self._root)
        self._root.setMRMLScene(slicer.mrmlScene)
        self.ui: Any = slicer.util.childWidgetVariables(self._root)
        self._parameters: ShownParameters | None = None
        self._pointer: Pointer | None = None
        self._known_scans: frozenset[str] = frozenset()
        self._is_shown = self._is_previewing = self._is_pointing = False
        self._labels = WrappedLabels(self._root)
        self._views = ViewsPanel(self.ui, lambda: self._parameters.crossfade if self._parameters else 0.0)
        self._correct = CorrectPanel(self.ui, dialogs, self._show_chosen, self._note_structure)
        host = Host(dialogs, self._device, ready, ready_to_export=ready_to_export)
        self._examining = _timer(_EXAMINE_MS, self._examine)
        self._scans = ScansPresenter(logic, host, self._examining.start)
        events = ViewEvents(
            self._show_case,
            self._views.jump_to,
            self._correct.choose,
            self._correct.put,
            self._views.outline_region,
            on_compare=self._views.show_compared,
        )
        self._sections = Sections(logic, self._scans, host, events)
        self._scans.listen(self._draw)
        self._scans_panel = ScansPanel(self.ui, self._scans)
        ModelPanel(self.ui, dialogs, self._scans)
        RunPanel(self.ui, self._sections.run)
        RankingPanel(self.ui, self._sections.ranking)
        FineTuningPanel(self.ui, self._sections.fine_tuning)
        ComparePanel(self.ui, self._sections.compare)
        AdaptPanel(self.ui, self._sections.adapt, lambda: self._pointer.place if self._pointer else None)
        ReviewPanel(self.ui, self._sections.review)
        LegendPanel(self.ui, self._sections.legend)
        PlacePanel(self.ui, self._sections.place)
        ResultPanel(self.ui, dialogs, self._sections.result, self._sections.export)
        SitePanel(self.ui, dialogs, self._sections.site)
        self._corrected = _timer(_SETTLE_MS, self._sections.look_at_corrections)
        self._edited: list[Any] = []  # the segmentations that are listened to
        self._settle = _timer(_SETTLE_MS, self._update_from_scene)
        self._pointing = _timer(_POINTING_MS, self._point)
        self._shortcuts = [
            self._shortcut("N", self._sections.review.go_next),
            self._shortcut("P", self._sections.review.go_previous),
            self._shortcut("M", self._sections.place.set_mark),
            self._shortcut("?", lambda: dialogs.tell(shared_keys_words())),
        ]
        self._observe_scene()
        self._show_case(None)

    # --- what Slicer calls

    def enter(self) -> None:
        """The module is shown: use the scene's parameter node."""
        self._is_shown = True
        self._use_scene()
        for shortcut in self._shortcuts:
            shortcut.setEnabled(True)

    def exit(self) -> None:
        """Another module is shown: views and keys are its own again. A run goes on."""
        self._is_shown = False
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)
        self._release_scene()

    def close(self) -> None:
        """The panel goes away: a run is stopped, and the worker ends."""
        self.exit()
        self.removeObservers()
        self._sections.close()
        self._logic.close()
        for shortcut in self._shortcuts:
            shortcut.deleteLater()

    # --- the scene

    def _observe_scene(self) -> None:
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._on_start_close)
        self.addObserver(scene, scene.StartSaveEvent, self._on_start_save)
        for event in (scene.EndCloseEvent, scene.EndImportEvent):
            self.addObserver(scene, event, self._on_new_scene)
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent):
            self.addObserver(scene, event, self._on_nodes_changed)
        self.addObserver(scene, scene.NodeAboutToBeRemovedEvent, self._on_node_about_to_be_removed)

    def _on_start_close(self, _scene: Any, _event: str) -> None:
        if self._logic.status.state is RunState.IDLE:
            self._logic.forget_outcome()
        self._logic.cancel(_("The scene was closed."))
        self._release_scene()

    def _on_start_save(self, _scene: Any, _event: str) -> None:
        """The thin and thick outlines of a comparison are not for a file."""
        self._sections.compare.choose("")

    def _on_new_scene(self, _scene: Any, _event: str) -> None:
        """Begin anew: a parameter node comes before what it refers to, and its model may be another one."""
        if self._is_shown:
            self._release_scene()
            self._use_scene()

    def _on_nodes_changed(self, _scene: Any, _event: str) -> None:
        if self._parameters is not None:
            self._settle.start()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_node_about_to_be_removed(self, _scene: Any, _event: str, node: Any) -> None:
        """A place whose scan goes is empty; left alone, its selector would take a neighbour when the node is gone."""
        self._scans.drop_node(node)

    def _update_from_scene(self) -> None:
        """Nodes have come or gone, as they do all the time: nothing is touched that is not new or gone itself.

        New scans are chosen for empty places, a run whose scan has gone is ended, and results are listed.
        """
        if self._parameters is None:
            return
        self._logic.require_scans()
        now = _scan_ids()
        new, self._known_scans = now - self._known_scans, now
        self._scans_panel.offer_scans(slicer.mrmlScene)
        if new:
            self._scans.suggest(only=new)
        self._scans.choice_changed()
        self._sections.result.fill()

    def _use_scene(self) -> None:
        if self._parameters is not None or slicer.mrmlScene.IsClosing():
            return
        self._known_scans = _scan_ids()
        self._parameters = ShownParameters(self._parameter_node(), _bindings(self.ui))
        self._parameters.AddObserver(vtk.vtkCommand.ModifiedEvent, self._on_parameters)
        self._scans_panel.offer_scans(slicer.mrmlScene)
        self._scans.open(ParameterStore(self._parameters))
        self._sections.result.fill()
        self._pointer = Pointer(slicer.mrmlScene, self._on_pointer)
        self._draw()

    def _release_scene(self) -> None:
        """Hold on to no node of the scene any more."""
        self._settle.stop()
        self._corrected.stop()
        if self._pointer is not None:
            self._pointer.close()
            self._pointer = None
        self._views.release()
        self._scans.close()
        self._correct.release()
        self._sections.result.clear()
        if self._parameters is not None:
            self._parameters.disconnect()
            self._parameters = None

    def _on_parameters(self, _node: Any, _event: str) -> None:
        if self._parameters is not None:
            self._scans.choice_changed()
            self._views.fade()

    # --- a result

    def _show_case(self, case: CaseNodes | None) -> None:
        for former in self._edited:
            self.removeObserver(former, slicer.vtkSegmentation.SegmentModified, self._on_edit)
        self._edited = [node.GetSegmentation() for node in case.segmentations.values()] if case else []
        for segmentation in self._edited:
            self.addObserver(segmentation, slicer.vtkSegmentation.SegmentModified, self._on_edit)
        self._correct.show(case)
        self._show_chosen()

    def _show_chosen(self) -> None:
        self._views.show(self._sections.result.case, self._correct.modality)
        self._sections.show_edited(self._sections.result.case, self._correct.modality or "")

    def _on_edit(self, _segmentation: Any, _event: str) -> None:
        self._corrected.start()

    def _note_structure(self, value: int) -> None:
        self._sections.legend.note_current(value)

    def _on_pointer(self) -> None:
        if not self._is_pointing:
            self._is_pointing = True
            self._pointing.start()

    def _point(self) -> None:
        self._is_pointing = False
        if self._pointer is not None:
            self._sections.place.point_at(self._pointer.place)

    def _examine(self) -> None:
        self._scans.examine()

    def _device(self) -> str:
        return self._parameters.device.value if self._parameters else "auto"

    def _shortcut(self, key: str, action: Callable[[], None]) -> Any:
        """A key of the main window, off until the module is shown."""
        shortcut = qt.QShortcut(slicer.util.mainWindow() or self._root)
        shortcut.setKey(qt.QKeySequence(key))
        shortcut.activated.connect(action)
        shortcut.setEnabled(False)
        return shortcut

    def _draw(self) -> None:
        state = self._scans.state
        private = _("Everything is computed on this computer. Nothing leaves it.")
        self.ui.privacyLabel.text = f"{escape(private)}<br><b>{escape(state.use)}</b>"
        if bool(state.preview) != self._is_previewing:
            self._is_previewing = bool(state.preview)
            self._views.show_preview(tuple(self._scans.volumes.values()) if self._is_previewing else ())


def _bindings(ui: Any) -> dict[str, Any]:
    """The widgets by the parameter that they name. Slicer's ``connectGui`` does this too, but cannot be undone."""
    widgets = {widget.property("SlicerParameterName"): widget for widget in vars(ui).values()}
    return {name: widget for name, widget in widgets.items() if name}


def _scan_ids() -> frozenset[str]:
    return frozenset(node.GetID() for node in candidates(slicer.mrmlScene))


def _timer(milliseconds: int, action: Callable[[], None]) -> Any:
    """Does ``action`` so long after the last time that it was started."""
    timer = qt.QTimer()
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    timer.timeout.connect(action)
    return timer
