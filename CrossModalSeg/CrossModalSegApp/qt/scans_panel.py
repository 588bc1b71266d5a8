"""The scans section and the preflight card: which volume is which modality, and what to be careful about."""

from html import escape
from typing import Any

import qt
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from CrossModalSegApp.logic.case_selection import own_volumes
from CrossModalSegApp.logic.scans_presenter import NoteRow, Place, ScansPresenter, ScansSectionState
from CrossModalSegApp.qt.rich_text import ERROR_COLOUR, lines_html, show_text
from CrossModalSegApp.qt.wrapped_labels import WrappedLabels

_COLOURS = {"error": ERROR_COLOUR, "warning": "#b26a00", "info": "#3c5a78"}


class ScansPanel(VTKObservationMixin):
    """Draws the state of a `ScansPresenter`, and tells it where a chosen scan is moved or its voxels change."""

    def __init__(self, ui: Any, presenter: ScansPresenter):
        super().__init__()
        self._ui, self._presenter = ui, presenter
        self._rows: list[Any] = []
        self._notes: tuple[NoteRow, ...] = ()  # that are shown
        self._observed: set[str] = set()  # ids of the chosen scans
        self._labels = WrappedLabels()
        ui.swapButton.clicked.connect(lambda *_args: presenter.apply("swap"))
        ui.suggestButton.clicked.connect(lambda *_args: presenter.suggest())
        ui.keepAlignmentButton.clicked.connect(lambda *_args: presenter.keep_alignment())
        ui.undoAlignmentButton.clicked.connect(lambda *_args: presenter.undo_alignment())
        presenter.listen(self._draw)

    def offer_scans(self, scene: Any) -> None:
        """What this module has made, such as uncertainty, is never offered as a scan."""
        own = tuple(node.GetID() for node in own_volumes(scene))
        for selector in (self._ui.firstSelector, self._ui.secondSelector):
            if tuple(selector.sortFilterProxyModel().hiddenNodeIDs) != own:
                selector.sortFilterProxyModel().hiddenNodeIDs = own

    def _draw(self) -> None:
        state, ui = self._presenter.state, self._ui
        self._observe()
        names = state.places or (Place("", _("First scan"), "", ""), Place("", _("Second scan"), "", ""))
        for label, place in zip((ui.firstLabel, ui.secondLabel), names, strict=True):
            label.text = place.modality
            label.toolTip = _("also: {names}").format(names=place.aliases) if place.aliases else ""
        is_chosen = any(place.id for place in state.places)
        show_text(ui.scansLabel, "" if is_chosen else escape(state.reason))
        ui.preflightLabel.text = _facts(state)
        ui.previewLabel.text = state.preview or (_("Aligning…") if state.is_aligning else "")
        ui.previewRow.visible = bool(ui.previewLabel.text)
        ui.keepAlignmentButton.enabled = ui.undoAlignmentButton.enabled = bool(state.preview)
        ui.preflightSection.visible = bool(state.facts or state.notes or ui.previewLabel.text)
        if state.notes != self._notes:
            self._show_notes(state.notes)

    def _show_notes(self, notes: tuple[NoteRow, ...]) -> None:
        for row in self._rows:
            self._ui.notesArea.layout().removeWidget(row)
            row.hide()
            row.deleteLater()
        self._notes, self._rows = notes, [self._row(note) for note in notes]
        for row in self._rows:
            self._ui.notesArea.layout().addWidget(row)

    def _row(self, note: NoteRow) -> Any:
        row = qt.QWidget()
        layout = qt.QHBoxLayout(row)
        layout.setContentsMargins(0, 0, 0, 0)
        colour = _COLOURS[note.severity]
        label = qt.QLabel(f'<span style="color:{colour}">{escape(note.text)}</span> {escape(note.hint)}')
        label.wordWrap = True
        self._labels.watch(label)
        layout.addWidget(label, 1)
        if note.remedy:
            button = qt.QPushButton(note.remedy_words)
            button.objectName = f"remedy-{note.remedy}"
            button.clicked.connect(lambda *_args: self._presenter.apply(note.remedy))
            layout.addWidget(button, 0)
        return row

    def _observe(self) -> None:
        """Be told when one of the chosen scans is moved, or its voxels change."""
        chosen = {node.GetID(): node for node in self._presenter.volumes.values()}  # one may be chosen twice
        if set(chosen) == self._observed:
            return
        self._observed = set(chosen)
        self.removeObservers()
        for node in chosen.values():
            for event in (node.TransformModifiedEvent, node.ImageDataModifiedEvent):
                self.addObserver(node, event, self._on_moved)

    def _on_moved(self, _node: Any, _event: str) -> None:
        self._presenter.look_again()


def _facts(state: ScansSectionState) -> str:
    """One line per scan, and how much of one the other covers."""
    lines = [f"<b>{escape(modality)}</b>: {escape(facts)}" for modality, facts in state.facts]
    return "<br>".join(filter(None, [*lines, lines_html(filter(None, [state.overlap]))]))
