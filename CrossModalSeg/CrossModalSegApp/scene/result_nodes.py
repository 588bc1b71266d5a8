"""A result as nodes of the scene: all of it, or nothing."""

from collections.abc import Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import numpy as np

from CrossModalSegApp.scene.case_nodes import About, CaseNodes, mark
from CrossModalSegApp.scene.node_geometry import local_grid
from CrossModalSegApp.scene.result_table import add_table
from CrossModalSegApp.scene.review import add_review
from CrossModalSegApp.scene.segmentation_nodes import add_segmentation
from CrossModalSegApp.scene.subject_tree import place_beside, remove
from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.errors import GeometryError

_UNCERTAINTY_COLORS = "vtkMRMLColorTableNodeIron"


def add_uncertainty(scene: Any, volume_node: Any, percent: np.ndarray, name: str) -> Any:
    """Add ``percent`` (K, J, I), 0 to 100 on the own grid of ``volume_node``, as a scalar volume called ``name``.

    It lies under the volume's parent transform and beside it in the subject hierarchy. On an error nothing is left in
    the scene: GeometryError ``shape-mismatch``.
    """
    import slicer

    grid = local_grid(volume_node)
    if percent.shape != grid.shape_kji:
        message = f"an array of shape {percent.shape} for a scan of {grid.shape_kji}"
        raise GeometryError("shape-mismatch", message, "give values on the scan's own grid")
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    try:
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(grid.ijk_to_ras))
        node.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())
        slicer.util.updateVolumeFromArray(node, percent)
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        if scene.GetNodeByID(_UNCERTAINTY_COLORS):
            display.SetAndObserveColorNodeID(_UNCERTAINTY_COLORS)
        display.AutoWindowLevelOff()
        display.SetWindowLevelMinMax(0, 100)
        place_beside(volume_node, node)
    except BaseException:
        remove(node)
        raise
    return node


class CaseBuilder:
    """Adds the nodes of one result to ``scene``, one after the other; leaving the block by an error removes them all.

    ``report`` is what the run wrote (`case_output.case_report`). ``case`` holds what has been added so far.
    """

    def __init__(self, scene: Any, run_id: str, bundle: Bundle, report: Mapping[str, Any], has_surfaces: bool = True):
        self._has_surfaces = has_surfaces
        self._scene = scene
        self._bundle = bundle
        self._report = report
        created = datetime.now().isoformat(timespec="microseconds")
        structures = report["structures"]
        modalities = tuple(structures[0]["volume_ml"]) if structures else ()
        self.case = CaseNodes(About(run_id, bundle.name, bundle.sha256, created, notice(report), modalities))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self.case.remove()

    def add_modality(self, modality: str, volume_node: Any, labels: np.ndarray, uncertainty: np.ndarray) -> None:
        """Add a scan's result: a segmentation to correct, the model's own, hidden, and the uncertainty in percent.

        Both arrays are (K, J, I) on the scan's own grid. Raises what `add_segmentation` and `add_uncertainty` raise.
        """
        case, label_map, scan = self.case, self._bundle.label_map, volume_node.GetName()
        case.volumes[modality] = volume_node
        name = self._name(f"{scan} segmentation")
        case.segmentations[modality] = add_segmentation(
            volume_node, labels, label_map, name, has_surfaces=self._has_surfaces
        )
        mark(case.segmentations[modality], "segmentation", case.about, modality, volume_node)
        name = self._name(f"{scan} segmentation by {self._bundle.name}")
        case.models[modality] = add_segmentation(volume_node, labels, label_map, name, is_shown=False)
        mark(case.models[modality], "model", case.about, modality, volume_node)
        name = self._name(f"{scan} uncertainty")
        case.uncertainties[modality] = add_uncertainty(self._scene, volume_node, uncertainty, name)
        mark(case.uncertainties[modality], "uncertainty", case.about, modality, volume_node)

    def add_table(self) -> None:
        """Add the table of volumes, confidence and agreement."""
        self.case.table = add_table(self._scene, self._report, self._name(f"{self._scans()} volumes"))
        self._place(self.case.table)
        mark(self.case.table, "table", self.case.about)

    def add_review(self) -> None:
        """Add the list of places to check."""
        places = self._report.get("review", ())
        self.case.review = add_review(self._scene, places, self._name(f"{self._scans()} review"))
        self._place(self.case.review.table)
        mark(self.case.review.table, "review", self.case.about)

    def _scans(self) -> str:
        return " + ".join(node.GetName() for node in self.case.volumes.values())

    def _place(self, node: Any) -> None:
        for volume in list(self.case.volumes.values())[:1]:
            place_beside(volume, node)

    def _name(self, wanted: str) -> str:
        return self._scene.GetUniqueNameByString(wanted)


def notice(report: Mapping[str, Any]) -> str:
    """What a user should know about how a result came about: the device, and what did not go as usual."""
    device = {"cpu": "CPU"}.get(report["device"], "GPU")
    fallbacks = "".join(f" {fallback}." for fallback in report["fallbacks"])
    return f"Computed on the {device}.{fallbacks}"
