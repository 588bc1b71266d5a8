"""The line below the views: where the mouse or the crosshair is, and what both scans and results have there."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from CrossModalSegApp.logic.presenter import Host, Presenter
from CrossModalSegApp.logic.translation import tr as _
from CrossModalSegApp.scene.case_nodes import CaseNodes
from CrossModalSegApp.scene.pointed_place import Place, intensity_at, structure_at
from CrossModalSegApp.scene.structure_display import segments

_ENDS = (("R", "L"), ("A", "P"), ("S", "I"))
_OUTSIDE = "–"


@dataclass(frozen=True)
class ScanReading:
    """What one scan has there: ``intensity`` as text, and the name of the ``structure``, "" for none."""

    modality: str
    intensity: str
    structure: str


@dataclass(frozen=True)
class PlaceState:
    """``place`` in words, "" for none; ``distance`` from the mark, "" without one; ``readings`` of the scans that are
    shown."""

    place: str
    distance: str
    readings: tuple[ScanReading, ...]


class PlacePresenter(Presenter):
    """Reads the scans that are shown, and the segmentations of a result, at one place at a time."""

    def __init__(self, host: Host):
        super().__init__(host)
        self._volumes: Mapping[str, Any] = {}
        self._segmentations: Mapping[str, Any] = {}
        self._place: Place | None = None
        self._mark: Place | None = None

    @property
    def state(self) -> PlaceState:
        if self._place is None or not self._volumes:
            return PlaceState("", "", ())
        return PlaceState(
            place_words(self._place), _distance_words(self._mark, self._place), tuple(map(self._reading, self._volumes))
        )

    @property
    def values(self) -> dict[str, int]:
        """The label value of the structure that is there, by modality; only where there is one."""
        place = self._place
        if place is None:
            return {}
        found = {name: structure_at(node, place) for name, node in self._segmentations.items()}
        return {name: value for name, value in found.items() if value is not None}

    def show_scans(self, volumes: Mapping[str, Any]) -> None:
        """Read these volume nodes by modality; there is no result."""
        self._volumes, self._segmentations = dict(volumes), {}
        self.changed()

    def show_case(self, case: CaseNodes) -> None:
        """Read the scans of this result, and its segmentations."""
        self._volumes, self._segmentations = dict(case.volumes), dict(case.segmentations)
        self.changed()

    def point_at(self, place: Place | None) -> None:
        """The mouse or the crosshair is there now."""
        if place != self._place:
            self._place = place
            self.changed()

    def set_mark(self) -> None:
        """Measure distances from here on; a second time, measure none any more."""
        self._mark = self._place if self._mark is None else None
        self.changed()

    def _reading(self, modality: str) -> ScanReading:
        place = self._place or (0.0, 0.0, 0.0)
        intensity, node = intensity_at(self._volumes[modality], place), self._segmentations.get(modality)
        value = structure_at(node, place) if node is not None else None
        name = next((one.name for one in segments(node) if one.value == value), "") if value is not None else ""
        return ScanReading(modality, _OUTSIDE if intensity is None else f"{intensity:.4g}", name)


def _distance_words(mark: Place | None, place: Place) -> str:
    return "" if mark is None else _("{mm:.1f} mm from the mark").format(mm=math.dist(mark, place))


def place_words(place: Place) -> str:
    """A place (RAS, mm) as the side of the patient's origin that it is on, and how far: R 12.3 P 4.0 S 15.2 mm."""
    parts = (f"{ends[value < 0]} {abs(value):.1f}" for value, ends in zip(place, _ENDS, strict=True))
    return _("{place} mm").format(place="  ".join(parts))
