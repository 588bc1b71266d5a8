"""Label maps onto another grid."""

import numpy as np
import SimpleITK as sitk

from CrossModalSegLib.grid import Grid


def resample_labels(labels: np.ndarray, source: Grid, target: Grid) -> np.ndarray:
    """Label values (K, J, I) of ``source`` at the nearest voxel of each voxel of ``target``; 0 outside.

    For pictures and for training targets on a coarser grid. Results go back to a volume's own grid by their
    probabilities instead (native_grid.py).
    """
    image = sitk.GetImageFromArray(labels)
    source.to_sitk_geometry(image)
    reference = sitk.Image(target.shape_ijk, sitk.sitkUInt8)
    target.to_sitk_geometry(reference)
    return sitk.GetArrayFromImage(sitk.Resample(image, reference, sitk.Transform(), sitk.sitkNearestNeighbor, 0))
