"""Segmentations as files: ``.seg.nrrd`` with names, colours and terminology for 3D Slicer, or plain ``.nii.gz``.

Source of the format: Slicer developer guide, "Segmentation labelmap file format (.seg.nrrd)", and what Slicer's
``vtkMRMLSegmentationStorageNode`` reads: an NRRD volume with one set of ``Segment<n>_...`` fields per segment.
"""

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from CrossModalSegLib.atomic import staged_file
from CrossModalSegLib.errors import GeometryError, LabelError, OutputError
from CrossModalSegLib.imaging.dicom_segments import is_segmentation_object, read_segmentation_object
from CrossModalSegLib.imaging.finding import log_warnings
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.nifti_forms import NiftiForms
from CrossModalSegLib.imaging.nifti_writer import write_nifti_like
from CrossModalSegLib.imaging.nrrd import read_nrrd_header
from CrossModalSegLib.imaging.slicer_segments import BINARY, TERMINOLOGY_TAG, has_segments, merged, segments_in
from CrossModalSegLib.imaging.stored_image import read_voxels
from CrossModalSegLib.imaging.volume import read_image
from CrossModalSegLib.labels import LabelMap

SLICER_SUFFIX = ".seg.nrrd"
NIFTI_SUFFIX = ".nii.gz"

_NRRD_SUFFIXES = (".nrrd", ".nhdr")


def write_segmentation(
    path: str | Path, labels: np.ndarray, grid: Grid, label_map: LabelMap, forms: NiftiForms | None = None
) -> None:
    """Write label values (K, J, I) on ``grid``; the suffix decides between ``.seg.nrrd`` and ``.nii.gz``.

    A ``.seg.nrrd`` has one segment per structure of ``label_map``, in its order and also where ``labels`` has none of
    it, so that a person can add what was missed. Voxels are uint8, or uint16 where the label map needs it; both formats
    are compressed. The file appears whole or not at all. ``forms`` are the scan's own, where that is a NIfTI file: a
    ``.nii.gz`` has the same.

    Raises LabelError ``not-integers`` or ``unknown-label-values``, GeometryError ``shape-mismatch``, OutputError
    ``unknown-format`` or ``cannot-write``.
    """
    path = Path(path)
    if not path.name.endswith((SLICER_SUFFIX, NIFTI_SUFFIX)):
        raise OutputError("unknown-format", f"segmentation {path}", f"use {SLICER_SUFFIX} or {NIFTI_SUFFIX}")
    refuse_wrong_labels(labels, grid, label_map)
    stored = labels.astype(np.uint8 if max(label_map.values) <= 255 else np.uint16)
    if forms is not None and path.name.endswith(NIFTI_SUFFIX):
        write_nifti_like(path, stored, forms)
        return
    image = sitk.GetImageFromArray(stored)
    grid.to_sitk_geometry(image)
    if path.name.endswith(SLICER_SUFFIX):
        for key, value in _slicer_fields(label_map, grid).items():
            image.SetMetaData(key, value)
    with staged_file(path) as staging:
        try:
            sitk.WriteImage(image, str(staging), useCompression=True)
        except RuntimeError as error:
            raise OutputError("cannot-write", f"{path}: {error}", "check space and rights") from error


def read_segmentation(
    path: str | Path, assumed_orientation: str | None = None
) -> tuple[np.ndarray, Grid, LabelMap | None]:
    """Label values (K, J, I) in the file's own type, their grid, and the label map where the file holds one.

    Reads what ``write_segmentation`` writes, segmentations saved by any version of 3D Slicer (`slicer_segments`), DICOM
    Segmentations (`dicom_segments`: by the segments' numbers) and any label volume (no label map).

    Raises what ``read_image`` raises, and what `slicer_segments` and `dicom_segments` raise.
    """
    path = Path(path)
    if is_segmentation_object(path):
        return read_segmentation_object(path)
    header = read_nrrd_header(path) if path.is_file() and path.name.lower().endswith(_NRRD_SUFFIXES) else None
    if header is None or not has_segments(header.fields):
        return *read_image(path, assumed_orientation), None
    segments = segments_in(header.fields, header.components, path)
    if header.dtype is None or len(header.sizes) != 3:
        raise LabelError("bad-label-map", f"{path}: its layers are not 3D volumes", "save the segmentation again")
    voxels = read_voxels(header)
    layers = voxels if header.components > 1 else voxels[..., None]
    labels, label_map = merged(layers, segments, path)
    grid, findings = header.placement.grid(path, header.shape_ijk, assumed_orientation)
    log_warnings(path, findings)
    return labels, grid, label_map


def refuse_wrong_labels(labels: np.ndarray, grid: Grid, label_map: LabelMap) -> None:
    """Raises what `write_segmentation` raises of ``labels`` (K, J, I) that are not of this grid or label map."""
    if labels.shape != grid.shape_kji:
        raise GeometryError(
            "shape-mismatch",
            f"labels of shape {labels.shape} on a grid of {grid.shape_kji}",
            "give labels of this grid",
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise LabelError("not-integers", f"labels are {labels.dtype}", "give label values as integers")
    found: set[int] = set().union(*(np.unique(plane).tolist() for plane in labels))  # by slice, to spare memory
    unknown = sorted(found - set(label_map.channels))
    if unknown:
        listed = ", ".join(map(str, unknown))
        raise LabelError("unknown-label-values", f"the label map has no {listed}", "write values of the label map")


def _slicer_fields(label_map: LabelMap, grid: Grid) -> dict[str, str]:
    # All segments share one layer, and Slicer reads a layer within the extent of its first segment: a tight extent
    # there would cut off all others.
    extent = " ".join(f"0 {size - 1}" for size in grid.shape_ijk)
    fields = {
        "Segmentation_ContainedRepresentationNames": f"{BINARY}|",
        "Segmentation_MasterRepresentation": BINARY,
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }
    for number, structure in enumerate(label_map.structures):
        segment = {
            "ID": f"Segment_{structure.value}",
            "Name": structure.name,
            "NameAutoGenerated": "0",
            "Color": " ".join(f"{part / 255:.6f}" for part in structure.color),
            "ColorAutoGenerated": "0",
            "LabelValue": str(structure.value),
            "Layer": "0",
            "Extent": extent,
        }
        if structure.terminology:
            segment["Tags"] = f"{TERMINOLOGY_TAG}:{structure.terminology.slicer_tag()}|"
        fields |= {f"Segment{number}_{key}": value for key, value in segment.items()}
    return fields
