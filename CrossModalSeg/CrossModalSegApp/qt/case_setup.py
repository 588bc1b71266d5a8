"""What is chosen for a run, and whether it may start: model, scans, preflight, and the remedies of its notes."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import qt
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from CrossModalSegApp.logic.case_examination import CaseExamination
from CrossModalSegApp.logic.case_selection import own_volumes
from CrossModalSegApp.logic.logic import SegmentationLogic
from CrossModalSegApp.qt.dialogs import Dialogs
from CrossModalSegApp.qt.model_panel import ModelPanel
from CrossModalSegApp.qt.parameters import CrossModalSegParameters
from CrossModalSegApp.qt.scans_panel import ScansPanel
from CrossModalSegApp.scene.rendering import one_render
from CrossModalSegLib.bundles.bundle import Bundle

_SLOTS = ("firstVolume", "secondVolume")  # parameters
_SETTLE_MS = 300  # after the last change, before the scans are looked at


class CaseSetup(VTKObservationMixin):
    """Keeps model and scans of the parameter node checked; ``on_change`` is called after each choice and check.

    ``on_preview`` is called with True when an alignment of the chosen scans is shown that can be undone, else False.
    """

    def __init__(
        self,
        ui: Any,
        logic: SegmentationLogic,
        dialogs: Dialogs,
        on_change: Callable[[], None],
        on_preview: Callable[[bool], None],
    ):
        super().__init__()
        self._ui, self._logic, self._on_change, self._on_preview = ui, logic, on_change, on_preview
        self.is_previewing = False
        self._parameters: CrossModalSegParameters | None = None
        self._models = ModelPanel(ui, logic, dialogs, self._choose_model)
        self._examination = CaseExamination(logic, self, self._on_finding, dialogs.show_error)
        self._scans = ScansPanel(ui, self._examination.apply)
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(_SETTLE_MS)
        self._timer.timeout.connect(self._examine)
        ui.suggestButton.clicked.connect(lambda *_args: self.suggest())
        ui.keepAlignmentButton.clicked.connect(lambda *_args: self._end_preview(keep=True))
        ui.undoAlignmentButton.clicked.connect(lambda *_args: self._end_preview(keep=False))
        self._forget()

    def connect(self, parameters: CrossModalSegParameters) -> None:
        """Show what ``parameters`` hold; scans that can be told by name are filled in where none is chosen."""
        self._forget()
        self._parameters = parameters
        self._models.fill(parameters.modelName)
        self._scans.show_modalities(self.bundle)
        if not self.volumes:
            self.suggest()
        self.changed()

    def disconnect(self) -> None:
        """Let go of the scene. An alignment that is only previewed is undone."""
        self._timer.stop()
        self._end_preview(keep=False)
        self._timer.stop()
        self._parameters = None
        self._forget()

    def list_models(self, choose: str = "") -> None:
        """Read the list of models again; the chosen one stays, unless ``choose`` names another."""
        if self._parameters is None:
            return  # `connect` reads it
        self._models.fill(choose or self._parameters.modelName)
        if self.bundle is not None:
            self._choose_model(self.bundle.name)

    @property
    def bundle(self) -> Bundle | None:
        return self._models.bundle

    @property
    def volumes(self) -> dict[str, Any]:
        """The chosen volume nodes by modality."""
        if self._parameters is None or self.bundle is None:
            return {}
        pair = (self._parameters.firstVolume, self._parameters.secondVolume)
        return {name: node for name, node in zip(self.bundle.modalities, pair, strict=True) if node is not None}

    @property
    def can_start(self) -> bool:
        return self._examination.can_start

    def changed(self) -> None:
        """Call when parameters may have changed: what depends on them is looked at again, once they have settled."""
        if self._parameters is not None and self._examination.is_outdated:
            self._look_again()

    def suggest(self, only: frozenset[str] = frozenset()) -> None:
        """Fill in the scans that can be told by name; with ``only``, just these node ids, into places left empty."""
        if self._parameters is None or self.bundle is None:
            return
        found = self._logic.suggest(self.bundle)
        for slot, modality in zip(_SLOTS, self.bundle.modalities, strict=True):
            node = found.get(modality)
            is_wanted = not only or (node is not None and node.GetID() in only)
            if node is not None and is_wanted and (not only or getattr(self._parameters, slot) is None):
                setattr(self._parameters, slot, node)

    def offer_scans(self) -> None:
        """What this module has made, such as uncertainty, is never offered as a scan."""
        own = tuple(node.GetID() for node in own_volumes(self._logic.scene))
        for selector in (self._ui.firstSelector, self._ui.secondSelector):
            if tuple(selector.sortFilterProxyModel().hiddenNodeIDs) != own:
                selector.sortFilterProxyModel().hiddenNodeIDs = own

    def let_go_of(self, node: Any) -> None:
        """A node is about to leave the scene: where it is chosen, its place becomes empty."""
        for slot in _SLOTS if self._parameters is not None else ():
            if getattr(self._parameters, slot) is node:
                setattr(self._parameters, slot, None)

    def choose(self, volumes: Mapping[str, Any]) -> None:
        """Choose these volume nodes by modality, and none for the others."""
        parameters = self._parameters
        if parameters is None or self.bundle is None:
            return
        was_modifying = parameters.StartModify()  # so that no view sees one scan chosen twice
        parameters.firstVolume, parameters.secondVolume = map(volumes.get, self.bundle.modalities)
        parameters.EndModify(was_modifying)

    def _look_again(self, *_args: object) -> None:
        """What was found out no longer holds."""
        self._examination.forget()
        self._observe(self.volumes.values())
        self._show_scan_hint()
        self._timer.start()
        self._render()

    def _examine(self) -> None:
        if self._parameters is not None:
            self._examination.examine()

    def _end_preview(self, keep: bool) -> None:
        """The scan where it belongs, and the former views, in one go."""
        with one_render():
            self._examination.end_preview(keep)

    def _on_finding(self) -> None:
        """A preflight has come, or an alignment is shown, kept or undone: then the scans lie elsewhere."""
        is_previewing = self._examination.is_previewing
        if is_previewing != self.is_previewing:
            self.is_previewing = is_previewing
            self._on_preview(is_previewing)
        self._render()
        self.changed()

    def _render(self) -> None:
        self._scans.show_check(self._examination.check)
        preview = self._examination.preview_words
        self._scans.show_preview(_("Aligning…") if self._examination.is_aligning else preview, bool(preview))
        self._on_change()

    def _observe(self, volumes: Iterable[Any]) -> None:
        """Be told when one of ``volumes`` is moved, or its voxels change."""
        self.removeObservers()
        for node in {node.GetID(): node for node in volumes}.values():  # one may be chosen twice
            for event in (node.TransformModifiedEvent, node.ImageDataModifiedEvent):
                self.addObserver(node, event, self._look_again)

    def _forget(self) -> None:
        self.removeObservers()
        self._examination.reset()
        self._scans.show_check(None)
        self._scans.show_preview("")

    def _choose_model(self, name: str) -> None:
        if self._parameters is not None:
            self._parameters.modelName = name
        self._scans.show_modalities(self.bundle)
        self.changed()
        self._on_change()

    def _show_scan_hint(self) -> None:
        bundle, volumes = self.bundle, self.volumes
        if bundle is None:
            text = _("Choose a model first.")
        elif not volumes:
            text = _("Choose one or two scans of one patient.")
        else:
            text = ""
        self._ui.scansLabel.text = text
        self._ui.scansLabel.visible = bool(text)
