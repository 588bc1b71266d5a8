"""Each fault that a scan can have, as a user meets it: one line with its code, the value and what to do; nothing
changes.

The same for a single case, in the row of a table, and where cases are added to a site.
"""

import shutil
from pathlib import Path

import pytest

from CrossModalSegLib.cli import main
from Testing.disk_faults import contents
from Testing.scan_faults import FAULTS, Fault, whole
from Testing.tiny_bundle import intensity_bundle
from Testing.tiny_site import make_site
from Testing.unprivileged import give_to_ordinary_user, ordinary_user, reachable_folder


class World:
    """What a user has already, and must keep: a ``model``, a ``site`` with a case, an earlier ``result``."""

    def __init__(self, folder: Path):
        self.folder, self.model, self.site, self.result = folder, folder / "model", folder / "site", folder / "result"
        intensity_bundle(self.model, (32, 36, 32), 4.0)
        make_site(self.site, 1, 0)
        self.result.mkdir()
        (self.result / "report.json").write_text("an earlier result")
        self._before = contents(folder)

    def changed(self) -> list[str]:
        """Names of the files that are not as they were when it was asked last."""
        before, self._before = self._before, contents(self.folder)
        return sorted(name for name in before | self._before if before.get(name) != self._before.get(name))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module", params=FAULTS)
def broken(request, tmp_path_factory):
    """A fault and the scan that has it."""
    fault = FAULTS[request.param]
    return fault, fault.write(tmp_path_factory.mktemp("scan"))


def told(fault: Fault, line: str) -> None:
    assert line.startswith(f"error[{fault.code}]: ")
    message, _, remedy = line.rpartition(" (")
    assert fault.said in message
    assert fault.remedy in f"{message} {remedy}"
    assert "Traceback" not in line
    assert "(0x" not in line  # an address in memory helps nobody


def test_a_scan_that_cannot_be_used_is_one_line_and_changes_nothing(world, broken, capsys):
    fault, path = broken
    output = ["--output", str(world.result), "--overwrite"]
    assert main(["segment", "--input", f"T1w={path}", "--bundle", str(world.model), *output]) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    told(fault, printed.err)
    assert world.changed() == []


def test_it_is_the_same_line_in_the_row_of_a_table(world, broken, capsys):
    fault, path = broken
    table = world.folder.parent / "cases.csv"
    table.write_text(f'case,T1w\nresult,"{path}"\n', encoding="utf-8")
    output = ["--output", str(world.folder), "--overwrite"]
    assert main(["segment", "--cases", str(table), "--bundle", str(world.model), *output]) == 1
    printed = capsys.readouterr()
    (line,) = (line for line in printed.err.splitlines() if line.startswith("error["))
    told(fault, line)
    assert f"error[{fault.code}]" in printed.out
    assert "0 done, 1 failed" in printed.out
    assert [name for name in world.changed() if not name.startswith(("results.csv", ".cases"))] == []


def test_it_is_the_same_line_where_a_case_is_added_to_a_site(world, broken, capsys):
    fault, path = broken
    assert main(["site", "add", str(world.site), "--input", f"T1w={path}"]) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    told(fault, printed.err)
    assert world.changed() == []


@pytest.mark.parametrize("what", ["file", "folder of slices", "folder above it"])
def test_no_right_to_read_is_told_as_such(world, what, capsys):
    with reachable_folder() as folder:
        inner = folder / "inner"
        inner.mkdir()
        path = whole(inner)
        if what == "file":
            path.chmod(0)
        else:
            inner.chmod(0)
        given = inner if what == "folder of slices" else path
        model = shutil.copytree(world.model, folder / "model")
        (folder / "result").mkdir()
        give_to_ordinary_user(folder / "result")
        output = ["--output", str(folder / "result"), "--bundle", str(model)]
        main(["segment", "--input", "T1w=none", *output])  # loads what an ordinary user may not be able to
        capsys.readouterr()
        with ordinary_user():
            code = main(["segment", "--input", f"T1w={given}", *output])
    line = capsys.readouterr().err
    assert code == 2
    assert line.startswith(f"error[cannot-read]: {given}: Permission denied (ask for the right to read it")
    assert line.count("\n") == 1


@pytest.mark.parametrize(
    "name", ["Größe ☃ 腦.nii.gz", "a b.nii.gz", f"{'x' * 240}.nii.gz", "-x.nii.gz", "a;b,c.nii.gz"]
)
def test_a_name_of_any_kind_is_read(world, name, tmp_path, capsys):
    path = whole(tmp_path, "scan.nii.gz").rename(tmp_path / name)
    site = shutil.copytree(world.site, tmp_path / "site")
    assert main(["site", "add", str(site), "--input", f"T1w={path}"]) == 0
    assert "unlabelled" in capsys.readouterr().out
