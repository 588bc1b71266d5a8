"""A disk that is full or read-only at any step of a write, and a process that is killed there: old or new, never
between."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

from CrossModalSegLib import staging
from CrossModalSegLib.atomic import create_once, output_errors, staged_file, staged_folder, write_atomically
from CrossModalSegLib.errors import OutputError
from Testing.disk_faults import contents, disturbed, failing_at, run_killed_at
from Testing.unprivileged import reachable_folder

pytestmark = pytest.mark.skipif(os.name != "posix", reason="processes are forked and locks are POSIX's")

OLD = {"report.json": b"old", "labels.nii.gz": b"old labels", "sub/old only": b"old"}
NEW = {"report.json": b"new", "labels.nii.gz": b"new labels", "sub/new only": b"new"}


@pytest.fixture
def tmp_path():
    """In memory where there is such a disk: each of these tests waits for the disk some hundred times."""
    with reachable_folder() as folder:
        yield folder


@pytest.fixture(autouse=True)
def _what_is_left_behind_is_so_at_once(monkeypatch):
    monkeypatch.setattr(staging, "SECONDS_TO_LOCK", -1.0)


def fill(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def write_folder(target: Path, overwrite: bool) -> None:
    with staged_folder(target, overwrite) as staged, output_errors(target):
        fill(staged, NEW)


def write_mounted_folder(target: Path) -> None:
    """``target`` can be written into and not be renamed, as the place where a disk is mounted."""
    rename = os.rename

    def refuse(old: Path, new: Path) -> None:
        if Path(old) == target:
            raise OSError(errno.EBUSY, "Device or resource busy")
        rename(old, new)

    with mock.patch.object(os, "rename", refuse):
        write_folder(target, True)


def write_once(target: Path) -> None:
    with output_errors(target):
        create_once(target, NEW["report.json"])


class Scenario:
    """A write to ``target``: what was there before, and what is there when it has ended well."""

    def __init__(self, before: dict[str, bytes] | bytes | None, write: Callable[[Path], None], after: dict | bytes):
        self.before, self.write, self.after = before, write, after

    def prepare(self, target: Path) -> None:
        target.parent.mkdir(parents=True)
        if isinstance(self.before, dict):
            target.mkdir()
            fill(target, self.before)
        elif self.before is not None:
            target.write_bytes(self.before)

    def found(self, target: Path) -> dict[str, bytes] | bytes | None:
        if target.is_dir():
            return contents(target)
        return target.read_bytes() if target.exists() else None


SCENARIOS = {
    "a new folder": Scenario(None, lambda target: write_folder(target, False), NEW),
    "an empty folder": Scenario({}, lambda target: write_folder(target, False), NEW),
    "an earlier result": Scenario(OLD, lambda target: write_folder(target, True), NEW),
    "an earlier result in a mounted folder": Scenario(OLD, write_mounted_folder, NEW),
    "a new file": Scenario(None, lambda target: write_atomically(target, b"new"), b"new"),
    "an earlier file": Scenario(b"old", lambda target: write_atomically(target, b"new"), b"new"),
    "a file that the first one writes": Scenario(None, write_once, b"new"),
}
scenarios = pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)


def steps_of(scenario: Scenario, folder: Path) -> list[str]:
    scenario.prepare(folder / "undisturbed" / "target")
    with disturbed(lambda _: None) as steps:
        scenario.write(folder / "undisturbed" / "target")
    assert scenario.found(folder / "undisturbed" / "target") == scenario.after
    return steps


def error_of(scenario: Scenario, target: Path) -> OutputError | None:
    try:
        scenario.write(target)
    except OutputError as error:
        return error
    return None


def visible(found: dict[str, bytes] | bytes | None) -> dict[str, bytes] | bytes | None:
    """Without what is hidden: where the tidying up itself fails, it is left to the next run."""
    if not isinstance(found, dict):
        return found
    return {name: content for name, content in found.items() if not name.startswith(".")}


def write_again(scenario: Scenario, target: Path) -> None:
    """As somebody would who got an error: it ends with the new content, and nothing hidden is left beside or in it."""
    error = error_of(scenario, target)
    assert error is None or error.code == "output-exists"  # all of it had been there already
    assert scenario.found(target) == scenario.after
    assert [path.name for path in target.parent.iterdir()] == ["target"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS], ids=["full", "read-only"])
@scenarios
def test_a_step_that_fails_leaves_old_or_new_and_is_one_typed_error(tmp_path, scenario, code):
    steps = steps_of(scenario, tmp_path)
    assert len(steps) > 2
    for step, name in enumerate(steps):
        target = tmp_path / str(step) / "target"
        scenario.prepare(target)
        with disturbed(failing_at(step, code)):
            error = error_of(scenario, target)
        assert visible(scenario.found(target)) == (scenario.before if error else scenario.after), f"step {step}, {name}"
        if error:
            assert error.code == "cannot-write"
            assert str(target) in error.message
            assert os.strerror(code) in error.message
            assert "space" in error.hint
        write_again(scenario, target)


@scenarios
def test_a_disk_that_cannot_be_written_any_more_from_some_step_on_is_put_right_by_the_next_run(tmp_path, scenario):
    for step in range(len(steps_of(scenario, tmp_path))):
        target = tmp_path / str(step) / "target"
        scenario.prepare(target)
        with disturbed(failing_at(step, errno.EROFS, for_good=True)):
            error = error_of(scenario, target)
        assert error is None or error.code == "cannot-write"
        write_again(scenario, target)


@scenarios
def test_a_process_that_is_killed_at_any_step_leaves_nothing_that_the_next_run_does_not_put_right(tmp_path, scenario):
    for step in range(len(steps_of(scenario, tmp_path))):
        target = tmp_path / str(step) / "target"
        scenario.prepare(target)
        assert run_killed_at(step, lambda target=target: scenario.write(target))
        write_again(scenario, target)


@pytest.mark.parametrize("name", ["an earlier result", "an earlier result in a mounted folder"])
def test_an_earlier_result_is_never_lost_to_a_killed_process(tmp_path, name):
    scenario = SCENARIOS[name]
    for step in range(len(steps_of(scenario, tmp_path))):
        target = tmp_path / str(step) / "target"
        scenario.prepare(target)
        run_killed_at(step, lambda target=target: scenario.write(target))
        staging.clear_left_behind(target)
        assert scenario.found(target) in (scenario.before, scenario.after)


def test_what_another_process_is_writing_just_now_stays(tmp_path):
    target = tmp_path / "result"
    with staged_folder(target) as staged:
        fill(staged, NEW)
        staging.clear_left_behind(target)
        write_atomically(tmp_path / "another.txt", "text")
    assert contents(target) == NEW


def test_a_file_that_nobody_has_written_does_not_replace_an_earlier_one(tmp_path):
    (tmp_path / "a.nrrd").write_bytes(b"old")
    with pytest.raises(OutputError, match=r"a\.nrrd: nothing was written"), staged_file(tmp_path / "a.nrrd"):
        pass
    assert contents(tmp_path) == {"a.nrrd": b"old"}
    write_atomically(tmp_path / "a.nrrd", b"")
    assert contents(tmp_path) == {"a.nrrd": b""}


def test_what_is_no_file_is_not_replaced_by_one(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match=r"cannot-write.*pipe: it is there, and no file"):
        write_atomically(tmp_path / "pipe", "text")
    assert (tmp_path / "pipe").is_fifo()


def test_the_longest_name_that_a_disk_takes_can_be_written(tmp_path):
    name = "ü" * 124 + ".nrrd"  # 253 bytes
    write_atomically(tmp_path / name, b"new")
    with staged_folder(tmp_path / ("r" * 255)) as staged:
        fill(staged, NEW)
    assert contents(tmp_path) == {name: b"new"} | {f"{'r' * 255}/{file}": content for file, content in NEW.items()}
    with pytest.raises(OutputError, match=r"path-too-long.*File name too long"):
        write_atomically(tmp_path / ("r" * 256), b"new")


def test_a_list_of_moves_that_leads_elsewhere_is_not_followed(tmp_path):
    target = tmp_path / "target"
    fill(target, OLD)
    (tmp_path / "precious").write_text("mine")
    (target / ".0123456789ab.target.moves").write_text('{"new": [], "old": ["../precious"]}')
    with pytest.raises(OutputError, match=r"moves is damaged"), staged_folder(target, overwrite=True):
        pytest.fail("the block must not run")
    assert (tmp_path / "precious").read_text() == "mine"
