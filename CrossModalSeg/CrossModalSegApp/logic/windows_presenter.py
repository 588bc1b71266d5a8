"""Window and level of the scans that are shown: presets by modality, numbers, and back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from CrossModalSegApp.logic.presenter import Host, Presenter
from CrossModalSegApp.logic.translation import tr as _
from CrossModalSegApp.scene.windows import AUTOMATIC, PRESETS, apply_preset, drag_window, set_window, window_of

_TITLES = {
    "brain-t1": _("Brain T1"),
    "brain-t2": _("Brain T2"),
    "brain-flair": _("Brain FLAIR"),
    "ct-brain": _("CT brain"),
    "ct-bone": _("CT bone"),
    "ct-abdomen": _("CT abdomen"),
    "ct-lung": _("CT lung"),
}
_BY_NAME = {"CT": "ct-", "T1": "brain-", "T2": "brain-", "FLAIR": "brain-", "PD": "brain-", "MR": "brain-"}


@dataclass(frozen=True)
class ScanWindow:
    """One scan's ``window`` and ``level`` as text; ``presets``: id and title of those that fit its modality."""

    modality: str
    window: str
    level: str
    presets: tuple[tuple[str, str], ...]
    preset: str


@dataclass(frozen=True)
class WindowsState:
    scans: tuple[ScanWindow, ...]


class WindowsPresenter(Presenter):
    """Of each scan by modality. What is set elsewhere, by dragging or in Slicer, is shown, too."""

    def __init__(self, host: Host):
        super().__init__(host)
        self._volumes: dict[str, Any] = {}
        self._presets: dict[str, tuple[str, tuple[float, float] | None]] = {}  # and what it has set
        self._observed: list[tuple[Any, int]] = []

    @property
    def state(self) -> WindowsState:
        return WindowsState(tuple(map(self._scan, self._volumes)))

    def show(self, volumes: Mapping[str, Any]) -> None:
        """These volume nodes by modality are shown."""
        if self._volumes == dict(volumes):
            return
        for node, tag in self._observed:
            node.RemoveObserver(tag)
        self._volumes, self._presets = dict(volumes), {}
        displays = [node.GetDisplayNode() for node in self._volumes.values()]
        self._observed = [(one, one.AddObserver("ModifiedEvent", self._changed)) for one in displays if one]
        self.changed()

    def choose(self, modality: str, preset: str) -> None:
        """Show a scan with a preset, or as at first (`AUTOMATIC`)."""
        node = self._volumes.get(modality)
        if node is not None and (preset == AUTOMATIC or preset in PRESETS):
            apply_preset(node, preset)
            self._presets[modality] = (preset, window_of(node))
            self.changed()

    def set(self, modality: str, window: float, level: float) -> None:
        """Show a scan with this window and level."""
        if modality in self._volumes:
            set_window(self._volumes[modality], window, level)

    def drag(self, row: int, across: float, up: float) -> None:
        """Change those of the scan in this row, as by a drag of so many pixels."""
        nodes = list(self._volumes.values())
        if row < len(nodes):
            drag_window(nodes[row], across, up)

    def _scan(self, modality: str) -> ScanWindow:
        found = window_of(self._volumes[modality])
        preset, made = self._presets.get(modality, (AUTOMATIC, found))
        window, level = (f"{value:.6g}" for value in found) if found else ("", "")
        return ScanWindow(modality, window, level, _presets_for(modality), preset if made == found else "")

    def _changed(self, *_args: object) -> None:
        self.changed()


def _presets_for(modality: str) -> tuple[tuple[str, str], ...]:
    """Those of the modality's kind; all where that is not known."""
    kind = next((kind for word, kind in _BY_NAME.items() if modality.upper().startswith(word)), "")
    fitting = tuple((one, title) for one, title in _TITLES.items() if one.startswith(kind))
    return ((AUTOMATIC, _("As at first")), *fitting)
