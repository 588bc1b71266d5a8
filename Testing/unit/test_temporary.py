"""Temporary folders: private, gone at the end, and cleared up after processes that were killed."""

import os
import subprocess
import sys
import tempfile

import pytest

from CrossModalSegLib.temporary import new_temporary_folder, temporary_folder


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_it_is_there_for_this_user_alone_and_goes_with_what_is_in_it(place):
    with temporary_folder() as folder:
        (folder / "scan.nrrd").write_bytes(b"x")
        assert folder.stat().st_mode & 0o077 == 0
        assert folder.parent == place
    assert list(place.iterdir()) == []


def test_it_goes_when_the_block_fails(place):
    with pytest.raises(RuntimeError), temporary_folder():
        raise RuntimeError
    assert list(place.iterdir()) == []


def test_what_a_killed_process_has_left_goes_with_the_next_folder_and_that_of_a_running_one_stays(place):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = place / f"crossmodalseg-{ended.pid}-abc"
    others = [
        place / name for name in (f"crossmodalseg-{os.getpid()}-abc", "crossmodalseg-x", f"other-{ended.pid}-abc")
    ]
    for folder in (left, *others):
        folder.mkdir()
    new = new_temporary_folder()
    assert set(place.iterdir()) == {*others, new}
