"""What the worker wrote, as nodes of the scene: segmentations, uncertainty, table and review list, or nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from CrossModalSegApp.scene.case_nodes import CaseNodes
from CrossModalSegApp.scene.placed_scan import PlacedScan
from CrossModalSegApp.scene.result_nodes import CaseBuilder
from CrossModalSegApp.scene.scene_io import labels_on_node, samples_on_node
from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.imaging.segmentation_io import SLICER_SUFFIX, read_segmentation
from CrossModalSegLib.imaging.volume import read_image


@dataclass(frozen=True)
class RunOutput:
    """What a run of ``bundle`` on ``scans`` by modality has written into ``folder``, and its ``report``."""

    run_id: str
    scans: Mapping[str, PlacedScan]
    folder: Path
    report: dict[str, Any]
    bundle: Bundle


def import_result(scene: Any, output: RunOutput, has_surfaces: bool = True) -> CaseNodes:
    """Add the result in ``output`` to ``scene``; on any error all that was added is removed again.

    Per modality: a segmentation to correct, the model's own one beside it (hidden), an uncertainty volume in percent;
    for the case a table and a review list. Raises GeometryError ``volume-gone`` or ``volume-changed``, and what reading
    the files raises.
    """
    for modality, scan in output.scans.items():
        scan.require_unchanged(scene, modality)
    loaded = {modality: _load(scan, output.folder, modality) for modality, scan in output.scans.items()}
    with CaseBuilder(scene, output.run_id, output.bundle, output.report, has_surfaces) as builder:
        for modality, (labels, uncertainty) in loaded.items():
            builder.add_modality(modality, output.scans[modality].node, labels, uncertainty)
        builder.add_table()
        builder.add_review()
        return builder.case


def _load(scan: PlacedScan, folder: Path, modality: str) -> tuple[Any, Any]:
    """Labels and uncertainty (K, J, I) on the node's own grid; a scan that has been moved meanwhile takes them
    along."""
    labels, grid, _ = read_segmentation(folder / f"{modality}_segmentation{SLICER_SUFFIX}")
    uncertainty, _ = read_image(folder / f"uncertainty_{modality}.nrrd")
    if not scan.is_warped:  # the exported voxels are the node's own
        return labels, uncertainty
    return labels_on_node(scan.node, labels, grid), samples_on_node(scan.node, uncertainty, grid)
