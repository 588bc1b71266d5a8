"""Which process works on which case: claims in a folder that all of them see, on one machine or on many.

A claim is a file ``<key>.<number>``; the one with the highest number holds the case. It is made exclusively, never
taken from anybody: whoever takes a case over from a process that is gone makes the next number, and of two who try, one
succeeds. While its process lives, a thread renews the claim's time (the heartbeat). A claim is abandoned when

- its process was on this machine, and its lock is free: the lock ends with the process, however it ends; or
- it was not renewed for as long as a lease. Both times are those of the disk, so that clocks may differ.

Locks count on the same machine alone: some network disks do not show them to others.

A result that is in place ends a claim, whoever made it: who has claimed a case looks again whether it is done.
"""

import hashlib
import json
import os
import platform
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Self

from CrossModalSegLib.atomic import output_errors, write_atomically
from CrossModalSegLib.staging import is_left_behind

LEASE_SECONDS = 600.0
BEATS_PER_LEASE = 6
MOST_OWNERS = 3  # processes that may die of one case before it is given up
_FAILED = ".failed"


@dataclass(frozen=True)
class Failure:
    """Why a case has no result: ``code`` and ``message`` of a typed error."""

    case: str
    code: str
    message: str


@dataclass(frozen=True)
class Claim:
    """A case that this process holds. ``number`` is 1 for the first process, 2 for the one that took it over, ..."""

    case: str
    number: int
    path: Path
    descriptor: int


class Claims:
    """The claims in ``folder``. Entered for as long as this process works; it holds one at a time.

    ``lease``: seconds after which a claim that is not renewed is abandoned. Entering makes the folder and raises
    OutputError ``cannot-write`` where that cannot be.
    """

    def __init__(self, folder: Path, lease: float = LEASE_SECONDS):
        self._folder, self._lease = folder, lease
        self._held: Claim | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Self:
        with output_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._clock = tempfile.TemporaryFile(dir=self._folder)
        self._started = self._now()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._clock.close()

    @contextmanager
    def claimed(self, case: str) -> Iterator[Claim | None]:
        """Hold the case in the block; None where another process does. Raises OutputError ``cannot-write``."""
        claim = self._take(case)
        self._held = claim
        try:
            yield claim
        finally:
            self._held = None
            if claim is not None:
                self._release(claim)

    def is_newer(self, file: Path) -> bool:
        """Whether a file was written after this process has begun, by the disk's clock."""
        try:
            return file.stat().st_mtime_ns > self._started
        except OSError:
            return False

    def note_failure(self, failure: Failure) -> None:
        """Tell the processes that run now, so that none of them tries it again; those that begin later do."""
        write_atomically(self._path(failure.case, _FAILED), json.dumps(asdict(failure)))

    def failure(self, case: str) -> Failure | None:
        """What another process has noted since this one began."""
        note = self._path(case, _FAILED)
        if not self.is_newer(note):
            return None
        try:
            return Failure(**json.loads(note.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    # --- one claim

    def _take(self, case: str) -> Claim | None:
        held = [number for number in range(1, MOST_OWNERS + 2) if self._path(case, f".{number}").exists()]
        if held and not self._is_abandoned(self._path(case, f".{held[-1]}")):
            return None
        number = held[-1] + 1 if held else 1
        if number > MOST_OWNERS + 1:  # who gave it up died before it had said so
            self._path(case, f".{held[-1]}").unlink(missing_ok=True)
            return None
        path = self._path(case, f".{number}")
        with output_errors(path.parent):
            try:
                descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
            except FileExistsError:
                return None
            try:
                _lock(descriptor)
                os.write(descriptor, json.dumps({"case": case, "machine": this_machine()}).encode())
            except OSError:
                path.unlink(missing_ok=True)
                os.close(descriptor)
                raise
        return Claim(case, number, path, descriptor)

    def _release(self, claim: Claim) -> None:
        """Remove what nobody needs any more, the claim that holds the case last."""
        with suppress(OSError):
            if os.stat(claim.path).st_ino == os.fstat(claim.descriptor).st_ino:  # noqa: PTH116 - and not somebody else's
                for number in range(1, claim.number):
                    self._path(claim.case, f".{number}").unlink(missing_ok=True)
                claim.path.unlink(missing_ok=True)
        os.close(claim.descriptor)

    def _is_abandoned(self, path: Path) -> bool:
        try:
            changed = path.stat().st_mtime_ns
            content = path.read_bytes()
        except OSError:  # released just now
            return False
        with suppress(ValueError, AttributeError):
            if json.loads(content).get("machine") == this_machine() and is_left_behind(path):
                return True
        return self._now() - changed > self._lease * 1e9

    def _now(self) -> int:
        """Nanoseconds by the clock of the disk."""
        os.utime(self._clock.fileno())
        return os.fstat(self._clock.fileno()).st_mtime_ns

    def _beat(self) -> None:
        while not self._stop.wait(self._lease / BEATS_PER_LEASE):
            claim = self._held
            if claim is not None:
                with suppress(OSError):  # released just now, or the disk is away: whoever needs to know will see
                    os.utime(claim.descriptor)

    def _path(self, case: str, suffix: str) -> Path:
        return self._folder / f"{hashlib.sha256(case.encode()).hexdigest()[:24]}{suffix}"


@cache
def this_machine() -> str:
    """This machine since it was started, so that another one of the same name is another one."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        boot = ""
    return f"{platform.node()} {boot}"


def _lock(descriptor: int) -> None:
    if os.name == "posix":
        import fcntl

        with suppress(OSError):  # a disk without locks: the lease alone counts
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
