"""Scores against values worked out by hand."""

import dataclasses
import io
import json
import math

import numpy as np
import pytest
from rich.console import Console

from CrossModalSegLib.cli import main
from CrossModalSegLib.errors import GeometryError, InputError, LabelError
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.segmentation_io import write_segmentation
from CrossModalSegLib.imaging.volume import write_volume
from CrossModalSegLib.inference.evaluation import evaluate, mean_scores, score_files, to_json, to_table
from CrossModalSegLib.label_translation import LabelTranslation, read_labels
from CrossModalSegLib.labels import LabelMap, Structure

SHAPE = (8, 8, 8)
GRID = Grid(SHAPE, np.diag([1.0, 2.0, 3.0, 1.0]))  # 1 mm along i, 2 mm along j, 3 mm along k: voxels of 0.006 mL
CUBE = LabelMap((Structure(7, "cube", (200, 0, 0)),))
TWO = LabelMap((Structure(7, "cube", (200, 0, 0)), Structure(9, "bar", (0, 200, 0))))


def cube(first_slice: int = 1, value: int = 7) -> np.ndarray:
    """4 x 4 x 4 voxels in the volume of 8 x 8 x 8."""
    labels = np.zeros(SHAPE, dtype=np.int32)
    labels[first_slice : first_slice + 4, 2:6, 2:6] = value
    return labels


def score(prediction: np.ndarray, reference: np.ndarray, **options):
    return evaluate(prediction, reference, GRID, CUBE, **options)[0]


def test_a_segmentation_scores_perfectly_against_itself():
    scored = score(cube(), cube(), tolerance_mm=0.0)
    assert (scored.dice, scored.nsd, scored.hd95_mm, scored.rule) == (1.0, 1.0, 0.0, "in-both")
    assert scored.reference_ml == scored.prediction_ml == pytest.approx(64 * 0.006)


def test_dice_of_a_cube_moved_by_one_of_its_four_slices_is_three_quarters():
    assert score(cube(2), cube(1)).dice == pytest.approx(2 * 48 / (64 + 64))


@pytest.mark.parametrize(("axis", "spacing_mm"), [(0, 3.0), (1, 2.0), (2, 1.0)])
def test_hd95_of_a_cube_moved_by_one_voxel_is_the_spacing_along_that_axis(axis, spacing_mm):
    # Of the 56 outermost voxels 16 lie one voxel from the other cube: far more than the 5 % that HD95 forgives.
    assert score(np.roll(cube(), 1, axis), cube()).hd95_mm == pytest.approx(spacing_mm)


def test_hd95_forgives_a_single_stray_voxel_out_of_57():
    stray = cube()
    stray[7, 0, 0] = 7
    assert score(stray, cube()).hd95_mm == 0.0
    assert score(stray, cube()).nsd < 1.0


def test_nsd_of_a_cube_moved_by_one_slice_is_the_area_within_the_tolerance():
    """Each surface is made of 98 elements at the corners of voxels: 54 in faces, 36 in edges, 8 in corners.

    With 1, 2, 3 mm along i, j, k an element has: in faces across i, j, k 6, 3, 2 mm2; in edges along i, j, k
    1 * hypot(1, 1.5), 2 * hypot(0.5, 1.5), 3 * hypot(0.5, 1) mm2; in corners the triangle over half the spacings,
    sqrt(0.5**2 + 1.5**2 + 0.75**2) / 2 = 0.875 mm2.

    Moved by 3 mm along k and with a tolerance of 1.5 mm, all of the far face is out (9 face elements, 3 on each of four
    edges, 4 corners). The near face lies inside the other cube: 6 of its 9 inner elements are 1 mm from that cube's
    side, the middle three are 2 mm from it and thus out.
    """
    along_i, along_j, along_k = math.hypot(1, 1.5), 2 * math.hypot(0.5, 1.5), 3 * math.hypot(0.5, 1)
    area = 2 * 9 * (6 + 3 + 2) + 12 * (along_i + along_j + along_k) + 8 * 0.875
    outside = 9 * 2 + 6 * along_i + 6 * along_j + 4 * 0.875 + 3 * 2
    assert score(cube(2), cube(1), tolerance_mm=1.5).nsd == pytest.approx(1 - outside / area, abs=1e-6)


def test_a_shift_by_exactly_the_tolerance_is_within_it_in_spite_of_rounded_headers():
    rounded = Grid(SHAPE, np.diag([1.0, 2.0, 3.0000002, 1.0]))
    assert evaluate(cube(2), cube(1), rounded, CUBE, tolerance_mm=3.0)[0].nsd == pytest.approx(1.0)


def test_a_structure_at_the_border_of_the_volume_has_a_surface_there():
    full = np.full(SHAPE, 7, dtype=np.int32)
    assert score(full, full).nsd == 1.0
    assert score(full, full).hd95_mm == 0.0


def test_absent_structures_count_by_the_stated_rule():
    empty = np.zeros(SHAPE, dtype=np.int32)
    missed, invented, absent = score(empty, cube()), score(cube(), empty), score(empty, empty)
    assert (missed.dice, missed.nsd, missed.rule) == (0.0, 0.0, "only-in-reference")
    assert (invented.dice, invented.nsd, invented.rule) == (0.0, 0.0, "only-in-prediction")
    assert absent.rule == "in-neither"
    assert math.isnan(absent.dice)
    assert math.isnan(absent.nsd)
    assert all(math.isnan(scored.hd95_mm) for scored in (missed, invented, absent))


def test_means_count_a_missed_structure_as_0_and_leave_out_what_neither_side_has():
    third = LabelMap((*TWO.structures, Structure(11, "nowhere", (0, 0, 200))))
    reference = cube()
    reference[7] = 9
    mean = mean_scores(evaluate(cube(), reference, GRID, third))
    assert (mean.dice, mean.nsd, mean.hd95_mm) == (0.5, 0.5, 0.0)
    assert (mean.structures, mean.structures_with_hd95) == (2, 1)


def test_the_mean_of_nothing_is_no_number():
    empty = np.zeros(SHAPE, dtype=np.int32)
    mean = mean_scores(evaluate(empty, empty, GRID, CUBE))
    assert mean.structures == 0
    assert math.isnan(mean.dice)


def test_ignored_voxels_count_on_neither_side():
    prediction = cube()
    prediction[5, 2:6, 2:6] = 7  # a fifth slice, which the reference has not looked at
    ignored = np.zeros(SHAPE, dtype=bool)
    ignored[5] = True
    assert score(prediction, cube()).dice == pytest.approx(2 * 64 / (80 + 64))
    assert score(prediction, cube(), ignored=ignored) == score(cube(), cube())


def test_arrays_of_another_shape_than_their_grid_are_refused():
    with pytest.raises(GeometryError, match=r"prediction has shape \(8, 8, 4\)"):
        evaluate(cube()[..., :4], cube(), GRID, CUBE)


def test_a_translation_renumbers_joins_and_marks_what_it_does_not_know():
    translated, untranslated = LabelTranslation({100: 3, 102: 3, 4: 14}).apply(np.array([0, 100, 102, 4, 69]))
    assert translated.tolist() == [0, 3, 3, 14, 0]
    assert untranslated.tolist() == [False, False, False, False, True]


def test_a_translated_reference_is_scored_where_it_is_translated_and_nowhere_else(tmp_path):
    reference = cube(value=48)
    reference[1, 2:6, 2:6] = 69  # a value without translation: the prediction may say anything there
    write_volume(tmp_path / "reference.nii.gz", reference.astype(np.uint8), GRID)
    write_segmentation(tmp_path / "prediction.seg.nrrd", cube() + np.where(cube(first_slice=5), 9, 0), GRID, TWO)
    evaluation = score_files(tmp_path / "prediction.seg.nrrd", tmp_path / "reference.nii.gz", LabelTranslation({48: 7}))
    assert [(scored.name, scored.dice) for scored in evaluation.scores] == [("cube", 1.0)]
    assert evaluation.scores[0].reference_ml == pytest.approx(48 * 0.006)
    assert evaluation.ignored_voxels == 16


def test_without_labels_the_structures_of_the_prediction_file_are_scored(tmp_path):
    write_segmentation(tmp_path / "prediction.seg.nrrd", cube(), GRID, TWO)
    write_volume(tmp_path / "reference.mha", cube(2).astype(np.int16), GRID)
    evaluation = score_files(tmp_path / "prediction.seg.nrrd", tmp_path / "reference.mha")
    assert [(scored.name, scored.rule) for scored in evaluation.scores] == [("cube", "in-both"), ("bar", "in-neither")]
    assert evaluation.scores[0].hd95_mm == pytest.approx(3.0)


def named(**values: int) -> LabelMap:
    return LabelMap(tuple(Structure(value, name, (1, 2, 3)) for name, value in values.items()))


def test_structures_of_the_same_name_are_compared_whatever_their_values(tmp_path):
    labels = np.where(cube(1), 1, np.where(cube(4), 2, 0))
    write_segmentation(tmp_path / "p.seg.nrrd", labels, GRID, named(left=1, right=2))
    write_segmentation(tmp_path / "r.seg.nrrd", np.choose(labels, [0, 9, 1]), GRID, named(Right=1, left=9))
    evaluation = score_files(tmp_path / "p.seg.nrrd", tmp_path / "r.seg.nrrd")
    assert [(one.value, one.name, one.dice) for one in evaluation.scores] == [(1, "left", 1.0), (2, "right", 1.0)]
    assert evaluation.notes == ()
    given = score_files(tmp_path / "p.seg.nrrd", tmp_path / "r.seg.nrrd", named(right=40, left=50))
    assert [(one.value, one.name, one.dice) for one in given.scores] == [(40, "right", 1.0), (50, "left", 1.0)]


def test_structures_that_one_side_alone_names_are_scored_and_told(tmp_path, capsys):
    write_segmentation(tmp_path / "p.seg.nrrd", np.where(cube(1), 1, 0), GRID, named(liver=1, spleen=2))
    reference = np.where(cube(1), 2, np.where(cube(4), 1, 0))
    write_segmentation(tmp_path / "r.seg.nrrd", reference, GRID, named(tumour=1, liver=2))
    evaluation = score_files(tmp_path / "p.seg.nrrd", tmp_path / "r.seg.nrrd")
    rules = {one.name: (one.dice, one.rule) for one in evaluation.scores}
    assert rules["liver"] == (1.0, "in-both")
    assert rules["tumour"] == (0.0, "only-in-reference")
    assert rules["spleen"][1] == "in-neither"
    assert (
        main(["evaluate", "--prediction", str(tmp_path / "p.seg.nrrd"), "--reference", str(tmp_path / "r.seg.nrrd")])
        == 0
    )
    told = capsys.readouterr().err
    assert "warning[unmatched]: the prediction's file does not name 'tumour'" in told
    assert "warning[unmatched]: the reference's file does not name 'spleen'" in told


def test_it_is_told_where_one_side_alone_has_names(tmp_path):
    write_segmentation(tmp_path / "p.seg.nrrd", cube(value=1), GRID, named(liver=1))
    write_volume(tmp_path / "r.nrrd", cube(value=1).astype(np.uint8), GRID)
    evaluation = score_files(tmp_path / "p.seg.nrrd", tmp_path / "r.nrrd")
    assert evaluation.notes == ("the reference has no names: structures are matched by their values",)
    assert score_files(tmp_path / "r.nrrd", tmp_path / "r.nrrd").notes == ()


def test_files_that_share_no_name_are_refused(tmp_path):
    write_segmentation(tmp_path / "p.seg.nrrd", cube(value=1), GRID, named(liver=1))
    write_segmentation(tmp_path / "r.seg.nrrd", cube(value=1), GRID, named(Leber=1))
    with pytest.raises(LabelError, match=r"names-differ.*Leber.*liver"):
        score_files(tmp_path / "p.seg.nrrd", tmp_path / "r.seg.nrrd")


def test_values_without_names_that_are_not_scored_are_told(tmp_path):
    write_segmentation(tmp_path / "p.seg.nrrd", cube(), GRID, CUBE)
    write_volume(tmp_path / "r.nii.gz", np.where(cube(), 7, np.where(cube(4), 99, 0)).astype(np.uint8), GRID)
    evaluation = score_files(tmp_path / "p.seg.nrrd", tmp_path / "r.nii.gz")
    assert evaluation.notes == (
        "the reference has no names: structures are matched by their values",
        "the reference holds 99, which is not scored and counts as background",
    )
    assert json.loads(to_json(evaluation))["notes"] == list(evaluation.notes)


def test_plain_label_volumes_are_scored_by_every_value_found_except_the_ignored(tmp_path):
    reference = cube() + np.where(cube(first_slice=5), 3, 0)
    write_volume(tmp_path / "prediction.nrrd", cube().astype(np.float32), GRID)
    write_volume(tmp_path / "reference.nii.gz", reference.astype(np.uint8), GRID)
    paths = tmp_path / "prediction.nrrd", tmp_path / "reference.nii.gz"
    assert [scored.rule for scored in score_files(*paths).scores] == ["only-in-reference", "in-both"]
    assert mean_scores(score_files(*paths, ignored_values=[3]).scores).dice == 1.0


def test_files_on_different_grids_are_refused_by_name(tmp_path):
    write_volume(tmp_path / "prediction.nrrd", cube(), GRID)
    moved = Grid(SHAPE, np.array([[1, 0, 0, 0.5], [0, 2, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1]]))
    write_volume(tmp_path / "reference.nrrd", cube(), moved)
    with pytest.raises(GeometryError, match=r"grids-differ.*prediction\.nrrd.*reference\.nrrd"):
        score_files(tmp_path / "prediction.nrrd", tmp_path / "reference.nrrd")


@pytest.mark.parametrize("wrong", [0.5, -1.0, 70000.0, math.nan])
def test_an_image_that_holds_no_labels_is_refused(tmp_path, wrong):
    image = cube().astype(np.float32)
    image[0, 0, 0] = wrong
    write_volume(tmp_path / "image.nrrd", image, GRID)
    with pytest.raises(InputError, match="not-labels"):
        score_files(tmp_path / "image.nrrd", tmp_path / "image.nrrd")


def test_two_empty_files_have_nothing_to_score(tmp_path):
    write_volume(tmp_path / "empty.nrrd", np.zeros(SHAPE, dtype=np.uint8), GRID)
    with pytest.raises(InputError, match="no-structure"):
        score_files(tmp_path / "empty.nrrd", tmp_path / "empty.nrrd")


@pytest.mark.parametrize("options", [{"ignored_values": (7,)}, {"labels": LabelTranslation({48: 7})}, {"labels": TWO}])
def test_where_nothing_is_scored_it_is_told(tmp_path, options):
    """A translation whose values the reference does not have, or all left out: no figure would show it."""
    write_volume(tmp_path / "cube.nrrd", cube(), GRID)
    write_volume(tmp_path / "empty.nrrd", np.zeros(SHAPE, dtype=np.uint8), GRID)
    file = tmp_path / ("empty.nrrd" if options.get("labels") is TWO else "cube.nrrd")
    assert any("nothing was scored" in note for note in score_files(file, file, **options).notes)
    assert not score_files(tmp_path / "cube.nrrd", tmp_path / "cube.nrrd").notes


def test_labels_may_be_a_label_map_or_a_translation(tmp_path):
    (tmp_path / "map.json").write_text(json.dumps(TWO.to_json()))
    (tmp_path / "translation.json").write_text('{"comment": "manual to ours", "map": {"48": 7}}')
    assert read_labels(tmp_path / "map.json") == TWO
    assert read_labels(tmp_path / "translation.json") == LabelTranslation({48: 7})


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "bad-labels"),
        ("[1]", "bad-labels"),
        ('{"names": {}}', "bad-labels"),
        ('{"map": [1, 2]}', "bad-translation"),
        ('{"map": {}}', "bad-translation"),
        ('{"map": {"left": 3}}', "bad-translation"),
        ('{"map": {"4": -3}}', "bad-translation"),
        ('{"map": {"4": 14.9}}', "bad-translation"),
        ('{"map": {"4": 99999999999999999}}', "bad-translation"),
        ('{"map": {"4": Infinity}}', "bad-translation"),
        ('{"map": {"4": 3, "04": 5}}', "bad-translation"),
        ('{"map": {"4": 3, "4": 5}}', "bad-labels"),
        ('{"map": {"0": 2, "17": 17}}', "bad-translation"),
        ('{"map": {"2": true}}', "bad-translation"),
        ('{"map": {"1_7": 17}}', "bad-translation"),
        ('{"map": {"-1": 17}}', "bad-translation"),
        ('{"map": {"4": 3}, "structures": []}', "bad-labels"),
        ('{"structures": []}', "bad-label-map"),
    ],
)
def test_labels_that_make_no_sense_are_refused(tmp_path, text, code):
    (tmp_path / "labels.json").write_text(text)
    with pytest.raises(LabelError, match=code):
        read_labels(tmp_path / "labels.json")


def test_json_says_null_where_there_is_no_number_and_the_table_a_dash(tmp_path):
    write_segmentation(tmp_path / "p.seg.nrrd", cube(), GRID, TWO)
    write_segmentation(tmp_path / "r.seg.nrrd", cube(2), GRID, TWO)
    evaluation = score_files(tmp_path / "p.seg.nrrd", tmp_path / "r.seg.nrrd", tolerance_mm=3.0)
    report = json.loads(to_json(evaluation))
    assert report["structures"][0] == dataclasses.asdict(evaluation.scores[0])
    assert report["structures"][1]["hd95_mm"] is None
    assert report["mean"] == {
        "dice": 0.75, "nsd": 1.0, "hd95_mm": 3.0, "structures": 1, "structures_with_hd95": 1
    }  # fmt: skip
    screen = io.StringIO()
    Console(file=screen, width=120).print(to_table(evaluation))
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in screen.getvalue().splitlines() if "│" in line]
    assert ["7 cube", "0.750", "1.000", "3.00", "0.38", "0.38", "in-both"] in rows
    assert ["9 bar", "–", "–", "–", "0.00", "0.00", "in-neither"] in rows


def test_the_command_prints_a_table_and_writes_the_json_file(tmp_path, capsys):
    write_segmentation(tmp_path / "p.seg.nrrd", cube(), GRID, CUBE)
    paths = ["--prediction", str(tmp_path / "p.seg.nrrd"), "--reference", str(tmp_path / "p.seg.nrrd")]
    assert main(["evaluate", *paths, "--json", str(tmp_path / "scores.json")]) == 0
    printed = capsys.readouterr()
    assert "7 cube" in printed.out
    assert printed.err == ""
    assert json.loads((tmp_path / "scores.json").read_text())["mean"]["dice"] == 1.0
    assert main(["evaluate", *paths, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["mean"]["dice"] == 1.0


@pytest.mark.parametrize("option", ["--prediction", "--reference", "--labels"])
def test_scores_never_replace_a_file_that_is_read(tmp_path, capsys, option):
    write_segmentation(tmp_path / "p.seg.nrrd", cube(), GRID, CUBE)
    write_segmentation(tmp_path / "r.seg.nrrd", cube(), GRID, CUBE)
    (tmp_path / "labels.json").write_text('{"map": {"7": 7}}')
    files = {"--prediction": "p.seg.nrrd", "--reference": "r.seg.nrrd", "--labels": "labels.json"}
    given = {name: tmp_path / file for name, file in files.items()}
    before = given[option].read_bytes()
    (tmp_path / "link").symlink_to(given[option])
    arguments = [str(part) for pair in given.items() for part in pair]
    for target in (given[option], tmp_path / "link"):
        assert main(["evaluate", *arguments, "--json", str(target)]) == 2
        assert "error[input-in-output]" in capsys.readouterr().err
        assert given[option].read_bytes() == before
