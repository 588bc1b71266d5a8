"""A site's cases: whole or not there, never overwritten, and nothing in them that names a patient."""

import hashlib
import json
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from CrossModalSegLib.errors import DataError, GeometryError, LabelError, OutputError
from CrossModalSegLib.imaging.segmentation_io import read_segmentation
from CrossModalSegLib.imaging.volume import read_volume
from CrossModalSegLib.labels import LabelMap, Structure
from CrossModalSegLib.site import case_store
from CrossModalSegLib.site.case_store import CaseFiles, CaseStore, volume_sha256
from Testing.volumes import grid_around, ramp, random_grid, sampled

LABELS = LabelMap((Structure(2, "tissue", (0, 0, 255)), Structure(17, "ball", (0, 255, 0))))
REPOSITORY = Path(__file__).resolve().parents[3]
BUNDLE = {"name": "model", "version": "1.0.0", "sha256": "0" * 64}


def case(seed=1, patient="patient 0815 Miller", shift=0.0):
    grids = {"T1w": random_grid(seed, 30.0), "T2w": random_grid(seed + 1, 30.0)}
    volumes = {name: sampled(lambda points: ramp(points) + shift, grid, name) for name, grid in grids.items()}
    labels = {name: (np.full(grid.shape_kji, 2, np.uint16), grid) for name, grid in grids.items()}
    for array, _grid in labels.values():
        array[1, 1, 1:] = 17
    return CaseFiles(volumes, labels, LABELS, BUNDLE, patient)


def files_of(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_correction_is_read_back_as_it_was(tmp_path):
    saved = CaseStore(tmp_path / "site").save_correction(case(), "AB")
    assert saved.revision == 1
    assert files_of(saved.folder) == {
        "case.json",
        "volumes/T1w.nrrd",
        "volumes/T2w.nrrd",
        "revisions/0001/T1w.seg.nrrd",
        "revisions/0001/T2w.seg.nrrd",
        "revisions/0001/revision.json",
    }
    for name, volume in case().volumes.items():
        again = read_volume(saved.folder / "volumes" / f"{name}.nrrd", name)
        np.testing.assert_array_equal(again.array, volume.array)
        assert again.grid.is_close(volume.grid)
        labels, grid, label_map = read_segmentation(saved.folder / "revisions" / "0001" / f"{name}.seg.nrrd")
        np.testing.assert_array_equal(labels, case().labels[name][0])
        assert grid.is_close(volume.grid)
        assert label_map == LABELS
    facts = json.loads((saved.folder / "revisions/0001/revision.json").read_text())
    assert (facts["kind"], facts["parent"], facts["bundle"]) == ("correction", None, BUNDLE)
    assert facts["author"] == CaseStore(tmp_path / "site").site().author_hash("AB")
    content = (saved.folder / "revisions/0001/T1w.seg.nrrd").read_bytes()
    assert facts["sha256"]["T1w.seg.nrrd"] == hashlib.sha256(content).hexdigest()


def test_a_later_correction_is_the_next_revision_and_the_first_stays_byte_for_byte(tmp_path):
    store = CaseStore(tmp_path / "site")
    first = store.save_correction(case())
    before = {path: path.read_bytes() for path in first.folder.rglob("*") if path.is_file()}
    second = store.save_correction(case(), "CD")
    assert (second.id, second.revision) == (first.id, 2)
    assert {path: path.read_bytes() for path in before} == before
    assert json.loads((first.folder / "revisions/0002/revision.json").read_text())["parent"] == 1


def test_other_scans_and_other_patients_are_other_cases(tmp_path):
    store = CaseStore(tmp_path / "site")
    ids = {store.add_unlabelled(one).id for one in (case(), case(shift=1.0), case(patient="another"), case())}
    assert len(ids) == 3


def test_a_case_without_labels_can_be_corrected_later(tmp_path):
    store = CaseStore(tmp_path / "site")
    unlabelled = store.add_unlabelled(replace(case(), labels={}))
    assert (unlabelled.revision, unlabelled.was_known) == (None, False)
    assert store.add_unlabelled(replace(case(), labels={})) == replace(unlabelled, was_known=True)
    assert not (unlabelled.folder / "revisions").exists()
    assert store.save_correction(case()).id == unlabelled.id
    with pytest.raises(DataError, match="no-labels"):
        store.save_correction(replace(case(), labels={}))


def test_nothing_in_the_folder_names_the_patient(tmp_path):
    CaseStore(tmp_path / "site").save_correction(case())
    for path in (tmp_path / "site").rglob("*"):
        assert "Miller" not in path.name
        if path.is_file():
            assert b"Miller" not in path.read_bytes()


def test_the_same_patient_has_another_hash_at_another_site(tmp_path):
    hashes = set()
    for name in ("a", "b"):
        saved = CaseStore(tmp_path / name).save_correction(case())
        hashes.add(json.loads((saved.folder / "case.json").read_text())["patient"])
    assert len(hashes) == 2


def test_an_unknown_patient_has_no_hash(tmp_path):
    """Two such cases may be of one patient or of two."""
    saved = CaseStore(tmp_path).save_correction(case(patient=""))
    assert json.loads((saved.folder / "case.json").read_text())["patient"] == ""


def test_a_folder_that_holds_something_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(DataError, match="not-a-site"):
        CaseStore(tmp_path).save_correction(case())
    assert files_of(tmp_path) == {"letter.txt"}


def test_cases_of_another_model_are_refused_with_the_first_difference(tmp_path):
    CaseStore(tmp_path).save_correction(case())
    other = LabelMap((LABELS.structures[0], Structure(18, "ball", (0, 255, 0))))
    before = files_of(tmp_path)
    with pytest.raises(DataError, match='value 17 is "ball" there, and not used here'):
        CaseStore(tmp_path).save_correction(replace(case(), label_map=other))
    assert files_of(tmp_path) == before


def test_other_colours_of_the_same_structures_are_welcome(tmp_path):
    first = CaseStore(tmp_path).save_correction(case())
    repainted = LabelMap(tuple(replace(one, color=(9, 9, 9)) for one in reversed(LABELS.structures)))
    assert CaseStore(tmp_path).save_correction(replace(case(), label_map=repainted)).id == first.id


def test_the_site_knows_its_modalities_and_learns_new_ones(tmp_path):
    def modalities():
        return json.loads((tmp_path / "site.json").read_text())["modalities"]

    whole = case()
    one_scan = replace(whole, volumes={"T2w": whole.volumes["T2w"]}, labels={})
    CaseStore(tmp_path).add_unlabelled(one_scan)
    assert modalities() == ["T2w"]
    salt = json.loads((tmp_path / "site.json").read_text())["salt"]
    CaseStore(tmp_path).add_unlabelled(whole)
    assert modalities() == ["T1w", "T2w"]
    assert json.loads((tmp_path / "site.json").read_text())["salt"] == salt
    CaseStore(tmp_path).add_unlabelled(replace(one_scan, bundle=BUNDLE | {"modalities": ["FLAIR", "T2w"]}))
    assert modalities() == ["FLAIR", "T1w", "T2w"]


def test_what_desktops_leave_in_a_folder_does_not_matter(tmp_path):
    (tmp_path / ".DS_Store").write_text("x")
    assert CaseStore(tmp_path).save_correction(case()).revision == 1


FACTS = {"store_version": 1, "label_map": LABELS.to_json(), "modalities": ["T1w"], "salt": "00ff"}
DAMAGED = [{"salt": 5}, {"salt": "xyz"}, {"salt": ""}, {"modalities": "T1w"}, {"modalities": []}, {"modalities": [1]}]


@pytest.mark.parametrize(
    "modalities", [("T1w", "T1w"), ("T1w", "t1W"), ("label",), ("Labels",), ("m" * 41,), ("",), ("a/b",)]
)
def test_modalities_that_files_cannot_be_named_after_are_refused(tmp_path, modalities):
    with pytest.raises(DataError, match="bad-modality"):
        CaseStore(tmp_path / "site").create(LABELS, modalities)
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize(
    "content", ["", "[]", '{"store_version": 1}', *(json.dumps(FACTS | damage) for damage in DAMAGED)]
)
def test_a_damaged_site_is_refused_and_left_alone(tmp_path, content):
    (tmp_path / "site.json").write_text(content)
    with pytest.raises(DataError, match="not-a-site"):
        CaseStore(tmp_path).save_correction(case())
    assert files_of(tmp_path) == {"site.json"}
    assert (tmp_path / "site.json").read_text() == content


def test_a_folder_that_cannot_be_written_is_said_so(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot-write"):
        CaseStore(tmp_path / "file" / "site").save_correction(case())


def test_a_store_of_a_later_version_is_refused(tmp_path):
    CaseStore(tmp_path).add_unlabelled(case())
    site = json.loads((tmp_path / "site.json").read_text()) | {"store_version": 99}
    (tmp_path / "site.json").write_text(json.dumps(site))
    with pytest.raises(DataError, match="version 1"):
        CaseStore(tmp_path).add_unlabelled(case())


@pytest.mark.parametrize("save", [CaseStore.save_correction, CaseStore.save_prediction])
def test_labels_that_the_model_does_not_have_leave_no_revision(save, tmp_path):
    wrong = case()
    wrong.labels["T2w"][0][0, 0, 0] = 99
    with pytest.raises(LabelError, match="99"):
        save(CaseStore(tmp_path), wrong)
    assert not [path for path in tmp_path.rglob("*") if "cases" in path.parts and path.is_file()], "and no case"


def test_what_was_not_written_as_given_is_noticed_and_not_kept(tmp_path, monkeypatch):
    real = case_store.write_segmentation
    monkeypatch.setattr(case_store, "write_segmentation", lambda path, labels, *rest: real(path, labels * 0, *rest))
    with pytest.raises(OutputError, match="not-whole"):
        CaseStore(tmp_path).save_correction(case())
    assert not list(tmp_path.rglob("revision.json"))


def test_scans_that_were_not_written_as_given_leave_no_case(tmp_path, monkeypatch):
    real = case_store.write_volume
    monkeypatch.setattr(case_store, "write_volume", lambda path, array, grid: real(path, array + 1, grid))
    with pytest.raises(OutputError, match="not-whole"):
        CaseStore(tmp_path).add_unlabelled(case())
    assert files_of(tmp_path) == {"site.json"}


def test_labels_on_another_grid_or_without_a_scan_are_refused():
    grid = random_grid(5, 30.0)
    with pytest.raises(GeometryError, match=r"grids-differ.*T1w"):
        replace(case(), labels={"T1w": (np.zeros(grid.shape_kji, np.uint16), grid)})
    with pytest.raises(DataError, match=r"no-scan.*T1w"):
        replace(case(), volumes={"T2w": case().volumes["T2w"]})
    with pytest.raises(DataError, match="no-scan"):
        replace(case(), volumes={}, labels={})


SAVES = """
import sys, time
from pathlib import Path
from CrossModalSegLib.site.case_store import CaseStore
from Testing.unit.site.test_case_store import case
folder, number = Path(sys.argv[1]), int(sys.argv[2])
prepared = [case(), case(shift=1.0 + number)]
(folder / f"ready {number}").touch()
while not (folder / "go").exists():
    time.sleep(0.001)
for one in prepared:
    CaseStore(folder / "site").save_correction(one, f"author {number}")
"""


def test_processes_that_start_a_site_at_the_same_moment_share_it_and_lose_nothing(tmp_path):
    """Each saves the same scans, and scans of its own."""
    start = [sys.executable, "-W", "error", "-c", SAVES, str(tmp_path)]
    processes = [subprocess.Popen([*start, str(n)], cwd=REPOSITORY, stderr=subprocess.PIPE) for n in range(3)]
    while len(list(tmp_path.glob("ready *"))) < 3 and any(process.poll() is None for process in processes):
        time.sleep(0.01)
    (tmp_path / "go").touch()
    assert [process.communicate()[1].decode() for process in processes] == ["", "", ""]
    revisions = list((tmp_path / "site").glob("cases/*/revisions/*"))
    by_case = Counter(path.parts[-3] for path in revisions)
    assert sorted(by_case.values()) == [1, 1, 1, 3]
    patients = {json.loads(file.read_text())["patient"] for file in (tmp_path / "site").glob("cases/*/case.json")}
    assert len(patients) == 1, "one salt, so one patient"
    authors = {json.loads((path / "revision.json").read_text())["author"] for path in revisions}
    site = CaseStore(tmp_path / "site").site()
    assert authors == {site.author_hash(f"author {number}") for number in range(3)}
    assert not list((tmp_path / "site").rglob(".*")), "no litter"


def test_all_revisions_of_those_who_save_at_once_are_there(tmp_path):
    CaseStore(tmp_path).add_unlabelled(case())
    with ThreadPoolExecutor(6) as pool:
        saved = list(pool.map(lambda n: CaseStore(tmp_path).save_correction(case(), f"author {n}"), range(6)))
    assert sorted(one.revision for one in saved) == [1, 2, 3, 4, 5, 6]
    for one in saved:
        facts = json.loads((one.folder / "revisions" / f"{one.revision:04d}" / "revision.json").read_text())
        assert facts["author"] == CaseStore(tmp_path).site().author_hash(f"author {saved.index(one)}")


def test_a_revision_that_comes_while_the_newest_is_looked_for_is_the_one_that_is_built_on(tmp_path):
    class Interrupted(CaseStore):
        others = 1

        def _newest(self, folder, numbers):
            if self.others:
                self.others -= 1
                CaseStore(tmp_path).save_correction(case(), "another")
            return super()._newest(folder, numbers)

    saved = Interrupted(tmp_path).save_correction(case(), "one")
    assert (saved.revision, saved.parent) == (2, 1)


def test_the_hash_of_a_scan_depends_on_voxels_and_place_alone():
    volume = sampled(ramp, grid_around((0, 0, 0), (4, 5, 6), (1, 2, 3)), "T1w")
    moved = sampled(ramp, grid_around((0, 0, 1), (4, 5, 6), (1, 2, 3)), "T1w")
    brighter = replace(volume, array=volume.array + 1)
    assert volume_sha256(volume) == volume_sha256(replace(volume, modality="T2w", array=volume.array.copy()))
    assert len({volume_sha256(one) for one in (volume, moved, brighter)}) == 3
