"""The keys of the module, which `?` shows."""

from dataclasses import dataclass

from CrossModalSegApp.logic.translation import tr as _


@dataclass(frozen=True)
class Key:
    """``keys`` as they are written on the keyboard; ``is_shared``: the same in 3D Slicer and in the page."""

    keys: str
    what: str
    is_shared: bool = False


KEYS = (
    Key("N, P", _("next and previous place to check"), True),
    Key("D", _("this place is done: tick it, and go to the next one")),
    Key("?", _("show all keys"), True),
    Key(_("↑ ↓ → ←"), _("next and previous slice in the view below the mouse"), True),
    Key(_("Page up, Page down"), _("five slices further")),
    Key("1 … 8, 0", _("paint, erase, scissors, threshold, islands, smoothing, logical operators, draw; no tool")),
    Key("A", _("adapt locally: what was drawn stays, the rest around it follows")),
    Key("B", _("fill the structure between slices that were drawn on")),
    Key("Ctrl+Z, Ctrl+Y", _("undo, redo")),
    Key("C", _("drag to change brightness and contrast")),
    Key("F", _("show all of the scans")),
    Key("O", _("outlines on and off")),
    Key("M", _("measure distances from the place below the mouse; again to end"), True),
    Key("U", _("uncertainty over the scans, on and off")),
    Key("S", _("save a picture of the view below the mouse")),
)
MOUSE = (
    Key(_("Wheel"), _("through the slices"), True),
    Key(_("Ctrl and wheel"), _("zoom"), True),
    Key(_("Middle button"), _("move the picture")),
    Key(_("Click"), _("without a tool: the crosshair, in all views")),
    Key(_("Double-click"), _("without a tool: choose the structure that is there")),
    Key(_("Right button"), _("without a tool: drag to change brightness and contrast; with a tool: zoom")),
    Key(_("Shift"), _("the crosshair follows the mouse, with and without a tool"), True),
)


def shared_keys_words() -> str:
    """What works in 3D Slicer as well, a line for each."""
    return "\n".join(f"{key.keys}: {key.what}" for key in (*KEYS, *MOUSE) if key.is_shared)
