"""DICOM series: collected by their UID over a whole folder, checked slice by slice, and never read in part in
silence."""

import filecmp
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from CrossModalSegLib.errors import InputError
from CrossModalSegLib.imaging.channels import split_channel, split_series
from CrossModalSegLib.imaging.dicom_header import DamagedHeader, ImageFile, OtherObject, Slice, is_dicom, read_header
from CrossModalSegLib.imaging.dicom_pixels import INVERTED, read_pixels, same_pixels
from CrossModalSegLib.imaging.dicom_stack import (
    grid_of,
    kind_findings,
    numbering_findings,
    refuse_mixed_origin,
    stacked,
)
from CrossModalSegLib.imaging.dicom_tree import DamagedFile, DicomTree, scan_tree
from CrossModalSegLib.imaging.finding import Finding
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.plurals import counted, some_of

__all__ = ["Series", "Source", "is_dicom", "is_series", "read_series", "series_at", "series_in", "series_of"]

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_MOST_NEIGHBOURS = 50  # folders beside that of a series, in which the rest of it is looked for
_MOST_LOOKED_AT = 200  # files, for one of a series
_COPY_AGAIN = "copy or export the series again"


@dataclass(frozen=True, eq=False, repr=False)
class Series:
    """One series of a tree: all files with its UID, sorted by path."""

    tree: DicomTree
    uid: str
    images: tuple[ImageFile, ...]

    def __str__(self) -> str:
        """As it is given to the command line: ``folder#UID``."""
        return f"{self.tree.folder}#{self.uid}"

    def __repr__(self) -> str:
        return f"Series({self}, {counted(self.slice_count, 'slice')})"

    @property
    def name(self) -> str:
        """What to call it; never a patient's name."""
        return self.images[0].description or self.images[0].protocol or "DICOM series"

    @property
    def slice_count(self) -> int:
        return sum(len(image.slices) for image in self.images)

    @property
    def folders(self) -> frozenset[Path]:
        return frozenset(image.path.parent for image in self.images)


Source = Path | Series  # a scan by its path, or by what a tree was found to hold


@dataclass(frozen=True, eq=False)
class SeriesImage:
    """A series that was read: ``array`` (K, J, I) on ``grid``, the ``slices`` along K that it was read from, and what
    is worth knowing about its files."""

    array: np.ndarray
    grid: Grid
    slices: tuple[Slice, ...]
    findings: tuple[Finding, ...]


def is_series(path: Path) -> bool:
    """Whether this is read as DICOM: ``folder#UID``, a folder, or a DICOM file; ``file#1`` is as its file is."""
    whole = split_channel(path)[0]
    return split_series(path)[1] is not None or whole.is_dir() or is_dicom(whole)


def series_of(tree: DicomTree) -> list[Series]:
    """The series of a tree that have slices in space, in the order of their first files."""
    by_uid: dict[str, list[ImageFile]] = {}
    for image in tree.images:
        by_uid.setdefault(image.series_uid, []).append(image)
    found = [Series(tree, uid, tuple(images)) for uid, images in by_uid.items()]
    return [one for one in found if one.slice_count]


def series_in(folder: Path) -> list[Series]:
    """The series in the whole tree below ``folder``. Raises InputError ``unreadable`` or ``too-many-files``."""
    return series_of(scan_tree(folder))


def series_at(path: Path) -> Series:
    """The series that ``path`` means: the one of a folder, ``folder#UID`` of several, or that of a file in its folder.

    Raises InputError ``not-found`` (no DICOM images), ``several-series`` (lists them), ``no-position``, ``unreadable``.
    """
    place, uid = split_series(path)
    if place.is_file():
        return _series_of_file(place)
    tree = scan_tree(place)
    found = [one for one in series_of(tree) if uid in (None, one.uid)]
    if not found:
        raise _no_series(tree, uid)
    if len(found) > 1:
        listed = "; ".join(f"{one.uid} '{one.name}' {counted(one.slice_count, 'slice')}" for one in found)
        hint = f"name the one you mean: {place.name}#{found[0].uid}, or give a folder with that series alone"
        raise InputError("several-series", f"{place} holds {len(found)} series: {listed}", hint)
    return found[0]


def first_image(path: Path) -> ImageFile | None:
    """One file of the series that ``path`` means, found without a look at all others; None where none is found soon."""
    place, uid = split_series(path)
    files = [place] if place.is_file() else sorted(one for one in place.rglob("*") if one.is_file())
    found = (_image_in(file) for file in files[:_MOST_LOOKED_AT])
    return next((image for image in found if image and uid in (None, image.series_uid)), None)


def read_series(source: Path | Series) -> SeriesImage:
    """Read a whole series.

    Slices are ordered by position along their normal, values are rescaled. Raises what `series_at` raises; InputError
    ``unreadable`` or ``no-position`` (files among the slices that cannot be used), ``series-elsewhere`` (of a single
    file whose folder holds a part), ``instance-differs``, ``several-volumes`` (echoes or time points in one series),
    ``mixed-series`` (slices of different size, spacing, orientation or origin), ``missing-slices`` and
    ``uneven-slices`` (names the gap), ``not-3d`` (one slice), ``not-scalar``, ``compression``; GeometryError
    ``gantry-tilt``.
    """
    series = source if isinstance(source, Series) else series_at(source)
    path = series.tree.folder
    _refuse_damaged(series)
    _refuse_not_listed(series)
    findings = [] if isinstance(source, Series) else list(_parts_elsewhere(series))
    images, copies = _each_once(series)
    findings += [*refuse_mixed_origin(images, path), *_file_findings(series, copies), *numbering_findings(images)]
    findings += kind_findings(images)
    slices = stacked([one for image in images for one in image.slices], path)
    inverted = [image.path.name for image in images if image.photometric == INVERTED]
    if inverted:
        which = inverted[0] if len(inverted) == 1 else f"{inverted[0]} and {len(inverted) - 1} more"
        message = (
            f"{which} of {len(images)} files: stored to be shown inverted ({INVERTED}); the intensities were inverted."
        )
        findings.append(Finding("warning", "inverted", message, "check that bright tissue is bright"))
    left_out: list[str] = []
    array = read_pixels(slices, left_out.append)
    if left_out:
        message = f"{some_of(left_out)}: values have more bits than the header says; those above were left out."
        findings.append(
            Finding("warning", "bits-left-out", message, "export the series again, and look at the picture")
        )
    return SeriesImage(array, grid_of(slices), tuple(slices), tuple(findings))


def _series_of_file(file: Path) -> Series:
    tree = scan_tree(file.parent, deep=False)
    image = next((one for one in tree.images if one.path == file), None)
    if image is None:
        why = next((one.reason for one in tree.damaged if one.path == file), "is no image in space")
        raise InputError("unreadable", f"{file} {why}", "give a file of a CT or MR series")
    series = Series(tree, image.series_uid, tuple(one for one in tree.images if one.series_uid == image.series_uid))
    if not series.slice_count:
        raise _unusable(series.images, file.parent)
    return series


def _no_series(tree: DicomTree, uid: str | None) -> InputError:
    unplaced = [image for image in tree.images if uid in (None, image.series_uid)]
    if unplaced:
        return _unusable(unplaced, tree.folder)
    if uid is None and tree.damaged:
        return _damage(tree.damaged, tree.folder)
    what = f"no series {uid}" if uid else "no DICOM images"
    return InputError("not-found", f"{what} in {tree.folder}", "give the folder that holds the slice files")


def _unusable(images: Sequence[ImageFile], folder: Path) -> InputError:
    """Images of which none lies in space."""
    problem = images[0].problem
    message = f"{folder}: {images[0].path.name} cannot be used: {problem}"
    code = "no-position" if images[0].lacks_position else "unreadable"
    return InputError(code, message, "give a CT or MR series; screen shots and projections lie nowhere in space")


def _refuse_damaged(series: Series) -> None:
    """Files that have no place, or cannot be read, in the folders of the slices: the series would be read without
    them."""
    broken = [image for image in series.images if image.problem and image not in _captures(series)]
    broken += _of_no_series(series)
    unplaced = [image for image in broken if image.lacks_position]
    damaged = [one for one in series.tree.damaged if one.path.parent in series.folders or one.series_uid]
    damaged = [one for one in damaged if one.series_uid in ("", series.uid)]
    damaged += [DamagedFile(image.path, f"cannot be used: {image.problem}") for image in broken]
    if unplaced and len(unplaced) == len(damaged):
        names = some_of([image.path.name for image in unplaced])
        what = f"{series.tree.folder}: {len(unplaced)} of {len(series.images)} files have no position in space: {names}"
        raise InputError("no-position", what, "export the series again, with all of its headers")
    if damaged:
        raise _damage(damaged, series.tree.folder)


def _of_no_series(series: Series) -> list[ImageFile]:
    """Damaged images beside the slices, of a series of which nothing can be used: its UID may be damaged, too."""
    usable = {image.series_uid for image in series.tree.images if image.slices}
    return [
        image
        for image in series.tree.images
        if image.problem and not image.lacks_position and image.series_uid not in usable
        if image.path.parent in series.folders
    ]


def _captures(series: Series) -> list[ImageFile]:
    """Pictures of the screen that were stored with the slices."""
    placed = {image.sop_class for image in series.images if image.slices}
    return [
        image
        for image in series.images
        if image.lacks_position and image.sop_class.startswith(_SECONDARY_CAPTURE) and image.sop_class not in placed
    ]


def _damage(damaged: Sequence[DamagedFile], folder: Path) -> InputError:
    ordered = sorted(damaged, key=lambda one: one.path)
    message = (
        f"{folder}: {counted(len(ordered), 'file')} among the slices cannot be read: {some_of([*map(str, ordered)])}"
    )
    return InputError("unreadable", message, f"{_COPY_AGAIN}, or remove what does not belong to it")


def _refuse_not_listed(series: Series) -> None:
    """What the medium's DICOMDIR lists has to be there."""
    found = {image.instance_uid for image in series.images}
    listed = series.tree.listed.get(series.uid, {})
    missing = [place for uid, place in listed.items() if uid not in found]
    if missing:
        what = f"{series.tree.folder}: {len(missing)} of {len(listed)} images that DICOMDIR lists are not there"
        raise InputError("missing-slices", f"{what}: {some_of(missing)}", _COPY_AGAIN)


def _parts_elsewhere(series: Series) -> Iterator[Finding]:
    """More of the series than was given. Raises InputError ``series-elsewhere`` where one file was given."""
    folder = _rest_elsewhere(series)
    if folder is None:
        return
    what = f"{series.tree.folder} holds {counted(series.slice_count, 'slice')} of a series, and {folder} more of it"
    hint = f"give the folder that holds both, as {folder.parent.name}#{series.uid}"
    if not series.tree.deep:
        raise InputError("series-elsewhere", what, hint)
    yield Finding("warning", "series-elsewhere", f"{what}.", hint)


def _rest_elsewhere(series: Series) -> Path | None:
    """A neighbouring folder that holds more of the series, as on CDs; its first and its last file tell."""
    known = {image.instance_uid for image in series.images}
    for folder in _neighbours(series):
        for file in _ends(folder):
            found = _image_in(file)
            if found is not None and found.series_uid == series.uid and found.instance_uid not in known:
                return folder
    return None


def _neighbours(series: Series) -> list[Path]:
    """Folders beside the given one, and those in it where it was not looked below it."""
    root = series.tree.folder.resolve()
    near = sorted(root.parent.glob("*/")) + ([] if series.tree.deep else sorted(root.glob("*/")))
    wanted = (one for one in near if not one.name.startswith(".") and one.resolve() != root)
    return list(islice(wanted, _MOST_NEIGHBOURS))


def _ends(folder: Path) -> list[Path]:
    try:
        files = sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.is_file())
    except OSError:
        return []
    return files[:1] + files[1:][-1:]


def _image_in(file: Path) -> ImageFile | None:
    try:
        found: ImageFile | OtherObject | None = read_header(file) if is_dicom(file) else None
    except (OSError, DamagedHeader):
        return None
    return found if isinstance(found, ImageFile) else None


def _each_once(series: Series) -> tuple[list[ImageFile], int]:
    """The files with each SOP instance once, and how many were copies. Raises InputError ``instance-differs``."""
    first: dict[str, ImageFile] = {}
    copies = 0
    for image in (one for one in series.images if one.slices):
        other = first.setdefault(image.instance_uid or str(image.path), image)
        if other is image:
            continue
        if not _is_copy(image, other):
            message = f"{image.path} and {other.path} are the same SOP instance with different content"
            raise InputError("instance-differs", message, "find out which one is right, and remove the other")
        copies += 1
    return list(first.values()), copies


def _is_copy(image: ImageFile, other: ImageFile) -> bool:
    if filecmp.cmp(image.path, other.path, shallow=False):
        return True
    if len(image.slices) != len(other.slices):
        return False
    alike = all(
        (a.size, a.spacing) == (b.size, b.spacing)
        and np.array_equal(a.position, b.position)
        and np.array_equal(a.orientation, b.orientation)
        for a, b in zip(image.slices, other.slices, strict=True)
    )
    return alike and same_pixels(image.slices[0], other.slices[0])


def _file_findings(series: Series, copies: int) -> Iterator[Finding]:
    places = _places(series)
    kinds = Counter(one.kind for one in series.tree.passed_over if one.path.parent in places)
    kinds.update("screen capture" for _ in _captures(series))
    if kinds:
        listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        message = f"{counted(kinds.total(), 'file')} beside the slices passed over: {listed}."
        yield Finding("info", "files-passed-over", message, "nothing, unless slices are among them")
    if copies:
        message = f"{counted(copies, 'file')} hold an image that is there already, and counted once."
        yield Finding("info", "copies", message, "nothing, unless they should differ")
    stray = [one for one in series.tree.damaged if _is_stray(one, series)]
    if stray:
        message = (
            f"{counted(len(stray), 'file')} in neighbouring folders cannot be read: {some_of([*map(str, stray)])}."
        )
        yield Finding("warning", "files-unreadable", message, "check that no slices of the series are among them")


def _places(series: Series) -> set[Path]:
    """The folders of the slices, and those above them in the tree."""
    root = series.tree.folder
    return {place for folder in series.folders for place in (folder, *folder.parents) if place.is_relative_to(root)}


def _is_stray(one: DamagedFile, series: Series) -> bool:
    """In a folder beside or below those of the slices, where no series is that it may belong to."""
    near = {place for folder in series.folders for place in (folder, folder.parent)}
    taken = {image.path.parent for image in series.tree.images}
    folder = one.path.parent
    return folder not in taken and (folder in near or folder.parent in near)
