"""Scans in files as people have them: loose images, DICOM series in folders, zip files of either."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.errors import InvalidDicomError

from CrossModalSegLib.datasets.layout import natural, stem_of
from CrossModalSegLib.errors import InputError
from CrossModalSegLib.imaging.dicom import is_dicom
from CrossModalSegLib.imaging.zip_files import unpack

LARGEST_UNPACKED_BYTES = 8_000_000_000
_HEADER = ("PatientID", "SeriesInstanceUID", "SeriesDescription", "ProtocolName", "Modality", "Rows")


@dataclass(frozen=True)
class ScanFile:
    """A scan that `volume.read_volume` can read from ``path`` (for DICOM, a file of the series).

    ``name`` is what to call it, never a patient's name; ``dicom_modality`` such as "MR", and ``patient_id``, are "" where
    the file does not say.
    """

    path: Path
    name: str
    dicom_modality: str = ""
    patient_id: str = ""


def scans_in(folder: Path) -> list[ScanFile]:
    """The images and DICOM series below ``folder``; zip files are unpacked beside themselves.

    Raises InputError ``no-scans`` where there are none, and what unpacking raises.
    """
    for archive in sorted(folder.rglob("*.zip")):
        unpack(archive, archive.with_name(f"{archive.name} unpacked"), LARGEST_UNPACKED_BYTES)
    files = sorted((path for path in folder.rglob("*") if _is_wanted(path)), key=lambda path: natural(str(path)))
    images = [ScanFile(path, stem) for path in files if (stem := stem_of(path))]
    series = _series(path for path in files if not stem_of(path) and is_dicom(path))
    if not images and not series:
        what = f"none of {len(files)} files is a scan" if files else "there are no files"
        raise InputError("no-scans", what, "give NIfTI, NRRD, MetaImage or DICOM files, or a zip file of them")
    return images + series


def _is_wanted(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and path.suffix != ".zip"


def _series(files: Iterable[Path]) -> list[ScanFile]:
    """One scan per DICOM series, those with most files first; what has no pixels is passed over."""
    found: dict[str, list[ScanFile]] = {}
    for path in files:
        header = _header(path)
        if "Rows" in header and "SeriesInstanceUID" in header:
            name = str(header.get("SeriesDescription", "") or header.get("ProtocolName", "") or "DICOM series").strip()
            one = ScanFile(path, name, str(header.get("Modality", "")), str(header.get("PatientID", "")))
            found.setdefault(str(header.SeriesInstanceUID), []).append(one)
    return [group[0] for group in sorted(found.values(), key=len, reverse=True)]


def _header(path: Path) -> pydicom.Dataset:
    try:
        return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_HEADER))
    except (InvalidDicomError, EOFError) as error:
        raise InputError("unreadable", f"{path.name}: {error}", "copy or export the series again") from error
