"""Corrections that are kept on disk: whose are offered, and that nothing else is touched. `test_visits` has the
rest."""

import json
import os
import subprocess
import sys

import pytest

from CrossModalSegApp.web.unsaved import UnsavedCorrections
from CrossModalSegLib.errors import DataError


@pytest.fixture
def ended():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def kept(folder, name, process, when="2026-01-02T03:04:05"):
    (folder / name).mkdir(parents=True)
    (folder / name / "case.json").write_text(json.dumps({"process": process, "when": when, "title": name}))


def test_what_ended_programs_have_left_is_offered_the_newest_first(tmp_path, ended):
    kept(tmp_path, "older", ended)
    kept(tmp_path, "newer", ended, "2026-02-03T04:05:06")
    kept(tmp_path, "ours", os.getpid())
    (tmp_path / "unfinished").mkdir()
    kept(tmp_path, "damaged", ended)
    (tmp_path / "damaged" / "case.json").write_text("{")
    offers = UnsavedCorrections(tmp_path).offers()
    assert [(one["id"], one["when"]) for one in offers] == [("newer", "03 Feb, 04:05"), ("older", "02 Jan, 03:04")]


def test_only_what_is_kept_there_is_deleted(tmp_path, ended):
    (tmp_path / "case.json").write_text("somebody else's")
    kept(tmp_path / "unsaved", "one", ended)
    corrections = UnsavedCorrections(tmp_path / "unsaved")
    for name in ("..", ".", "", "two", str(tmp_path)):
        corrections.discard(name)
    assert [one["id"] for one in corrections.offers()] == ["one"]
    corrections.discard("one")
    assert (corrections.offers(), (tmp_path / "case.json").is_file()) == ([], True)


def test_what_cannot_be_read_is_refused_by_name(tmp_path, ended):
    kept(tmp_path, "one", ended)
    with pytest.raises(DataError, match="unsaved-damaged"):
        UnsavedCorrections(tmp_path).open(None, "one", lambda _name: None)
    with pytest.raises(DataError, match="unsaved-damaged"):
        UnsavedCorrections(tmp_path).open(None, "none", lambda _name: None)
