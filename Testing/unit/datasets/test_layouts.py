"""Datasets as sites and challenges arrange them: recognised, and every scan and label goes where it belongs."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from CrossModalSegLib.datasets.datalist import LAYOUTS, Datalist, Entry, read_datalist
from CrossModalSegLib.datasets.layout import Names
from CrossModalSegLib.errors import DataError
from CrossModalSegLib.imaging.ground_slices import read_ground
from CrossModalSegLib.training.config import NetworkConfig, TrainingConfig
from CrossModalSegLib.training.training_data import build_source, choose_label_map
from Testing.dicom_files import write_series
from Testing.volumes import grid_around

T1_T2 = ("T1w", "T2w")


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def read(folder: Path, modalities=T1_T2, **aliases) -> Datalist:
    return read_datalist(folder, modalities, aliases=aliases)


def everything(datalist: Datalist) -> list[Entry]:
    """Labelled entries, those held back among them."""
    return sorted([*datalist.training, *datalist.validation], key=lambda entry: str(sorted(entry.volumes.values())))


def refusal(folder: Path, modalities=T1_T2) -> DataError:
    with pytest.raises(DataError) as caught:
        read(folder, modalities)
    return caught.value


def recognised(folder: Path) -> str | None:
    return next((layout.name for layout in LAYOUTS if layout.recognises(folder)), None)


# nnU-Net


def nnunet(folder: Path, **dataset) -> Path:
    touch(folder, *[f"imagesTr/case_{n}_{c:04}.nii.gz" for n in (1, 2, 10) for c in (0, 1)])
    touch(folder, "labelsTr/case_1.nii.gz", "labelsTr/case_10.nii.gz", "imagesTs/case_99_0000.nii.gz")
    (folder / "dataset.json").write_text(json.dumps(dataset))
    return folder


@pytest.mark.parametrize("key", ["channel_names", "modality"])
def test_nnunet_channels_become_the_modalities_that_dataset_json_names(tmp_path, key):
    folder = nnunet(tmp_path, **{key: {"1": "T1w", "0": "t2W"}, "file_ending": ".nii.gz"})
    assert recognised(folder) == "nnU-Net raw"
    datalist = read(folder)
    images = folder / "imagesTr"
    assert datalist.training == tuple(
        Entry(
            {"T1w": images / f"case_{n}_0001.nii.gz", "T2w": images / f"case_{n}_0000.nii.gz"},
            dict.fromkeys(T1_T2, folder / "labelsTr" / f"case_{n}.nii.gz"),
        )
        for n in (1, 10)
    )
    scans = {"T1w": images / "case_2_0001.nii.gz", "T2w": images / "case_2_0000.nii.gz"}
    assert datalist.unlabelled == (Entry(scans, {}),)


def test_nnunet_channels_may_go_by_an_alias_and_others_are_left_out(tmp_path):
    folder = nnunet(tmp_path, channel_names={"0": "FLAIR", "1": "MPRAGE"})
    datalist = read(folder, T1w=("MPRAGE",))
    assert [sorted(entry.volumes) for entry in datalist.training] == [["T1w"], ["T1w"]]


def test_nnunet_channels_of_other_names_are_refused_and_listed(tmp_path):
    error = refusal(nnunet(tmp_path, channel_names={"0": "CT", "1": "PET"}))
    assert error.code == "layout"
    assert 'its channels are "CT", "PET", not T1w and T2w' in error.message
    assert "modality_aliases" in error.hint


def test_nnunet_data_without_dataset_json_are_refused(tmp_path):
    nnunet(tmp_path)
    (tmp_path / "dataset.json").unlink()
    assert "dataset.json" in refusal(tmp_path).message


# the Decathlon


def test_the_decathlon_lists_its_cases_itself(tmp_path):
    names = ["imagesTr/a.nii.gz", "imagesTr/b.nii.gz", "imagesTr/c.nii.gz", "labelsTr/a.nii.gz", "imagesTs/z.nii.gz"]
    folder = touch(tmp_path, *names)
    training = [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}, {"image": "./imagesTr/b.nii.gz"}]
    content = {"modality": {"0": "MRI"}, "training": training, "unlabeled": ["./imagesTr/c.nii.gz"], "test": ["z"]}
    (folder / "dataset.json").write_text(json.dumps(content))
    assert recognised(folder) == "Medical Segmentation Decathlon (MONAI)"
    datalist = read(folder, T1w=("MRI",))
    assert datalist.training == (Entry({"T1w": folder / "imagesTr/a.nii.gz"}, {"T1w": folder / "labelsTr/a.nii.gz"}),)
    assert [entry.volumes["T1w"].name for entry in datalist.unlabelled] == ["b.nii.gz", "c.nii.gz"]


def test_a_decathlon_case_may_have_one_file_per_modality(tmp_path):
    folder = touch(tmp_path, "imagesTr/a1.nii.gz", "imagesTr/a2.nii.gz", "labelsTr/a.nii.gz")
    case = {"image": ["imagesTr/a1.nii.gz", "imagesTr/a2.nii.gz"], "label": "labelsTr/a.nii.gz"}
    (folder / "dataset.json").write_text(json.dumps({"modality": {"0": "T2w", "1": "T1w"}, "training": [case]}))
    (entry,) = read(folder).training
    assert entry.volumes == {"T2w": folder / "imagesTr/a1.nii.gz", "T1w": folder / "imagesTr/a2.nii.gz"}


# BIDS


def test_bids_subjects_and_sessions_find_their_segmentations_among_the_derivatives(tmp_path):
    folder = touch(
        tmp_path,
        "sub-01/anat/sub-01_T1w.nii.gz",
        "sub-01/anat/sub-01_T2w.nii.gz",
        "sub-02/ses-a/anat/sub-02_ses-a_T1w.nii.gz",
        "sub-02/ses-b/anat/sub-02_ses-b_acq-fast_T2w.nii.gz",
        "sub-03/anat/sub-03_T1w.nii.gz",
        "sub-03/anat/sub-03_bold.nii.gz",
        "derivatives/experts/sub-01/anat/sub-01_dseg.nii.gz",
        "derivatives/experts/sub-02/ses-b/anat/sub-02_ses-b_desc-experts_dseg.nii.gz",
        "derivatives/prep/sub-01/anat/sub-01_desc-preproc_T1w.nii.gz",
    )
    assert recognised(folder) == "BIDS with derivatives"
    datalist = read(folder)
    first, second = everything(datalist)
    assert {name: path.name for name, path in first.volumes.items()} == {
        "T1w": "sub-01_T1w.nii.gz",
        "T2w": "sub-01_T2w.nii.gz",
    }
    assert {path.name for path in first.labels.values()} == {"sub-01_dseg.nii.gz"}
    assert first.aligned
    assert {name: path.name for name, path in second.volumes.items()} == {"T2w": "sub-02_ses-b_acq-fast_T2w.nii.gz"}
    unlabelled = [[path.name for path in entry.volumes.values()] for entry in datalist.unlabelled]
    assert unlabelled == [["sub-02_ses-a_T1w.nii.gz"], ["sub-03_T1w.nii.gz"]]


def test_bids_segmentations_that_name_a_space_belong_to_that_scan(tmp_path):
    scans = [f"sub-{n}/anat/sub-{n}_{suffix}.nii.gz" for n in (1, 2) for suffix in T1_T2]
    labels = ["sub-1_space-T1w_dseg.nii.gz", "sub-1_space-T2w_dseg.nii.gz", "sub-2_space-T1w_dseg.nii.gz"]
    folder = touch(tmp_path, *scans, *[f"derivatives/x/{name[:5]}/anat/{name}" for name in labels])
    datalist = read(folder)
    both, alone = sorted(everything(datalist), key=lambda entry: -len(entry.volumes))
    assert {name: path.name for name, path in both.labels.items()} == {"T1w": labels[0], "T2w": labels[1]}
    assert not both.aligned
    assert list(alone.volumes) == list(alone.labels) == ["T1w"]  # the labelled scan trains by itself,
    assert [sorted(entry.volumes) for entry in datalist.unlabelled] == [["T1w", "T2w"]]  # and the pair without labels
    assert not datalist.unlabelled[0].aligned  # each in a space of its own


@pytest.mark.parametrize("space", ["MNI152NLin2009cAsym", "FLAIR"])
def test_bids_segmentations_in_a_space_that_is_no_wanted_scans_are_left_out(tmp_path, space):
    scans = [f"sub-{n}/anat/sub-{n}_{suffix}.nii.gz" for n in (1, 2, 3) for suffix in T1_T2]
    labels = [f"sub-1_space-{space}_dseg.nii.gz", f"sub-2_space-{space}_dseg.nii.gz", "sub-2_space-T1w_dseg.nii.gz"]
    labels += [f"sub-3_space-{space}_dseg.nii.gz", "sub-3_dseg.nii.gz"]
    folder = touch(tmp_path, *scans, *[f"derivatives/x/{name[:5]}/anat/{name}" for name in labels])
    datalist = read(folder)
    found = [{name: path.name for name, path in entry.labels.items()} for entry in datalist.training]
    assert found == [{"T1w": "sub-2_space-T1w_dseg.nii.gz"}, dict.fromkeys(T1_T2, "sub-3_dseg.nii.gz")]
    unlabelled = [sorted(path.name for path in entry.volumes.values()) for entry in datalist.unlabelled]
    assert unlabelled == [[f"sub-{n}_T1w.nii.gz", f"sub-{n}_T2w.nii.gz"] for n in (1, 2)]


def test_bids_scans_in_a_space_that_is_no_wanted_scans_are_left_out(tmp_path):
    names = ["T1w", "T2w", "space-MNI152NLin2009cAsym_T1w", "space-FLAIR_desc-preproc_T2w", "dseg"]
    touch(tmp_path, *[f"sub-1/anat/sub-1_{name}.nii.gz" for name in names])
    (entry,) = read(tmp_path).training
    assert [path.name for path in entry.volumes.values()] == ["sub-1_T1w.nii.gz", "sub-1_T2w.nii.gz"]
    touch(tmp_path / "atlas", "sub-1/anat/sub-1_space-MNI152NLin6Asym_T1w.nii.gz", "sub-1/anat/sub-1_dseg.nii.gz")
    message = refusal(tmp_path / "atlas").message
    assert "has no scan named T1w or T2w" in message
    assert "sub-1_space-MNI152NLin6Asym_T1w.nii.gz" in message


def test_a_bids_scan_that_was_brought_to_the_other_has_that_ones_labels(tmp_path):
    names = ["T1w", "space-T1w_T2w", "space-T1w_dseg", "space-T2w_dseg"]
    touch(tmp_path, *[f"sub-1/anat/sub-1_{name}.nii.gz" for name in names])
    (entry,) = read(tmp_path).training
    assert {path.name for path in entry.labels.values()} == {"sub-1_space-T1w_dseg.nii.gz"}
    assert entry.aligned


def test_a_bids_scan_that_was_brought_to_the_other_lies_on_it_without_labels_too(tmp_path):
    names = ["sub-1_T1w", "sub-1_space-T1w_T2w", "sub-2_T1w", "sub-2_T2w", "sub-3_T1w", "sub-3_dseg"]
    touch(tmp_path, *[f"{name[:5]}/anat/{name}.nii.gz" for name in names])
    assert [entry.aligned for entry in read(tmp_path).unlabelled] == [True, False]


def test_several_bids_runs_of_one_scan_are_named(tmp_path):
    touch(tmp_path, "sub-1/anat/sub-1_run-1_T1w.nii.gz", "sub-1/anat/sub-1_run-2_T1w.nii.gz")
    message = refusal(tmp_path).message
    assert "sub-1_run-1_T1w.nii.gz" in message
    assert "sub-1_run-2_T1w.nii.gz" in message


# AMOS


def amos(folder: Path) -> Path:
    for part, numbers in (("Tr", (1, 4, 500, 507)), ("Va", (8, 510))):
        touch(folder, *[f"{kind}{part}/amos_{n:04}.nii.gz" for kind in ("images", "labels") for n in numbers])
    touch(folder, "imagesTr/amos_0600.nii.gz", "imagesTs/amos_0002.nii.gz", "dataset.json")
    (folder / "dataset.json").write_text("{}")
    return folder


def test_amos_is_ct_up_to_500_and_mr_from_there_on_each_of_its_own_patient(tmp_path):
    assert recognised(amos(tmp_path)) == "AMOS 2022"
    datalist = read(tmp_path, ("CT", "MR"))
    names = [
        (list(e.volumes), next(iter(e.volumes.values())).name, next(iter(e.labels.values())).parent.name)
        for e in datalist.training
    ]
    assert names == [
        (["CT"], "amos_0001.nii.gz", "labelsTr"),
        (["CT"], "amos_0004.nii.gz", "labelsTr"),
        (["CT"], "amos_0500.nii.gz", "labelsTr"),
        (["MR"], "amos_0507.nii.gz", "labelsTr"),
    ]
    assert [(list(e.volumes), next(iter(e.labels.values())).name) for e in datalist.validation] == [
        (["CT"], "amos_0008.nii.gz"),
        (["MR"], "amos_0510.nii.gz"),
    ]
    assert [list(entry.volumes) for entry in datalist.unlabelled] == [["MR"]]


def test_amos_with_nnunets_channel_numbers_is_nnunets(tmp_path):
    touch(tmp_path, "imagesTr/amos_0507_0000.nii.gz", "dataset.json")
    assert recognised(tmp_path) == "nnU-Net raw"


def test_amos_without_ct_and_mr_is_refused(tmp_path):
    assert "which has CT and MR, not T1w or T2w" in refusal(amos(tmp_path)).message


# MS-CMRSeg


def test_ms_cmrseg_pairs_the_sequences_of_a_patient_and_uses_what_labels_there_are(tmp_path):
    folder = touch(
        tmp_path,
        *[f"c0t2lge/patient{n}_{name}.nii.gz" for n in (1, 6, 40) for name in ("C0", "LGE", "T2")],
        *[f"c0gt/patient{n}_C0_manual.nii.gz" for n in (1, 6)],
        "lgegt/patient1_LGE_manual.nii.gz",
    )
    assert recognised(folder) == "MS-CMRSeg 2019"
    datalist = read(folder, ("bSSFP", "LGE"))
    pair, alone = sorted(datalist.training, key=lambda entry: -len(entry.volumes))
    assert {name: path.name for name, path in pair.volumes.items()} == {
        "bSSFP": "patient1_C0.nii.gz",
        "LGE": "patient1_LGE.nii.gz",
    }
    assert {name: path.name for name, path in pair.labels.items()} == {
        "bSSFP": "patient1_C0_manual.nii.gz",
        "LGE": "patient1_LGE_manual.nii.gz",
    }
    assert not pair.aligned
    assert {name: path.name for name, path in alone.volumes.items()} == {"bSSFP": "patient6_C0.nii.gz"}
    assert [[path.name for path in entry.volumes.values()] for entry in datalist.unlabelled] == [
        ["patient6_C0.nii.gz", "patient6_LGE.nii.gz"],
        ["patient40_C0.nii.gz", "patient40_LGE.nii.gz"],
    ]
    assert not any(entry.aligned for entry in datalist.unlabelled)


# CHAOS

GRID = grid_around((0, 0, 0), (12, 10, 6), (2.0, 2.0, 5.0))


def chaos(folder: Path) -> Path:
    """One CT and one MR patient, with grey values in slices from the feet on."""
    scans = {
        "CT/1/DICOM_anon": ("CT/1/Ground", {0: 255}),
        "MR/2/T1DUAL/DICOM_anon/InPhase": ("MR/2/T1DUAL/Ground", {0: 63, 1: 126, 2: 189, 3: 252}),
        "MR/2/T2SPIR/DICOM_anon": ("MR/2/T2SPIR/Ground", {2: 66}),
    }
    for scan, (ground, marks) in scans.items():
        array = np.broadcast_to(10 * np.arange(6)[:, None, None], GRID.shape_kji).astype(np.int16).copy()
        array[:, 0, 0] += 1
        target = folder / "Train_Sets" / scan
        target.mkdir(parents=True)
        slices = write_series(target, array, GRID)
        place = folder / "Train_Sets" / ground
        place.mkdir(parents=True)
        for number, file in enumerate(slices):  # names run from head to feet
            name = f"IMG-{len(slices) - number:03}"
            file.rename(target / f"{name}.dcm")
            picture = np.zeros(array.shape[1:], dtype=np.uint8)
            picture[2:5, 3:7] = marks.get(number, 0)
            sitk.WriteImage(sitk.GetImageFromArray(picture), str(place / f"{name}.png"))
    return folder


def test_chaos_ct_and_mr_are_of_different_patients_and_mr_scans_of_one(tmp_path):
    folder = chaos(tmp_path)
    assert recognised(folder) == recognised(folder / "Train_Sets") == "CHAOS"
    top = folder / "Train_Sets"
    ct, mr = read(folder, ("CT", "MR")).training
    assert ct == Entry({"CT": top / "CT/1/DICOM_anon"}, {"CT": top / "CT/1/Ground"})
    assert mr == Entry({"MR": top / "MR/2/T2SPIR/DICOM_anon"}, {"MR": top / "MR/2/T2SPIR/Ground"})
    (pair,) = read(folder, ("T1DUAL", "T2SPIR")).training
    assert pair.volumes["T1DUAL"] == top / "MR/2/T1DUAL/DICOM_anon/InPhase"
    assert not pair.aligned


@pytest.mark.parametrize(("other", "aligned"), [("T2SPIR", False), ("OutPhase", True)])
def test_chaos_scans_lie_on_each_other_without_labels_where_they_are_of_one_acquisition(tmp_path, other, aligned):
    dual = ("T1DUAL/DICOM_anon/InPhase", "T1DUAL/DICOM_anon/OutPhase")
    for place in ("1/T1DUAL/Ground", *[f"{n}/{scan}" for n in (1, 2) for scan in dual], "2/T2SPIR/DICOM_anon"):
        (tmp_path / "Train_Sets/MR" / place).mkdir(parents=True)
    datalist = read(tmp_path, ("T1DUAL", other))
    assert [sorted(entry.volumes) for entry in datalist.unlabelled] == [sorted(("T1DUAL", other))]
    assert [entry.aligned for entry in datalist.unlabelled] == [aligned]


def test_chaos_labels_lie_on_the_slices_that_they_were_drawn_on(tmp_path):
    folder = chaos(tmp_path) / "Train_Sets"
    labels, grid = read_ground(folder / "MR/2/T1DUAL/Ground")
    assert grid.is_close(GRID)
    assert [int(part.max()) for part in labels] == [1, 2, 3, 4, 0, 0]
    assert (labels[1] > 0).sum() == 12
    assert (labels[1, 2:5, 3:7] == 2).all()
    labels, _ = read_ground(folder / "CT/1/Ground")
    assert [int(part.max()) for part in labels] == [1, 0, 0, 0, 0, 0]


def test_a_chaos_case_that_lacks_a_slice_is_refused(tmp_path):
    ground = chaos(tmp_path) / "Train_Sets/CT/1/Ground"
    (ground / "IMG-003.png").unlink()
    with pytest.raises(DataError, match="has 5 slices") as caught:
        read_ground(ground)
    assert caught.value.code == "slices-differ"


def test_chaos_gives_samples(tmp_path):
    config = TrainingConfig(modalities=("CT", "MR"), spacing=4.0, patch=(16, 16, 16), network=NetworkConfig((4, 8)))
    entries = read(chaos(tmp_path), config.modalities).training
    label_map = choose_label_map(config, entries)
    assert label_map.channels == (0, 1)
    source = build_source(entries, config, label_map, "cpu")
    presences = [source.sample(seed).presence.tolist() for seed in range(2)]
    assert presences == [[True, False], [False, True]]


# all of them


def test_an_unknown_arrangement_is_told_which_ones_are_known(tmp_path):
    touch(tmp_path, "scans/of/mine/one.nii.gz")
    error = refusal(tmp_path)
    assert error.code == "datalist"
    assert all(layout.name in error.hint for layout in LAYOUTS)


def test_a_folder_of_cases_and_one_of_label_maps_are_nobody_elses(tmp_path):
    cases = touch(tmp_path / "cases", "p1/T1w.nii.gz", "p1/label.nii.gz")
    maps = touch(tmp_path / "maps", "a.nii.gz", "b.nrrd")
    assert recognised(cases) is recognised(maps) is None


@pytest.mark.parametrize(
    ("given", "found"),
    [("t1W", "T1w"), ("T1-w", "T1w"), ("mprage", "T1w"), ("FLAIR", None), ("T2w", "T2w")],
)
def test_names_are_found_without_regard_to_case_and_dashes(given, found):
    assert Names(T1_T2, {"T1w": ("MPRAGE",)}).find("nonsense", given) == found
