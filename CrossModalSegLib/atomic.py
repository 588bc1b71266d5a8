"""Writing all or nothing: a result is staged beside its target, flushed to disk, then renamed into place.

A reader sees the old content or the new content, and an error leaves the target untouched. Where a folder cannot be
exchanged as a whole, because it is mounted or lies in somebody else's, its entries are, the marker last. A process that
is killed outright may leave hidden entries (see ``staging``), which the next one that writes the same target puts
right.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from CrossModalSegLib.errors import OutputError, OutputExistsError, read_error
from CrossModalSegLib.staging import (
    EARLIER,
    GONE,
    MOVES,
    clear_beside,
    clear_left_behind,
    hidden_entries,
    hidden_sibling,
    journal_of,
    locked,
    move_into,
    remove,
    undo_moves,
)

_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}  # such as a USB stick


@contextmanager
def staged_folder(target: str | Path, overwrite: bool = False, marker: str = "report.json") -> Iterator[Path]:
    """Give an empty staging folder that becomes ``target`` when the block ends without an error.

    ``target`` may be missing (its parents are made when the block succeeds) or an empty folder, which is filled and
    stays what it is: a mounted one, or one in a folder of somebody else. A folder with content is replaced as a whole,
    and only with ``overwrite`` and when it holds the file ``marker``, which shows that it is an earlier result: a
    folder that holds anything else (``--output ~``) is never deleted. What killed processes have left of ``target`` is
    put right first.

    Raises OutputError ``output-exists``, ``not-a-result``, ``cannot-write`` before the block runs wherever they are
    known then, else when it ends.
    """
    target = Path(target).resolve()
    with output_errors(target):
        clear_left_behind(target)
        _check_replaceable(target, overwrite, marker)
        # In the target where it exists: to be able to write there is what is needed, and never another disk.
        anchor = target if target.is_dir() else _nearest_existing_folder(target.parent)
        staging = hidden_sibling(anchor / target.name)
        staging.mkdir()
    try:
        with _locked(staging, target):
            yield staging
            with output_errors(target):
                _flush_tree(staging)
                _put_in_place(staging, target, overwrite, marker)
    except BaseException:
        if not journal_of(staging).exists():
            shutil.rmtree(staging, ignore_errors=True)
        raise


@contextmanager
def staged_file(target: str | Path) -> Iterator[Path]:
    """Give a file in ``target``'s folder, with its suffixes, that replaces ``target`` when the block ends well.

    For writers that want a file name, such as SimpleITK. Raises OutputError ``cannot-write``: before the block runs
    where there is no right to write.
    """
    target = Path(target).resolve()
    with _hidden_file(target) as staging:
        yield staging
        with output_errors(target):
            if staging.stat().st_mtime_ns == 0:
                raise OSError("nothing was written")
            _flush(staging)
            staging.replace(target)
            _flush_folder(target.parent)


def write_atomically(path: str | Path, content: bytes | str) -> None:
    """Write ``content`` (text as UTF-8, line ends as given) to ``path``. Raises OutputError ``cannot-write``."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    with staged_file(path) as staging, output_errors(Path(path)):
        staging.write_bytes(data)


def require_writable(folder: Path) -> None:
    """Raises OutputError ``cannot-write`` where no file can be made in ``folder``."""
    with _hidden_file(folder.resolve() / "write-test"):
        pass


def create_once(file: Path, content: bytes) -> None:
    """Write ``file`` unless it is there: of two that do so at once, one is the first, and the other's is not kept.

    Raises OSError where it cannot be written.
    """
    with _hidden_file(file) as staging:
        staging.write_bytes(content)
        _flush(staging)
        with suppress(FileExistsError):
            _link(staging, file, content)
        _flush_folder(file.parent)


def remove_staging(target: Path) -> None:
    """Remove what a process that is gone, or about to go, has begun to write for the folder ``target``.

    Only for results that are never written over earlier ones, as the worker's: `staged_folder` keeps earlier ones under
    the same kind of name for a moment.
    """
    target = target.resolve()
    folder = next((folder for folder in (target, *target.parents) if folder.is_dir()), None)
    if folder is None:
        return
    for journal in hidden_entries(folder, target, [MOVES]):
        with suppress(OSError):
            undo_moves(journal)
    for entry in hidden_entries(folder, target):
        gone = entry.with_name(f"{entry.name}{GONE}")
        with suppress(OSError):  # Windows does not rename it while a file in it is open
            entry.rename(gone)  # whoever still writes into it does not find it any more
        remove(gone if gone.exists() else entry)


@contextmanager
def _hidden_file(target: Path) -> Iterator[Path]:
    """A hidden file beside ``target``, locked, that is removed again unless it was renamed; its leftovers go first.

    Raises OutputError ``cannot-write``.
    """
    staging = hidden_sibling(target)
    try:
        with output_errors(target):
            if target.exists() and not target.is_file():
                raise FileExistsError("it is there, and no file")
            clear_beside(target.parent, target)
            staging.touch(exist_ok=False)
            os.utime(staging, ns=(0, 0))  # to see whether it is written at all
        with _locked(staging, target):
            yield staging
    finally:
        remove(staging)


def _link(staging: Path, file: Path, content: bytes) -> None:
    """Give ``staging`` the name ``file`` as well. Raises FileExistsError, or another OSError."""
    try:
        os.link(staging, file)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with file.open("xb") as stream:  # on such a disk it may be seen half written
            try:
                stream.write(content)
                stream.flush()
            except BaseException:
                file.unlink(missing_ok=True)
                raise


@contextmanager
def _locked(staging: Path, target: Path) -> Iterator[None]:
    with ExitStack() as held:
        with output_errors(target):
            held.enter_context(locked(staging))
        yield


def _check_replaceable(target: Path, overwrite: bool, marker: str) -> None:
    if not target.exists() or (target.is_dir() and not entries_of(target)):
        return
    if not overwrite:
        raise OutputExistsError(f"{target} exists already", "choose another folder or pass --overwrite")
    if not (target / marker).is_file():
        raise OutputError(
            "not-a-result",
            f"{target} has no {marker}, so it is not an earlier result and is not replaced",
            "choose another folder, or move its content away yourself",
        )


def entries_of(folder: Path) -> list[str]:
    """Names of what a folder holds, but for what is being written into it, and what every disk has at its root."""
    names = {entry.name for entry in folder.iterdir()} - {entry.name for entry in hidden_entries(folder, folder)}
    return sorted(names - {"lost+found"} if folder.is_mount() else names)


def _put_in_place(staging: Path, target: Path, overwrite: bool, marker: str) -> None:
    """Make ``staging`` the content of ``target``; without ``overwrite``, what somebody has put there meanwhile
    stays."""
    if staging.parent != target:
        target.parent.mkdir(parents=True, exist_ok=True)
        _rename_to_new(staging, target)
        _flush_folder(target.parent)
        return
    old = entries_of(target)
    if old and not overwrite:
        raise _appeared(target)
    if old and _exchange(staging, target):
        return
    move_into(target, staging, old, marker)
    _flush_folder(target)


def _exchange(staging: Path, target: Path) -> bool:
    """Rename ``target`` away and ``staging``, which lies in it, into its place, or nothing; False where ``target``
    cannot be renamed: it is mounted, or its folder is somebody else's."""
    earlier = target.with_name(staging.name + EARLIER)
    with locked(target):
        try:
            target.rename(earlier)
        except OSError:
            return False
        try:
            (earlier / staging.name).rename(target)
        except BaseException:
            earlier.rename(target)
            raise
        _flush_folder(target.parent)
    shutil.rmtree(earlier, ignore_errors=True)  # the new result is in place: what is left is only litter
    return True


def _rename_to_new(staging: Path, target: Path) -> None:
    try:
        staging.rename(target)
    except OSError as error:
        if target.exists():
            raise _appeared(target) from error
        raise


def _appeared(target: Path) -> OutputError:
    return OutputExistsError(f"{target} appeared meanwhile", "choose another folder")


def _nearest_existing_folder(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder


def _flush_tree(folder: Path) -> None:
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            _flush(Path(parent) / name)
        _flush_folder(Path(parent))


def _flush(file: Path) -> None:
    with file.open("rb+") as stream:
        os.fsync(stream.fileno())


def _flush_folder(folder: Path) -> None:
    """Make a rename inside ``folder`` durable, where the disk can: what is in place already is no failure without
    it."""
    if os.name == "posix":
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


@contextmanager
def output_errors(target: Path) -> Iterator[None]:
    """An OSError in the block becomes OutputError ``cannot-write`` or ``path-too-long``, which names ``target``."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise read_error(str(target), error, OutputError) from error
        reason = error.strerror or str(error)
        raise OutputError(
            "cannot-write", f"{target}: {reason}", "check that the folder exists, is writable and has space"
        ) from error
