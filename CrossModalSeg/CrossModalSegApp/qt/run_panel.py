"""The Segment button, which becomes Cancel, with progress, time left, and how the last run ended."""

from html import escape
from typing import Any

from slicer.i18n import tr as _

from CrossModalSegApp.logic.wording import outcome_words, progress_words, sentence
from CrossModalSegApp.process.run_state import RunState, RunStatus


class RunPanel:
    """Renders a `RunStatus`."""

    def __init__(self, ui: Any):
        self._ui = ui
        self._notice = ""

    def note(self, text: str) -> None:
        """What is shown beside the outcome of a finished run: the device, fallbacks."""
        self._notice = text

    def render(self, status: RunStatus, can_start: bool) -> None:
        """``can_start``: scans and model are chosen and nothing speaks against a run."""
        is_idle = status.state is RunState.IDLE
        button = self._ui.segmentButton
        button.text = _("Segment") if is_idle else _("Cancel")
        button.enabled = can_start if is_idle else status.is_cancellable
        self._ui.progressBar.visible = not is_idle
        self._ui.progressBar.value = round(100 * status.fraction)
        self._ui.statusLabel.text = self._outcome(status) if is_idle else escape(progress_words(status))
        self._ui.statusLabel.visible = bool(self._ui.statusLabel.text)

    def _outcome(self, status: RunStatus) -> str:
        if status.error is None:
            return escape(outcome_words(status, self._notice))
        message, hint = escape(status.error.message).replace("\n", "<br>"), escape(sentence(status.error.hint))
        return f'<span style="color:#b00020">✖ {message}</span><br>{hint}'
