"""Output folders that cannot be exchanged as a whole: mounted ones, and own ones in somebody else's folder."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from CrossModalSegLib.atomic import staged_folder
from CrossModalSegLib.cli import main
from CrossModalSegLib.commands import train
from CrossModalSegLib.errors import OutputError
from CrossModalSegLib.imaging.volume import write_volume
from CrossModalSegLib.inference import evaluation
from Testing.conftest import REPOSITORY
from Testing.disk_faults import contents
from Testing.unprivileged import give_to_ordinary_user, ordinary_user, reachable_folder
from Testing.volumes import grid_around

pytestmark = pytest.mark.skipif(os.name != "posix", reason="rights and mounts of POSIX")


@pytest.fixture
def place():
    with reachable_folder() as folder:
        yield folder


def own_folder_in_a_foreign_one(place: Path) -> Path:
    """``theirs/mine``: only ``mine`` can be written, by `ordinary_user`."""
    own = place / "theirs" / "mine"
    own.mkdir(parents=True)
    give_to_ordinary_user(own)
    own.parent.chmod(0o555)
    return own


def write(target: Path, content: str, overwrite: bool = False) -> None:
    with staged_folder(target, overwrite) as staging:
        (staging / "report.json").write_text(content)


def test_an_own_folder_in_a_foreign_one_is_filled_and_replaced(place):
    own = own_folder_in_a_foreign_one(place)
    own.chmod(0o2770)
    owner = own.stat().st_uid, own.stat().st_mode
    with ordinary_user():
        write(own, "first")
        with pytest.raises(OutputError, match="output-exists"):
            write(own, "second")
        write(own, "second", overwrite=True)
    assert contents(own) == {"report.json": b"second"}
    assert (own.stat().st_uid, own.stat().st_mode) == owner
    assert [path.name for path in own.parent.iterdir()] == ["mine"]


@pytest.mark.parametrize("target", ["theirs", "theirs/new", "theirs/new/result"])
def test_no_right_to_write_is_known_before_anything_is_computed(place, target):
    (place / "theirs").mkdir()
    (place / "theirs").chmod(0o555)
    with (
        ordinary_user(),
        pytest.raises(OutputError, match=rf"cannot-write\]: {place / target}: Permission denied"),
        staged_folder(place / target),
    ):
        pytest.fail("the block must not run")
    assert list((place / "theirs").iterdir()) == []


def test_an_empty_folder_keeps_its_owner_and_its_rights(place):
    target = place / "result"
    target.mkdir()
    target.chmod(0o2775)
    inode = target.stat().st_ino
    write(target, "new")
    assert (target.stat().st_ino, target.stat().st_mode & 0o7777) == (inode, 0o2775)


# --- disks that are really mounted, in a namespace of the test's own


def with_disk_at(target: Path, options: str, *commands: str) -> subprocess.CompletedProcess[str]:
    """Run shell ``commands`` where a new disk of ``options`` is mounted at ``target``; it goes with the last of
    them."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        pytest.skip("no disk can be mounted here: needs unshare -rm")
    mount = f"mount -t tmpfs -o {options} disk {shlex.quote(str(target))}"
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(
        ["unshare", "-rm", "sh", "-c", "\n".join(["set -e", mount, *commands])],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


def python(code: str, *arguments: object) -> str:
    return shlex.join([sys.executable, "-c", code, *map(str, arguments)])


WRITE = """
import sys
from pathlib import Path
from CrossModalSegLib.atomic import output_errors, staged_folder
from CrossModalSegLib.errors import OutputError
target, size = Path(sys.argv[1]), int(sys.argv[2])
try:
    with staged_folder(target, overwrite=True) as staging, output_errors(target):
        print("computed")
        (staging / "report.json").write_bytes(b"x" * size)
except OutputError as error:
    print(error)
"""


def test_a_mounted_folder_is_filled_and_replaced(tmp_path):
    done = with_disk_at(
        tmp_path,
        "size=1m",
        python(WRITE, tmp_path, 3),
        python(WRITE, tmp_path, 4),
        f"ls -A {tmp_path}",
        f"wc -c {tmp_path}/*",
    )
    assert done.stderr == ""
    assert done.stdout.split() == ["computed", "computed", "report.json", "4", f"{tmp_path}/report.json"]


def test_what_every_disk_has_at_its_root_is_no_content_and_stays(tmp_path):
    done = with_disk_at(
        tmp_path,
        "size=1m",
        f"mkdir {tmp_path}/lost+found",
        python(WRITE, tmp_path, 3),
        python(WRITE, tmp_path, 4),
        f"ls -A {tmp_path}",
    )
    assert done.stderr == ""
    assert done.stdout.split() == ["computed", "computed", "lost+found", "report.json"]


def test_a_read_only_mounted_folder_is_known_before_anything_is_computed(tmp_path):
    done = with_disk_at(tmp_path, "ro", python(WRITE, tmp_path, 3))
    assert done.stdout.startswith(f"error[cannot-write]: {tmp_path}: Read-only file system (")
    assert done.stdout.count("\n") == 1


def test_a_disk_that_is_really_full_keeps_the_earlier_result_and_nothing_else(tmp_path):
    commands = [
        python(WRITE, tmp_path, 3),
        python(WRITE, tmp_path, 2_000_000),
        f"ls -A {tmp_path}",
        f"cat {tmp_path}/*",
    ]
    done = with_disk_at(tmp_path, "size=1m", *commands)
    assert done.stderr == ""
    first, second, refusal, listing, content = done.stdout.splitlines()
    assert (first, second, listing, content) == ("computed", "computed", "report.json", "xxx")
    assert refusal.startswith(f"error[cannot-write]: {tmp_path}: No space left on device (")


# --- commands know before they compute


@pytest.fixture(scope="module")
def label_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("labels") / "labels.nii.gz"
    grid = grid_around((0, 0, 0), (4, 5, 6), (1, 1, 1))
    write_volume(path, np.arange(120, dtype=np.uint8).reshape(6, 5, 4) % 3, grid)
    return path


@pytest.mark.parametrize("name", ["theirs/scores.json", "nowhere/scores.json"])
def test_evaluate_knows_before_it_scores_whether_scores_can_be_written(place, name, monkeypatch, capsys):
    monkeypatch.setattr(evaluation, "score_files", lambda *_: pytest.fail("scored before it was known"))
    (place / "theirs").mkdir(mode=0o555)
    with ordinary_user():
        assert main(["evaluate", "--prediction", "p.nii", "--reference", "r.nii", "--json", str(place / name)]) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"error[cannot-write]: {place / name}: ")
    assert line.count("\n") == 1
    assert list(place.iterdir()) == [place / "theirs"]


def test_evaluate_replaces_no_device_by_a_file(place, label_file, capsys):
    os.mkfifo(place / "pipe")
    scored = ["evaluate", "--prediction", str(label_file), "--reference", str(label_file)]
    assert main([*scored, "--json", str(place / "pipe")]) == 2
    assert capsys.readouterr().err.startswith(f"error[cannot-write]: {place / 'pipe'}: it is there, and no file")
    assert main([*scored, "--json", str(place / "scores.json")]) == 0
    assert json.loads((place / "scores.json").read_text())


def test_a_training_knows_before_its_first_step_whether_its_folder_can_be_written(place):
    (place / "theirs").mkdir(mode=0o555)
    with ordinary_user(), pytest.raises(OutputError, match=r"cannot-write.*theirs.*Permission denied"):
        train._make_folder(place / "theirs")
    with pytest.raises(OutputError, match=r"cannot-write.*File exists|cannot-write.*Not a directory"):
        train._make_folder(Path("/dev/null/run"))
    train._make_folder(place / "mine" / "run")
    assert list((place / "mine" / "run").iterdir()) == []
