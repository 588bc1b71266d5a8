"""The structures of one slice as a picture to lay over the scan: outlines with a dark rim, and fill."""

from dataclasses import dataclass

import numpy as np

_RIM_OPACITY = 0.8
_DASH = 5  # pixels
_STEPS = ((0, 1), (0, -1), (1, 1), (1, -1))  # axis and direction of the four neighbours of a pixel


@dataclass(frozen=True)
class Look:
    """How labels are drawn: arrays with one entry for each label value, 0 included.

    ``colors`` (n, 3) uint8; ``outline`` and ``fill`` (n,) opacities from 0 to 1, 0 for what is hidden and for
    background.
    """

    colors: np.ndarray
    outline: np.ndarray
    fill: np.ndarray

    @property
    def is_hidden(self) -> np.ndarray:
        return (self.outline <= 0) & (self.fill <= 0)

    def in_white(self) -> "Look":
        """White outlines alone, of whatever is seen, and of one value more, for structures that this look does not
        know."""
        seen = np.append(~self.is_hidden, True).astype(np.float32)
        return Look(np.full((len(seen), 3), 255, np.uint8), seen, np.zeros_like(seen))


def laid_over(below: np.ndarray, above: np.ndarray) -> np.ndarray:
    """The picture ``above`` (H, W, 4; RGBA uint8) where it shows anything stronger, else the one ``below``."""
    return np.where((above[..., 3:] > 0) & (above[..., 3:] >= below[..., 3:]), above, below)


def outline_picture(labels: np.ndarray, look: Look) -> np.ndarray:
    """``labels`` (H, W) as RGBA (H, W, 4) uint8.

    The outermost pixels of a structure are its outline. Each outline has a rim of one dark pixel on both sides, except
    where that pixel is an outline itself.
    """
    seen = np.where(look.is_hidden[labels], 0, labels)
    edge = np.zeros(seen.shape, dtype=bool)
    for axis, by in _STEPS:
        edge |= _shifted(seen, axis, by) != seen
    edge &= seen > 0
    outline = np.where(edge, look.outline[seen], 0.0).astype(np.float32)
    rim = np.zeros_like(outline)
    for axis, by in _STEPS:
        np.maximum(rim, _shifted(outline, axis, by), out=rim)
    rim *= _RIM_OPACITY
    alpha = np.maximum(look.fill[seen].astype(np.float32), rim)
    is_rim = ~edge & (rim > 0)
    alpha[edge] = outline[edge]
    picture = np.empty((*seen.shape, 4), dtype=np.uint8)
    picture[..., :3] = look.colors[seen]
    picture[is_rim, :3] = 0
    picture[..., 3] = np.rint(255 * alpha)
    return picture


def dashed_picture(mask: np.ndarray) -> np.ndarray:
    """A line around ``mask`` (H, W; bool), white and black by turns, as RGBA (H, W, 4) uint8."""
    line = np.zeros(mask.shape, dtype=bool)
    for axis, by in _STEPS:
        line |= _shifted(mask, axis, by) & ~mask
    picture = np.zeros((*mask.shape, 4), dtype=np.uint8)
    rows, columns = np.indices(mask.shape, sparse=True)
    picture[..., :3] = np.where((rows + columns) // _DASH % 2, 255, 0)[..., None]
    picture[..., 3] = np.where(line, 255, 0)
    return picture


def _shifted(values: np.ndarray, axis: int, by: int) -> np.ndarray:
    """Each pixel's neighbour; at the border the pixel itself."""
    result = values.copy()
    here, there = slice(None, -1), slice(1, None)
    target, source = (here, there) if by > 0 else (there, here)
    whole = (slice(None),) * axis
    result[(*whole, target)] = values[(*whole, source)]
    return result


def slice_labels(labels: np.ndarray, xy_to_ijk: np.ndarray, width: int, height: int) -> np.ndarray:
    """(height, width): the label nearest to each pixel of a view, row 0 at the bottom; 0 outside of the scan.

    ``labels`` (K, J, I); ``xy_to_ijk`` (4, 4) maps a pixel (x, y, 0, 1) to voxel indices (i, j, k).
    """
    x, y = np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64)[:, None]
    inside = np.ones((height, width), dtype=bool)
    flat = np.zeros((height, width), dtype=np.int64)
    for row, size, stride in zip(range(3), labels.shape[::-1], _strides(labels.shape), strict=True):
        index = np.floor(xy_to_ijk[row, 0] * x + xy_to_ijk[row, 1] * y + (xy_to_ijk[row, 3] + 0.5)).astype(np.int64)
        inside &= (index >= 0) & (index < size)
        flat += index * stride
    flat[~inside] = 0
    found = labels.reshape(-1)[flat]
    found[~inside] = 0
    return found


def _strides(shape_kji: tuple[int, ...]) -> tuple[int, int, int]:
    """Of i, j, k in a flat array."""
    _, rows, columns = shape_kji
    return 1, columns, columns * rows
