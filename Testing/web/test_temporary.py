"""The temporary folder of a server: private, gone at the end, and cleared up after servers that were killed."""

import os
import subprocess
import sys
import tempfile

import pytest

from CrossModalSegWeb.temporary import temporary_folder


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


def test_it_goes_when_the_server_fails(place):
    with pytest.raises(RuntimeError), temporary_folder():
        raise RuntimeError
    assert list(place.iterdir()) == []


def test_what_a_killed_server_has_left_goes_at_the_next_start_and_that_of_a_running_one_stays(place):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for name in (f"crossmodalseg-web-{ended.pid}-abc", f"crossmodalseg-web-{os.getpid()}-abc", "crossmodalseg-web-x"):
        (place / name).mkdir()
    with temporary_folder():
        pass
    assert {path.name for path in place.iterdir()} == {f"crossmodalseg-web-{os.getpid()}-abc", "crossmodalseg-web-x"}
