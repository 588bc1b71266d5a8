"""Label maps that are a folder of PNG slices beside a DICOM series, as CHAOS has them."""

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from CrossModalSegLib.errors import DataError
from CrossModalSegLib.imaging import dicom
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.png_check import refuse_damaged_png

SERIES = ("../DICOM_anon/InPhase", "../DICOM_anon")  # of the folder with the slices; the phases share their labels
# Grey values of CHAOS: 55 to 70 liver, 110 to 135 right kidney, 175 to 200 left kidney, 240 to 255 spleen in MR; 255 is
# the liver in CT, where nothing else is labelled.
MR_RANGES = ((55, 70, 1), (110, 135, 2), (175, 200, 3), (240, 255, 4))
CT_RANGES = ((255, 255, 1),)


def is_ground(path: Path) -> bool:
    """A folder of PNG slices."""
    return path.is_dir() and any(path.glob("*.png"))


def read_ground(folder: Path) -> tuple[np.ndarray, Grid]:
    """Labels (K, J, I) uint8, 1 to 4, on the grid of the series beside them. Raises DataError ``slices-differ``,
    InputError ``truncated`` or ``unreadable``.

    The n-th PNG belongs to the n-th DICOM file, both by name; the position in the header says where it lies.
    """
    series = next((folder / place for place in SERIES if (folder / place).is_dir()), None)
    if series is None:
        raise DataError("slices-differ", f"no DICOM_anon beside {folder}", "keep the folders as they were published")
    pictures = sorted(folder.glob("*.png"))
    found = dicom.series_at(series)
    slices = [image.slices[0] for image in found.images if image.slices]
    if len(pictures) != len(slices):
        message = f"{folder} has {len(pictures)} slices, {series.resolve()} {len(slices)}"
        raise DataError("slices-differ", message, "unpack the case again")
    grid = dicom.read_series(found).grid
    for picture in pictures:
        refuse_damaged_png(picture)
    grey = np.stack([sitk.GetArrayFromImage(sitk.ReadImage(str(picture))) for picture in pictures])
    labels = _translated(grey[np.argsort([one.position @ one.normal for one in slices])], folder)
    if labels.shape != grid.shape_kji:
        message = f"{folder}: slices of {labels.shape[1:]}, the series has {grid.shape_kji[1:]}"
        raise DataError("slices-differ", message, "unpack the case again")
    return labels, grid


def _translated(grey: np.ndarray, folder: Path) -> np.ndarray:
    ranges = CT_RANGES if folder.parent.parent.name == "CT" else MR_RANGES
    labels = np.zeros(grey.shape, dtype=np.uint8)
    for low, high, value in ranges:
        labels[(grey >= low) & (grey <= high)] = value
    return labels
