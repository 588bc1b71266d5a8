"""What is known of a site's cases: status, which labels to trust, forks, splits, and nothing about people."""

import json
import re
from collections import Counter

import numpy as np
import pytest

from CrossModalSegLib.errors import DataError
from CrossModalSegLib.imaging.volume import read_volume
from CrossModalSegLib.site.case_store import CaseStore
from CrossModalSegLib.site.check import verify_site
from CrossModalSegLib.site.folder import SiteFacts
from Testing.site_case import LABELS, small_case

DATE = re.compile(rb"(?<![0-9a-f])20[0-9]{2}([-/.:]?)[01][0-9]\1[0-3][0-9]")


@pytest.fixture
def store(tmp_path):
    return CaseStore(tmp_path / "site")


def test_a_case_goes_from_unlabelled_to_approved_and_only_a_person_s_labels_are_trusted(store):
    saved = store.add_unlabelled(small_case(labelled=False))

    def state():
        case = store.case(saved.id)
        return case.status, case.revision, sorted(case.labels)

    assert state() == ("unlabelled", None, [])
    store.save_prediction(small_case())
    assert state() == ("predicted", None, [])
    store.save_correction(small_case(), "AB", based_on=1)
    assert state() == ("corrected", 2, ["T1w", "T2w"])
    store.approve(saved.id)
    assert state() == ("approved", 2, ["T1w", "T2w"])
    store.save_correction(small_case(), based_on=2)
    assert state() == ("approved", 2, ["T1w", "T2w"]), "nobody has approved the later one yet"
    assert store.case(saved.id).newest.number == 3
    assert store.approve(saved.id).revision == 3


def test_what_is_read_leads_to_the_files_and_their_hashes(store):
    saved = store.save_correction(small_case())
    (case,) = store.cases()
    assert (case.id, case.folder) == (saved.id, saved.folder)
    assert {
        path.relative_to(case.folder).as_posix() for path in (*case.volumes.values(), *case.labels.values())
    } == set(case.sha256)
    assert all(path.is_file() for path in (*case.volumes.values(), *case.labels.values()))
    np.testing.assert_array_equal(read_volume(case.volumes["T2w"], "T2w").array, small_case().volumes["T2w"].array)


def test_two_who_correct_the_same_revision_are_both_kept_and_said_until_one_is_approved(store):
    first = store.save_correction(small_case(), "AB")
    left = store.save_correction(small_case(), "CD", based_on=1)
    right = store.save_correction(small_case(), "EF", based_on=1)
    assert (first.forks, left.forks, right.forks) == ((), (), (2, 3))
    assert (left.parent, right.parent) == (1, 1)
    assert store.case(first.id).forks == (2, 3)
    assert store.case(first.id).revision == 3
    assert store.approve(first.id, 2).forks == ()
    assert store.case(first.id).revision == 2
    assert store.save_correction(small_case(), based_on=3).forks == (2, 4), "a later one does not know of the approved"


def test_a_prediction_between_two_corrections_makes_no_fork(store):
    first = store.save_correction(small_case())
    store.save_prediction(small_case())
    second = store.save_correction(small_case())
    assert (second.parent, second.forks) == (first.revision, ())


def test_a_damaged_revision_does_not_keep_a_correction_from_being_saved(store):
    saved = store.save_correction(small_case())
    (saved.folder / "revisions/0001/revision.json").write_text("")
    assert store.save_correction(small_case()).revision == 2


def test_only_corrections_that_are_there_can_be_approved_and_the_first_approval_stays(store):
    saved = store.save_prediction(small_case())
    with pytest.raises(DataError, match="not-corrected"):
        store.approve(saved.id, 1)
    with pytest.raises(DataError, match="not-corrected"):
        store.approve(saved.id)
    with pytest.raises(DataError, match="no-such-revision"):
        store.approve(saved.id, 7)
    with pytest.raises(DataError, match="no-such-revision"):
        store.save_correction(small_case(), based_on=7)
    store.save_correction(small_case())
    store.approve(saved.id, author="ab")
    store.approve(saved.id, author="CD")
    assert store.case(saved.id).trusted.approved_by == store.site().author_hash("AB ")


def test_the_revision_that_was_approved_last_is_trusted_whatever_its_number(store):
    saved = store.save_correction(small_case())
    store.save_correction(small_case())
    trusted = [store.approve(saved.id, number, author).revision for number, author in ((2, "ab"), (1, "cd"), (2, "ef"))]
    assert trusted == [2, 1, 2]
    assert store.case(saved.id).trusted.approved_by == store.site().author_hash("ef")
    before = sorted(saved.folder.rglob("*"))
    store.approve(saved.id, 2)
    assert sorted(saved.folder.rglob("*")) == before, "it is the one to trust already"
    assert verify_site(store.folder).is_whole
    assert store.case(saved.id).forks == ()


def test_approvals_that_an_earlier_version_has_written_are_not_counted_and_the_highest_revision_stands(store):
    saved = store.save_correction(small_case())
    store.save_correction(small_case())
    for number in (1, 2):
        (saved.folder / f"revisions/000{number}.approved.json").write_text('{"author": "", "settled": 2}')
    assert store.case(saved.id).revision == 2
    assert store.approve(saved.id, 1).revision == 1


def test_of_two_who_approve_different_revisions_at_once_both_are_noted_and_the_later_revision_counts(
    store, monkeypatch
):
    saved = store.save_correction(small_case())
    store.save_correction(small_case())
    seen = store.case(saved.id)  # by both
    monkeypatch.setattr(CaseStore, "case", lambda _self, _name: seen)
    for number in (2, 1):
        store.approve(saved.id, number)
    monkeypatch.undo()
    case = store.case(saved.id)
    assert [one.approved_by for one in case.revisions] == ["", ""]
    assert case.revision == 2


def test_a_case_is_found_by_the_beginning_of_its_id(store):
    ids = [store.add_unlabelled(small_case(number, labelled=False)).id for number in range(2)]
    assert store.case(ids[0][:10]).id == ids[0]
    for wrong in ("", "*", "..", "zz"):
        with pytest.raises(DataError, match="no-such-case"):
            store.case(wrong)


def test_scans_that_came_from_the_site_go_back_to_their_case_whatever_is_known_of_the_patient(store):
    saved = store.add_unlabelled(small_case(patient="Miller 0815", labelled=False))
    reopened = small_case()
    object.__setattr__(reopened, "case_id", saved.id)
    assert store.save_correction(reopened).id == saved.id
    moved = small_case(number=2)
    object.__setattr__(moved, "case_id", saved.id)
    another = store.save_correction(moved, based_on=1)
    assert another.id != saved.id
    assert another.parent is None, "it is based on no revision of this case"
    assert store.case(another.id).patient == store.case(saved.id).patient != ""
    assert store.knows(another.id)
    assert not store.knows(another.id[:8])
    assert not store.knows("")


def test_all_cases_of_a_patient_are_in_one_split_which_stays(store):
    ids = [store.add_unlabelled(small_case(number, f"patient {number % 4}", False)).id for number in range(8)]
    splits = {case.id: case.split for case in store.cases()}
    by_patient = {number: {splits[ids[number]], splits[ids[number + 4]]} for number in range(4)}
    assert all(len(found) == 1 for found in by_patient.values())
    assert {case.id: case.split for case in CaseStore(store.folder).cases()} == splits
    other = "training" if splits[ids[0]] == "held-out" else "held-out"
    store.set_split(ids[0], other)
    assert {case.split for case in store.cases() if case.id in (ids[0], ids[4])} == {other}
    store.set_split(ids[4], "")
    assert {case.id: case.split for case in store.cases()} == splits


def test_a_fifth_of_the_patients_is_held_out():
    site = SiteFacts(LABELS, ("T1w",), "00" * 16)
    counts = Counter(site.drawn_split(f"{number:064x}") for number in range(5000))
    assert 900 < counts["held-out"] < 1100


def test_one_damaged_case_is_named_with_the_way_out(store):
    saved = store.add_unlabelled(small_case(labelled=False))
    store.add_unlabelled(small_case(2, labelled=False))
    (saved.folder / "case.json").write_text("{")
    with pytest.raises(DataError, match=rf"damaged-cases.*{saved.id}.*site repair"):
        store.cases()
    cases, damaged = store.readable_cases()
    assert (len(cases), list(damaged)) == (1, [saved.id])
    (saved.folder / "case.json").write_text('{"store_version": 1, "volumes": {}, "sha256": {}}')
    (saved.folder / "revisions").write_text("a file")
    assert list(store.readable_cases()[1]) == [saved.id]
    (saved.folder / "revisions").unlink()
    (saved.folder / "case.json").write_text('{"store_version": 1, "volumes": {}, "sha256": 3}')
    assert len(store.cases()) == 2, "hashes are for verify"
    (saved.folder / "case.json").write_text('{"store_version": 1, "volumes": ["T1w"]}')
    with pytest.raises(DataError, match="damaged-cases"):
        store.cases()


@pytest.mark.parametrize("patient", [None, 17, "Miller", ["a"]])
def test_a_patient_that_is_no_hash_makes_no_other_patient(store, patient):
    """Else two cases of one patient would come to lie on the two sides of the split."""
    saved = store.add_unlabelled(small_case(labelled=False, patient="Miller 0815"))
    content = json.loads((saved.folder / "case.json").read_text())
    (saved.folder / "case.json").write_text(json.dumps(content | {"patient": patient}))
    (damage,) = store.readable_cases()[1].values()
    assert "the patient " in str(damage)


def test_no_file_names_a_person_a_date_or_a_place(store):
    saved = store.save_correction(small_case(patient="Miller 0815"), "QXZ")
    store.approve(saved.id, author="QXZ")
    store.set_split(saved.id, "training")
    hidden = [b"Miller", b"0815", b"QXZ", b"qxz", str(store.folder.parent).encode()]
    for path in store.folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else path.name.encode()
        head = content.split(b"\n\n")[0] if path.suffix == ".nrrd" else content
        assert not [word for word in hidden if word in content], path
        assert not DATE.search(head) or path.suffix == ".json", path
    assert "salt" not in repr(store.site())


def test_many_cases_are_listed_from_the_index_which_is_never_stale(store, monkeypatch):
    monkeypatch.setattr("CrossModalSegLib.site.index._WORTH_WRITING", 1)
    ids = [store.add_unlabelled(small_case(number, labelled=False)).id for number in range(3)]
    assert len(store.cases()) == 3
    assert (store.folder / "index.json").is_file()
    monkeypatch.setattr("CrossModalSegLib.site.index._WORTH_WRITING", 1000)
    store.save_correction(small_case(1))
    store.approve(ids[1])
    assert sorted(case.status for case in store.cases()) == ["approved", "unlabelled", "unlabelled"]
    (store.folder / "index.json").write_text("[")
    assert len(store.cases()) == 3


def test_the_index_is_read_instead_of_the_files(store, monkeypatch):
    monkeypatch.setattr("CrossModalSegLib.site.index._WORTH_WRITING", 1)
    saved = store.save_correction(small_case())
    before = store.cases()
    (saved.folder / "case.json").write_text(json.dumps({"never": "read"}))
    assert store.cases() == before
