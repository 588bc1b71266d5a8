"""Hidden entries under which something is written before it appears, and what a killed process has left of them.

``.<id>.<name>`` is being written for ``<name>``; ``.<id>.<name>.earlier`` is what it replaces, kept until the new one
is in place; ``.<id>.<name>.moves`` lists what is moved into a folder that cannot be exchanged as a whole. Who writes
holds a lock on the entry, which ends with the process however it ends: an entry without lock belongs to nobody any
more.
"""

import errno
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

EARLIER, MOVES, DRAFT, GONE = ".earlier", ".moves", ".draft", ".gone"
KINDS = ("", EARLIER, MOVES, DRAFT, GONE)
LONGEST_NAME = 255  # bytes, on the usual disks
SECONDS_TO_LOCK = 1.0  # after an entry was made, it may not be locked yet

_ID = r"\.[0-9a-f]{12}\."
_LONGEST_KEPT = LONGEST_NAME - len(".0123456789ab.") - max(map(len, KINDS))


@dataclass(frozen=True)
class Moves:
    """What is moved into a folder: names of ``new`` entries, the last one first to be looked for, and the ``old``
    ones."""

    new: list[str]
    old: list[str]


def hidden_sibling(path: Path) -> Path:
    """A new name in the same folder; the suffixes stay at the end, because writers choose the format by them."""
    return path.with_name(f".{uuid.uuid4().hex[:12]}.{_kept_name(path)}")


def hidden_entries(folder: Path, path: Path, kinds: Sequence[str] = KINDS) -> list[Path]:
    """The hidden entries in ``folder`` that belong to ``path``; none where the folder cannot be listed."""
    pattern = re.compile(_ID + re.escape(_kept_name(path)) + f"({'|'.join(map(re.escape, kinds))})")
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.name[:1] == "." and pattern.fullmatch(entry.name)]
    except OSError:
        return []
    return [folder / name for name in sorted(names)]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file or folder, where the disk has locks. Raises OSError where another process holds it."""
    if os.name != "posix":
        yield
        return
    import fcntl

    descriptor = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OSError(errno.EBUSY, "another process is writing there") from error
        except OSError:
            pass  # a disk without locks: nothing there is taken for left behind
        yield
    finally:
        os.close(descriptor)


def is_left_behind(path: Path) -> bool:
    """Whether nobody writes to a hidden entry any more; False where that cannot be told."""
    if os.name != "posix":
        return False
    import fcntl

    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        if time.time() - os.fstat(descriptor).st_ctime < SECONDS_TO_LOCK:
            return False
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)


def clear_left_behind(target: Path) -> None:
    """Put right what killed processes have left of the folder ``target``.

    Moves into it that had begun are finished; what was to be replaced, but was not, is put back; the rest goes. What
    others are writing just now stays. Raises OSError where a result cannot be put right.
    """
    # Two folders: what was the nearest one then may have got others below it since.
    for folder in [folder for folder in target.parents if folder.is_dir()][:2]:
        clear_beside(folder, target)
    if target.is_dir():
        _clear_within(target)


def clear_beside(folder: Path, target: Path) -> None:
    """The same for what lies in ``folder``, where ``target``, a file or folder, lies or may come to lie."""
    for entry in hidden_entries(folder, target):
        if is_left_behind(entry):
            if entry.name.endswith(EARLIER) and not os.path.lexists(target):
                entry.rename(target)
            else:
                remove(entry)


def _clear_within(target: Path) -> None:
    for journal in hidden_entries(target, target, [MOVES]):
        if not _is_owned(journal):
            finish_moves(journal)
    for entry in hidden_entries(target, target):
        if not _is_owned(entry):
            remove(entry)


def _is_owned(entry: Path) -> bool:
    """Whether somebody writes to the staging folder that an entry beside it belongs to."""
    staging = _staging_of(entry)
    if staging.exists():
        return not is_left_behind(staging)
    return not is_left_behind(entry)


def remove(entry: Path) -> None:
    """Remove a hidden entry as far as that can be done."""
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        with suppress(OSError):
            entry.unlink(missing_ok=True)


# --- into a folder that stays


def journal_of(staging: Path) -> Path:
    """Where the moves out of a staging folder are noted."""
    return staging.with_name(staging.name + MOVES)


def _staging_of(entry: Path) -> Path:
    """The staging folder that an entry of another kind belongs to."""
    kind = next((kind for kind in KINDS if kind and entry.name.endswith(kind)), "")
    return entry.with_name(entry.name.removesuffix(kind))


def move_into(target: Path, staging: Path, old: Sequence[str], marker: str) -> None:
    """Move what ``staging``, a folder in ``target``, holds into ``target``, instead of its entries ``old``.

    ``marker`` comes last, so that who finds it finds all. An error puts everything back; whoever is killed after the
    moves were noted has the rest done by `clear_left_behind`. Raises OSError.
    """
    new = sorted((entry.name for entry in staging.iterdir()), key=lambda name: (name == marker, name))
    journal, draft = journal_of(staging), staging.with_name(staging.name + DRAFT)
    with locked(target):
        try:
            draft.write_text(json.dumps(asdict(Moves(new, list(old)))), encoding="utf-8")
            draft.rename(journal)
            finish_moves(journal)
        except BaseException:
            draft.unlink(missing_ok=True)
            if journal.exists():
                undo_moves(journal)
            raise


def finish_moves(journal: Path) -> None:
    """Do what is left of the moves in ``journal``. Raises OSError."""
    target, staging, earlier, moves = _read(journal)
    if staging.is_dir() and any(staging.iterdir()):  # else all is in place, and only the tidying up is left
        earlier.mkdir(exist_ok=True)
        for name in moves.old:
            is_new = name in moves.new and not os.path.lexists(staging / name)
            if not is_new and os.path.lexists(target / name):
                (target / name).rename(earlier / name)
        for name in moves.new:
            if os.path.lexists(staging / name):
                (staging / name).rename(target / name)
    for entry in (earlier, journal, staging):
        remove(entry)


def undo_moves(journal: Path) -> None:
    """Put everything back where it was before the moves in ``journal``. Raises OSError."""
    target, staging, earlier, moves = _read(journal)
    for name in reversed(moves.new):
        was_moved = not os.path.lexists(staging / name) and os.path.lexists(target / name)
        if was_moved and (name not in moves.old or os.path.lexists(earlier / name)):
            (target / name).rename(staging / name)
    for name in moves.old:
        if os.path.lexists(earlier / name):
            (earlier / name).rename(target / name)
    shutil.rmtree(earlier, ignore_errors=True)
    journal.unlink()


def _read(journal: Path) -> tuple[Path, Path, Path, Moves]:
    """Target, staging folder, folder for what is replaced, and the moves."""
    staging = _staging_of(journal)
    try:
        moves = Moves(**json.loads(journal.read_text(encoding="utf-8")))
        if any(Path(name).name != name for name in (*moves.new, *moves.old)):
            raise ValueError("names that lead elsewhere")
    except (TypeError, ValueError) as error:
        raise OSError(errno.EINVAL, f"{journal.name} is damaged, remove it: {error}") from error
    return journal.parent, staging, staging.with_name(staging.name + EARLIER), moves


def _kept_name(path: Path) -> str:
    """The end of the name, where all of it would be too long for a hidden one."""
    name = path.name
    while len(os.fsencode(name)) > _LONGEST_KEPT:
        name = name[1:]
    return name
