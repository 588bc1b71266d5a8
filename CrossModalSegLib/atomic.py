"""Writing all or nothing: a result is staged beside its target, flushed to disk, then renamed into place.

A reader sees the old content or the new content, never a mixture, and an error leaves the target untouched. A process
that is killed outright may leave a hidden ``.<name>.<id>`` entry beside the target; the target itself stays whole.
"""

import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from CrossModalSegLib.errors import OutputError


@contextmanager
def staged_folder(target: str | Path, overwrite: bool = False, marker: str = "report.json") -> Iterator[Path]:
    """Give an empty staging folder that becomes ``target`` when the block ends without an error.

    ``target`` may be missing (its parents are made when the block succeeds) or an empty folder. A folder with content
    is replaced as a whole, and only with ``overwrite`` and when it holds the file ``marker``, which shows that it is an
    earlier result: a folder that holds anything else (``--output ~``) is never deleted.

    Raises OutputError ``output-exists``, ``not-a-result`` (before the block runs) or ``cannot-write``.
    """
    target = Path(target).resolve()
    _check_replaceable(target, overwrite, marker)
    anchor = _nearest_existing_folder(target.parent)
    staging = _hidden_sibling(anchor / target.name)
    with output_errors(target):
        staging.mkdir()
    try:
        yield staging
        with output_errors(target):
            _flush_tree(staging)
            target.parent.mkdir(parents=True, exist_ok=True)
            _swap_in(staging, target, overwrite)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


@contextmanager
def staged_file(target: str | Path) -> Iterator[Path]:
    """Give a path in ``target``'s folder, with its suffixes, that replaces ``target`` when the block ends well.

    For writers that want a file name, such as SimpleITK. Raises OutputError ``cannot-write``.
    """
    target = Path(target).resolve()
    staging = _hidden_sibling(target)
    try:
        with output_errors(target):
            if not target.parent.is_dir():
                raise FileNotFoundError(f"no folder {target.parent}")
        yield staging
        with output_errors(target):
            _flush(staging)
            staging.replace(target)
            _flush_folder(target.parent)
    except BaseException:
        staging.unlink(missing_ok=True)
        raise


def write_atomically(path: str | Path, content: bytes | str) -> None:
    """Write ``content`` (text as UTF-8, line ends as given) to ``path``. Raises OutputError ``cannot-write``."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    with staged_file(path) as staging, output_errors(Path(path)):
        staging.write_bytes(data)


def create_once(file: Path, content: bytes) -> None:
    """Write ``file`` unless it is there: of two that do so at once, one is the first, and the other's is not kept.

    Raises OSError where it cannot be written.
    """
    staged = _hidden_sibling(file)
    try:
        with staged.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        with suppress(FileExistsError):
            try:
                os.link(staged, file)
            except FileExistsError:
                raise
            except OSError:  # a disk without links, such as a USB stick: there it may be seen half written
                with file.open("xb") as stream:
                    stream.write(content)
        _flush_folder(file.parent)
    finally:
        staged.unlink(missing_ok=True)


def remove_staging(target: Path) -> None:
    """Remove what a process that is gone, or about to go, has begun to write for the folder ``target``.

    Only for results that are never written over earlier ones, as the worker's: `staged_folder` keeps earlier ones under
    the same kind of name for a moment.
    """
    target = target.resolve()
    folder = next((folder for folder in target.parents if folder.is_dir()), None)
    for entry in [entry for entry in (folder.iterdir() if folder else ()) if _is_hidden_sibling(entry, target)]:
        gone = entry.with_name(f"{entry.name}.gone")
        with suppress(OSError):  # Windows does not rename it while a file in it is open
            entry.rename(gone)  # whoever still writes into it does not find it any more
        shutil.rmtree(gone if gone.exists() else entry, ignore_errors=True)


def _check_replaceable(target: Path, overwrite: bool, marker: str) -> None:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not overwrite:
        raise OutputError("output-exists", f"{target} exists already", "choose another folder or pass --overwrite")
    if not (target / marker).is_file():
        raise OutputError(
            "not-a-result",
            f"{target} has no {marker}, so it is not an earlier result and is not replaced",
            "choose another folder, or move its content away yourself",
        )


def _swap_in(staging: Path, target: Path, overwrite: bool) -> None:
    """Rename ``staging`` to ``target``; with ``overwrite``, what was there is put back if that fails, else removed.

    Without it, what somebody else has put there meanwhile stays: OutputError ``output-exists``.
    """
    if not (overwrite and target.exists()):
        _rename_to_new(staging, target)
    else:
        earlier = _hidden_sibling(target)
        target.rename(earlier)
        try:
            staging.rename(target)
        except OSError:
            earlier.rename(target)
            raise
        shutil.rmtree(earlier, ignore_errors=True)  # the new result is in place: what is left is only litter
    _flush_folder(target.parent)


def _rename_to_new(staging: Path, target: Path) -> None:
    if target.is_dir() and not any(target.iterdir()):
        target.rmdir()
    try:
        staging.rename(target)
    except OSError as error:
        if target.exists():
            raise OutputError("output-exists", f"{target} appeared meanwhile", "choose another folder") from error
        raise


def _nearest_existing_folder(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder


def _hidden_sibling(path: Path) -> Path:
    """A new name in the same folder; the suffixes stay at the end, because writers choose the format by them."""
    return path.with_name(f".{uuid.uuid4().hex[:12]}.{path.name}")


def _is_hidden_sibling(entry: Path, path: Path) -> bool:
    return re.fullmatch(rf"\.[0-9a-f]{{12}}\.{re.escape(path.name)}", entry.name) is not None


def _flush_tree(folder: Path) -> None:
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            _flush(Path(parent) / name)
        _flush_folder(Path(parent))


def _flush(file: Path) -> None:
    with file.open("rb+") as stream:
        os.fsync(stream.fileno())


def _flush_folder(folder: Path) -> None:
    """Make a rename inside ``folder`` durable; Windows has no such call and does not need it."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def output_errors(target: Path) -> Iterator[None]:
    """An OSError in the block becomes OutputError ``cannot-write``, which names ``target``."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            "cannot-write", f"{target}: {reason}", "check that the folder exists, is writable and has space"
        ) from error
