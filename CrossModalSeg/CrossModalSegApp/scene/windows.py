"""Window and level of scans: presets in use in radiology, and what is set."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from CrossModalSegApp.scene.scene_io import voxels_of
from CrossModalSegLib.imaging.geometry import body_intensities

_SAMPLES = 500_000  # voxels that percentiles are taken of
_DRAG_PIXELS = 500  # across which a drag changes the window by the scan's whole range
AUTOMATIC = "automatic"


@dataclass(frozen=True)
class Fixed:
    """Window and level in Hounsfield units."""

    window: float
    level: float


@dataclass(frozen=True)
class OfBody:
    """From one percentile of the body's intensities to another: MR has no unit."""

    lower: float
    upper: float


PRESETS: Mapping[str, Fixed | OfBody] = {
    "brain-t1": OfBody(1.0, 99.0),
    "brain-t2": OfBody(1.0, 99.7),
    "brain-flair": OfBody(5.0, 99.9),
    "ct-brain": Fixed(80.0, 40.0),
    "ct-bone": Fixed(2000.0, 500.0),
    "ct-abdomen": Fixed(400.0, 50.0),
    "ct-lung": Fixed(1500.0, -600.0),
}


def window_of(volume_node: Any) -> tuple[float, float] | None:
    """Window and level that a scan is shown with; None where it is not shown with any."""
    display = volume_node.GetScalarVolumeDisplayNode()
    return (display.GetWindow(), display.GetLevel()) if display is not None else None


def set_window(volume_node: Any, window: float, level: float) -> None:
    """Show a scan with this window, at least a little, and level."""
    display = volume_node.GetScalarVolumeDisplayNode()
    if display is None:
        return
    was_modifying = display.StartModify()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(max(window, 1e-3), level)
    display.EndModify(was_modifying)


def apply_preset(volume_node: Any, preset: str) -> None:
    """Show a scan with a preset of `PRESETS`, or as at first (`AUTOMATIC`). Raises KeyError for another."""
    if preset == AUTOMATIC:
        display = volume_node.GetScalarVolumeDisplayNode()
        display.SetAutoWindowLevel(False)
        display.SetAutoWindowLevel(True)
        return
    found = PRESETS[preset]
    if isinstance(found, Fixed):
        set_window(volume_node, found.window, found.level)
    else:
        lower, upper = _percentiles(voxels_of(volume_node), found)
        set_window(volume_node, upper - lower, (upper + lower) / 2)


def drag_window(volume_node: Any, across: float, up: float) -> None:
    """Change window and level as by a drag of so many pixels: across for the window, up for the level."""
    found = window_of(volume_node)
    if found is not None:
        lowest, highest = volume_node.GetImageData().GetScalarRange()
        gain = (highest - lowest) / _DRAG_PIXELS
        set_window(volume_node, found[0] + gain * across, found[1] + gain * up)


def _percentiles(voxels: np.ndarray, preset: OfBody) -> tuple[float, float]:
    body = body_intensities(voxels)
    step = max(1, round((voxels.size / _SAMPLES) ** (1 / 3)))
    thinned = voxels[::step, ::step, ::step]
    inside = thinned[thinned >= body[0]] if body is not None else thinned
    lower, upper = np.percentile(inside if inside.size else thinned, (preset.lower, preset.upper))
    return float(lower), float(upper)
