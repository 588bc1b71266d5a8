"""Lists in the manner of MONAI and the Decathlon: channels find their modalities, and what is damaged is all named."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from CrossModalSegLib.datasets.datalist import Datalist, read_datalist
from CrossModalSegLib.errors import CrossModalSegError, DataError
from CrossModalSegLib.preprocess import IntensityRule
from CrossModalSegLib.training.config import NetworkConfig, TrainingConfig
from CrossModalSegLib.training.training_data import build_source, choose_label_map

T2_ADC = ("T2", "ADC")
PROSTATE = {"modality": {"0": "T2", "1": "ADC"}}


def write_4d(path: Path, channels: int = 2) -> np.ndarray:
    """A file with that many volumes of (8, 8, 6) voxels; the values of channel n lie around 100 n."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.random.default_rng(0).normal(size=(8, 8, 6, channels)).astype(np.float32) + 100 * np.arange(channels)
    data = data if channels > 1 else data[..., 0]
    nib.save(nib.Nifti1Image(data.astype(np.float32), np.diag([2.0, 2.0, 3.0, 1.0])), path)
    return data


def prostate(folder: Path, channels: int = 2, **content) -> Path:
    """A dataset as the Decathlon publishes Task05: one 4D file per case."""
    for name in ("prostate_00", "prostate_01"):
        write_4d(folder / f"imagesTr/{name}.nii.gz", channels)
        (folder / "labelsTr").mkdir(exist_ok=True)
        labels = np.zeros((8, 8, 6), np.uint8)
        labels[2:6, 2:6, 2:4] = 1
        nib.save(nib.Nifti1Image(labels, np.diag([2.0, 2.0, 3.0, 1.0])), folder / f"labelsTr/{name}.nii.gz")
    case = {"image": "./imagesTr/prostate_00.nii.gz", "label": "./labelsTr/prostate_00.nii.gz"}
    content = {**PROSTATE, "training": [case], "unlabeled": ["./imagesTr/prostate_01.nii.gz"], **content}
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


def read(path: Path, modalities=T2_ADC, **options) -> Datalist:
    return read_datalist(path, modalities, **options)


def refusal(path: Path, modalities=T2_ADC) -> DataError:
    with pytest.raises(DataError) as caught:
        read(path, modalities)
    return caught.value


# one file with all channels


@pytest.mark.parametrize("as_file", [False, True])
def test_the_channels_of_one_file_are_each_a_modalitys(tmp_path, as_file):
    folder = prostate(tmp_path)
    datalist = read(folder / "dataset.json" if as_file else folder)
    image = folder / "imagesTr"
    ((entry,), (unlabelled,)) = datalist.training, datalist.unlabelled
    assert entry.volumes == {"T2": image / "prostate_00.nii.gz#0", "ADC": image / "prostate_00.nii.gz#1"}
    assert set(entry.labels.values()) == {folder / "labelsTr/prostate_00.nii.gz"}
    assert unlabelled.volumes == {"T2": image / "prostate_01.nii.gz#0", "ADC": image / "prostate_01.nii.gz#1"}
    assert unlabelled.aligned  # one acquisition, one grid


def test_samples_are_made_of_the_right_channels(tmp_path):
    rule = IntensityRule("window", 0, 200)  # the values around 0 become 0, those around 100 a half
    config = TrainingConfig(
        modalities=("ADC", "T2"), intensity={"ADC": rule, "T2": rule}, spacing=2.0, patch=(8, 8, 8),
        network=NetworkConfig((4, 8), stem_stride=1),
    )  # fmt: skip
    entries = read(prostate(tmp_path), config.modalities).training
    source = build_source(entries, config, choose_label_map(config, entries), "cpu")
    adc, t2 = (float(scan[scan > 0.1].mean()) if (scan > 0.1).any() else 0.0 for scan in source.cases[0].images)
    assert adc == pytest.approx(0.5, abs=0.02)
    assert t2 == 0


def test_channels_of_other_names_are_left_out_of_a_file(tmp_path):
    folder = prostate(tmp_path, 4, modality={"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"})
    (entry,) = read(folder, ("T2w", "T1w")).training
    assert {name: path.name for name, path in entry.volumes.items()} == {
        "T2w": "prostate_00.nii.gz#3",
        "T1w": "prostate_00.nii.gz#1",
    }


def test_the_channel_with_a_modalitys_own_name_goes_before_one_with_an_alias(tmp_path):
    folder = prostate(tmp_path, 4, modality={"0": "T1w", "1": "t1gd", "2": "T2w", "3": "FLAIR"})
    aliases = {"T1w": ("T1gd",), "T2w": ("FLAIR",)}
    (entry,) = read(folder, ("T1w", "T2w"), aliases=aliases).training
    assert [path.name[-2:] for path in entry.volumes.values()] == ["#0", "#2"]
    with pytest.raises(DataError, match='the channels "T1w", "t1gd" all go by MR'):
        read(folder, ("MR", "PET"), aliases={"MR": ("T1w", "T1gd")})


@pytest.mark.parametrize(("modalities", "channels"), [(T2_ADC, 1), (("T2", "CT"), 1), (T2_ADC, 3)])
def test_a_file_with_fewer_or_more_channels_than_are_named_is_refused(tmp_path, modalities, channels):
    error = refusal(prostate(tmp_path, channels), modalities)
    assert error.code == "datalist"
    for place in ("training[0]", "unlabeled[0]"):
        assert f"{place}.image: " in error.message
    assert f"prostate_00.nii.gz has {channels} of the channels T2, ADC" in error.message


def test_a_file_that_is_no_image_or_not_there_is_named_with_its_entry(tmp_path):
    folder = prostate(tmp_path)
    (folder / "imagesTr/prostate_00.nii.gz").write_text("no image")
    assert "training[0].image: " in refusal(folder).message
    (folder / "imagesTr/prostate_00.nii.gz").unlink()
    assert f"training[0]: no such file {folder / 'imagesTr/prostate_00.nii.gz'}" in refusal(folder).message


def test_a_list_of_ones_own_may_name_channels(tmp_path):
    folder = prostate(tmp_path)
    case = {"ADC": "imagesTr/prostate_00.nii.gz#1", "label": "labelsTr/prostate_00.nii.gz"}
    (folder / "list.json").write_text(json.dumps({"training": [case, {**case, "ADC": "imagesTr/none.nii.gz#1"}]}))
    error = refusal(folder / "list.json")
    assert error.message.endswith(f"training[1]: no such file {folder / 'imagesTr/none.nii.gz'}")


# a list in a file


def test_a_list_of_monai_is_read_from_any_file_with_paths_relative_to_it_or_to_a_root(tmp_path):
    for name in ("t2", "adc", "seg"):
        (tmp_path / f"{name}.nii.gz").touch()
    case = {"image": ["t2.nii.gz", "adc.nii.gz"], "label": "seg.nii.gz", "fold": 0}
    content = {"channel_names": ["T2W", "ADC"], "training": [case], "validation": [case], "test": ["x"]}
    (tmp_path / "lists").mkdir()
    for place in (tmp_path / "any.json", tmp_path / "lists/any.json"):
        place.write_text(json.dumps(content))
    beside = read(tmp_path / "any.json", ("ADC", "T2"), aliases={"T2": ("T2w",)})
    assert beside.training == beside.validation
    assert beside.training[0].volumes == {"T2": tmp_path / "t2.nii.gz", "ADC": tmp_path / "adc.nii.gz"}
    assert read(tmp_path / "lists/any.json", ("ADC", "T2W"), root=tmp_path).training[0].labels == {
        "ADC": tmp_path / "seg.nii.gz",
        "T2W": tmp_path / "seg.nii.gz",
    }


def test_a_list_for_a_single_modality_may_give_its_name_alone(tmp_path):
    for name in ("a", "seg"):
        (tmp_path / f"{name}.nii.gz").touch()
    content = {"modality": "MRI", "training": [{"image": "a.nii.gz", "label": "seg.nii.gz", "aligned": True}]}
    (tmp_path / "list.json").write_text(json.dumps(content))
    (entry,) = read(tmp_path / "list.json", ("CT", "MRI")).training
    assert entry.volumes == {"MRI": tmp_path / "a.nii.gz"}


def test_a_list_without_names_of_channels_is_told_how_to_name_them(tmp_path):
    (tmp_path / "list.json").write_text(json.dumps({"training": [{"image": "a.nii.gz", "label": "seg.nii.gz"}]}))
    error = refusal(tmp_path / "list.json")
    assert "its channels are none, not T2 and ADC" in error.message
    assert '"channel_names": {"0": "T2", "1": "ADC"}' in error.hint


def test_a_modality_may_be_called_image(tmp_path):
    for name in ("a", "seg"):
        (tmp_path / f"{name}.nii.gz").touch()
    (tmp_path / "list.json").write_text(json.dumps({"training": [{"image": "a.nii.gz", "label": "seg.nii.gz"}]}))
    (entry,) = read(tmp_path / "list.json", ("image", "CT")).training
    assert entry.volumes == {"image": tmp_path / "a.nii.gz"}


# what is damaged


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"training": [5]}, "training[0]: expected an object, found 5"),
        ({"training": 5}, "training: expected a list, found 5"),
        ({"validation": None}, "validation: expected a list, found None"),
        ({"training": [{"image": None}]}, "training[0].image: expected a file or a list of files, found None"),
        ({"training": [{"image": []}]}, "training[0].image: expected a file or a list of files, found []"),
        ({"training": [{"image": [3]}]}, "training[0].image: expected a file or a list of files, found [3]"),
        ({"training": [{"label": "a"}]}, "training[0].image: expected a file or a list of files, found None"),
        ({"training": [{"image": ["a"] * 3}]}, "training[0].image: 3 files, but the channels are T2, ADC"),
        ({"training": [{"image": "a", "label": ["b", "c"]}]}, "training[0].label: expected a file, found 2 of them"),
        ({"training": [{"image": "a", "label": None}]}, "training[0].label: expected a file, found None"),
        ({"unlabeled": [True]}, "unlabeled[0]: expected an object, found True"),
        ({"modality": {"T2": "T2"}}, "modality: the channel 'T2' is no number"),
        ({"modality": {"0": None, "1": "ADC"}}, "modality.0: expected a name, found None"),
        ({"modality": None}, "modality: expected a name for each channel, found None"),
        ({"modality": {"1": "T2", "2": "ADC"}}, "channels: expected the numbers 0 to 1, found [1, 2]"),
        ({"channel_names": 3}, "channel_names: expected a name for each channel, found 3"),
    ],
)
def test_what_is_damaged_is_named_with_its_place(tmp_path, content, said):
    error = refusal(prostate(tmp_path, **content))
    assert error.code == "datalist"
    assert str(tmp_path / "dataset.json") in error.message
    assert said in error.message


def test_all_that_is_damaged_is_named_at_once(tmp_path):
    wrong = {"training": [5, {"image": None, "label": []}], "validation": 7, "modality": {"T2": "T2", "1": "ADC"}}
    message = refusal(prostate(tmp_path, **wrong)).message
    for said in ("'T2' is no number", "training[0]: ", "training[1].image", "training[1].label", "validation: "):
        assert said in message


def test_damaged_channels_of_nnunet_are_named_too(tmp_path):
    (tmp_path / "imagesTr").mkdir()
    (tmp_path / "imagesTr/case_0000.nii.gz").touch()
    for channels in ({"T2": "T2"}, None, 5, {"0": ["T2"]}):
        (tmp_path / "dataset.json").write_text(json.dumps({"channel_names": channels}))
        assert "channel_names" in refusal(tmp_path).message


def test_reading_what_the_list_says_never_ends_in_anything_but_a_typed_error(tmp_path):
    for damage in (None, 5, [], {}, "x", [None], [[]], [{}], {"0": {}}, True):
        for key in ("training", "validation", "unlabelled", "unlabeled", "modality", "channel_names"):
            with pytest.raises(CrossModalSegError):
                read(prostate(tmp_path, **{"training": [5], key: damage}))
