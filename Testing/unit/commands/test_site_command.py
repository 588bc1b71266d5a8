"""`crossmodalseg site`: cases from files as hospitals have them, and one line for what is wrong."""

import json
import shutil
import subprocess
import sys
import tempfile
import zipfile

import numpy as np
import pydicom
import pytest

from CrossModalSegLib.cli import main
from CrossModalSegLib.datasets.datalist import read_datalist
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.segmentation_io import read_segmentation, write_segmentation
from CrossModalSegLib.imaging.volume import read_volume, write_volume
from CrossModalSegLib.labels import LabelMap, Structure
from CrossModalSegLib.site.case_store import CaseStore
from CrossModalSegLib.site.work_list import CaseScore, Ranking, write_ranking
from Testing.dicom_files import write_series
from Testing.site_case import LABELS, small_case

FILES = ("T1w", "T2w")


@pytest.fixture
def site(tmp_path):
    (tmp_path / "map.json").write_text(json.dumps(LABELS.to_json()))
    folder = tmp_path / "site"
    arguments = ["--label-map", str(tmp_path / "map.json"), "--modality", "T1w", "--modality", "T2w"]
    assert main(["site", "create", str(folder), *arguments]) == 0
    return folder


def run(action, site, *arguments):
    return main(["site", action, str(site), *map(str, arguments)])


def write_case(folder, number, name="{}.nii.gz", labels=("label_{}.nii.gz",)):
    """The small case's scans, and its labels where names for them are given."""
    folder.mkdir(parents=True, exist_ok=True)
    case = small_case(number)
    for modality, volume in case.volumes.items():
        write_volume(folder / name.format(modality), volume.array, volume.grid)
        for label in labels:
            write_segmentation(folder / label.format(modality), *case.labels[modality], LABELS)
    return folder


def statuses(site):
    return sorted(case.status for case in CaseStore(site).cases())


def test_one_case_is_added_listed_shown_corrected_and_approved(site, tmp_path, capsys):
    folder = write_case(tmp_path / "files", 1)
    scans = [part for name in FILES for part in ("--input", f"{name}={folder / name}.nii.gz")]
    labels = [part for name in FILES for part in ("--labels", f"{name}={folder}/label_{name}.nii.gz")]
    assert run("add", site, *scans, "--patient", "0815") == 0
    assert run("add", site, *scans, *labels, "--patient", "0815", "--predicted") == 0
    assert statuses(site) == ["predicted"]
    assert run("add", site, *scans, *labels, "--patient", "0815", "--author", "AB") == 0
    (case,) = CaseStore(site).cases()
    np.testing.assert_array_equal(read_segmentation(case.labels["T1w"])[0], small_case(1).labels["T1w"][0])
    assert run("approve", site, case.id[:8], "--author", "CD") == 0
    assert statuses(site) == ["approved"]
    assert run("split", site, case.id, "held-out") == 0
    capsys.readouterr()
    assert run("list", site) == 0
    assert run("show", site, case.id) == 0
    told = capsys.readouterr().out
    assert f"{case.id}  approved  T1w+T2w  2         held-out" in told
    assert "1 case: 0 unlabelled, 0 predicted, 0 corrected, 1 approved" in told
    assert "0815" not in told
    assert run("verify", site) == 0


def test_segments_of_slicer_are_translated_by_name(site, tmp_path):
    case = small_case()
    own = LabelMap((Structure(1, "ball", (1, 1, 1)), Structure(2, "tissue", (2, 2, 2))))
    labels, grid = case.labels["T1w"]
    write_volume(tmp_path / "a.nrrd", case.volumes["T1w"].array, grid)
    values = np.zeros_like(labels)
    values[labels == 17], values[labels == 2] = 1, 2
    write_segmentation(tmp_path / "a.seg.nrrd", values, grid, own)
    assert run("add", site, "--input", f"T1w={tmp_path}/a.nrrd", "--labels", f"T1w={tmp_path}/a.seg.nrrd") == 0
    (saved,) = CaseStore(site).cases()
    np.testing.assert_array_equal(read_segmentation(saved.labels["T1w"])[0], labels)
    write_segmentation(
        tmp_path / "a.seg.nrrd", values, grid, LabelMap((own.structures[1], Structure(1, "x", (1, 1, 1))))
    )
    assert run("add", site, "--input", f"T1w={tmp_path}/a.nrrd", "--labels", f"T1w={tmp_path}/a.seg.nrrd") == 2


def test_label_values_that_are_stored_as_floats_are_taken_where_they_are_whole_numbers(site, tmp_path, capsys):
    case = small_case()
    labels, grid = case.labels["T1w"]
    write_volume(tmp_path / "a.nii.gz", case.volumes["T1w"].array, grid)
    given = ["--input", f"T1w={tmp_path}/a.nii.gz", "--labels", f"T1w={tmp_path}/labels.nii.gz"]
    write_volume(tmp_path / "labels.nii.gz", labels.astype(np.float32) / 2, grid)
    assert run("add", site, *given) == 2
    assert f"error[not-integers]: {tmp_path}/labels.nii.gz: labels are float32" in capsys.readouterr().err
    write_volume(tmp_path / "labels.nii.gz", labels + np.uint16(1), grid)
    assert run("add", site, *given) == 2
    assert f"error[unknown-label-values]: {tmp_path}/labels.nii.gz: " in capsys.readouterr().err
    write_volume(tmp_path / "labels.nii.gz", labels.astype(np.float32), grid)
    assert run("add", site, *given) == 0
    (saved,) = CaseStore(site).cases()
    np.testing.assert_array_equal(read_segmentation(saved.labels["T1w"])[0], labels)


def test_a_folder_per_case_is_added_and_one_that_cannot_be_read_does_not_stop_the_rest(site, tmp_path, capsys):
    for number in range(3):
        write_case(tmp_path / "cases" / str(number), number, labels=() if number else ("label_{}.nii.gz",))
    (tmp_path / "cases/2/T2w.nii.gz").write_bytes(b"")
    assert run("add", site, "--from", tmp_path / "cases") == 1
    assert statuses(site) == ["corrected", "unlabelled"]
    told = capsys.readouterr()
    assert told.out.splitlines()[-1] == f"in {site}: 2 of 3 cases"
    assert "error[" in told.err
    assert run("add", site, "--from", tmp_path / "cases") == 1
    assert len(CaseStore(site).cases()) == 2, "the same scans are the same cases"


def test_nnunet_loose_files_and_a_zip_file_are_added(site, tmp_path):
    raw = tmp_path / "raw"
    (raw / "imagesTr").mkdir(parents=True)
    (raw / "dataset.json").write_text('{"channel_names": {"0": "T1w", "1": "T2w"}}')
    for number, modality in enumerate(FILES):
        volume = small_case(1).volumes[modality]
        write_volume(raw / "imagesTr" / f"sub-07_{number:04d}.nii.gz", volume.array, volume.grid)
    assert run("add", site, "--from", raw) == 0
    write_case(tmp_path / "loose", 2, "a_{}.nrrd", ("a_label_{}.nii.gz",))
    write_case(tmp_path / "loose", 3, "b_{}.nrrd", ())
    with zipfile.ZipFile(tmp_path / "loose.zip", "w") as archive:
        for path in (tmp_path / "loose").iterdir():
            archive.write(path, path.name)
    assert run("add", site, "--from", tmp_path / "loose.zip") == 0
    assert statuses(site) == ["corrected", "unlabelled", "unlabelled"]
    assert sorted(len(case.modalities) for case in CaseStore(site).cases()) == [2, 2, 2]
    assert sorted(bool(case.patient) for case in CaseStore(site).cases()) == [False, False, True], "sub-07"


def test_what_is_damaged_in_a_zip_file_is_named_as_in_the_zip_file(site, tmp_path, capsys):
    write_case(tmp_path / "loose", 1, "a_{}.nrrd", ())
    (tmp_path / "loose" / "b_T1w.nrrd").write_bytes((tmp_path / "loose" / "a_T1w.nrrd").read_bytes()[:-40])
    archive = shutil.make_archive(str(tmp_path / "export"), "zip", tmp_path / "loose")
    assert run("add", site, "--from", archive) == 1
    told = capsys.readouterr().err
    assert f"{archive}/b_T1w.nrrd" in told.splitlines()[-1]
    assert tempfile.gettempdir() + "/crossmodalseg-" not in told


def write_study(folder, number, series=(("T1w", "sag T1 MPRAGE"), ("T2w", "ax T2 TSE"))):
    """A T1w and a T2w series of patient ``number``, or others of a modality and a description."""
    for place, (modality, description) in enumerate(series):
        pixels = pixels_of(number, modality)
        grid = Grid(pixels.shape, small_case(number).volumes[modality].grid.ijk_to_ras)
        name = f"{number}{modality}{place if place > 1 else ''}"
        for file in write_series(folder / name, pixels, grid, description=description):
            header = pydicom.dcmread(file)
            header.Modality, header.PatientID, header.StudyInstanceUID = "MR", f"P{number}", f"1.2.{number}"
            header.SeriesNumber = place + 1
            header.save_as(file)


def pixels_of(number, modality):
    """Those of the small case twice above each other: fewer slices are taken for those of a localizer."""
    array = (small_case(number).volumes[modality].array * 1000).astype(np.int16)
    return np.concatenate([array, array])


def loose(folder, *names):
    """Small files of these names: those of labels hold labels, the others scans, no two the same."""
    for number, name in enumerate(names):
        case = small_case(number)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if "label" in name:
            write_segmentation(folder / name, *case.labels["T1w"], LABELS)
        else:
            write_volume(folder / name, case.volumes["T1w"].array, case.volumes["T1w"].grid)
    return folder


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["P1_T1w.nii.gz", "P1_t1w.nii.gz"], ["several files for one", "P1_T1w.nii.gz", "P1_t1w.nii.gz"]),
        (["P1_T1w.nii.gz", "P1_T1w.nii"], ["several files for one", "P1_T1w.nii.gz", "P1_T1w.nii"]),
        (["P1_T1w.nrrd", "P1_label.seg.nrrd", "P1_labels.seg.nrrd"], ["several files for one", "P1_label.seg.nrrd"]),
        (["c/T1w.nii.gz", "c/T1w.nrrd"], ["several files for one", "T1w.nrrd"]),
        (["c/T1w.nii.gz", "c/label.seg.nrrd", "c/labels.seg.nrrd"], ["several files for one", "labels.seg.nrrd"]),
        (["P2_T1w.nii.gz", "p2_label.seg.nrrd"], ["labels without their scan", "p2_label.seg.nrrd"]),
        (["P1_T1w.nii.gz", "P1_label_T2w.seg.nrrd"], ["labels without their scan", "P1_label_T2w.seg.nrrd"]),
    ],
)
def test_two_files_for_one_place_and_labels_without_their_scan_are_refused(site, tmp_path, capsys, names, said):
    capsys.readouterr()
    assert run("add", site, "--from", loose(tmp_path / "in", *names)) == 2
    told = capsys.readouterr().err
    assert told.startswith("error[layout]: ")
    assert all(words in told for words in said), told
    assert CaseStore(site).cases() == []


def test_files_that_are_not_taken_are_named(site, tmp_path, capsys):
    other = ("P2-T1w.nii.gz", "P3_FLAIR.nii.gz", "sub/P4_T1w.nii.gz")
    folder = loose(tmp_path / "in", "P1_T1w.nii.gz", *other)
    (folder / "P1_T1w.json").write_text("{}")
    (folder / ".hidden").write_text("")
    assert run("add", site, "--from", folder) == 0
    (told,) = [line for line in capsys.readouterr().err.splitlines() if "not-taken" in line]
    assert "3 files not taken" in told
    assert all(name in told for name in other)
    assert statuses(site) == ["unlabelled"]


def test_dicom_is_sorted_into_studies_and_told_by_its_description(tmp_path, site):
    (tmp_path / "export").mkdir()
    for number in (1, 2):
        write_study(tmp_path / "export", number)
    assert run("add", site, "--from", tmp_path / "export") == 0
    cases = CaseStore(site).cases()
    assert [case.modalities for case in cases] == [("T1w", "T2w")] * 2
    assert {case.patient for case in cases} == {CaseStore(site).site().patient_hash(key) for key in ("P1", "P2")}
    stored = {float(read_volume(case.volumes["T2w"], "T2w").array.sum()) for case in cases}
    given = [pixels_of(number, "T2w") for number in (1, 2)]
    assert stored == {float(array.astype(np.float32).sum()) for array in given}


def test_series_over_folders_are_added_whole_and_what_is_not_taken_is_named(tmp_path, site, capsys):
    write_study(tmp_path / "cd" / "DICOM", 1)
    grid = small_case(1).volumes["T1w"].grid
    scout = write_series(tmp_path / "cd" / "DICOM" / "scout", np.ones((2, *grid.shape_kji[1:]), np.int16), grid)
    for file in scout:
        header = pydicom.dcmread(file)
        header.Modality, header.PatientID, header.StudyInstanceUID = "MR", "P1", "1.2.1"
        header.SeriesDescription = "localizer"
        header.save_as(file)
    (tmp_path / "cd" / "more").mkdir()
    for file in sorted((tmp_path / "cd" / "DICOM" / "1T1w").iterdir())[-3:]:
        file.rename(tmp_path / "cd" / "more" / file.name)
    assert run("add", site, "--from", tmp_path / "cd") == 0
    (case,) = CaseStore(site).cases()
    given = pixels_of(1, "T1w")
    assert float(read_volume(case.volumes["T1w"], "T1w").array.sum()) == float(given.astype(np.float32).sum())
    assert "not taken: series 0 'localizer' (2 slices, axial): left out, it is a localizer" in capsys.readouterr().err


def test_a_study_with_several_candidates_is_listed_and_refused_and_the_others_are_added(tmp_path, site, capsys):
    three = (("T1w", "sag T1 MPRAGE"), ("T2w", "ax T2 TSE"), ("T1w", "ax T1 SE"))
    write_study(tmp_path / "export" / "one", 1, three)
    write_study(tmp_path / "export" / "two", 2)
    write_study(tmp_path / "export" / "three", 3, (("T1w", "DWI b1000"),))
    assert run("add", site, "--from", tmp_path / "export") == 1
    (case,) = CaseStore(site).cases()
    assert case.patient == CaseStore(site).site().patient_hash("P2")
    said = capsys.readouterr()
    assert "1 of 3 cases" in said.out
    assert "error[several-candidates]: several series may be the T1w: series 1 'sag T1 MPRAGE'" in said.err
    assert "series 3 'ax T1 SE' (14 slices, axial): T1w, one of 2 that fit alike" in said.err
    assert "error[no-scan-in-study]: no series is a T1w or T2w: series 1 'DWI b1000'" in said.err


def test_the_only_study_is_refused_with_its_reason_as_an_error(tmp_path, site, capsys):
    write_study(tmp_path / "export", 1, (("T1w", "sag T1 MPRAGE"), ("T2w", "ax T2 TSE"), ("T1w", "ax T1 SE")))
    assert run("add", site, "--from", tmp_path / "export") == 2
    assert capsys.readouterr().err.startswith("error[several-candidates]: ")


def test_a_series_with_a_damaged_slice_is_not_added_and_named(tmp_path, site, capsys):
    write_study(tmp_path / "cd", 1)
    (tmp_path / "cd" / "1T1w" / "IM0000").write_bytes(b"")
    assert run("add", site, "--from", tmp_path / "cd") == 1
    assert CaseStore(site).cases() == []
    assert "IM0000 is empty" in capsys.readouterr().err


def test_gaps_in_a_series_are_told_when_it_is_added(tmp_path, site, capsys):
    write_study(tmp_path / "cd", 1)
    for file in (tmp_path / "cd" / "1T1w").iterdir():
        header = pydicom.dcmread(file)
        header.InstanceNumber += 5
        header.save_as(file)
    assert run("add", site, "--from", tmp_path / "cd") == 0
    assert "warning[slice-numbers]: T1w: " in capsys.readouterr().err


def test_a_pair_of_which_one_scan_is_labelled_is_one_case(tmp_path, site):
    """In MS-CMRSeg, labels may be missing for one of the sequences; a datalist says so with two entries."""
    folder = write_case(tmp_path / "sub-study", 1)
    both = {name: f"sub-study/{name}.nii.gz" for name in FILES}
    entry = {"T1w": both["T1w"], "label_T1w": "sub-study/label_T1w.nii.gz"}
    (tmp_path / "list.json").write_text(json.dumps({"training": [entry], "unlabelled": [both]}))
    assert run("add", site, "--from", tmp_path / "list.json") == 0
    (case,) = CaseStore(site).cases()
    assert (sorted(case.modalities), list(case.labels), case.status) == (["T1w", "T2w"], ["T1w"], "corrected")
    assert folder.is_dir()


def test_names_above_the_given_folder_tell_no_patient(tmp_path, site):
    write_case(tmp_path / "sub-study/loose", 2, "a_{}.nrrd", ())
    assert run("add", site, "--from", tmp_path / "sub-study/loose") == 0
    assert [case.patient for case in CaseStore(site).cases()] == [""]
    assert run("add", site, "--from", tmp_path / "sub-study/loose", "--patient-pattern", "a_T1w") == 0
    assert sorted(bool(case.patient) for case in CaseStore(site).cases()) == [False, True]


def test_one_scan_that_is_given_for_both_modalities_is_told(site, tmp_path, capsys):
    folder = write_case(tmp_path / "files", 1, labels=())
    assert run("add", site, "--input", f"T1w={folder}/T1w.nii.gz", "--input", f"T2w={folder}/T1w.nii.gz") == 0
    assert "warning[same-image]: T1w and T2w are the same image." in capsys.readouterr().err


def test_labels_that_are_given_in_place_of_a_scan_are_told(site, tmp_path, capsys):
    labels = np.zeros((20, 20, 20), np.float32)
    labels[5:15, 5:15, 2:10], labels[5:15, 5:15, 10:17] = 3, 17
    write_volume(tmp_path / "labels.nii.gz", labels, Grid(labels.shape, np.eye(4)))
    assert run("add", site, "--input", f"T2w={tmp_path}/labels.nii.gz") == 0
    assert "warning[looks-like-labels]: T2w" in capsys.readouterr().err


def test_labels_in_which_nothing_was_drawn_are_told(site, tmp_path, capsys):
    folder = write_case(tmp_path / "files", 1)
    _values, grid = small_case(1).labels["T1w"]
    write_segmentation(folder / "empty.nii.gz", np.zeros(grid.shape_kji, np.uint16), grid, LABELS)
    labels = ("--labels", f"T1w={folder}/empty.nii.gz", "--labels", f"T2w={folder}/label_T2w.nii.gz")
    scans = ("--input", f"T1w={folder}/T1w.nii.gz", "--input", f"T2w={folder}/T2w.nii.gz")
    assert run("add", site, *scans, *labels) == 0
    told = capsys.readouterr().err
    assert "warning[no-labels]: the labels of T1w show no structure" in told
    assert "labels of T2w" not in told


def test_what_a_killed_adding_has_unpacked_goes_with_the_next_one(site, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    left = tmp_path / "tmp" / f"crossmodalseg-{ended_process()}-abc"
    left.mkdir(parents=True)
    write_case(tmp_path / "export", 1, "p1_{}.nii.gz", labels=())
    shutil.make_archive(str(tmp_path / "export"), "zip", tmp_path / "export")
    assert run("add", site, "--from", tmp_path / "export.zip") == 0
    assert list((tmp_path / "tmp").iterdir()) == []


def ended_process():
    """The number of a process that is no more."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_the_exported_datalist_is_one_that_training_reads(site, tmp_path):
    store = CaseStore(site)
    ids = [store.save_correction(small_case(number)).id for number in range(3)]
    store.add_unlabelled(small_case(7, labelled=False))
    for number, case_id in enumerate(ids):
        store.set_split(case_id, "held-out" if number == 0 else "training")
    store.approve(ids[1])
    assert run("export", site, tmp_path / "all.json") == 0
    read = read_datalist(tmp_path / "all.json", FILES)
    assert (len(read.training), len(read.validation), len(read.unlabelled)) == (2, 1, 1)
    assert not (tmp_path / "all.json").read_text().count(str(tmp_path))
    assert run("export", site, tmp_path / "approved.json", "--approved-only") == 0
    assert len(json.loads((tmp_path / "approved.json").read_text())["training"]) == 1


def test_the_next_cases_are_listed_by_their_scores(site, capsys):
    ids = [CaseStore(site).add_unlabelled(small_case(number, labelled=False)).id for number in range(3)]
    write_ranking(site, Ranking("m", {ids[1]: CaseScore(2, 2), ids[2]: CaseScore(1, 1)}))
    capsys.readouterr()
    assert run("next", site, "--limit", 2) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[1:3]] == [ids[1], ids[2]]
    assert lines[-1] == "waiting for a correction: 3 cases, 2 scored by m"


def test_a_damaged_case_is_told_and_hides_no_other(site, capsys):
    whole, damaged = (CaseStore(site).add_unlabelled(small_case(number, labelled=False)) for number in range(2))
    (damaged.folder / "case.json").write_text("{")
    for action in ("next", "list"):
        capsys.readouterr()
        assert run(action, site) == 1
        told = capsys.readouterr()
        assert whole.id in told.out
        assert damaged.id not in told.out
        assert damaged.id in told.err
        assert "site repair" in told.err


def test_a_case_that_is_excluded_is_kept_and_neither_listed_as_work_nor_exported(site, tmp_path, capsys):
    store = CaseStore(site)
    ids = [store.add_unlabelled(small_case(number, labelled=False)).id for number in range(2)]
    case = store.save_correction(small_case(7)).id
    for one in (ids[0], case):
        assert run("exclude", site, one) == 0
        assert run("exclude", site, one) == 0
    capsys.readouterr()
    run("list", site)
    told = capsys.readouterr().out
    assert [line.split()[0] for line in told.splitlines() if line.endswith("excluded")] == sorted([ids[0], case])
    assert "3 cases: 2 unlabelled" in told
    run("next", site)
    assert capsys.readouterr().out.splitlines()[1:] == [
        f"1      {ids[1]}  unlabelled  -     not scored yet",
        "waiting for a correction: 1 case, 0 scored",
    ]
    assert run("export", site, tmp_path / "list.json") == 0
    assert {name: len(part) for name, part in json.loads((tmp_path / "list.json").read_text()).items()} == {
        "training": 0, "validation": 0, "unlabelled": 1,
    }  # fmt: skip
    assert run("verify", site) == 0
    assert run("exclude", site, case, "--undo") == 0
    assert not store.case(case).is_excluded


def test_damage_is_told_and_repaired(site, capsys):
    store = CaseStore(site)
    saved = store.save_correction(small_case())
    (saved.folder / "revisions/0001/T1w.seg.nrrd").write_bytes(b"")
    assert run("verify", site) == 1
    (saved.folder / "revisions/0001/revision.json").write_text("")
    assert run("list", site) == 1
    assert "site repair" in capsys.readouterr().err
    assert run("repair", site) == 0
    assert statuses(site) == ["unlabelled"]
    assert run("repair", site) == 0
    assert "nothing to repair" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["add", "SITE"], "error[usage]"),
        (["add", "SITE", "--input", "FLAIR=x.nii.gz"], 'error[unknown-modality]: the site has no "FLAIR"'),
        (["add", "SITE", "--input", "T1w"], "error[usage]"),
        (["add", "SITE", "--from", "nowhere"], "error[not-found]"),
        (["approve", "SITE", "abc"], "error[no-such-case]"),
        (["list", "elsewhere"], "error[not-a-site]"),
        (["export", "SITE", "list.json"], "error[no-cases]"),
    ],
)
def test_what_is_wrong_is_one_line(site, capsys, arguments, message):
    capsys.readouterr()
    assert main(["site", *(str(site) if one == "SITE" else one for one in arguments)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(message)
    assert error.count("\n") == 1
