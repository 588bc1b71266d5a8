"""The overview picture: both modalities side by side in three planes with outlines, to judge a result at a glance.

Radiological display: the patient's right is on the left of the picture, the front or the top is up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from CrossModalSegLib.atomic import staged_file
from CrossModalSegLib.imaging.geometry import resample_to
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.resampling import resample_labels
from CrossModalSegLib.inference.inference import ModalityResult
from CrossModalSegLib.labels import LabelMap

PIXEL_MM = 0.75
MARGIN_MM = 15.0
BACKGROUND = "#101010"


@dataclass(frozen=True)
class Plane:
    """A display plane: which RAS axes run along the columns and rows, and the letters at its left and right edge."""

    name: str
    column_axis: int
    row_axis: int
    normal_axis: int
    letters: tuple[str, str]


PLANES = (
    Plane("axial", 0, 1, 2, ("R", "L")),
    Plane("coronal", 0, 2, 1, ("R", "L")),
    Plane("sagittal", 1, 2, 0, ("P", "A")),
)


def write_overview(path: Path, results: Mapping[str, ModalityResult], label_map: LabelMap, title: str) -> None:
    """Write a PNG with one row per modality and one column per plane, all through the same point of the anatomy."""
    box = _labelled_box(list(results.values()))
    centre = _crossing(next(iter(results.values())), box)
    aspect = [box[1, plane.column_axis] - box[0, plane.column_axis] for plane in PLANES]
    figure = Figure(figsize=(14, 4.6 * len(results) + 1.4), facecolor=BACKGROUND, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(results), len(PLANES), squeeze=False, width_ratios=aspect)
    shown: set[int] = set()
    for row, (name, result) in zip(axes, results.items(), strict=True):
        window = _display_range(result.volume.array)
        for axis, plane in zip(row, PLANES, strict=True):
            shown |= _draw(axis, plane, result, _plane_grid(plane, centre, box), label_map, window)
            axis.set_title(f"{name}  {plane.name}  {'RAS'[plane.normal_axis]} {centre[plane.normal_axis]:+.0f} mm")
            axis.title.set_color("white")
    _legend(figure, label_map, shown)
    figure.suptitle(title, color="white", fontsize=11)
    with staged_file(path) as staged, mpl.rc_context({"savefig.facecolor": BACKGROUND}):
        figure.savefig(staged, dpi=90)


def _draw(
    axis: Axes,
    plane: Plane,
    result: ModalityResult,
    grid: Grid,
    label_map: LabelMap,
    window: tuple[float, float],
) -> set[int]:
    """Draw one plane, on its ``grid``; returns the label values that it shows."""
    shape = tuple(size for world, size in zip((2, 1, 0), grid.shape_kji, strict=True) if world != plane.normal_axis)
    image, covered = (array.reshape(shape) for array in resample_to(result.volume, grid))
    labels = resample_labels(result.labels, result.volume.grid, grid).reshape(shape)
    axis.imshow(np.where(covered, image, np.nan), cmap="gray", vmin=window[0], vmax=window[1], origin="lower")
    shown = [int(value) for value in np.unique(labels) if value]
    for value in shown:
        color = np.array(label_map.by_value(value).color) / 255
        axis.contour(labels == value, levels=[0.5], colors=[color], linewidths=0.9)
    if plane.column_axis == 0:
        axis.invert_xaxis()
    for letter, x in zip(plane.letters, (0.02, 0.98), strict=True):
        align = "left" if x < 0.5 else "right"
        axis.text(x, 0.5, letter, transform=axis.transAxes, color="#ffd24d", ha=align, va="center", fontsize=12)
    axis.set_facecolor("#282828")
    axis.set_xticks([])
    axis.set_yticks([])
    return set(shown)


def _plane_grid(plane: Plane, centre: np.ndarray, box: np.ndarray) -> Grid:
    """A world-aligned grid of one voxel's thickness through ``centre``, over ``box`` (2, 3) in RAS mm."""
    size = np.ceil((box[1] - box[0]) / PIXEL_MM).astype(int)
    origin = box[0] + PIXEL_MM / 2
    size[plane.normal_axis] = 1
    origin[plane.normal_axis] = centre[plane.normal_axis]
    affine = np.diag([PIXEL_MM, PIXEL_MM, PIXEL_MM, 1.0])
    affine[:3, 3] = origin
    return Grid((int(size[2]), int(size[1]), int(size[0])), affine)


def _labelled_box(results: Sequence[ModalityResult]) -> np.ndarray:
    """(2, 3) RAS mm: what is segmented in any modality plus a margin; all fields of view where nothing is."""
    points = np.vstack([_labelled_corners(result) for result in results])
    return np.array([points.min(axis=0) - MARGIN_MM, points.max(axis=0) + MARGIN_MM])


def _labelled_corners(result: ModalityResult) -> np.ndarray:
    found = [np.flatnonzero(result.labels.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    if found[0].size == 0:
        return result.volume.grid.corners_ras()
    (k0, k1), (j0, j1), (i0, i1) = ((places[0], places[-1]) for places in found)
    corners = np.array([[i, j, k, 1.0] for i in (i0, i1) for j in (j0, j1) for k in (k0, k1)])
    return (corners @ result.volume.grid.ijk_to_ras.T)[:, :3]


def _crossing(result: ModalityResult, box: np.ndarray) -> np.ndarray:
    """RAS point that all planes pass: the centre of what is segmented, moved off the midline to the right."""
    found = result.labels > 0
    if not found.any():
        return box.mean(axis=0)
    ijk = [
        np.average(np.arange(n), weights=found.sum(axis=others))
        for n, others in zip(found.shape[::-1], ((0, 1), (0, 2), (1, 2)), strict=True)
    ]
    ras = result.volume.grid.ijk_to_ras @ np.array([*ijk, 1.0])
    return ras[:3] + np.array([0.12 * (box[1, 0] - box[0, 0]), 0.0, 0.0])


def _display_range(array: np.ndarray) -> tuple[float, float]:
    """Intensities shown as black and white: 1st percentile, and 99.5th of the brighter half of the range."""
    sample = array.ravel()[:: max(1, array.size // 500_000)]
    low = float(np.percentile(sample, 1))
    bright = sample[sample > low + 0.05 * (sample.max() - low)]
    return low, float(np.percentile(bright, 99.5)) if bright.size else float(sample.max())


def _legend(figure: Figure, label_map: LabelMap, shown: set[int]) -> None:
    """Names and colours of what is shown; left and right of one structure share an entry where they share a colour."""
    entries: dict[str, tuple[float, ...]] = {}
    for structure in label_map.structures:
        if structure.value in shown:
            name = structure.name.removeprefix("left ").removeprefix("right ")
            entries.setdefault(name, tuple(part / 255 for part in structure.color))
    handles = [Patch(color=color, label=name) for name, color in entries.items()]
    if handles:
        legend = figure.legend(handles=handles, loc="outside lower center", ncols=6, frameon=False, fontsize=9)
        for text in legend.get_texts():
            text.set_color("white")
