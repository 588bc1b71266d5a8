"""What the views say about a case, in plain text: the panel in Slicer and the page in a browser say the same."""

from CrossModalSegApp.logic.translation import tr as _
from CrossModalSegApp.process.background_command import CommandStatus
from CrossModalSegApp.scene.correction import Masking

DEVICES = {"auto": _("Automatic"), "cuda": _("GPU"), "cpu": _("CPU")}  # what a model can run on
SIGNS = {"error": "✖", "warning": "⚠", "info": "ℹ"}


def sentence(text: str) -> str:
    """``text`` with a capital and a full stop; a hint is written without them."""
    return f"{text[:1].upper()}{text[1:]}." if text else ""


# --- correcting


def masking_words(masking: Masking) -> str:
    """The entry of the selector."""
    return {
        Masking.LEAVE_NEIGHBOURS: _("Leave neighbours alone"),
        Masking.TAKE_FROM_NEIGHBOURS: _("Take from neighbours"),
        Masking.INSIDE_BODY: _("Anywhere inside the body"),
    }[masking]


def masking_hint(masking: Masking) -> str:
    """What a stroke does, in a sentence; it is said where the user draws."""
    return {
        Masking.LEAVE_NEIGHBOURS: _("A stroke leaves neighbouring structures as they are."),
        Masking.TAKE_FROM_NEIGHBOURS: _("A stroke takes from neighbouring structures."),
        Masking.INSIDE_BODY: _(
            "A stroke takes from neighbouring structures, and leaves the air around the body alone."
        ),
    }[masking]


# --- what takes a while


def stage_words(stage: str, words: str, seconds_left: float | None) -> str:
    """What is done now, in ``words``, and the time left."""
    return f"{_(stage[:1].upper() + stage[1:])}{': ' if words else ''}{words}{_time_left(seconds_left)}"


def command_words(status: CommandStatus) -> str:
    """What a command does now, and the time left; "" where it is not at work."""
    return stage_words(status.stage, status.words, status.seconds_left) if status.is_running else ""


def button_words(status: CommandStatus, start: str, cancel: str) -> str:
    """What stands on the button that starts a command and cancels it; while it is stopping, that it does."""
    return _("Stopping…") if status.is_stopping else cancel if status.is_running else start


def _time_left(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 60:
        return " – " + _("about {seconds:.0f} s left").format(seconds=max(1, seconds))
    return " – " + _("about {minutes:.0f} min left").format(minutes=seconds / 60)
