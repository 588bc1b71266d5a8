"""The scans section and the preflight card: which volume is which modality, and what to be careful about."""

from collections.abc import Callable
from html import escape
from typing import Any

import qt
from slicer.i18n import tr as _

from CrossModalSegApp.logic.case_selection import Check, Note, Remedy
from CrossModalSegApp.logic.wording import SIGNS, overlap_words, remedy_words, scan_facts, sentence
from CrossModalSegApp.qt.wrapped_labels import WrappedLabels
from CrossModalSegLib.bundles.bundle import Bundle

_COLOURS = {"error": "#b00020", "warning": "#b26a00", "info": "#3c5a78"}


class ScansPanel:
    """Shows the names of the modalities and the notes; ``on_remedy`` is called with what the user wants done."""

    def __init__(self, ui: Any, on_remedy: Callable[[Remedy], None]):
        self._ui, self._on_remedy = ui, on_remedy
        self._rows: list[Any] = []
        self._labels = WrappedLabels()
        ui.swapButton.clicked.connect(lambda *_args: on_remedy("swap"))

    def show_modalities(self, bundle: Bundle | None) -> None:
        names = bundle.modalities if bundle else (_("First scan"), _("Second scan"))
        labels = (self._ui.firstLabel, self._ui.secondLabel)
        for label, name in zip(labels, names, strict=True):
            label.text = name
            aliases = bundle.modality_aliases.get(name, []) if bundle else []
            label.toolTip = _("also: {names}").format(names=", ".join(aliases)) if aliases else ""

    def show_check(self, check: Check | None) -> None:
        """The facts and the notes of the preflight; None while it is not known yet."""
        self._ui.preflightSection.visible = check is not None and bool(check.transforms)
        self._ui.preflightLabel.text = _facts(check) if check else ""
        self._clear()
        for note in check.notes if check else ():
            self._add(note)

    def show_preview(self, text: str, is_shown: bool = False) -> None:
        """The row with which an alignment that ``is_shown`` is kept or undone; "" hides it."""
        self._ui.previewRow.visible = bool(text)
        if text:  # also while it is not known what the preflight says of scans that have just been moved
            self._ui.preflightSection.visible = True
        self._ui.previewLabel.text = text
        self._ui.keepAlignmentButton.enabled = self._ui.undoAlignmentButton.enabled = is_shown

    def _clear(self) -> None:
        for row in self._rows:
            self._ui.notesArea.layout().removeWidget(row)
            row.hide()
            row.deleteLater()
        self._rows = []

    def _add(self, note: Note) -> None:
        row = qt.QWidget()
        layout = qt.QHBoxLayout(row)
        layout.setContentsMargins(0, 0, 0, 0)
        label = qt.QLabel(_note_text(note))
        label.wordWrap = True
        self._labels.watch(label)
        layout.addWidget(label, 1)
        if note.remedy:
            button = qt.QPushButton(remedy_words(note.remedy))
            button.objectName = f"remedy-{note.remedy}"
            button.clicked.connect(lambda *_args, remedy=note.remedy: self._on_remedy(remedy))
            layout.addWidget(button, 0)
        self._ui.notesArea.layout().addWidget(row)
        self._rows.append(row)


def _note_text(note: Note) -> str:
    colour, sign = _COLOURS[note.severity], SIGNS[note.severity]
    return f'<span style="color:{colour}">{sign} {escape(note.message)}</span> {escape(sentence(note.hint))}'


def _facts(check: Check) -> str:
    """One line per scan, and how much of one the other covers."""
    lines = [f"<b>{escape(modality)}</b>: {escape(facts)}" for modality, facts in scan_facts(check)]
    return "<br>".join(filter(None, [*lines, escape(overlap_words(check))]))
