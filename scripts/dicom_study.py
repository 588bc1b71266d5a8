"""Writes volumes as the DICOM series of a made-up study: for `make pacs-demo`, and for trying a PACS connection out.

    python scripts/dicom_study.py FOLDER

writes the sample pair as two MR series into FOLDER.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from CrossModalSegLib.imaging.grid import LPS_TO_RAS, Grid
from CrossModalSegLib.imaging.volume import read_volume

SAMPLES = Path(__file__).resolve().parents[1] / "CrossModalSeg" / "Resources" / "SampleData"
_HIGHEST = 4000  # of the stored values


@dataclass(frozen=True)
class Study:
    """What the series of a study share."""

    patient_id: str = "PHANTOM-1"
    patient_name: str = "Phantom^Digital"
    uid: str = field(default_factory=generate_uid)
    frame_of_reference: str = field(default_factory=generate_uid)


def write_mr_series(
    folder: Path,
    array: np.ndarray,
    grid: Grid,
    study: Study,
    description: str,
    number: int,
    image_type: Sequence[str] = ("ORIGINAL", "PRIMARY", "M", "SE"),
    **further: object,
) -> str:
    """One MR image per slice of ``array`` (K, J, I), scaled to 0 to 4000; returns the series' UID.

    ``further`` are attributes by keyword that all images get.
    """
    series_uid = generate_uid()
    folder.mkdir(parents=True, exist_ok=True)
    low, high = float(array.min()), float(array.max())
    stored = np.round((array - low) * (_HIGHEST / (high - low))).astype("<i2")
    for n, pixels in enumerate(stored):
        image = _image(study, series_uid, description, number, image_type)
        image.InstanceNumber = n + 1
        image.ImagePositionPatient = [round(float(x), 6) for x in (LPS_TO_RAS @ grid.ijk_to_ras @ [0, 0, n, 1])[:3]]
        directions = LPS_TO_RAS[:3, :3] @ grid.direction
        image.ImageOrientationPatient = [round(float(x), 8) for x in (*directions[:, 0], *directions[:, 1])]
        columns, rows, slices = (round(length, 6) for length in grid.spacing_ijk)
        image.PixelSpacing, image.SliceThickness, image.SpacingBetweenSlices = [rows, columns], slices, slices
        image.Rows, image.Columns = pixels.shape
        image.PixelData = pixels.tobytes()
        for keyword, value in further.items():
            setattr(image, keyword, value)
        image.save_as(folder / f"{number:03d}-{n + 1:04d}.dcm", enforce_file_format=True)
    return series_uid


def write_sample_study(folder: Path, study: Study) -> None:
    """The sample pair as two series."""
    for number, (modality, description) in enumerate((("T1w", "t1 mprage"), ("T2w", "t2 tse")), start=2):
        volume = read_volume(SAMPLES / f"phantom_{modality}.nrrd", modality)
        array, grid = with_slices_along_the_normal(volume.array, volume.grid)
        write_mr_series(folder / modality, array, grid, study, description, number)


def with_slices_along_the_normal(array: np.ndarray, grid: Grid) -> tuple[np.ndarray, Grid]:
    """The same volume with K reversed where I, J, K are left-handed in LPS: as readers of DICOM stack slices."""
    if np.linalg.det(LPS_TO_RAS[:3, :3] @ grid.ijk_to_ras[:3, :3]) > 0:
        return array, grid
    flip = np.diag([1.0, 1.0, -1.0, 1.0])
    flip[2, 3] = array.shape[0] - 1
    return array[::-1], Grid(grid.shape_kji, grid.ijk_to_ras @ flip)


def _image(study: Study, series_uid: str, description: str, number: int, image_type: Sequence[str]) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = MRImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    image.update(_identity(study))
    image.SOPClassUID, image.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
    image.SeriesInstanceUID, image.SeriesNumber = series_uid, number
    image.Modality, image.SeriesDescription, image.ProtocolName = "MR", description, description
    image.ImageType = list(image_type)
    image.Manufacturer, image.PatientPosition, image.PositionReferenceIndicator = "phantom", "HFS", ""
    image.ScanningSequence, image.SequenceVariant, image.ScanOptions, image.MRAcquisitionType = "GR", "NONE", "", "3D"
    image.EchoTime, image.RepetitionTime, image.EchoTrainLength, image.AcquisitionNumber = "3", "2000", "1", "1"
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 1
    return image


def _identity(study: Study) -> Dataset:
    identity = Dataset()
    identity.PatientName, identity.PatientID = study.patient_name, study.patient_id
    identity.PatientBirthDate, identity.PatientSex = "19700101", "O"
    identity.StudyInstanceUID, identity.FrameOfReferenceUID = study.uid, study.frame_of_reference
    identity.StudyDate, identity.StudyTime, identity.StudyID = "20260101", "120000", "1"
    identity.AccessionNumber, identity.ReferringPhysicianName = "A1", ""
    identity.SeriesDate, identity.SeriesTime = "20260101", "120000"
    identity.ContentDate, identity.ContentTime = "20260101", "120000"
    return identity


if __name__ == "__main__":
    write_sample_study(Path(sys.argv[1]), Study())
