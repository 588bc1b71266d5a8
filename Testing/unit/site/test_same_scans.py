"""One scan under several patients counts as one patient, in every split, and is told."""

import json
from dataclasses import replace

import numpy as np
import pytest

from CrossModalSegLib.adaptation.config import FinetuneOptions
from CrossModalSegLib.adaptation.plan import choose_trainings
from CrossModalSegLib.adaptation.site_data import DataCase, SiteData, same_scans_in_words
from CrossModalSegLib.cli import main
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.volume import Volume, write_volume
from CrossModalSegLib.labels import LabelMap, Structure
from CrossModalSegLib.site.case_files import CaseFiles
from CrossModalSegLib.site.case_store import CaseStore
from CrossModalSegLib.site.cases import person_of
from CrossModalSegLib.site.datalist import export_datalist

LABELS = LabelMap((Structure(1, "ball", (9, 9, 9)),))
SHAPE = (5, 6, 7)


def scan(number: int, modality: str = "T1w") -> Volume:
    values = np.random.default_rng(number).integers(0, 500, SHAPE)
    return Volume(values, Grid(SHAPE, np.diag([1.0, 1.0, 2.0, 1.0])), modality)


def turned(volume: Volume) -> Volume:
    """The same scan, stored in another order of axes, with another slope, elsewhere in space."""
    array = (volume.array * 0.5 + 3).transpose(2, 0, 1)[::-1]
    affine = np.diag([2.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = [40, -7, 12]
    return Volume(array, Grid(array.shape, affine), volume.modality)


def save(store: CaseStore, patient: str, *volumes: Volume) -> str:
    first = volumes[0]
    labels = {first.modality: (np.ones(first.array.shape, np.uint8), first.grid)}
    files = CaseFiles({one.modality: one for one in volumes}, labels, LABELS, {}, patient)
    return store.save_correction(files).id


def cases_of(store):
    return {case.id: case for case in store.cases()}


@pytest.mark.parametrize("again", [lambda volume: volume, turned])
def test_the_same_scan_under_two_patients_is_one_patient(tmp_path, again):
    store = CaseStore(tmp_path / "site")
    ids = [save(store, "A17", scan(1)), save(store, "B99", again(scan(1))), save(store, "C00", scan(2))]
    first, second, other = (cases_of(store)[one] for one in ids)
    assert person_of(first) == person_of(second) != person_of(other)
    assert first.split == second.split
    assert first.same_scan_as == (second.id,)
    assert second.same_scan_as == (first.id,)
    assert other.same_scan_as == ()


def test_one_shared_scan_of_a_pair_is_enough_and_chains_are_one(tmp_path):
    store = CaseStore(tmp_path / "site")
    ids = [
        save(store, "A", scan(1), scan(2, "T2w")),
        save(store, "B", scan(3), turned(scan(2, "T2w"))),
        save(store, "C", turned(scan(3))),
        save(store, "", scan(1)),
    ]
    cases = cases_of(store)
    assert len({person_of(cases[one]) for one in ids}) == 1
    assert len({cases[one].split for one in ids}) == 1


def test_a_split_that_a_person_has_set_for_one_holds_for_the_other(tmp_path):
    store = CaseStore(tmp_path / "site")
    ids = [save(store, "A", scan(1)), save(store, "B", turned(scan(1)))]
    for split in ("training", "held-out"):
        store.set_split(ids[1], split)
        assert {case.split for case in store.cases()} == {split}
    store.set_split(ids[0], "training")
    assert {case.split for case in store.cases()} == {"held-out"}, "of two that differ, nothing is learnt"
    assert all(case.is_split_set for case in store.cases())


def test_every_training_has_both_on_one_side(tmp_path):
    store = CaseStore(tmp_path / "site")
    twins = {save(store, "twin one", scan(0)), save(store, "twin two", turned(scan(0)))}
    for number in range(1, 6):
        save(store, f"patient {number}", scan(number))
    data = SiteData(
        tuple(
            DataCase(case.id, person_of(case), case.volumes, case.labels, (1,), held_out=case.split == "held-out")
            for case in store.cases()
        ),
        (),
    )
    for folds in (2, 3, 6):
        trainings = choose_trainings(data, replace(FinetuneOptions(), folds=folds))
        assert any(one.judged for one in trainings)
        for training in trainings:
            assert not (twins & set(training.learnt) and twins & set(training.judged))
            assert len(twins & set(training.judged)) in (0, 2)


def test_an_exported_datalist_has_both_on_one_side(tmp_path):
    store = CaseStore(tmp_path / "site")
    ids = [save(store, "A", scan(1)), save(store, "B", turned(scan(1))), save(store, "C", scan(2))]
    store.set_split(ids[0], "held-out")
    store.set_split(ids[2], "training")
    lists = export_datalist(store.cases(), tmp_path / "list.json")
    held = json.dumps(lists["validation"])
    assert (ids[0] in held, ids[1] in held, ids[2] in held) == (True, True, False)
    assert not any(ids[1] in json.dumps(lists[name]) for name in ("training", "unlabelled"))


def test_cases_that_were_saved_before_there_were_fingerprints_are_told_by_their_voxels(tmp_path):
    store = CaseStore(tmp_path / "site")
    ids = [save(store, "A", scan(1)), save(store, "B", scan(1))]
    for file in (tmp_path / "site").glob("cases/*/case.json"):
        content = json.loads(file.read_text())
        del content["content"]
        file.write_text(json.dumps(content))
    assert cases_of(store)[ids[0]].same_scan_as == (ids[1],)


def test_it_is_told_when_it_is_added_and_when_cases_are_listed(tmp_path, capsys):
    store = CaseStore(tmp_path / "site")
    store.create(LABELS, ("T1w",))
    write_volume(tmp_path / "a.nii.gz", scan(1).array, scan(1).grid)
    write_volume(tmp_path / "b.nrrd", turned(scan(1)).array, turned(scan(1)).grid)
    for name, key in (("a.nii.gz", "A17"), ("b.nrrd", "B99")):
        site = str(tmp_path / "site")
        assert main(["site", "add", site, "--input", f"T1w={tmp_path / name}", "--patient", key]) == 0
    told = capsys.readouterr()
    assert "warning[same-scan]" in told.err
    assert main(["site", "list", site]) == 0
    assert capsys.readouterr().out.count("the same scan as") == 2
    words = list(same_scans_in_words(store.cases()))
    assert len(words) == 1
    assert "under another patient: they count as one patient" in words[0]


def test_verifying_notices_a_changed_fingerprint(tmp_path, capsys):
    store = CaseStore(tmp_path / "site")
    save(store, "A", scan(1))
    assert main(["site", "verify", str(tmp_path / "site")]) == 0
    (file,) = (tmp_path / "site").glob("cases/*/case.json")
    content = json.loads(file.read_text())
    content["content"]["T1w"] = "0" * 64
    file.write_text(json.dumps(content))
    assert main(["site", "verify", str(tmp_path / "site")]) == 1
    assert "the T1w scan is another one" in capsys.readouterr().out
