"""Lists of cases: lists and folders are read alike, and everything that is wrong with one is reported at once."""

import json
from pathlib import Path

import pytest

from CrossModalSegLib.datasets.datalist import Entry, read_datalist
from CrossModalSegLib.errors import DataError

MODALITIES = ("T1w", "T2w")
REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def folder(tmp_path):
    for name in ("t1", "t2", "seg", "seg1", "seg2"):
        (tmp_path / f"{name}.nii.gz").touch()
    return tmp_path


def write_list(folder: Path, **content) -> Path:
    path = folder / "list.json"
    path.write_text(json.dumps(content))
    return path


def refusal(path: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        read_datalist(path, MODALITIES)
    return caught.value


# lists


def test_one_label_serves_both_modalities(folder):
    case = {"T1w": "t1.nii.gz", "T2w": "t2.nii.gz", "label": "seg.nii.gz"}
    datalist = read_datalist(write_list(folder, training=[case]), MODALITIES)
    volumes = {"T1w": folder / "t1.nii.gz", "T2w": folder / "t2.nii.gz"}
    labels = dict.fromkeys(MODALITIES, folder / "seg.nii.gz")
    assert datalist.training == (Entry(volumes, labels),)
    assert datalist.validation == ()


def test_each_modality_may_have_a_label_of_its_own(folder):
    case = {"T1w": "t1.nii.gz", "T2w": "t2.nii.gz", "label_T1w": "seg1.nii.gz", "label_T2w": "seg2.nii.gz"}
    (entry,) = read_datalist(write_list(folder, training=[case]), MODALITIES).training
    assert entry.labels == {"T1w": folder / "seg1.nii.gz", "T2w": folder / "seg2.nii.gz"}


def test_an_own_label_goes_before_the_shared_one(folder):
    case = {"T1w": "t1.nii.gz", "T2w": "t2.nii.gz", "label": "seg.nii.gz", "label_T2w": "seg2.nii.gz"}
    (entry,) = read_datalist(write_list(folder, training=[case]), MODALITIES).training
    assert entry.labels == {"T1w": folder / "seg.nii.gz", "T2w": folder / "seg2.nii.gz"}


def test_a_case_with_one_modality_needs_that_ones_label_only(folder):
    case = {"T2w": "t2.nii.gz", "label_T2w": "seg2.nii.gz"}
    (entry,) = read_datalist(write_list(folder, training=[case]), MODALITIES).training
    assert entry == Entry({"T2w": folder / "t2.nii.gz"}, {"T2w": folder / "seg2.nii.gz"})


def test_a_label_alone_is_a_label_map_to_synthesise_from(folder):
    (entry,) = read_datalist(write_list(folder, training=[{"label": "seg.nii.gz"}]), MODALITIES).training
    assert entry == Entry({}, dict.fromkeys(MODALITIES, folder / "seg.nii.gz"))


def test_paths_are_relative_to_the_list_or_to_a_given_root_or_absolute(folder):
    elsewhere = folder / "lists"
    elsewhere.mkdir()
    by_root = write_list(elsewhere, training=[{"label": "seg.nii.gz"}])
    (entry,) = read_datalist(by_root, MODALITIES, root=folder).training
    assert entry.labels["T1w"] == folder / "seg.nii.gz"
    absolute = write_list(elsewhere, training=[{"label": str(folder / "seg.nii.gz")}])
    (entry,) = read_datalist(absolute, MODALITIES).training
    assert entry.labels["T1w"] == folder / "seg.nii.gz"
    assert "no such file" in refusal(write_list(elsewhere, training=[{"label": "seg.nii.gz"}])).message


# cases without labels


@pytest.mark.parametrize("key", ["unlabelled", "unlabeled"])
def test_cases_without_labels_are_listed_by_themselves(folder, key):
    case = {"T1w": "t1.nii.gz", "label": "seg.nii.gz"}
    more = {key: [{"T1w": "t1.nii.gz", "T2w": "t2.nii.gz"}, {"T2w": "t2.nii.gz"}]}
    datalist = read_datalist(write_list(folder, training=[case], **more), MODALITIES)
    assert len(datalist.training) == 1
    both = {"T1w": folder / "t1.nii.gz", "T2w": folder / "t2.nii.gz"}
    assert datalist.unlabelled == (Entry(both, {}), Entry({"T2w": folder / "t2.nii.gz"}, {}))


def test_training_cases_without_any_label_are_learnt_from_without(folder):
    cases = [
        {"T1w": "t1.nii.gz"},
        {"T1w": "t1.nii.gz", "label": "seg.nii.gz"},
        {"T1w": "t1.nii.gz", "T2w": "t2.nii.gz"},
    ]
    datalist = read_datalist(write_list(folder, training=cases), MODALITIES)
    assert [sorted(entry.volumes) for entry in datalist.training] == [["T1w"]]
    assert [sorted(entry.volumes) for entry in datalist.unlabelled] == [["T1w"], ["T1w", "T2w"]]


def test_no_case_without_labels_is_held_back(folder):
    cases = [{"T1w": "t1.nii.gz"}] * 20 + [{"T1w": "t1.nii.gz", "label": "seg.nii.gz"}] * 2
    datalist = read_datalist(write_list(folder, training=cases), MODALITIES)
    assert (len(datalist.training), len(datalist.validation), len(datalist.unlabelled)) == (2, 0, 20)


def test_a_label_where_there_is_to_be_none_and_none_where_there_must_be_one_are_refused(folder):
    path = write_list(
        folder,
        training=[{"T1w": "t1.nii.gz", "label": "seg.nii.gz"}],
        validation=[{"T1w": "t1.nii.gz"}],
        unlabelled=[{"T1w": "t1.nii.gz", "label": "seg.nii.gz"}, {"T3w": "t1.nii.gz"}],
    )
    message = refusal(path).message
    assert "validation[0]: no label" in message
    assert "unlabelled[0]: has a label" in message
    assert 'unlabelled[1]: unknown name "T3w"' in message


def test_a_list_with_nothing_but_unlabelled_cases_is_refused(folder):
    assert "no training case with a label" in refusal(write_list(folder, training=[{"T1w": "t1.nii.gz"}])).message


# pairs that are displaced


def test_a_pair_is_aligned_unless_each_scan_has_a_label_of_its_own_or_the_list_says_so(folder):
    scans = {"T1w": "t1.nii.gz", "T2w": "t2.nii.gz"}
    own = {**scans, "label_T1w": "seg1.nii.gz", "label_T2w": "seg2.nii.gz"}
    shared = {**scans, "label": "seg.nii.gz"}
    cases = [shared, own, {**shared, "aligned": False}, {**own, "aligned": True}, {**scans, "aligned": False}]
    datalist = read_datalist(write_list(folder, training=cases, validation=[shared]), MODALITIES)
    assert [entry.aligned for entry in datalist.training] == [True, False, False, True]
    assert [entry.aligned for entry in datalist.unlabelled] == [False]


def test_aligned_is_true_or_false(folder):
    case = {"T1w": "t1.nii.gz", "label": "seg.nii.gz", "aligned": "yes"}
    assert (
        "training[0]: aligned must be true or false, not 'yes'" in refusal(write_list(folder, training=[case])).message
    )


# what is held back for validation


def names(entries) -> list[str]:
    return [entry.labels["T1w"].name for entry in entries]


def label_maps(folder: Path, count: int) -> Path:
    maps = folder / "maps"
    maps.mkdir()
    for number in range(count):
        (maps / f"{number:02}.nrrd").touch()
    return maps


def test_every_tenth_case_is_held_back_where_the_list_names_none(folder):
    datalist = read_datalist(label_maps(folder, 21), MODALITIES)
    assert names(datalist.validation) == ["00.nrrd", "10.nrrd", "20.nrrd"]
    assert len(datalist.training) == 18
    assert not set(names(datalist.training)) & set(names(datalist.validation))


@pytest.mark.parametrize(("count", "held"), [(1, 0), (2, 0), (3, 1), (10, 1), (11, 2)])
def test_nothing_is_held_back_below_three_cases(folder, count, held):
    datalist = read_datalist(label_maps(folder, count), MODALITIES)
    assert (len(datalist.training), len(datalist.validation)) == (count - held, held)


def test_a_validation_list_is_taken_as_it_is(folder):
    training = [{"label": f"{name}.nii.gz"} for name in ("seg", "seg1", "t1")]
    datalist = read_datalist(write_list(folder, training=training, validation=[{"label": "seg2.nii.gz"}]), MODALITIES)
    assert names(datalist.training) == ["seg.nii.gz", "seg1.nii.gz", "t1.nii.gz"]
    assert names(datalist.validation) == ["seg2.nii.gz"]


# folders


def test_a_folder_of_label_maps_is_read_in_order_and_other_files_are_left_alone(folder):
    maps = label_maps(folder, 2)
    (maps / "notes.txt").touch()
    assert names(read_datalist(maps, MODALITIES).training) == ["00.nrrd", "01.nrrd"]


def test_a_folder_of_cases_has_one_folder_per_case(folder):
    cases = folder / "cases"
    for case, files in {
        "b": ["T1w.nii.gz", "T2w.nrrd", "label.nii.gz"],
        "a": ["T2w.mha", "labels.nrrd", "readme.md"],
        "c": ["T1w.nii.gz", "T2w.nii.gz", "label_T1w.nii.gz", "label_T2w.nii.gz"],
    }.items():
        (cases / case).mkdir(parents=True)
        for name in files:
            (cases / case / name).touch()
    datalist = read_datalist(cases, MODALITIES)
    entries = [*datalist.validation, *datalist.training]
    assert entries[0] == Entry({"T2w": cases / "a" / "T2w.mha"}, {"T2w": cases / "a" / "labels.nrrd"})
    assert entries[1].volumes == {"T1w": cases / "b" / "T1w.nii.gz", "T2w": cases / "b" / "T2w.nrrd"}
    assert entries[1].labels == dict.fromkeys(MODALITIES, cases / "b" / "label.nii.gz")
    assert entries[2].labels == {name: cases / "c" / f"label_{name}.nii.gz" for name in MODALITIES}


def test_a_case_folder_with_a_file_of_another_name_is_refused(folder):
    (folder / "cases" / "a").mkdir(parents=True)
    for name in ("T1w.nii.gz", "label.nii.gz", "FLAIR.nii.gz"):
        (folder / "cases" / "a" / name).touch()
    assert 'unknown name "FLAIR"' in refusal(folder / "cases").message


# what is wrong


def test_all_problems_of_a_list_are_reported_at_once(folder):
    path = write_list(
        folder,
        training=[
            {"T1w": "t1.nii.gz", "T2w": "t2.nii.gz", "label_T1w": "seg.nii.gz"},
            {"T1w": "missing.nii.gz", "label": "seg.nii.gz"},
            {"T1w": "t1.nii.gz", "CT": "t2.nii.gz", "label": "seg.nii.gz"},
            "t1.nii.gz",
            {"T1w": "t1.nii.gz", "label": "seg.nii.gz"},
            {"T1w": "", "T2w": None, "label": "seg.nii.gz"},
        ],
        validation=[{}],
    )
    error = refusal(path)
    assert error.code == "datalist"
    for said in (
        "training[0]: no label for T2w",
        f"training[1]: no such file {folder / 'missing.nii.gz'}",
        'training[2]: unknown name "CT"',
        "training[3]: expected an object, found 't1.nii.gz'",
        "validation[0]: no label for T1w, T2w",
        "training[5]: T1w is no path: ''",
        "training[5]: T2w is no path: None",
    ):
        assert said in error.message
    assert "training[4]" not in error.message


@pytest.mark.parametrize("content", ["[1]", "{}", '{"training": 5}', '{"training": [], "validation": 5}', "not json"])
def test_a_file_that_is_no_datalist_is_named(folder, content):
    (folder / "list.json").write_text(content)
    error = refusal(folder / "list.json")
    assert error.code == "datalist"
    assert str(folder / "list.json") in error.message


@pytest.mark.parametrize(
    ("lists", "said"),
    [({"validaton": []}, "unknown lists: validaton"), ({"unlabelled": [], "unlabeled": []}, '"unlabeled"')],
)
def test_a_list_that_would_not_be_read_is_refused(folder, lists, said):
    path = write_list(folder, training=[{"T1w": "t1.nii.gz", "label": "seg.nii.gz"}], test=["t1.nii.gz"], **lists)
    error = refusal(path)
    assert error.code == "datalist"
    assert said in error.message


def test_a_list_that_does_not_exist_and_an_empty_folder_are_named(folder):
    assert refusal(folder / "nowhere.json").code == "not-found"
    (folder / "empty").mkdir()
    assert "no training case" in refusal(folder / "empty").message


# the shipped list


def test_the_shipped_list_trains_on_maps_1_to_17_and_validates_on_18_to_20(data_folder):
    path = REPOSITORY / "training_cli" / "configs" / "brain-label-maps.json"
    datalist = read_datalist(path, MODALITIES, root=data_folder / "brain-label-maps")
    assert names(datalist.training) == [f"training_seg_{n:02}.nii.gz" for n in range(1, 18)]
    assert names(datalist.validation) == [f"training_seg_{n:02}.nii.gz" for n in range(18, 21)]
    assert not any(entry.volumes for entry in datalist.training)


def test_the_shipped_list_is_a_list_of_label_maps_without_repetition():
    content = json.loads((REPOSITORY / "training_cli" / "configs" / "brain-label-maps.json").read_text())
    files = [entry["label"] for part in ("training", "validation") for entry in content[part]]
    assert len(files) == len(set(files)) == 20
