"""What a brush has passed, limited to what is alike in both scans of a result."""

import numpy as np
from scipy import ndimage

from CrossModalSegApp.scene.case_nodes import CaseNodes
from CrossModalSegApp.scene.node_geometry import local_grid
from CrossModalSegApp.scene.scan_intensities import intensities_in
from CrossModalSegLib.imaging.smart_brush import alike_in


def limited_to_alike(brush: np.ndarray, case: CaseNodes, modality: str) -> np.ndarray:
    """Which voxels of ``brush`` (K, J, I; bool) in the scan of ``modality`` look in all scans as its middle does."""
    volume = case.volumes[modality]
    if not brush.any():
        return brush
    (box,) = ndimage.find_objects(brush.astype(np.uint8))
    box = tuple(slice(max(one.start - 1, 0), one.stop + 1) for one in box)
    scans = [intensities_in(box, one, volume) for one in case.volumes.values()]
    limited = np.zeros_like(brush)
    limited[box] = alike_in(brush[box], scans, np.array(local_grid(volume).spacing_ijk[::-1]))
    return limited
