"""Pictures of a case before and after fine-tuning: the scan with the labels, the parent's result, and the
candidate's."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from CrossModalSegLib.imaging.volume import Volume
from CrossModalSegLib.label_translation import relabel
from CrossModalSegLib.labels import LabelMap

OPACITY = 0.45
TITLES = ("labels", "parent", "candidate")


@dataclass(frozen=True)
class BeforeAfter:
    """One scan of a case, and label values (K, J, I) on its grid: those to compare with, the parent's, the
    candidate's."""

    volume: Volume
    reference: np.ndarray
    parent: np.ndarray
    candidate: np.ndarray


def draw(case: BeforeAfter, label_map: LabelMap) -> str:
    """PNG as base64 text: one slice through the most labelled voxels, three times."""
    return _side_by_side(
        case.volume, dict(zip(TITLES, (case.reference, case.parent, case.candidate), strict=True)), label_map
    )


def draw_pair(volume: Volume, reference: np.ndarray, parent: np.ndarray, label_map: LabelMap) -> str:
    """The same slice twice, with the labels (K, J, I) and the parent's."""
    return _side_by_side(volume, dict(zip(TITLES[:2], (reference, parent), strict=True)), label_map)


def _side_by_side(volume: Volume, labelled: Mapping[str, np.ndarray], label_map: LabelMap) -> str:
    """The slice through the most voxels of the first labels, once with each of these by its title."""
    number = int((next(iter(labelled.values())) > 0).sum(axis=(1, 2)).argmax())
    turn = _as_radiologists_look(volume)
    scan = volume.array[number][turn]
    low, high = np.percentile(volume.array, (1, 99.5))
    width, height = _size_mm(volume)
    count = len(labelled)
    figure = Figure(figsize=(3 * count, 3 * height / width + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    colors = ListedColormap(
        [(0.0, 0.0, 0.0, 0.0), *[(*(part / 255 for part in one.color), OPACITY) for one in label_map.structures]]
    )
    for axes, (title, labels) in zip(figure.subplots(1, count), labelled.items(), strict=True):
        axes.imshow(
            scan,
            cmap="gray",
            vmin=low,
            vmax=max(high, low + 1e-6),
            aspect=height / width * scan.shape[1] / scan.shape[0],
        )
        axes.imshow(
            _channels(labels[number][turn], label_map), cmap=colors, vmin=0, vmax=len(label_map.structures),
            interpolation="nearest", aspect=height / width * scan.shape[1] / scan.shape[0],
        )  # fmt: skip
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    return as_base64(figure)


def bars(changes: Mapping[str, tuple[float, float]], names: Sequence[str]) -> str:
    """PNG as base64 text: parent and candidate Dice per structure, one dumbbell each."""
    figure = Figure(figsize=(7, 0.8 + 0.24 * len(names)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for row, name in enumerate(names):
        parent, candidate = changes[name]
        axes.plot([parent, candidate], [row, row], color="#2a7" if candidate >= parent else "#c33", linewidth=2)
        axes.plot(parent, row, "o", color="#999")
        axes.plot(candidate, row, "o", color="#2a7" if candidate >= parent else "#c33")
    axes.set(yticks=range(len(names)), yticklabels=names, xlabel="Dice (grey: parent, coloured: candidate)")
    axes.set_ylim(len(names) - 0.5, -0.5)  # the first on top
    axes.grid(axis="x", alpha=0.3)
    return as_base64(figure)


def as_base64(figure: Figure) -> str:
    """The figure as PNG in base64."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _as_radiologists_look(volume: Volume) -> tuple[slice, slice]:
    """Turns a slice (rows, columns) so that anterior or superior is up, and the patient's right or anterior is left."""
    turns = []
    for axis in (1, 0):  # j: rows, i: columns
        direction = volume.grid.direction[:, axis]
        grows = direction[np.abs(direction).argmax()] > 0
        turns.append(slice(None, None, -1 if grows else 1))
    return turns[0], turns[1]


def _size_mm(volume: Volume) -> tuple[float, float]:
    """Width and height of a slice."""
    width, height, _ = volume.grid.extent_mm
    return width, height


def _channels(labels: np.ndarray, label_map: LabelMap) -> np.ndarray:
    """Position in the label map of every label; 0 for others."""
    return relabel(labels, {value: channel for channel, value in enumerate(label_map.channels)}, np.int32)
