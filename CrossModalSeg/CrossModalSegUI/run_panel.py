"""The Segment button, which becomes Cancel, with progress, time left, and how the last run ended."""

from html import escape
from typing import Any

from slicer.i18n import tr as _

from CrossModalSegUI.run_state import Outcome, RunState, RunStatus


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
        self._ui.statusLabel.text = self._outcome(status) if is_idle else _running(status)
        self._ui.statusLabel.visible = bool(self._ui.statusLabel.text)

    def _outcome(self, status: RunStatus) -> str:
        if status.outcome is Outcome.DONE:
            return escape(_("Done.") + " " + self._notice)
        if status.outcome is Outcome.CANCELLED:
            return escape(_("Cancelled. The scene is as it was."))
        if status.error is None:
            return ""
        message, hint = escape(status.error.message).replace("\n", "<br>"), escape(status.error.hint)
        return f'<span style="color:#b00020">✖ {message}</span><br>{hint[:1].upper()}{hint[1:]}.'


def _running(status: RunStatus) -> str:
    stage = escape(_(status.stage[:1].upper() + status.stage[1:]))
    return f"{stage}{_time_left(status.seconds_left)}"


def _time_left(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 60:
        return " – " + _("about {seconds:.0f} s left").format(seconds=max(1, seconds))
    return " – " + _("about {minutes:.0f} min left").format(minutes=seconds / 60)
