"""What is chosen for a run, and whether it may start: model, scans, preflight, and the remedies of its notes."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import qt
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from CrossModalSegLib.bundle import Bundle
from CrossModalSegLib.errors import CrossModalSegError
from CrossModalSegLib.registration import RigidRefinement
from CrossModalSegUI.alignment import AlignmentPreview
from CrossModalSegUI.dialogs import Dialogs
from CrossModalSegUI.inputs import Check, Remedy
from CrossModalSegUI.logic import SegmentationLogic
from CrossModalSegUI.model_panel import ModelPanel
from CrossModalSegUI.parameters import CrossModalSegParameters
from CrossModalSegUI.run_state import RunState
from CrossModalSegUI.scans_panel import ScansPanel

_SETTLE_MS = 300  # after the last change, before the scans are looked at


class CaseSetup(VTKObservationMixin):
    """Keeps model and scans of the parameter node checked; ``on_change`` is called after each choice and check."""

    def __init__(self, ui: Any, logic: SegmentationLogic, dialogs: Dialogs, on_change: Callable[[], None]):
        super().__init__()
        self._ui, self._logic, self._dialogs, self._on_change = ui, logic, dialogs, on_change
        self._parameters: CrossModalSegParameters | None = None
        self._models = ModelPanel(ui, logic, dialogs, self._choose_model)
        self._scans = ScansPanel(ui, self.apply)
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(_SETTLE_MS)
        self._timer.timeout.connect(self._look)
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
        self._parameters = None
        self._forget()

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
        return self.bundle is not None and self.check is not None and self.check.allows_run

    def changed(self) -> None:
        """Call when parameters may have changed: what depends on them is looked at again, once they have settled."""
        if self._parameters is None or self._identity() == self._seen:
            return
        self._look_again()

    def _look_again(self, *_args: object) -> None:
        """What was found out no longer holds."""
        self.check = None
        self._refinement = None
        self._observe(self.volumes.values())
        self._show_scan_hint()
        self._scans.show_check(None)
        self._timer.start()
        self._on_change()

    def suggest(self, only: frozenset[str] = frozenset()) -> None:
        """Fill in the scans that can be told by name; with ``only``, just these node ids, into places left empty."""
        if self._parameters is None or self.bundle is None:
            return
        found = self._logic.suggest(self.bundle)
        for slot, modality in zip(("firstVolume", "secondVolume"), self.bundle.modalities, strict=True):
            node = found.get(modality)
            is_wanted = not only or (node is not None and node.GetID() in only)
            if node is not None and is_wanted and (not only or getattr(self._parameters, slot) is None):
                setattr(self._parameters, slot, node)

    def choose(self, volumes: Mapping[str, Any]) -> None:
        """Choose these volume nodes by modality, and none for the others."""
        if self._parameters is not None and self.bundle is not None:
            first, second = (volumes.get(modality) for modality in self.bundle.modalities)
            self._put(first=first, second=second)

    def apply(self, remedy: Remedy) -> None:
        """Do what a note's button says. Errors are shown."""
        actions: dict[Remedy, Callable[[], None]] = {
            "swap": self._swap,
            "clear-second": lambda: self._put(second=None),
            "harden-first": lambda: self._put(first=self._logic.harden_copy(self._parameters.firstVolume)),
            "harden-second": lambda: self._put(second=self._logic.harden_copy(self._parameters.secondVolume)),
            "refine": self._align,
        }
        try:
            actions[remedy]()
        except CrossModalSegError as error:
            self._dialogs.show_error(error)

    def _observe(self, volumes: Iterable[Any]) -> None:
        """Be told when one of ``volumes`` is moved, or its voxels change."""
        self.removeObservers()
        for node in {node.GetID(): node for node in volumes}.values():  # one may be chosen twice
            for event in (node.TransformModifiedEvent, node.ImageDataModifiedEvent):
                self.addObserver(node, event, self._look_again)

    def _forget(self) -> None:
        self.removeObservers()
        self.check: Check | None = None
        self._refinement: RigidRefinement | None = None
        self._preview: AlignmentPreview | None = None
        self._seen: Any = None
        self._scans.show_check(None)
        self._scans.show_preview(None)

    def _identity(self) -> Any:
        """Changes with the model, the scans, and where they lie."""
        return (
            self.bundle.sha256 if self.bundle else None,
            *((name, node.GetID(), node.GetTransformNodeID()) for name, node in self.volumes.items()),
        )

    def _choose_model(self, name: str) -> None:
        if self._parameters is not None:
            self._parameters.modelName = name
        self._scans.show_modalities(self.bundle)
        self.changed()
        self._on_change()

    def _look(self) -> None:
        """The preflight, and a question to the worker how far the scans are apart."""
        if self._parameters is None or self.bundle is None:
            return
        self._seen = self._identity()
        self.check = self._logic.check(self.bundle, self.volumes, self._refinement)
        self._scans.show_check(self.check)
        self._on_change()
        is_idle = self._logic.status.state is RunState.IDLE
        if self.check.allows_run and len(self.volumes) == 2 and self._refinement is None and is_idle:
            self._estimate(self._note_displacement)

    def _estimate(self, answer: Callable[[RigidRefinement | None, CrossModalSegError | None], None]) -> None:
        first, second = self.volumes.values()
        asked = self._identity()

        def on_answer(refinement: RigidRefinement | None, error: CrossModalSegError | None) -> None:
            if asked == self._identity():  # else the scans were changed meanwhile
                answer(refinement, error)

        self._logic.estimate_displacement(first, second, on_answer)

    def _note_displacement(self, refinement: RigidRefinement | None, _error: CrossModalSegError | None) -> None:
        """An estimate that nobody asked for may fail without a word: the preflight stands without it."""
        if refinement is None or self.bundle is None:
            return
        self._refinement = refinement
        self.check = self._logic.check(self.bundle, self.volumes, refinement)
        self._scans.show_check(self.check)
        self._on_change()

    def _align(self) -> None:
        if self._refinement is not None:
            self._show_alignment(self._refinement, None)
        else:
            self._ui.previewLabel.text = _("Aligning…")
            self._estimate(self._show_alignment)

    def _show_alignment(self, refinement: RigidRefinement | None, error: CrossModalSegError | None) -> None:
        try:
            if refinement is None:
                raise error or CrossModalSegError("no-alignment", _("No alignment was found"), _("align by hand"))
            first, second = self.volumes.values()
            self._end_preview(keep=False)
            self._preview = self._logic.preview_alignment(first, second, refinement)
        except CrossModalSegError as problem:
            self._dialogs.show_error(problem)
            return
        words = _("Preview: the second scan is moved by {mm:.1f} mm and {degrees:.1f}°. Look at both, then choose.")
        text = words.format(mm=refinement.displacement_mm, degrees=refinement.rotation_degrees)
        self._scans.show_preview(text)
        self.changed()

    def _end_preview(self, keep: bool) -> None:
        if self._preview is None:
            return
        preview, self._preview = self._preview, None
        if keep:
            preview.keep()
        else:
            preview.undo()
        self._scans.show_preview(None)
        self.changed()

    def _swap(self) -> None:
        self._put(first=self._parameters.secondVolume, second=self._parameters.firstVolume)

    def _put(self, **nodes: Any) -> None:
        """Change both scans at once, so that no view sees one scan chosen twice."""
        parameters = self._parameters
        was_modifying = parameters.StartModify()
        for name, node in nodes.items():
            setattr(parameters, f"{name}Volume", node)
        parameters.EndModify(was_modifying)

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
