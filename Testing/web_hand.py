"""A hand on the views of the page: where a place of the patient is on the screen, strokes there, and the labels after
them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.segmentation_io import read_segmentation
from Testing.web_page import Page
from Testing.web_server import WebServer

_MARGIN = 1.05  # around the scans, as in the module's layout
_AXES = {"Axial": (0, 1, 2), "Coronal": (0, 2, 1), "Sagittal": (1, 2, 0)}  # across, up, through; R A S
Place = tuple[float, float, float]


class Hand:
    """Draws in the views of ``page``, which shows scans on ``grids`` as a whole."""

    def __init__(self, page: Page, server: WebServer, grids: Sequence[Grid], folder: Path):
        self.page, self._server, self._folder = page, server, folder
        corners = np.concatenate([grid.corners_ras() for grid in grids])
        self._lower, self._upper = corners.min(axis=0), corners.max(axis=0)

    def labels(self, modality: str) -> np.ndarray:
        """(K, J, I): what a user downloads."""
        path = self._folder / f"{modality}.seg.nrrd"
        path.write_bytes(self._server.get(f"download/{modality}"))
        return read_segmentation(path)[0]

    def show(self, view: str, depth: float) -> None:
        """All of the scans, with the slice at ``depth`` (mm along R, A or S)."""
        self.page.press("f")
        self.page.wait(self.page.slices, "sliders")
        script = """const e = document.querySelector(`[data-view="${arguments[0]}"] .slice`);
            e.value = arguments[1]; e.dispatchEvent(new Event('input')); return Number(e.value)"""
        nearest = self.page.browser.execute_script(script, view, depth)
        self.page.wait(lambda: abs(self.page.slices()[view] - nearest) < 0.01, "the slice")

    def shares(self, view: str, places: Sequence[Place]) -> list[tuple[float, float]]:
        """Where places (RAS, mm) are in a view, as shares of its width and height."""
        across, up, _ = _AXES[view[len("CrossModalSeg1") :]]
        size = self.page.view(view).size
        extent = self._upper - self._lower
        scale = _MARGIN * max(extent[across] / size["width"], extent[up] / size["height"])
        middle = (self._lower + self._upper) / 2
        return [
            (
                0.5 - (place[across] - middle[across]) / (scale * size["width"]),
                0.5 - (place[up] - middle[up]) / (scale * size["height"]),
            )
            for place in places
        ]

    def take(self, key: str, tool: str, structure: str) -> None:
        """Take a tool and a structure."""
        self.page.select("structure", structure)
        self.page.press(key)
        self.page.wait(lambda: self.page.tools_in_use() == [tool], tool)

    def put_down(self) -> None:
        """No tool from here on."""
        self.page.press("0")
        self.page.wait(lambda: self.page.tools_in_use() == ["No tool"], "the tool to be put down")

    def restore(self) -> None:
        """Back to the model's own result of the scan that is edited."""
        self.put_down()
        strokes = self.page.strokes()
        self.page.click("restore")
        self.page.click("dialog-yes")
        self.said_after(strokes)

    def draw(self, view: str, *places: Place) -> str:
        """Drag through places; returns what the page says that it has changed."""
        before = self.page.strokes()
        self.page.drag(view, *self.shares(view, places))
        return self.said_after(before)

    def said_after(self, before: int) -> str:
        self.page.wait(lambda: self.page.strokes() > before, "a stroke")
        return self.page.text("stroke")


def counts(labels: np.ndarray) -> dict[int, int]:
    """Voxels by label value."""
    values, numbers = np.unique(labels, return_counts=True)
    return dict(zip(values.tolist(), numbers.tolist(), strict=True))


def circle(centre: Any, radius: float, depth: float, steps: int = 16) -> list[Place]:
    """A ring in an axial slice."""
    angles = np.linspace(0, 2 * np.pi, steps)
    return [(centre[0] + radius * np.cos(a), centre[1] + radius * np.sin(a), depth) for a in angles]
