"""The check before a fine-tuning: what is damaged is named, what cannot be used is left out, and the rest goes on."""

from dataclasses import replace

import numpy as np
import pytest

from CrossModalSegLib.adaptation import site_data as module
from CrossModalSegLib.adaptation.label_mapping import same_structures
from CrossModalSegLib.adaptation.site_data import SiteData, prepared, site_data
from CrossModalSegLib.errors import DataError
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.volume import Volume, write_volume
from CrossModalSegLib.site.case_files import CaseFiles, file_sha256
from Testing.tiny_bundle import LABEL_MAP, intensity_bundle
from Testing.tiny_site import labels, make_site, scan, site_grid

BOTH = ("T1w", "T2w")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return intensity_bundle(tmp_path_factory.mktemp("bundle") / "tiny", (16, 16, 16), 4.0)


@pytest.fixture
def store(tmp_path):
    """Two corrected cases and two without labels."""
    return make_site(tmp_path / "site", 2, 2)


def check(store, bundle) -> SiteData:
    return site_data(store.cases(), bundle, same_structures(bundle.label_map, store.site().label_map))


def of_status(store, status):
    return [case for case in store.cases() if case.status == status]


def add_correction(store, number, values=None, modalities=BOTH):
    """A correction of case ``number``, with these label values in place of the true ones."""
    volumes = {name: scan(number, name) for name in modalities}
    given = labels(number) if values is None else values
    bundle = {"name": "tiny", "modalities": ["T1w", "T2w"]}
    corrections = {name: (given, site_grid(number)) for name in BOTH if name in modalities}
    return store.save_correction(CaseFiles(volumes, corrections, LABEL_MAP, bundle, f"patient {number}"))


def change_last_byte(path):
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def test_a_whole_site_is_taken_as_it_is(store, bundle):
    data = check(store, bundle)
    assert (len(data.labelled), len(data.unlabelled), data.notes) == (2, 2, ())


@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_a_damaged_case_without_labels_is_named_and_left_out(store, bundle, damage):
    first, second = of_status(store, "unlabelled")
    file = first.volumes["T2w"]
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-100])
    elif damage == "changed":
        change_last_byte(file)
    else:
        file.unlink()
    data = check(store, bundle)
    assert [case.id for case in data.unlabelled] == [second.id]
    (note,) = data.notes
    assert note.startswith(f"case {first.id} is left out: ")
    assert "volumes/T2w.nrrd" in note
    assert str(store.folder) not in note, "it goes into the report"


def test_all_damages_of_corrected_cases_are_told_at_once_scans_and_labels(store, bundle):
    first, second = of_status(store, "corrected")
    change_last_byte(first.volumes["T1w"])
    change_last_byte(first.labels["T1w"])
    second.volumes["T2w"].unlink()
    with pytest.raises(DataError, match="site-data") as refused:
        check(store, bundle)
    for words in (
        f"case {first.id}: volumes/T1w.nrrd is not what was saved: its SHA-256 differs",
        f"case {first.id}: 0001/T1w.seg.nrrd is not what was saved",
        f"case {second.id}: no file volumes/T2w.nrrd",
    ):
        assert words in refused.value.message


def test_scans_that_are_what_was_saved_are_not_read_again(store, bundle, monkeypatch):
    monkeypatch.setattr(module, "read_volume", lambda path, _name: pytest.fail(f"{path} is read"))
    check(store, bundle)


def test_a_scan_whose_hash_nobody_has_recorded_is_read(store, bundle):
    case = of_status(store, "unlabelled")[0]
    (case.folder / "volumes/T1w.nrrd").write_bytes(b"NRRD0004\n")
    data = site_data(
        [replace(one, scan_sha256={}) for one in store.cases()], bundle, same_structures(LABEL_MAP, LABEL_MAP)
    )
    assert [note[: len(f"case {case.id}")] for note in data.notes] == [f"case {case.id}"]


def test_labels_beside_their_scan_are_found(store, bundle):
    case = of_status(store, "corrected")[0]
    moved = site_grid(17)
    write_volume(case.volumes["T1w"], scan(17, "T1w").array, moved)
    hashes = {**case.scan_sha256, "volumes/T1w.nrrd": file_sha256(case.volumes["T1w"])}
    with pytest.raises(DataError, match="the labels of T1w are not on the grid of its scan"):
        site_data([replace(case, scan_sha256=hashes)], bundle, same_structures(LABEL_MAP, LABEL_MAP))


def test_a_patient_without_any_structure_is_learnt_from_and_said(store, bundle):
    saved = add_correction(store, 7, np.zeros_like(labels(7)))
    data = check(store, bundle)
    assert saved.id in {case.id for case in data.labelled}
    assert data.notes == tuple(f"case {saved.id}: the labels of {name} show no structure" for name in BOTH)


def test_labels_that_are_empty_everywhere_are_refused(tmp_path, bundle):
    store = make_site(tmp_path / "site", 0, 1)
    add_correction(store, 7, np.zeros_like(labels(7)))
    with pytest.raises(DataError, match="the labels of all 1 corrected cases are empty"):
        check(store, bundle)


def test_a_case_that_the_bundle_cannot_take_is_named_and_left_out(store, bundle):
    extra = add_correction(store, 7, modalities=("T1w", "T2w", "CT"))
    single = add_correction(store, 8, modalities=("T1w",))
    data = check(store, bundle)
    assert extra.id not in {case.id for case in data.labelled}
    assert single.id in {case.id for case in data.labelled}
    assert [note.partition(": ")[0] for note in data.notes] == [f"case {extra.id} is left out"]
    assert "CT" in data.notes[0]
    notes = site_data(store.cases(), replace(bundle, requires_both=True), same_structures(LABEL_MAP, LABEL_MAP)).notes
    assert any(note.startswith(f"case {single.id} is left out: bundle tiny needs both T1w and T2w") for note in notes)


def test_excluded_cases_are_left_out_and_where_nothing_is_left_all_reasons_are_told(store, bundle):
    first, second = of_status(store, "corrected")
    store.exclude(first.id)
    assert check(store, bundle).notes == (f"case {first.id} is left out: it is excluded",)
    store.exclude(second.id)
    with pytest.raises(DataError, match="4 cases, and none has corrected labels") as refused:
        check(store, bundle)
    assert f"case {second.id} is left out: it is excluded" in refused.value.message
    store.exclude(second.id, False)
    assert len(check(store, bundle).labelled) == 1


def moved_case(store, number, distance_mm):
    """A corrected case whose second scan lies elsewhere, with its labels."""
    place = site_grid(number)
    affine = place.ijk_to_ras.copy()
    affine[1, 3] += distance_mm
    elsewhere = Grid(place.shape_kji, affine)
    first, second = (scan(number, name) for name in BOTH)
    volumes = {"T1w": first, "T2w": Volume(second.array, elsewhere, "T2w")}
    corrections = {"T1w": (labels(number), place), "T2w": (labels(number), elsewhere)}
    bundle = {"name": "tiny", "modalities": list(BOTH)}
    return store.save_correction(CaseFiles(volumes, corrections, LABEL_MAP, bundle, f"patient {number}"))


def test_pairs_whose_labels_lie_on_each_other_count_as_aligned(store, bundle):
    moved_case(store, 7, 1.9)
    data = check(store, bundle)
    assert [case.aligned for case in (*data.labelled, *data.unlabelled)] == [True] * 5


def test_a_pair_whose_labels_lie_apart_is_not_compared_voxel_by_voxel_and_others_are(store, bundle):
    moved = moved_case(store, 7, 2.1)
    data = check(store, bundle)
    assert {case.id for case in (*data.labelled, *data.unlabelled) if not case.aligned} == {moved.id}
    assert data.notes == ()


def test_what_most_corrected_pairs_show_counts_for_those_without_labels(store, bundle):
    for number in (7, 8, 9):
        moved_case(store, number, 6.0)
    mapping = same_structures(bundle.label_map, store.site().label_map)
    data = check(store, bundle)
    assert [case.aligned for case in data.unlabelled] == [False, False]
    assert sum(case.aligned for case in data.labelled) == 2, "they show that they lie on each other"
    assert data.notes[0].startswith("the two scans of a corrected case lie 6.0 mm apart (median of 5)")
    assert not prepared(data.unlabelled[0], bundle, mapping, None).aligned
