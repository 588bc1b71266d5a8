"""What can be measured in one structure of a result: its volume, and what each scan shows in it."""

from dataclasses import dataclass

import numpy as np

from CrossModalSegApp.scene.case_nodes import CaseNodes
from CrossModalSegApp.scene.node_geometry import local_grid, world_grid
from CrossModalSegApp.scene.scene_io import voxels_of
from CrossModalSegApp.scene.segmentation_labels import marked_labels


@dataclass(frozen=True)
class Measure:
    """Of a structure in one scan: its volume in the world, and mean and standard deviation of the scan's intensity in
    it; None where the scan has no voxel of it."""

    modality: str
    volume_ml: float
    mean: float | None
    deviation: float | None


def measure(case: CaseNodes, value: int) -> list[Measure]:
    """The structure with this label value in every scan of ``case``. Raises LabelError as `marked_labels` does."""
    found = []
    for modality, node in case.segmentations.items():
        volume = case.volumes.get(modality)
        if volume is None:
            continue
        inside = marked_labels(node, volume) == value
        intensities = np.asarray(voxels_of(volume))[inside]
        ml = float(np.count_nonzero(inside)) * (world_grid(volume) or local_grid(volume)).voxel_volume_ml
        mean, deviation = (float(intensities.mean()), float(intensities.std())) if intensities.size else (None, None)
        found.append(Measure(modality, ml, mean, deviation))
    return found
