"""Draw the pictures in CrossModalSeg/Resources/Icons: the module's icon and the thumbnail of the sample pair.

    python scripts/make_icon.py

The icon: one contour, drawn across two discs that stand for the two modalities. The thumbnail: an axial slice of the
phantom, half T1w and half T2w.
"""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import SimpleITK as sitk
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Polygon

RESOURCES = Path(__file__).resolve().parents[1] / "CrossModalSeg" / "Resources"
ICONS = RESOURCES / "Icons"
SAMPLES = RESOURCES / "SampleData"

ICON_PIXELS = 128
THUMBNAIL_PIXELS = 256
FIRST, SECOND, CONTOUR = "#1f77b4", "#f28e2b", "#ffffff"
SLICE_LPS_Z_MM = 30.0  # at the height of the lateral ventricles


def square_figure(pixels: int) -> tuple[Figure, Axes]:
    """A transparent figure of ``pixels`` × ``pixels`` with axes from -1 to 1 that fill it."""
    figure = Figure(figsize=(pixels / 100, pixels / 100), dpi=100)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(-1, 1), ylim=(-1, 1), aspect="equal")
    return figure, axes


def shared_contour(points: int = 400) -> np.ndarray:
    """(points, 2): a closed curve with soft lobes, as the border of an organ."""
    angle = np.linspace(0, 2 * np.pi, points)
    radius = 0.47 + 0.035 * np.cos(3 * angle + 0.9) + 0.03 * np.cos(4 * angle + 0.5)
    return np.stack([1.25 * radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def draw_icon(path: Path) -> None:
    figure, axes = square_figure(ICON_PIXELS)
    for centre, colour in ((-0.31, FIRST), (0.31, SECOND)):
        axes.add_patch(Circle((centre, 0), 0.67, facecolor=colour, alpha=0.82, linewidth=0))
    outline = shared_contour()
    axes.add_patch(Polygon(outline, facecolor=(1, 1, 1, 0.30), edgecolor="#20252b", linewidth=6.0))
    axes.add_patch(Polygon(outline, facecolor="none", edgecolor=CONTOUR, linewidth=3.2))
    figure.savefig(path, transparent=True, metadata={"Software": None})


def axial_slice(name: str, reference: sitk.Image) -> np.ndarray:
    """One slice of a scan on the T1w's grid, scaled to 0 ... 1; anterior is up."""
    image = sitk.ReadImage(str(SAMPLES / name), sitk.sitkFloat32)
    array = sitk.GetArrayFromImage(sitk.Resample(image, reference, sitk.Transform(), sitk.sitkLinear))
    k = reference.TransformPhysicalPointToIndex((*middle_of(reference)[:2], SLICE_LPS_Z_MM))[2]
    return np.clip(array[k] / np.percentile(array[k], 99.5), 0, 1)


def middle_of(image: sitk.Image) -> tuple[float, ...]:
    return image.TransformContinuousIndexToPhysicalPoint([(size - 1) / 2 for size in image.GetSize()])


def draw_thumbnail(path: Path) -> None:
    reference = sitk.ReadImage(str(SAMPLES / "phantom_T1w.nrrd"), sitk.sitkFloat32)
    first, second = (axial_slice(f"phantom_{name}.nrrd", reference) for name in ("T1w", "T2w"))
    columns = first.shape[1]
    both = np.where(np.arange(columns) < columns // 2, first, second)
    figure, axes = square_figure(THUMBNAIL_PIXELS)
    axes.set_facecolor("black")
    height = first.shape[0] / columns
    axes.imshow(both, cmap="gray", vmin=0, vmax=1, extent=(-1 / height, 1 / height, -1, 1), interpolation="bicubic")
    axes.set(xlim=(-1, 1), ylim=(-1, 1))
    axes.axvline(0, color=SECOND, linewidth=1.5)
    labels = {"color": "white", "fontsize": 13, "va": "bottom"}
    axes.text(-0.95, -0.95, "T1w", ha="left", **labels)
    axes.text(0.95, -0.95, "T2w", ha="right", **labels)
    figure.savefig(path, facecolor="black", metadata={"Software": None})


def main() -> None:
    mpl.rcParams["font.family"] = "DejaVu Sans"
    ICONS.mkdir(exist_ok=True)
    draw_icon(ICONS / "CrossModalSeg.png")
    draw_thumbnail(ICONS / "HeadPhantom.png")


if __name__ == "__main__":
    main()
