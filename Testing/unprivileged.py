"""Rights as an ordinary user has them, also where the tests are run by root, who may do everything."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def ordinary_user() -> Iterator[None]:
    """For the length of a block this process has the rights of a user who owns nothing but what it makes."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def give_to_ordinary_user(*paths: Path) -> None:
    """Let `ordinary_user` own ``paths``; without root it does already."""
    if os.geteuid() == 0:
        for path in paths:
            os.chown(path, NOBODY, NOBODY)


@contextmanager
def reachable_folder() -> Iterator[Path]:
    """A folder that every user can enter, in memory where there is such a disk; pytest's own are closed to others."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        for path in (folder, *folder.rglob("*")):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)
        shutil.rmtree(folder)
