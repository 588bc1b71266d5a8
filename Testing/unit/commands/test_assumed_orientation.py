"""Files that do not say how they lie, on the command line: refused, or read as the user says, and told."""

import gzip
import json

import nibabel as nib
import numpy as np
import pytest

from CrossModalSegLib.cli import main
from CrossModalSegLib.datasets.datalist import read_datalist
from CrossModalSegLib.errors import DataError, GeometryError
from CrossModalSegLib.imaging.orientation import direction_of
from CrossModalSegLib.imaging.volume import read_grid, write_volume
from CrossModalSegLib.site.case_store import CaseStore
from CrossModalSegLib.training.config import TrainingConfig
from CrossModalSegLib.training.training_data import build_source, choose_label_map
from Testing.nifti_files import PIXDIM, QFORM_CODE, QUATERNION, SROW, UNITS, patch, write_nifti
from Testing.site_case import LABELS
from Testing.tiny_bundle import HEAD_CENTRE, intensity_bundle, two_balls
from Testing.volumes import grid_around, points_of

# A head that is stored as many scanners do: i to the left, j to the front, k to the top, with its centre in the middle.
STORED = grid_around((0.0, 0.0, 0.0), (30, 34, 32), (4.0, 4.0, 4.0), direction_of("LAS"))
SCAN = two_balls(points_of(STORED) + HEAD_CENTRE).astype(np.int16).T  # (i, j, k)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return intensity_bundle(tmp_path_factory.mktemp("bundles") / "tiny", (32, 36, 32), 4.0).path


@pytest.fixture
def silent_scan(tmp_path):
    """Both codes 0."""
    return write_nifti(tmp_path / "scan.nii.gz", SCAN, STORED.ijk_to_ras, STORED.ijk_to_ras, (0, 0))


def segment(scan, bundle, output, *more):
    return main(["segment", "--input", f"T1w={scan}", "--bundle", str(bundle), "--output", str(output), *more])


def millilitres(output):
    report = json.loads((output / "report.json").read_text())
    return {one["name"]: one["volume_ml"]["T1w"] for one in report["structures"]}


def test_a_scan_that_does_not_say_what_is_left_is_refused(silent_scan, bundle, tmp_path, capsys):
    assert segment(silent_scan, bundle, tmp_path / "out") == 2
    told = capsys.readouterr().err
    assert told.startswith("error[unknown-orientation]: ")
    assert "--assume-orientation" in told
    assert not (tmp_path / "out").exists()


def test_with_the_right_orientation_it_gives_what_the_scan_with_a_header_gives(silent_scan, bundle, tmp_path, capsys):
    whole = write_nifti(tmp_path / "whole.nii.gz", SCAN, STORED.ijk_to_ras, STORED.ijk_to_ras)
    assert segment(whole, bundle, tmp_path / "whole") == 0
    assert "assumed-orientation" not in capsys.readouterr().err
    assert segment(silent_scan, bundle, tmp_path / "out", "--assume-orientation", "las") == 0
    assert "warning[assumed-orientation]: T1w: " in capsys.readouterr().err
    assert millilitres(tmp_path / "out") == pytest.approx(millilitres(tmp_path / "whole"))
    assert segment(silent_scan, bundle, tmp_path / "other", "--assume-orientation", "RAS") == 0
    whole_ml, mirrored = millilitres(tmp_path / "whole"), millilitres(tmp_path / "other")
    left, right = "left bright ball", "right bright ball"
    assert whole_ml[left] != pytest.approx(whole_ml[right], rel=0.05)
    assert mirrored[left] == pytest.approx(whole_ml[right], rel=0.02)  # it is taken at its word
    assert mirrored[right] == pytest.approx(whole_ml[left], rel=0.02)


def test_in_a_table_it_holds_for_all_rows_and_is_told_for_each(silent_scan, bundle, tmp_path, capsys):
    (tmp_path / "cases.csv").write_text(f"case,T1w\na,{silent_scan.name}\nb,{silent_scan.name}\n")
    table = ["segment", "--cases", str(tmp_path / "cases.csv"), "--bundle", str(bundle)]
    assert main([*table, "--output", str(tmp_path / "refused")]) == 1
    assert capsys.readouterr().err.count("error[unknown-orientation]") == 2
    assert main([*table, "--output", str(tmp_path / "out"), "--assume-orientation", "LAS"]) == 0
    assert capsys.readouterr().err.count("warning[assumed-orientation]") == 2


def test_three_letters_that_are_none_are_a_wrong_use(silent_scan, bundle, tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        segment(silent_scan, bundle, tmp_path / "out", "--assume-orientation", "RAL")
    assert caught.value.code == 2
    assert "'RAL' is no orientation" in capsys.readouterr().err


@pytest.mark.parametrize("codes", [(1, 1), (2, 1), (4, 0), (0, 1), (0, 0)])
def test_a_result_in_nifti_keeps_the_scan_s_own_forms_codes_and_units(bundle, tmp_path, codes):
    moved = STORED.ijk_to_ras.copy()
    moved[:3, 3] += [3, 4, -5]
    scan = write_nifti(tmp_path / "scan.nii.gz", SCAN, moved, STORED.ijk_to_ras, codes, units="unknown")
    if codes == (2, 1):
        patch(scan, PIXDIM + 4, "<f", -4.0)  # as old tools write it
    assert segment(scan, bundle, tmp_path / "out", "--format", "nii.gz", "--assume-orientation", "LAS") == 0
    headers = [gzip.decompress(path.read_bytes())[:348] for path in (scan, tmp_path / "out/T1w_segmentation.nii.gz")]
    for offset, length in ((PIXDIM, 16), (UNITS, 1), (QFORM_CODE, 4), (QUATERNION, 24), (SROW, 48)):
        one, other = (header[offset : offset + length] for header in headers)
        assert one == other
    same = read_grid(scan, "LAS"), read_grid(tmp_path / "out/T1w_segmentation.nii.gz", "LAS")
    assert same[0].is_close(same[1])
    labels = np.asarray(nib.load(tmp_path / "out/T1w_segmentation.nii.gz").dataobj)
    assert labels.shape == SCAN.shape
    assert np.mean(labels[SCAN > 700] > 2) > 0.9  # the balls lie where they are in the scan


def test_a_site_takes_such_files_only_when_it_is_said_how_they_lie(tmp_path, capsys):
    (tmp_path / "map.json").write_text(json.dumps(LABELS.to_json()))
    site = tmp_path / "site"
    assert main(["site", "create", str(site), "--label-map", str(tmp_path / "map.json"), "--modality", "T1w"]) == 0
    files = tmp_path / "files"
    files.mkdir()
    labels = (SCAN > 700).astype(np.uint8) * LABELS.values[0]
    for name, data in (("p1_T1w", SCAN), ("p1_label", labels)):
        write_nifti(files / f"{name}.nii.gz", data, STORED.ijk_to_ras, STORED.ijk_to_ras, (0, 0))
    assert main(["site", "add", str(site), "--from", str(files)]) == 1
    assert "error[unknown-orientation]" in capsys.readouterr().err
    assert CaseStore(site).cases() == []
    assert main(["site", "add", str(site), "--from", str(files), "--assume-orientation", "LAS"]) == 0
    assert "warning[assumed-orientation]" in capsys.readouterr().err
    (case,) = CaseStore(site).cases()
    assert read_grid(case.volumes["T1w"]).is_close(STORED)
    assert read_grid(case.labels["T1w"]).is_close(STORED)


def test_a_datalist_says_it_for_a_case_or_for_all(silent_scan, tmp_path):
    write_nifti(tmp_path / "seg.nii.gz", (SCAN > 700).astype(np.uint8), STORED.ijk_to_ras, STORED.ijk_to_ras, (0, 0))
    case = {"T1w": silent_scan.name, "label": "seg.nii.gz"}
    contents = (
        ({"training": [case], "assume_orientation": "las"}, "LAS"),
        ({"training": [case | {"assume_orientation": "LAS"}], "assume_orientation": "RAS"}, "LAS"),
        ({"training": [case]}, "PIR"),
        (
            {
                "training": [{"image": "scan.nii.gz", "label": "seg.nii.gz", "assume_orientation": "LPS"}],
                "modality": {"0": "T1w"},
            },
            "LPS",
        ),
    )
    for content, expected in contents:
        (tmp_path / "list.json").write_text(json.dumps(content))
        (entry,) = read_datalist(tmp_path / "list.json", ("T1w", "T2w"), assumed_orientation="PIR").training
        assert entry.assumed_orientation == expected
    (tmp_path / "list.json").write_text(json.dumps({"training": [case | {"assume_orientation": "up"}]}))
    with pytest.raises(DataError, match=r"training\[0\]: assume_orientation: 'up' is no orientation"):
        read_datalist(tmp_path / "list.json", ("T1w", "T2w"))


def test_a_training_takes_scans_and_labels_as_the_datalist_says(silent_scan, tmp_path):
    write_nifti(tmp_path / "seg.nii.gz", (SCAN > 700).astype(np.uint8), STORED.ijk_to_ras, STORED.ijk_to_ras, (0, 0))
    config = TrainingConfig(spacing=4.0)
    content = {"training": [{"A": silent_scan.name, "label": "seg.nii.gz"}]}
    (tmp_path / "list.json").write_text(json.dumps(content))
    entries = read_datalist(tmp_path / "list.json", config.modalities).training
    with pytest.raises(GeometryError, match="unknown-orientation"):
        choose_label_map(config, entries)
    (tmp_path / "list.json").write_text(json.dumps(content | {"assume_orientation": "LAS"}))
    entries = read_datalist(tmp_path / "list.json", config.modalities).training
    assert build_source(entries, config, choose_label_map(config, entries), "cpu") is not None


def test_evaluate_compares_such_files_when_it_is_said_how_they_lie(tmp_path, capsys):
    labels = (SCAN > 700).astype(np.uint8)
    path = write_nifti(tmp_path / "seg.nii.gz", labels, STORED.ijk_to_ras, STORED.ijk_to_ras, (0, 0))
    write_volume(tmp_path / "seg.nrrd", labels.T, STORED)
    compare = ["evaluate", "--prediction", str(path), "--reference", str(tmp_path / "seg.nrrd")]
    assert main(compare) == 2
    assert "error[unknown-orientation]" in capsys.readouterr().err
    assert main([*compare, "--assume-orientation", "LAS"]) == 0
    assert "1.000" in capsys.readouterr().out
