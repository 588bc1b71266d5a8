"""Small DICOM series for tests, written from a volume: one file per slice, or one enhanced multi-frame file."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedMRImageStorage, ExplicitVRLittleEndian, generate_uid

from CrossModalSegLib.imaging.grid import LPS_TO_RAS, Grid


def write_series(
    folder: Path,
    array: np.ndarray,
    grid: Grid,
    *,
    series_uid: str | None = None,
    description: str = "axial",
    slope: float = 1.0,
    intercept: float = 0.0,
    name: str = "IM{:04d}",
) -> list[Path]:
    """One CT file per slice of ``array`` (K, J, I) int16; returns the files in the order of the slices."""
    series_uid = series_uid or generate_uid()
    study_uid, frame_of_reference = (generate_uid(entropy_srcs=[series_uid, what]) for what in ("study", "frame"))
    folder.mkdir(exist_ok=True, parents=True)
    files = []
    for n, pixels in enumerate(array):
        header = _header(CTImageStorage, series_uid, description, pixels.shape)
        header.StudyInstanceUID, header.FrameOfReferenceUID = study_uid, frame_of_reference
        header.InstanceNumber = len(array) - n  # runs against the positions: not to be relied on
        header.ImagePositionPatient = position(grid, n)
        header.ImageOrientationPatient = orientation(grid)
        header.PixelSpacing = in_plane_spacing(grid)
        header.SliceThickness = grid.spacing_ijk[2]
        header.RescaleSlope, header.RescaleIntercept = slope, intercept
        header.PixelData = pixels.astype("<i2").tobytes()
        files.append(_save(header, folder / name.format(n)))
    return files


def write_enhanced(file: Path, array: np.ndarray, grid: Grid, frame_order: list[int], slopes: list[float]) -> None:
    """One enhanced MR file whose frames are the slices of ``array`` (K, J, I) int16 in ``frame_order``.

    ``slopes`` are the rescale slopes of the frames.
    """
    header = _header(EnhancedMRImageStorage, generate_uid(), "enhanced", array.shape[1:])
    header.NumberOfFrames = len(frame_order)
    shared = Dataset()
    shared.PlaneOrientationSequence = [_item(ImageOrientationPatient=orientation(grid))]
    measures = _item(PixelSpacing=in_plane_spacing(grid), SliceThickness=grid.spacing_ijk[2])
    shared.PixelMeasuresSequence = [measures]
    header.SharedFunctionalGroupsSequence = [shared]
    header.PerFrameFunctionalGroupsSequence = [
        _frame(position(grid, n), slope) for n, slope in zip(frame_order, slopes, strict=True)
    ]
    header.PixelData = array[frame_order].astype("<i2").tobytes()
    _save(header, file)


def position(grid: Grid, n: int) -> list[float]:
    """LPS position of the first voxel of slice ``n``."""
    return [round(float(x), 6) for x in (LPS_TO_RAS @ grid.ijk_to_ras @ [0, 0, n, 1])[:3]]


def orientation(grid: Grid) -> list[float]:
    """LPS direction cosines of growing column index, then of growing row index."""
    directions = LPS_TO_RAS[:3, :3] @ grid.direction
    return [round(float(x), 8) for x in (*directions[:, 0], *directions[:, 1])]


def in_plane_spacing(grid: Grid) -> list[float]:
    """Distance between rows, then between columns."""
    columns, rows, _ = grid.spacing_ijk
    return [rows, columns]


def _header(sop_class: str, series_uid: str, description: str, shape: tuple[int, ...]) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    header.SOPClassUID, header.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    header.StudyInstanceUID, header.SeriesInstanceUID = generate_uid(), series_uid
    header.FrameOfReferenceUID = generate_uid()
    header.Modality = "CT" if sop_class == CTImageStorage else "MR"
    header.SeriesDescription = description
    header.PatientName, header.PatientID = "Phantom", "1"
    header.Rows, header.Columns = shape
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 1
    return header


def _frame(where: list[float], slope: float) -> Dataset:
    frame = Dataset()
    frame.PlanePositionSequence = [_item(ImagePositionPatient=where)]
    frame.PixelValueTransformationSequence = [_item(RescaleSlope=slope, RescaleIntercept=0.0, RescaleType="US")]
    return frame


def _item(**attributes: object) -> Dataset:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


def _save(header: FileDataset, file: Path) -> Path:
    header.save_as(file, enforce_file_format=True)
    return file
