"""Pairs of scans to be timed on: the phantom as it is, and on other grids, as NIfTI files."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from CrossModalSegApp.web.files_section import sample_pair
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.segmentation_io import read_segmentation
from CrossModalSegLib.imaging.volume import Volume, read_volume, write_volume

TRUTH = "phantom_labels.nrrd"  # on the grid of the first scan


@dataclass(frozen=True)
class Shape:
    """Voxels (i, j, k) of a scan and its field of view in mm, around the phantom's centre."""

    voxels: tuple[int, int, int]
    extent_mm: tuple[float, float, float]


_FINE = Shape((512, 512, 150), (230.0, 230.0, 180.0))
PAIRS: dict[str, tuple[Shape, Shape] | None] = {
    "phantom": None,
    "256": (Shape((256, 256, 256), (256.0, 256.0, 256.0)),) * 2,
    "150": (_FINE, Shape((320, 260, 80), (230.0, 187.0, 180.0))),
    "600": (Shape((512, 512, 600), (230.0, 230.0, 210.0)),) * 2,
}  # type: ignore[dict-item]


@dataclass(frozen=True)
class Pair:
    """NIfTI files by modality, and the phantom's label values (K, J, I) on the first scan's grid."""

    files: Mapping[str, Path]
    truth: Mapping[str, np.ndarray]


def write_pair(name: str, folder: Path) -> Pair:
    """The pair of `PAIRS` with this name, written into ``folder``."""
    shapes = PAIRS[name]
    scans = {modality: read_volume(path, modality) for modality, path in sample_pair().items()}
    first = next(iter(scans))
    truth, labelled = read_segmentation(sample_pair()[first].with_name(TRUTH))[0], scans[first].grid
    if shapes is not None:
        centre = (labelled.ijk_to_ras @ [*((np.array(labelled.shape_kji[::-1]) - 1) / 2), 1.0])[:3]
        grids = {modality: _grid(shape, centre) for modality, shape in zip(scans, shapes, strict=True)}
        truth = _on(grids[first], truth.astype(np.uint16), labelled, sitk.sitkNearestNeighbor)
        scans = {
            modality: Volume(_on(grids[modality], scan.array, scan.grid, sitk.sitkLinear), grids[modality], modality)
            for modality, scan in scans.items()
        }
    files = {modality: folder / f"{modality}.nii.gz" for modality in scans}
    for modality, scan in scans.items():
        write_volume(files[modality], scan.array, scan.grid)
    return Pair(files, {first: truth})


def _grid(shape: Shape, centre: np.ndarray) -> Grid:
    affine = np.diag([*(np.array(shape.extent_mm) / shape.voxels), 1.0])
    affine[:3, 3] = centre - affine[:3, :3] @ ((np.array(shape.voxels) - 1) / 2)
    return Grid(shape.voxels[::-1], affine)


def _on(grid: Grid, array: np.ndarray, own: Grid, interpolator: int) -> np.ndarray:
    """``array`` (K, J, I) on ``own``, brought onto ``grid``; 0 outside."""
    image, reference = sitk.GetImageFromArray(array), sitk.Image(*grid.shape_ijk, sitk.sitkUInt8)
    own.to_sitk_geometry(image)
    grid.to_sitk_geometry(reference)
    return sitk.GetArrayFromImage(sitk.Resample(image, reference, sitk.Transform(), interpolator))
