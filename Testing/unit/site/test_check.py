"""Damage of any kind is found, set aside and never spreads: whole revisions stay, or come back."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from CrossModalSegLib.errors import DataError
from CrossModalSegLib.site.case_store import CaseStore
from CrossModalSegLib.site.check import verify_site
from CrossModalSegLib.site.repair import repair_site
from CrossModalSegLib.site.work_list import Ranking, write_ranking
from Testing.site_case import small_case

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def site(tmp_path):
    """A case with two corrections, of which the first is approved, and one without labels."""
    store = CaseStore(tmp_path / "site")
    saved = store.save_correction(small_case())
    store.save_correction(small_case())
    store.approve(saved.id, 1)
    store.add_unlabelled(small_case(2, labelled=False))
    write_ranking(store.folder, Ranking("model", {}))
    return store.folder


def corrected(site):
    return next(site.glob("cases/*/revisions")).parent


def test_a_whole_site_is_found_whole_and_left_as_it_is(site):
    before = {path: path.read_bytes() for path in site.rglob("*") if path.is_file()}
    report = verify_site(site)
    assert (report.is_whole, report.cases, report.revisions, report.leftovers) == (True, 2, 2, ())
    assert repair_site(site) == []
    assert {path: path.read_bytes() for path in site.rglob("*") if path.is_file()} == before


def test_a_damaged_revision_takes_all_its_approvals_along(site):
    store = CaseStore(site)
    case = store.case(corrected(site).name)
    store.approve(case.id, 2)
    store.approve(case.id, 1)
    file = case.folder / "revisions/0001/T1w.seg.nrrd"
    file.write_bytes(file.read_bytes()[:-10])
    repair_site(site)
    assert verify_site(site).is_whole
    names = sorted(path.name for path in (site / "quarantine/cases" / case.id / "revisions").iterdir())
    assert names == ["0001", "0001.approved-0003.json", "0001.approved.json"]
    assert store.case(case.id).revision == 2


DAMAGES = {
    "a label file cut short": "revisions/0002/T1w.seg.nrrd",
    "a damaged revision.json": "revisions/0002/revision.json",
}


@pytest.mark.parametrize("name", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_revision_is_set_aside_and_the_other_stays(site, name):
    file = corrected(site) / name
    file.write_bytes(file.read_bytes()[:-10])
    report = verify_site(site)
    assert [damage.path.name for damage in report.damages] == ["0002"]
    assert len(repair_site(site)) == 1
    assert verify_site(site).is_whole
    assert (site / "quarantine/cases" / corrected(site).name / "revisions/0002").is_dir()
    assert CaseStore(site).case(corrected(site).name).revision == 1


def test_every_single_changed_byte_of_a_scan_or_label_is_noticed(site):
    for file in sorted(corrected(site).rglob("*.nrrd")):
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        whole, _ = file.read_bytes(), file.write_bytes(content)
        assert not verify_site(site).is_whole, file
        file.write_bytes(whole)
    assert verify_site(site).is_whole


def test_a_missing_approved_revision_takes_its_approval_along(site):
    case = corrected(site)
    (case / "revisions/0001/T2w.seg.nrrd").unlink()
    repair_site(site)
    assert verify_site(site).is_whole
    assert [path.name for path in sorted((case / "revisions").iterdir())] == ["0002"]
    assert CaseStore(site).case(case.name).status == "corrected"


def test_revisions_of_a_case_whose_scan_is_damaged_come_back_when_the_scans_are_added_again(site):
    case = corrected(site)
    (case / "volumes/T1w.nrrd").write_bytes(b"")
    repair_site(site)
    assert verify_site(site).is_whole
    assert not case.exists()
    CaseStore(site).add_unlabelled(small_case(labelled=False))
    assert len(repair_site(site)) == 2
    again = CaseStore(site).case(case.name)
    assert (again.status, again.revision, [one.number for one in again.revisions]) == ("approved", 1, [1, 2])
    assert verify_site(site).is_whole


def test_other_damaged_files_are_set_aside_too(site):
    (site / "ranking.json").write_text("{")
    (site / "splits").mkdir()
    (site / "splits/abc.json").write_text('{"split": "both"}')
    (corrected(site) / "revisions/0001.approved.json").write_text("")
    (site / "index.json").write_text("{")
    assert len(verify_site(site).damages) == 4
    repair_site(site)
    assert verify_site(site).is_whole
    assert (site / "quarantine/splits/abc.json").is_file()


def test_a_site_without_its_salt_is_beyond_repair(site):
    (site / "site.json").write_text("{}")
    for each in (verify_site, repair_site):
        with pytest.raises(DataError, match="not-a-site"):
            each(site)


def test_what_was_left_by_a_killed_process_is_no_damage_and_is_removed_when_it_is_old(site):
    left = [site / ".0123456789ab.site.json", corrected(site) / "revisions/.ab0123456789.0003"]
    left[0].write_text("x")
    left[1].mkdir()
    (site / ".DS_Store").write_text("a desktop's")
    report = verify_site(site)
    assert report.is_whole
    assert set(report.leftovers) == set(left)
    assert repair_site(site) == [], "somebody may be saving just now"
    os.utime(left[0], (0, 0))
    assert len(repair_site(site)) == 1
    assert len(repair_site(site, nobody_is_saving=True)) == 1
    assert (site / ".DS_Store").is_file()
    assert verify_site(site).leftovers == ()


SAVES_FOREVER = """
import sys
from itertools import count
from CrossModalSegLib.site.case_store import CaseStore
from Testing.site_case import small_case
store = CaseStore(sys.argv[1])
print("ready", flush=True)
for number in count():
    case = small_case(number)
    store.add_unlabelled(case)
    store.save_prediction(case)
    saved = store.save_correction(case, based_on=1)
    print(saved.id, flush=True)
    store.approve(saved.id)
    store.set_split(saved.id, "training")
"""


@pytest.mark.slow
def test_a_process_killed_at_any_moment_of_saving_leaves_a_whole_site_with_all_that_was_saved(tmp_path):
    site, pauses = tmp_path / "site", [0.0003 * 1.5**n for n in range(8)]
    saved = set()
    for pause in pauses:
        start = [sys.executable, "-c", SAVES_FOREVER, str(site)]
        process = subprocess.Popen(start, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.02 + pause)
        os.kill(process.pid, signal.SIGKILL)
        saved |= {line.strip() for line in process.communicate()[0].splitlines(keepends=True) if line.endswith("\n")}
        if site.is_dir() and (site / "site.json").exists():
            assert verify_site(site).damages == ()
    repair_site(site, nobody_is_saving=True)
    report = verify_site(site)
    assert (report.damages, report.leftovers) == ((), ())
    assert saved <= {case.id for case in CaseStore(site).cases() if case.trusted is not None}
    shutil.rmtree(site)
