"""All DICOM files below a folder, looked at once: the images, what is no image, and what may have been one.

Nothing is left out without a trace: every file is an image, or passed over because it is known to be something else, or
damaged. Links are followed, each folder is looked at once.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from CrossModalSegLib.errors import InputError, read_error
from CrossModalSegLib.imaging.dicom_header import (
    HEAD_BYTES,
    DamagedHeader,
    ImageFile,
    OtherObject,
    begins_dicom,
    read_data_set,
    read_header,
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


MOST_FILES = 200_000
DIRECTORY = "DICOMDIR"
HIDDEN = "hidden"
OTHER = "known to be no slice"
_SUFFIXES = _words("""
.txt .text .csv .tsv .json .xml .xsl .html .htm .css .js .pdf .doc .docx .xls .xlsx .ppt .pptx .rtf .md .rst .log .ini
.cfg .conf .inf .yml .yaml .toml .exe .dll .bat .cmd .sh .py .m .r .jar .class .app .msi .lnk .url .db .sqlite .png .jpg
.jpeg .gif .bmp .tif .tiff .svg .webp .ico .avi .mp4 .mov .mpg .wmv .wav .zip .7z .rar .tar .gz .tgz .bz2 .xz .zst .nii
.nrrd .nhdr .mha .mhd .hdr .img .mgz .mgh .mnc .bval .bvec .bvals .bvecs .stl .obj .vtk .vtp .ply .mrml .mrb .mat .npy
.npz .pkl .h5 .md5 .sha1 .sha256 .sig .raw .zraw
""")
_NAMES = _words("""
readme license licence copying notice changes changelog version lockfile autorun index manifest contents checksums
md5sums sha1sums sha256sums thumbs.db desktop.ini icon
""")
_SIGNATURES = (b"%PDF", b"\x89PNG", b"\xff\xd8\xff", b"PK\x03\x04", b"\x1f\x8b", b"GIF8", b"MZ", b"\x7fELF", b"SQLite")
_POINTERS = (b"/annex/objects", b"git-lfs", b".git/annex")


@dataclass(frozen=True)
class DamagedFile:
    """A file that may be a slice, and cannot be read: ``reason`` in words. ``series_uid``: "" where it is not known."""

    path: Path
    reason: str
    series_uid: str = ""

    def __str__(self) -> str:
        return f"{self.path.name} {self.reason}"


@dataclass(frozen=True)
class PassedOver:
    """A file that is no slice; ``kind`` is ``HIDDEN``, ``OTHER`` or the kind of a DICOM object."""

    path: Path
    kind: str


@dataclass(frozen=True, eq=False)
class DicomTree:
    """What lies below ``folder`` (not ``deep``: directly in it), all of it sorted by path. ``listed`` is what its
    DICOMDIR files say: the images' instance UIDs by series UID, with the file's path on the medium."""

    folder: Path
    images: tuple[ImageFile, ...]
    damaged: tuple[DamagedFile, ...]
    passed_over: tuple[PassedOver, ...]
    listed: Mapping[str, Mapping[str, str]]
    deep: bool = True

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that were looked at; what is hidden was not."""
        images, damaged = [one.path for one in self.images], [one.path for one in self.damaged]
        return (*images, *damaged, *(one.path for one in self.passed_over if one.kind != HIDDEN))


def scan_tree(folder: Path, deep: bool = True) -> DicomTree:
    """Look at every file below ``folder``; not ``deep``: at those directly in it.

    Raises InputError ``too-many-files``, and what `errors.read_error` makes of a folder that cannot be read.
    """
    looker = _Looker(folder, deep)
    for number, path in enumerate(sorted(looker.files()), start=1):
        if number > MOST_FILES:
            hint = "give the folder of the series or of the examination"
            raise InputError("too-many-files", f"{folder} holds more than {MOST_FILES} files", hint)
        looker.look_at(path)
    return looker.tree()


class _Looker:
    """Collects what a tree holds."""

    def __init__(self, folder: Path, deep: bool):
        self.folder, self.deep = folder, deep
        self._images: list[ImageFile] = []
        self._damaged: list[DamagedFile] = []
        self._passed_over: list[PassedOver] = []
        self._listed: dict[str, dict[str, str]] = {}

    def files(self) -> Iterator[Path]:
        """The files to look at; what is hidden is passed over, a folder below that cannot be listed is damaged."""
        waiting, seen = [self.folder], set()
        while waiting:
            place = waiting.pop()
            try:
                facts = place.stat()
                entries = list(os.scandir(place)) if (facts.st_dev, facts.st_ino) not in seen else []
            except OSError as error:
                if place == self.folder:
                    raise read_error(str(place), error) from error
                self._damaged.append(DamagedFile(place, f"is a folder that cannot be read ({error.strerror or error})"))
                continue
            seen.add((facts.st_dev, facts.st_ino))
            for entry in entries:
                path = place / entry.name
                if entry.name.startswith("."):
                    self._passed_over.append(PassedOver(path, HIDDEN))
                elif not _is_folder(entry):
                    yield path
                elif self.deep:
                    waiting.append(path)

    def look_at(self, path: Path) -> None:
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                self._passed_over.append(PassedOver(path, OTHER))  # a pipe would never answer
                return
            with path.open("rb") as stream:
                head = stream.read(HEAD_BYTES)
            if not begins_dicom(head):
                self._keep_foreign(path, head)
                return
            found = read_header(path)
        except FileNotFoundError:
            self._damaged.append(DamagedFile(path, "is a link to nothing"))
        except OSError as error:
            self._damaged.append(DamagedFile(path, f"cannot be opened ({error.strerror or error})"))
        except DamagedHeader as error:
            self._damaged.append(DamagedFile(path, f"cannot be used: {error}", error.series_uid))
        else:
            self._keep(found)

    def tree(self) -> DicomTree:
        """What has a suffix that is known of other files is damaged all the same where slices beside it have it,
        too."""
        suffixes = {(image.path.parent, image.path.suffix.lower()) for image in self._images}
        damaged: list[DamagedFile] = []
        other: list[DamagedFile] = []
        for one in self._damaged:
            path, suffix = one.path, one.path.suffix.lower()
            is_other = path.name.lower() in _NAMES or (suffix in _SUFFIXES and (path.parent, suffix) not in suffixes)
            (other if is_other else damaged).append(one)
        passed_over = [*self._passed_over, *(PassedOver(one.path, OTHER) for one in other)]
        return DicomTree(
            self.folder,
            tuple(self._images),
            tuple(damaged),
            tuple(sorted(passed_over, key=lambda one: one.path)),
            self._listed,
            self.deep,
        )

    def _keep(self, found: ImageFile | OtherObject) -> None:
        if isinstance(found, ImageFile):
            self._images.append(found)
            return
        self._passed_over.append(PassedOver(found.path, found.kind))
        if found.kind == DIRECTORY:
            for series, images in _listed_in(found.path).items():
                self._listed.setdefault(series, {}).update(images)

    def _keep_foreign(self, path: Path, head: bytes) -> None:
        if path.name.upper() == DIRECTORY:
            self._passed_over.append(PassedOver(path, DIRECTORY))
        elif head.startswith(_SIGNATURES):
            self._passed_over.append(PassedOver(path, OTHER))
        else:
            self._damaged.append(DamagedFile(path, _why_no_dicom(head)))


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _why_no_dicom(head: bytes) -> str:
    if not head:
        return "is empty"
    if any(mark in head for mark in _POINTERS):
        return "is a pointer of git-annex or Git LFS, not the file itself"
    return "ends within its header" if len(head) < HEAD_BYTES else "is no DICOM file"


def _listed_in(path: Path) -> dict[str, dict[str, str]]:
    """The images by series that a DICOMDIR lists (PS3.3 F.3); nothing where it is damaged: it is not needed."""
    try:
        records = {one.seq_item_tell: one for one in read_data_set(path).DirectoryRecordSequence}
        series = [one for one in records.values() if one.DirectoryRecordType == "SERIES"]
        return {str(one.SeriesInstanceUID): dict(_images_below(one, records)) for one in series}
    except Exception:  # noqa: BLE001 - pydicom raises anything where a file is damaged
        return {}


def _images_below(record: Dataset, records: Mapping[int, Dataset]) -> Iterator[tuple[str, str]]:
    place = int(record.OffsetOfReferencedLowerLevelDirectoryEntity)
    for _ in records:  # a chain that is no longer than there are records
        if not place:
            return
        below = records[place]
        if below.DirectoryRecordType == "IMAGE":
            parts = below.ReferencedFileID
            yield str(below.ReferencedSOPInstanceUIDInFile), parts if isinstance(parts, str) else "/".join(parts)
        place = int(below.OffsetOfTheNextDirectoryRecord)
