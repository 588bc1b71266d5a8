"""Scans in files as people have them: loose images, DICOM series in folders, zip files of either."""

from dataclasses import dataclass
from pathlib import Path

from CrossModalSegLib.datasets.layout import natural, stem_of
from CrossModalSegLib.errors import InputError
from CrossModalSegLib.imaging.dicom import Series, Source, series_of
from CrossModalSegLib.imaging.dicom_tree import HIDDEN, scan_tree
from CrossModalSegLib.imaging.volume import files_of
from CrossModalSegLib.imaging.zip_files import unpack
from CrossModalSegLib.plurals import some_of

_NAMED = 5  # files, in a message
LARGEST_UNPACKED_BYTES = 8_000_000_000


@dataclass(frozen=True)
class ScanFile:
    """A scan that `volume.read_volume` can read from ``path``.

    ``name`` is what to call it, never a patient's name; ``dicom_modality`` such as "MR", and ``patient_id``, are ""
    where the file does not say.
    """

    path: Source
    name: str
    dicom_modality: str = ""
    patient_id: str = ""


def scans_in(folder: Path) -> list[ScanFile]:
    """The images below ``folder``, and the DICOM series of the whole tree, those with most slices first; zip files are
    unpacked beside themselves.

    Raises InputError ``no-scans`` where there are none, which names what could not be read, and what unpacking raises.
    """
    return sorted_out(folder)[0]


def sorted_out(folder: Path) -> tuple[list[ScanFile], list[str]]:
    """`scans_in`, and the names of the files that belong to no scan."""
    for archive in sorted(folder.rglob("*.zip")):
        unpack(archive, archive.with_name(f"{archive.name} unpacked"), LARGEST_UNPACKED_BYTES)
    tree = scan_tree(folder)
    files = sorted(filter(_is_wanted, tree.files), key=lambda path: natural(str(path)))
    images = [ScanFile(path, stem) for path in files if (stem := stem_of(path))]
    of_images = {file.name for image in images for file in _files_of(image)}
    series = sorted(series_of(tree), key=lambda one: -one.slice_count)
    others = [one.path.name for one in tree.passed_over if one.kind != HIDDEN and _is_wanted(one.path)]
    others = [name for name in others if not stem_of(Path(name)) and name not in of_images] + [
        str(one) for one in tree.damaged
    ]
    if not images and not series:
        what = f"no scan: {some_of(others, _NAMED)}" if others else "there are no files"
        raise InputError("no-scans", what, "give NIfTI, NRRD, MetaImage or DICOM files, or a zip file of them")
    return images + [_scan_of(one) for one in series], others


def _files_of(image: ScanFile) -> tuple[Path, ...]:
    return files_of(image.path) if isinstance(image.path, Path) else ()


def _scan_of(series: Series) -> ScanFile:
    first = series.images[0]
    return ScanFile(series, series.name, first.modality, first.patient.id)


def _is_wanted(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and path.suffix != ".zip"
