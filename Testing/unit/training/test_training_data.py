"""From files to sources and a label map."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from CrossModalSegLib.datasets.datalist import read_datalist
from CrossModalSegLib.errors import ConfigError, DataError, GeometryError, InputError, LabelError
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.segmentation_io import read_segmentation, write_segmentation
from CrossModalSegLib.imaging.volume import write_volume
from CrossModalSegLib.labels import LabelMap, Structure
from CrossModalSegLib.training.config import TrainingConfig
from CrossModalSegLib.training.data_report import DataReport
from CrossModalSegLib.training.label_files import read_label_file
from CrossModalSegLib.training.sources import CaseSource, MixedSource, SynthesisSource, UnlabelledSource
from CrossModalSegLib.training.training_data import build_source, build_unlabelled_source, choose_label_map
from Testing.ball_case import CONFIG, CPU, ball, equal, scans, with_semi, with_synthesis
from Testing.volumes import grid_around, points_of


def write_case(folder: Path) -> None:
    folder.mkdir(parents=True)
    for slot, (volume, (labels, grid)) in scans().items():
        name = "AB"[slot]
        write_volume(folder / f"{name}.nii.gz", volume.array, volume.grid)
        write_volume(folder / f"label_{name}.nii.gz", labels, grid)


def write_map(path: Path, **values: int) -> None:
    """A label map with the ball as ``inside`` and all around it as ``outside``."""
    grid = grid_around((0, 0, 0), (24, 24, 24), (2, 2, 2))
    planted = ball(points_of(grid)) > 0
    write_volume(path, np.where(planted, values["inside"], values["outside"]).astype(np.int16), grid)


def built(path: Path, config: TrainingConfig = CONFIG):
    entries = read_datalist(path, config.modalities).training
    label_map = choose_label_map(config, entries)
    return label_map, build_source(entries, config, label_map, CPU)


def test_a_folder_of_cases_gives_a_source_and_a_label_map_of_the_values_met(tmp_path):
    write_case(tmp_path / "one")
    label_map, source = built(tmp_path)
    assert label_map.channels == (0, 7)
    assert isinstance(source, CaseSource)
    assert set(torch.cat([source.sample(seed).labels.flatten() for seed in range(3)]).tolist()) == {0, 1}


def test_a_folder_of_label_maps_gives_synthetic_pairs_map_after_map(tmp_path):
    write_map(tmp_path / "a.nii.gz", inside=5, outside=0)
    write_map(tmp_path / "b.nii.gz", inside=9, outside=0)
    label_map, source = built(tmp_path)
    assert label_map.channels == (0, 5, 9)
    assert isinstance(source, SynthesisSource)
    assert source.sample(0).labels.unique().tolist() == [0, 1]
    assert source.sample(1).labels.unique().tolist() == [0, 2]
    assert equal(source.sample(4), source.sample(4))


def test_cases_and_label_maps_of_one_list_alternate(tmp_path):
    write_case(tmp_path / "one")
    write_map(tmp_path / "map.nii.gz", inside=7, outside=0)
    case = {name: f"one/{name}.nii.gz" for name in ("A", "B", "label_A", "label_B")}
    entries = str({"training": [case, {"label": "map.nii.gz"}]}).replace("'", '"')
    (tmp_path / "list.json").write_text(entries)
    _, source = built(tmp_path / "list.json")
    assert isinstance(source, MixedSource)
    assert [type(part) for part in source.sources] == [SynthesisSource, CaseSource]
    assert source.sample(0).volumes.shape == source.sample(1).volumes.shape


def test_cases_without_labels_give_a_source_of_their_own_and_no_label_file_is_read(tmp_path):
    write_case(tmp_path / "one")
    write_case(tmp_path / "two")
    for name in "AB":
        (tmp_path / "two" / f"label_{name}.nii.gz").unlink()
    datalist = read_datalist(tmp_path, CONFIG.modalities)
    label_map = choose_label_map(CONFIG, datalist.training)
    source = build_unlabelled_source(datalist.unlabelled, CONFIG, label_map)
    assert isinstance(source, UnlabelledSource)
    assert len(source.cases) == 1
    assert source.sample(0).presence.tolist() == [True, True]
    assert build_unlabelled_source([], CONFIG, label_map) is None
    assert build_unlabelled_source(datalist.unlabelled, with_semi(batch=0), label_map) is None


def test_no_entries_give_no_source(tmp_path):
    write_map(tmp_path / "a.nii.gz", inside=5, outside=0)
    label_map, _ = built(tmp_path)
    assert build_source([], CONFIG, label_map, CPU) is None


def test_a_named_label_map_is_taken_from_the_library_or_from_a_file(tmp_path):
    assert len(choose_label_map(replace(CONFIG, label_map="brain_mr_pair"), []).structures) == 32
    (tmp_path / "own.json").write_text('{"structures": [{"value": 4, "name": "liver", "color": [1, 2, 3]}]}')
    assert choose_label_map(replace(CONFIG, label_map=str(tmp_path / "own.json")), []).channels == (0, 4)


def test_data_without_any_label_are_refused(tmp_path):
    write_map(tmp_path / "a.nii.gz", inside=0, outside=0)
    with pytest.raises(ConfigError) as caught:
        built(tmp_path)
    assert caught.value.code == "no-labels"


def test_a_label_map_with_nothing_to_segment_is_named(tmp_path):
    write_map(tmp_path / "a.nii.gz", inside=5, outside=0)
    write_map(tmp_path / "empty.nii.gz", inside=0, outside=0)
    with pytest.raises(DataError, match=r"empty\.nii\.gz") as caught:
        built(tmp_path)
    assert caught.value.code == "no-labels"
    assert "a.nii.gz" not in caught.value.message


def test_a_map_whose_structures_are_merged_into_others_has_something_to_segment(tmp_path):
    write_map(tmp_path / "a.nii.gz", inside=5, outside=0)
    write_map(tmp_path / "b.nii.gz", inside=6, outside=0)
    (tmp_path / "own.json").write_text('{"structures": [{"value": 5, "name": "liver", "color": [1, 2, 3]}]}')
    config = replace(with_synthesis(merge={6: 5}), label_map=str(tmp_path / "own.json"))
    _, source = built(tmp_path, config)
    assert source.sample(1).labels.unique().tolist() == [0, 1]


def test_more_labels_than_a_byte_holds_are_refused(tmp_path):
    grid = grid_around((0, 0, 0), (24, 24, 24), (2, 2, 2))
    write_volume(tmp_path / "a.nii.gz", (np.arange(24**3) % 300).reshape(grid.shape_kji).astype(np.int16), grid)
    with pytest.raises(ConfigError, match="299") as caught:
        built(tmp_path)
    assert caught.value.code == "too-many-labels"


def write_named(path: Path, inside: int, outside: int, **names: int) -> None:
    """As `write_map`, as a .seg.nrrd with names."""
    grid = grid_around((0, 0, 0), (24, 24, 24), (2, 2, 2))
    planted = ball(points_of(grid)) > 0
    label_map = LabelMap(tuple(Structure(value, name, (9, 9, 9)) for name, value in names.items()))
    write_segmentation(path, np.where(planted, inside, outside), grid, label_map)


def write_named_case(folder: Path, inside: int, outside: int, **names: int) -> None:
    write_case(folder)
    for name in "AB":
        (folder / f"label_{name}.nii.gz").unlink()
    write_named(folder / "label.seg.nrrd", inside, outside, **names)


def planted(source: CaseSource, case: int, channel: int) -> int:
    return int((source.cases[case].labels == channel).sum())


def test_names_decide_where_annotators_have_numbered_structures_differently(tmp_path):
    write_named_case(tmp_path / "one", 1, 2, ball=1, around=2)
    write_named_case(tmp_path / "two", 2, 1, around=1, Ball=2)
    label_map, source = built(tmp_path)
    assert {one.name: one.value for one in label_map.structures} == {"ball": 1, "around": 2}
    assert planted(source, 0, 1) == planted(source, 1, 1) > 0
    assert planted(source, 0, 2) == planted(source, 1, 2) > planted(source, 0, 1)


def test_a_name_whose_value_is_taken_gets_another(tmp_path):
    write_named_case(tmp_path / "one", 1, 0, ball=1)
    write_named_case(tmp_path / "two", 1, 0, cube=1)
    label_map, source = built(tmp_path)
    assert {one.name: one.value for one in label_map.structures} == {"ball": 1, "cube": 2}
    assert planted(source, 0, 1) == planted(source, 1, 2) > 0
    assert planted(source, 0, 2) == planted(source, 1, 1) == 0


def test_label_maps_to_synthesise_from_are_matched_by_name_as_well(tmp_path):
    write_named(tmp_path / "a.seg.nrrd", 1, 2, ball=1, around=2)
    write_named(tmp_path / "b.seg.nrrd", 2, 1, around=1, ball=2)
    label_map, source = built(tmp_path)
    assert {one.name: one.value for one in label_map.structures} == {"ball": 1, "around": 2}
    counts = [[int((labels == value).sum()) for value in (1, 2)] for labels in stored_maps(source)]
    assert counts[0] == counts[1]
    assert counts[0][0] != counts[0][1]


def stored_maps(source: SynthesisSource) -> list[torch.Tensor]:
    return [torch.tensor(source.synthesizer.values)[one.array.long()] for one in source.maps]


def test_names_and_values_that_contradict_each_other_are_refused(tmp_path):
    write_named_case(tmp_path / "one", 1, 2, ball=1, around=2)
    write_named_case(tmp_path / "two", 2, 1, around=1, ball=2)
    write_case(tmp_path / "three")
    write_named_case(tmp_path / "first, kept for validation", 1, 2, ball=1, around=2)
    with pytest.raises(DataError, match="labels-ambiguous"):
        built(tmp_path)


def test_what_the_configured_label_map_does_not_have_is_told(tmp_path):
    write_named_case(tmp_path / "one", 3, 2, ball=3, tumour=2)
    write_case(tmp_path / "two")
    (tmp_path / "own.json").write_text('{"structures": [{"value": 8, "name": "ball", "color": [1, 2, 3]}]}')
    config = replace(CONFIG, label_map=str(tmp_path / "own.json"))
    entries = read_datalist(tmp_path, config.modalities).training
    label_map, report = choose_label_map(config, entries), DataReport()
    source = build_source(entries, config, label_map, CPU, report)
    assert planted(source, 0, 1) > 0
    assert planted(source, 1, 1) == 0
    (line,) = report.lines()
    assert "'tumour' (in 1 label file)" in line
    assert "label 7 (in 2 label files)" in line


def test_label_files_that_name_nothing_of_the_label_map_are_refused(tmp_path):
    write_named_case(tmp_path / "one", 3, 2, Kugel=3, drumherum=2)
    (tmp_path / "own.json").write_text('{"structures": [{"value": 3, "name": "ball", "color": [1, 2, 3]}]}')
    with pytest.raises(LabelError, match=r"names-differ.*Kugel"):
        built(tmp_path, replace(CONFIG, label_map=str(tmp_path / "own.json")))


@pytest.mark.parametrize("value", [1.5, np.nan, np.inf, 5e9])
def test_label_files_whose_values_are_no_labels_are_refused(tmp_path, value):
    labels = np.zeros((4, 5, 6), np.float32)
    labels[1:3] = value
    write_volume(tmp_path / "label.nii.gz", labels, Grid((4, 5, 6), np.eye(4)))
    with pytest.raises(InputError, match=r"not-labels.*label\.nii\.gz"):
        read_label_file(tmp_path / "label.nii.gz")


def test_label_files_that_were_rounded_in_scaling_are_read(tmp_path):
    labels = np.zeros((4, 5, 6), np.float32)
    labels[1:3] = 1.9999
    write_volume(tmp_path / "label.nii.gz", labels, Grid((4, 5, 6), np.eye(4)))
    assert read_label_file(tmp_path / "label.nii.gz").facts.present == (2,)


def test_a_validation_case_whose_scan_is_learnt_from_is_left_out_and_told(tmp_path):
    for folder in ("one", "two"):
        write_case(tmp_path / folder)
    (volume, _), grid = scans()[0], grid_around((50, 0, 0), (32, 30, 28), (2, 2, 2))
    write_volume(tmp_path / "two" / "A.nii.gz", volume.array[::-1] * 3 + 7, grid)
    names = ("A", "label_A")
    for key in ("training", "unlabelled"):
        twin = {name: f"one/{name}.nii.gz" for name in (names if key == "training" else ("A",))}
        other = {"B": "one/B.nii.gz", "label_B": "one/label_B.nii.gz"}
        lists = {"training": [other], "validation": [{name: f"two/{name}.nii.gz" for name in names}]}
        lists[key] = [*lists.get(key, []), twin]
        (tmp_path / "list.json").write_text(json.dumps(lists))
        datalist, report = read_datalist(tmp_path / "list.json", CONFIG.modalities), DataReport()
        label_map = choose_label_map(CONFIG, datalist.training)
        assert build_source(datalist.training, CONFIG, label_map, CPU, report) is not None
        build_unlabelled_source(datalist.unlabelled, CONFIG, label_map, report)
        assert build_source(datalist.validation, CONFIG, label_map, CPU, report, learnt=False) is None
        (line,) = report.lines()
        assert "warning[same-scan]" in line
        assert "two/A.nii.gz" in line


def test_a_case_whose_two_scans_are_the_same_image_is_told(tmp_path):
    folder = tmp_path / "case"
    write_case(folder)
    for second, told in (("B", 0), ("copy", 1)):
        shutil.copy(folder / "A.nii.gz", folder / "copy.nii.gz")
        case = {"A": "A.nii.gz", "label_A": "label_A.nii.gz"}
        case |= {"B": f"{second}.nii.gz", "label_B": "label_B.nii.gz" if second == "B" else "label_A.nii.gz"}
        (folder / "list.json").write_text(json.dumps({"training": [case]}))
        datalist, report = read_datalist(folder / "list.json", CONFIG.modalities), DataReport()
        build_source(datalist.training, CONFIG, choose_label_map(CONFIG, datalist.training), CPU, report)
        lines = [line for line in report.lines() if "same-image" in line]
        assert len(lines) == told
        assert all("copy.nii.gz: A and B are the same image" in line for line in lines)


@pytest.mark.parametrize(("moved_mm", "told"), [(0, ""), (4, ""), (30, "labels-outside"), (500, "no-overlap")])
def test_labels_that_lie_beside_their_scan_are_told_or_refused(tmp_path, moved_mm, told):
    """The label maps of another scan, or of one that lay elsewhere."""
    write_case(tmp_path / "one")
    labels, grid = read_segmentation(tmp_path / "one/label_A.nii.gz")[:2]
    there = grid.ijk_to_ras.copy()
    there[0, 3] += moved_mm
    write_volume(tmp_path / "one/label_A.nii.gz", labels, Grid(grid.shape_kji, there))
    entries, report = read_datalist(tmp_path, CONFIG.modalities).training, DataReport()
    label_map = choose_label_map(CONFIG, entries)
    if told == "no-overlap":
        with pytest.raises(GeometryError, match=r"label_A\.nii\.gz lies within the scan of A") as caught:
            build_source(entries, CONFIG, label_map, CPU, report)
        assert caught.value.code == told
        return
    build_source(entries, CONFIG, label_map, CPU, report)
    assert [finding.code for finding in report.findings if "label_A" in finding.message] == [told] * bool(told)


def test_labels_without_any_structure_are_told_with_their_file(tmp_path):
    write_case(tmp_path / "one")
    write_case(tmp_path / "two")
    labels, grid = read_segmentation(tmp_path / "two/label_B.nii.gz")[:2]
    write_volume(tmp_path / "two/label_B.nii.gz", np.zeros_like(labels), grid)
    entries, report = read_datalist(tmp_path, CONFIG.modalities).training, DataReport()
    build_source(entries, CONFIG, choose_label_map(CONFIG, entries), CPU, report)
    (line,) = [line for line in report.lines() if "no-labels" in line]
    assert "two/label_B.nii.gz shows no structure" in line


def test_what_is_found_of_a_scan_names_the_case(tmp_path):
    write_case(tmp_path / "one")
    shutil.copy(tmp_path / "one/label_A.nii.gz", tmp_path / "one/A.nii.gz")
    entries, report = read_datalist(tmp_path, CONFIG.modalities).training, DataReport()
    build_source(entries, CONFIG, choose_label_map(CONFIG, entries), CPU, report)
    (line,) = [line for line in report.lines() if "looks-like-labels" in line]
    assert "one/A.nii.gz" in line


def test_a_label_map_that_is_learnt_from_does_not_validate(tmp_path):
    write_map(tmp_path / "a.nii.gz", inside=5, outside=0)
    write_map(tmp_path / "copy.nii.gz", inside=5, outside=0)
    write_map(tmp_path / "other.nii.gz", inside=5, outside=3)
    lists = {"training": [{"label": "a.nii.gz"}], "validation": [{"label": "copy.nii.gz"}, {"label": "other.nii.gz"}]}
    (tmp_path / "list.json").write_text(json.dumps(lists))
    datalist, report = read_datalist(tmp_path / "list.json", CONFIG.modalities), DataReport()
    label_map = choose_label_map(CONFIG, datalist.training)
    build_source(datalist.training, CONFIG, label_map, CPU, report)
    validation = build_source(datalist.validation, CONFIG, label_map, CPU, report, learnt=False)
    assert isinstance(validation, SynthesisSource)
    assert len(validation.maps) == 1
    assert "copy.nii.gz" in report.lines()[0]
