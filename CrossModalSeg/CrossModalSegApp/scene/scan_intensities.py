"""What a scan shows at the voxels of another one."""

from typing import Any

import numpy as np

from CrossModalSegApp.scene.drawn_by_hand import Box
from CrossModalSegApp.scene.node_geometry import places_in
from CrossModalSegApp.scene.scene_io import voxels_of
from CrossModalSegLib.imaging.resampling import samples_at


def intensities_in(box: Box, scan: Any, volume: Any) -> np.ndarray:
    """Of ``scan`` at the voxels of ``volume`` in ``box``: float32 (K, J, I), not a number where it does not reach."""
    voxels = voxels_of(scan)
    if scan is volume:
        return np.asarray(voxels[box]).astype(np.float32)
    places = places_in(scan, volume, box)
    found = samples_at(np.asarray(voxels).astype(np.float32), places)
    inside = ((places >= -0.5) & (places <= np.array(voxels.shape[::-1]) - 0.5)).all(axis=-1)
    return np.where(inside, found, np.float32(np.nan))
