"""The page asks how a scan lies that does not say it: the section's own answers, without a browser."""

import asyncio
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

from CrossModalSegApp.web import files_section
from CrossModalSegApp.web.files_section import FilesSection
from CrossModalSegApp.web.uploads import Uploads
from CrossModalSegLib.imaging.orientation import direction_of
from Testing.nifti_files import DATA, write_nifti

BATCH, OTHER = "0123456789abcdef", "fedcba9876543210"


class State(dict):
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def flush(self):
        """Nobody looks."""


class Page:
    """A server that keeps what the section shows, and calls what the page would call."""

    def __init__(self):
        self.state, self.triggers = State(), {}
        self.controller = SimpleNamespace(trigger=lambda name: lambda action: self.triggers.setdefault(name, action))

    @property
    def files(self):
        return self.state["files"]

    def call(self, name, *arguments):
        answer = self.triggers[f"files_{name}"](*arguments)
        if asyncio.iscoroutine(answer):
            asyncio.run(answer)


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """(page, uploads, added): what is opened is put into ``added`` instead of a scene."""
    page, uploads, added = Page(), Uploads(tmp_path, 1_000_000), []
    monkeypatch.setattr(
        files_section, "add_volume", lambda _scene, array, grid, name: added.append((name, array, grid))
    )
    monkeypatch.setattr(files_section, "file_as_series", lambda *_: None)
    logic = SimpleNamespace(scene=None)
    scans = SimpleNamespace(choose_opened=lambda _nodes: None, presenter=SimpleNamespace(bundle=None))
    dialogs = SimpleNamespace(show_error=lambda error: pytest.fail(str(error)))
    FilesSection(page, logic, uploads, scans, dialogs, nullcontext)
    return page, uploads, added


def upload(uploads, tmp_path, batch=BATCH, **files):
    folder = tmp_path / batch
    folder.mkdir()
    uploads._bytes[batch] = 1
    for name, codes in files.items():
        write_nifti(folder / f"{name}.nii.gz", codes=codes)
    return folder


def test_it_asks_and_opens_as_the_user_says(opened, tmp_path):
    page, uploads, added = opened
    folder = upload(uploads, tmp_path, silent=(0, 0), whole=(1, 1))
    page.call("open", BATCH)
    assert [name for name, *_ in added] == ["whole"]
    assert page.files["unoriented"] == ["silent"]
    assert folder.is_dir()  # kept until there is an answer
    page.call("orient")  # nothing is chosen yet
    assert page.files["unoriented"] == ["silent"]
    page.call("choose_orientation", "PIR")
    page.call("orient")
    name, array, grid = added[1]
    assert name == "silent"
    assert np.array_equal(array, DATA.T)
    assert np.array_equal(grid.direction, direction_of("PIR"))
    assert "PIR was assumed" in page.files["message"]
    assert (page.files["unoriented"], page.files["is_reading"]) == ([], False)
    assert not folder.exists()


def test_it_is_left_out_when_the_user_says_so_or_opens_something_else(opened, tmp_path):
    page, uploads, added = opened
    folder = upload(uploads, tmp_path, silent=(0, 0))
    page.call("open", BATCH)
    assert "Nothing was opened" in page.files["message"]
    page.call("leave_out")
    assert (page.files["unoriented"], folder.exists(), added) == ([], False, [])
    page.call("orient")
    assert added == []

    first = upload(uploads, tmp_path, silent=(0, 0))
    page.call("open", BATCH)
    upload(uploads, tmp_path, OTHER, whole=(1, 1))
    page.call("open", OTHER)
    assert not first.exists()
    assert ([name for name, *_ in added], page.files["unoriented"]) == (["whole"], [])


def test_the_usual_orientations_come_first_and_all_are_there(opened):
    page, *_ = opened
    assert page.files["orientations"][:3] == ["RAS", "LAS", "LPS"]
    assert len(set(page.files["orientations"])) == 48
