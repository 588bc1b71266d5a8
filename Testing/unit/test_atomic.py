"""Whatever goes wrong while a result is written, what was there before is still there."""

import os
from pathlib import Path

import pytest

from CrossModalSegLib import atomic
from CrossModalSegLib.atomic import staged_file, staged_folder, write_atomically
from CrossModalSegLib.errors import OutputError


def earlier_result(folder: Path) -> Path:
    folder.mkdir()
    (folder / "report.json").write_text("old")
    (folder / "stale.nii.gz").write_text("old")
    return folder


def fail_after_writing(file: Path, error: type[BaseException]) -> None:
    file.write_text("new")
    raise error("half way")


def test_a_folder_appears_under_its_name_only_when_the_block_has_ended(tmp_path):
    target = tmp_path / "new" / "result"
    with staged_folder(target) as staging:
        (staging / "sub").mkdir()
        (staging / "sub" / "a.txt").write_text("content")
        assert not target.parent.exists()
    assert (target / "sub" / "a.txt").read_text() == "content"
    assert [entry.name for entry in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_neither_a_folder_nor_its_parents_behind(tmp_path, error):
    with pytest.raises(error), staged_folder(tmp_path / "new" / "result") as staging:
        fail_after_writing(staging / "half.txt", error)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_result_is_refused_without_overwrite_before_any_work_is_done(tmp_path):
    target = earlier_result(tmp_path / "result")
    with pytest.raises(OutputError, match="output-exists"), staged_folder(target):
        pytest.fail("the block must not run")


def test_an_existing_empty_folder_counts_as_no_result(tmp_path):
    with staged_folder(tmp_path) as staging:
        (staging / "a.txt").write_text("content")
    assert (tmp_path / "a.txt").read_text() == "content"


def test_overwrite_replaces_the_whole_earlier_result_and_leaves_no_litter(tmp_path):
    target = earlier_result(tmp_path / "result")
    with staged_folder(target, overwrite=True) as staging:
        (staging / "report.json").write_text("new")
        assert (target / "report.json").read_text() == "old"
    assert [file.name for file in target.iterdir()] == ["report.json"]
    assert (target / "report.json").read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_overwrite_with_an_error_keeps_the_earlier_result(tmp_path):
    target = earlier_result(tmp_path / "result")
    with pytest.raises(ValueError, match="half way"), staged_folder(target, overwrite=True) as staging:
        fail_after_writing(staging / "report.json", ValueError)
    assert {file.name: file.read_text() for file in target.iterdir()} == {"report.json": "old", "stale.nii.gz": "old"}
    assert list(tmp_path.iterdir()) == [target]


def test_overwrite_puts_the_earlier_result_back_when_the_last_rename_fails(tmp_path, monkeypatch):
    target = earlier_result(tmp_path / "result")
    rename = Path.rename

    def fails_for_the_new_result(self, new_name):
        if Path(new_name) == target and (self / "new.txt").exists():
            raise OSError("disk trouble")
        return rename(self, new_name)

    monkeypatch.setattr(Path, "rename", fails_for_the_new_result)
    with (
        pytest.raises(OutputError, match=r"cannot-write.*disk trouble"),
        staged_folder(target, overwrite=True) as staging,
    ):
        (staging / "new.txt").write_text("new")
    assert (target / "report.json").read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_overwrite_never_deletes_a_folder_that_is_not_an_earlier_result(tmp_path):
    (tmp_path / "holiday.jpg").write_text("precious")
    with pytest.raises(OutputError, match="not-a-result"), staged_folder(tmp_path, overwrite=True):
        pytest.fail("the block must not run")
    assert (tmp_path / "holiday.jpg").read_text() == "precious"


def test_a_target_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "result").write_text("a file")
    with pytest.raises(OutputError, match="not-a-result"), staged_folder(tmp_path / "result", overwrite=True):
        pytest.fail("the block must not run")


def test_a_folder_below_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("a file")
    with pytest.raises(OutputError, match="cannot-write"), staged_folder(tmp_path / "file" / "result"):
        pytest.fail("the block must not run")


@pytest.mark.skipif(os.name != "posix", reason="permission bits of POSIX")
def test_results_have_the_permissions_that_the_user_s_umask_asks_for(tmp_path):
    before = os.umask(0o027)
    try:
        with staged_folder(tmp_path / "result") as staging:
            (staging / "a.txt").write_text("content")
    finally:
        os.umask(before)
    assert (tmp_path / "result").stat().st_mode & 0o777 == 0o750


def test_a_file_is_replaced_only_when_its_content_is_complete(tmp_path):
    target = tmp_path / "map.nii.gz"
    target.write_text("old")
    with staged_file(target) as staging:
        assert staging.name.endswith(".nii.gz")
        staging.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failed_file_leaves_the_old_content_and_no_litter(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(ValueError, match="half way"), staged_file(target) as staging:
        fail_after_writing(staging, ValueError)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_text_is_written_as_utf_8_and_bytes_as_they_are(tmp_path):
    write_atomically(tmp_path / "text", "Größe\n")
    write_atomically(tmp_path / "bytes", b"\x00\xff\r\n")
    assert (tmp_path / "text").read_bytes() == "Größe\n".encode()
    assert (tmp_path / "bytes").read_bytes() == b"\x00\xff\r\n"


def test_writing_into_a_missing_folder_is_a_typed_error(tmp_path):
    with pytest.raises(OutputError, match=r"cannot-write.*missing"):
        write_atomically(tmp_path / "missing" / "a.txt", "text")


def test_everything_is_flushed_to_the_disk_before_the_rename(tmp_path, monkeypatch):
    done = []
    rename = Path.rename
    monkeypatch.setattr(atomic, "_flush", lambda file: done.append(file.name))
    monkeypatch.setattr(Path, "rename", lambda self, new: (done.append("rename"), rename(self, new))[1])
    with staged_folder(tmp_path / "result") as staging:
        (staging / "a.txt").write_text("a")
        (staging / "sub").mkdir()
        (staging / "sub" / "b.txt").write_text("b")
    assert sorted(done[:2]) == ["a.txt", "b.txt"]
    assert done[2:] == ["rename"]


def test_a_folder_that_appears_meanwhile_is_not_replaced(tmp_path):
    staged = staged_folder(tmp_path / "result")
    (staged.__enter__() / "report.json").write_text("mine")
    (tmp_path / "result").mkdir()
    (tmp_path / "result" / "report.json").write_text("theirs")
    with pytest.raises(OutputError, match="output-exists"):
        staged.__exit__(None, None, None)
    assert (tmp_path / "result" / "report.json").read_text() == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def test_a_name_that_is_too_long_is_told_as_such(tmp_path):
    with pytest.raises(OutputError, match="path-too-long"), staged_folder(tmp_path / ("x" * 300)):
        pass
