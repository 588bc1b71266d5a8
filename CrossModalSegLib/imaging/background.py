"""A background that is not the darkest value: found by the constant in the corners of the field of view, and put right.

Brain-extracted scans are often z-scored within the brain, with 0 left around it: then the background has the intensity
of average tissue. The same happens where a scan was resampled with 0 for what lies outside, and its air is negative.
Taken as it is, it would be normalised as tissue.
"""

from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk

from CrossModalSegLib.imaging.geometry import background_level, corner_values
from CrossModalSegLib.imaging.volume import Volume

_CORNERS_ALIKE = 4  # of 8: what one face of the field of view has
_MUCH_DARKER = 0.1  # of the range of all that is not background
_SHARE_DARKER = 0.05  # noise, interpolation and ringing put less than that below an ordinary background
_DARKEST = 0.001  # quantile
_BELOW_DARKEST = 0.05  # of the range: no tissue is quite black, so the background goes a little below the darkest
_LARGE_HOLE = 100  # voxels: smaller islands of the background's value within the tissue are tissue
_HOMOGENEOUS = 0.1  # of the range of the scan: more noise than that in the corners, and they are no air
_SAMPLE = 500_000


@dataclass(frozen=True)
class RaisedBackground:
    """``value`` fills the background exactly; ``percent_darker`` of all other voxels are clearly darker; ``darkest`` is
    what the background becomes: a little below all others but outliers."""

    value: float
    percent_darker: float
    darkest: float


def raised_background(volume: Volume) -> RaisedBackground | None:
    """The background of ``volume`` where it is a constant that much of the scan is darker than; else None."""
    array = volume.array
    value = _constant_corners(array)
    if value is None or float(array.min()) >= value:
        return None
    others = _sample(array[array != value])
    least, low, high = (float(x) for x in np.quantile(others, (_DARKEST, 0.01, 0.99)))
    share = float((others < value - _MUCH_DARKER * (high - low)).mean())
    if share < _SHARE_DARKER:
        return None
    return RaisedBackground(value, 100 * share, least - _BELOW_DARKEST * (high - least))


def percent_below_air(volume: Volume) -> float:
    """How much of what is not air is darker than it, in percent: about 0 in any scan but an inverted one.

    Air is what the corners of the field of view hold; 0.0 where they are no air, as in a crop inside the body.
    """
    level, noise = background_level(corner_values(volume.array))
    sample = _sample(volume.array.ravel())
    low, high = np.quantile(sample, (0.01, 0.99))
    if noise > _HOMOGENEOUS * (high - low):
        return 0.0
    far = sample[np.abs(sample - level) > max(3 * noise, _MUCH_DARKER * float(high - low))]
    return 100 * float((far < level).mean()) if far.size > _SHARE_DARKER * sample.size else 0.0


def with_dark_background(volume: Volume) -> Volume:
    """``volume`` itself; where it has a `raised_background`, a copy whose background is dark instead.

    To be called before a scan is interpolated: afterwards the edge of the tissue is mixed with the background.
    """
    found = raised_background(volume)
    if found is None:
        return volume
    darkened = volume.array.copy()
    darkened[_background(volume.array == found.value)] = found.darkest
    return replace(volume, array=darkened)


def _sample(values: np.ndarray) -> np.ndarray:
    return values[:: max(1, values.size // _SAMPLE)]


def _constant_corners(array: np.ndarray) -> float | None:
    """The value that at least half of the eight corner voxels have in common."""
    values, counts = np.unique(array[np.ix_(*[(0, -1)] * 3)], return_counts=True)
    return float(values[counts.argmax()]) if counts.max() >= _CORNERS_ALIKE else None


def _background(mask: np.ndarray) -> np.ndarray:
    """The components of ``mask`` (K, J, I) that reach the edge of the array, and large holes."""
    components = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8))))
    keep = np.bincount(components.ravel()) >= _LARGE_HOLE
    for axis in range(3):
        for end in (0, -1):
            keep[np.unique(components.take(end, axis=axis))] = True
    keep[0] = False
    return keep[components]
