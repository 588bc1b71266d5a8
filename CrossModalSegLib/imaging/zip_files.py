"""Zip files from anywhere: unpacked only where nothing in them leads out of the folder or is larger than allowed."""

import errno
import shutil
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from CrossModalSegLib.errors import ArchiveError, CrossModalSegError, InputError, OutputError, read_error
from CrossModalSegLib.plurals import some_of
from CrossModalSegLib.staging import LONGEST_NAME
from CrossModalSegLib.temporary import temporary_folder


def unpack(path: Path, folder: Path, largest_bytes: int) -> None:
    """Unpack the zip file ``path`` into ``folder``, which is made.

    Raises InputError ``unreadable`` (no zip file, damaged, or locked by a password), ``zip-too-large`` or
    ``zip-unsafe`` (names that lead out of the folder, links), those of `read_error`; OutputError ``cannot-write``.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            refuse_unsafe_entries(entries, path, largest_bytes)
            folder.mkdir(parents=True)
            for entry in entries:  # zipfile unpacks no more bytes than the size that was looked at
                archive.extract(entry, folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        # NotImplementedError: packed in a way that Python does not know; RuntimeError: a password is needed
        raise ArchiveError(f"{path.name} cannot be unpacked: {error}") from error
    except FileNotFoundError as error:
        raise ArchiveError(f"{path.name} does not exist", "give the path of a zip file") from error
    except OSError as error:
        if error.errno == errno.EINVAL and error.filename is None:  # it is said to begin before the file does
            raise ArchiveError(f"{path.name} cannot be unpacked: it is damaged") from error
        if error.filename == str(path):
            raise read_error(str(path), error) from error
        message = f"unpacking {path.name}: {error.strerror or error}"
        raise OutputError("cannot-write", message, "check that the disk has space") from error


@contextmanager
def unpacked(path: Path, largest_bytes: int) -> Iterator[Path]:
    """A folder itself; what a zip file holds, in a temporary folder of its name, for as long as the block lasts.

    Raises what `unpack` raises, InputError ``zip-too-large`` also where the disk has less space than it needs. Errors
    that leave the block name files as in the zip file.
    """
    if path.is_dir():
        yield path
        return
    with temporary_folder() as temporary:
        folder = temporary.resolve() / path.stem
        unpack(path, folder, min(largest_bytes, shutil.disk_usage(temporary).free))
        try:
            yield folder
        except CrossModalSegError as error:
            raise error.with_path(folder, path) from error.__cause__


def refuse_unsafe_entries(entries: Sequence[zipfile.ZipInfo], path: Path, largest_bytes: int) -> None:
    """Raises InputError ``zip-too-large`` or ``zip-unsafe``."""
    size = sum(entry.file_size for entry in entries)
    if size > largest_bytes:
        what = f"would be {size / 1e9:.1f} GB when unpacked, more than {largest_bytes / 1e9:g} GB"
        raise InputError("zip-too-large", f"{path.name} {what}", "give the parts that are needed")
    outside = [entry.orig_filename for entry in entries if leads_outside(entry.orig_filename)]
    if outside:
        raise _unsafe(path, f"holds names that lead out of it: {some_of(outside)}")
    places = Counter(str(PurePosixPath(entry.filename)) for entry in entries)  # ./a and a are one file
    repeated = [name for name, times in places.items() if times > 1]
    if repeated:
        raise _unsafe(path, f"holds several files of one name: {some_of(repeated)}")
    both = sorted({str(parent) for name in places for parent in PurePosixPath(name).parents} & _files(entries))
    if both:
        raise _unsafe(path, f"holds files that are folders as well: {some_of(both)}")
    long = [name for name in places if any(len(part.encode()) > LONGEST_NAME for part in PurePosixPath(name).parts)]
    if long:
        raise _unsafe(path, f"holds names of more than {LONGEST_NAME} bytes: {some_of(long)}")
    links = [entry.filename for entry in entries if not _is_plain(entry)]
    if links:
        raise _unsafe(path, f"holds links or devices: {some_of(links)}")


def _files(entries: Sequence[zipfile.ZipInfo]) -> set[str]:
    return {str(PurePosixPath(entry.filename)) for entry in entries if not entry.is_dir()}


def leads_outside(name: str) -> bool:
    """Absolute, upwards, or with what Windows takes for a drive or a separator."""
    parts = PurePosixPath(name)
    return parts.is_absolute() or ".." in parts.parts or "\\" in name or ":" in name or "\0" in name


def _is_plain(entry: zipfile.ZipInfo) -> bool:
    kind = stat.S_IFMT(entry.external_attr >> 16)  # 0 where the archive was made on Windows
    return kind in (0, stat.S_IFREG, stat.S_IFDIR)


def _unsafe(path: Path, what: str) -> InputError:
    return InputError("zip-unsafe", f"{path.name} {what}", "do not use it, or pack its files again yourself")
