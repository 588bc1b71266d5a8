"""One case from files to files: everything promised is there and true, or nothing at all."""

import errno
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from CrossModalSegLib import __version__
from CrossModalSegLib.bundles.bundle_metadata import SECTION
from CrossModalSegLib.errors import CrossModalSegError, GeometryError, InputError, OutputError
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.preflight import examine
from CrossModalSegLib.imaging.segmentation_io import read_segmentation
from CrossModalSegLib.imaging.volume import Volume, read_image, write_volume
from CrossModalSegLib.inference import case_output
from CrossModalSegLib.inference.case_output import OutputOptions, agreement, case_report, segment_case
from CrossModalSegLib.inference.inference import ModalityResult, SegmentationResult, Segmenter
from Testing.tiny_bundle import BALLS, LABEL_MAP, LEFT, RIGHT, TISSUE, intensity_bundle, two_balls
from Testing.volumes import grid_around, points_of, rotation, sampled

FIRST = grid_around((5.0, -10.0, 15.0), (36, 40, 38), (3.0, 3.0, 3.0))
SECOND = grid_around((9.0, -6.0, 13.0), (30, 18, 44), (3.2, 5.0, 2.4), rotation((95, -10, 15)) @ np.diag([1, -1, 1]))
BOTH_FILES = {
    "T1w_segmentation.seg.nrrd",
    "T2w_segmentation.seg.nrrd",
    "uncertainty_T1w.nrrd",
    "uncertainty_T2w.nrrd",
    "report.json",
    "overview.png",
}


def silent(_stage, _fraction):
    pass


def names(folder):
    return {entry.name for entry in folder.iterdir()}


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory):
    return Segmenter(intensity_bundle(tmp_path_factory.mktemp("bundles") / "by-intensity", (32, 36, 32), 3.5), "cpu")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    write_volume(folder / "first.nii.gz", sampled(two_balls, FIRST).array, FIRST)
    write_volume(folder / "second.nrrd", sampled(two_balls, SECOND).array, SECOND)
    return {"T1w": folder / "first.nii.gz", "T2w": folder / "second.nrrd"}


@pytest.fixture(scope="module")
def done(segmenter, inputs, tmp_path_factory):
    """The output folder of a pair, and the report that was returned."""
    output = tmp_path_factory.mktemp("outputs") / "new" / "result"
    options = OutputOptions(save_probabilities=True)
    return output, segment_case(segmenter, inputs, output, options, silent)


# --- what is written


def test_everything_promised_is_there_and_nothing_else(done):
    output, _ = done
    assert names(output) == BOTH_FILES | {"probabilities_T1w.npz", "probabilities_T2w.npz"}
    assert names(output.parent) == {"result"}


@pytest.mark.parametrize(("name", "grid"), [("T1w", FIRST), ("T2w", SECOND)])
def test_each_segmentation_is_on_its_scans_own_grid_with_the_label_map(done, name, grid):
    labels, found, label_map = read_segmentation(done[0] / f"{name}_segmentation.seg.nrrd")
    assert found.is_close(grid)
    assert label_map == LABEL_MAP
    for value, centre in BALLS.items():
        nearest = np.linalg.norm(points_of(grid) - centre, axis=-1).argmin()
        assert labels.ravel()[nearest] == value


@pytest.mark.parametrize(("name", "grid"), [("T1w", FIRST), ("T2w", SECOND)])
def test_uncertainty_is_in_percent_on_the_scans_own_grid(done, name, grid):
    uncertainty, found = read_image(done[0] / f"uncertainty_{name}.nrrd")
    assert found.is_close(grid)
    assert uncertainty.dtype == np.uint8
    assert uncertainty.max() <= 75  # four classes: the best one has at least a quarter
    assert uncertainty.ravel()[np.linalg.norm(points_of(grid) - BALLS[RIGHT], axis=-1).argmin()] == 0
    assert uncertainty.max() > 10  # at the boundaries


def test_probabilities_are_saved_with_their_grid_and_channels(done):
    with np.load(done[0] / "probabilities_T1w.npz") as saved:
        values, channels, affine = saved["probabilities"], saved["channels"], saved["ijk_to_ras"]
    assert channels.tolist() == [0, TISSUE, LEFT, RIGHT]
    assert np.allclose(values.sum(axis=0, dtype=np.float32), 1.0, atol=5e-3)
    k, j, i = np.rint((np.linalg.inv(affine) @ [*BALLS[LEFT], 1.0])[2::-1]).astype(int)
    assert values[2, k, j, i] > 0.99


def test_the_overview_is_a_picture_with_two_rows(done):
    image = imread(done[0] / "overview.png")
    assert image.shape[0] > 800
    assert image[..., :3].std() > 0.05


def test_the_report_says_what_was_done_with_what(done, segmenter):
    output, returned = done
    report = json.loads((output / "report.json").read_text())
    assert report == json.loads(json.dumps(returned))
    assert report["crossmodalseg"] == __version__
    assert report["bundle"] == {"name": "by-intensity", "version": "0.0.1", "sha256": segmenter.bundle.sha256}
    assert "not for clinical use" in report["intended_use"].lower()
    assert [volume["shape_ijk"] for volume in report["preflight"]["volumes"]] == [[36, 40, 38], [30, 18, 44]]
    assert 0 < report["preflight"]["field_of_view_overlap_percent"] <= 100
    assert list(report["seconds"]) == ["reading", "checking", "resampling", "network", "restoring", "writing"]
    assert all(seconds >= 0 for seconds in report["seconds"].values())
    assert report["device"] == "cpu"
    assert report["fallbacks"] == []
    assert 0.1 < report["peak_memory_gb"]["process"] < 20


def test_the_reports_volumes_are_those_of_the_balls(done):
    rows = {row["value"]: row for row in done[1]["structures"]}
    ball_ml = 4 / 3 * np.pi * 1.3**3  # 9.2 mL
    assert [row["name"] for row in done[1]["structures"]] == [s.name for s in LABEL_MAP.structures]
    for value in (LEFT, RIGHT):
        assert rows[value]["volume_ml"]["T1w"] == pytest.approx(ball_ml, rel=0.1)
        assert rows[value]["volume_ml"]["T2w"] == pytest.approx(ball_ml, rel=0.1)
        assert 0.8 < rows[value]["confidence"]["T1w"] <= 1.0


def test_the_modalities_of_one_head_agree(done):
    assert set(done[1]["agreement"]) == {"mean", *(structure.name for structure in LABEL_MAP.structures)}
    assert min(done[1]["agreement"].values()) > 0.9


def test_one_modality_alone_writes_its_own_files_under_the_name_it_was_given(segmenter, inputs, tmp_path):
    report = segment_case(segmenter, {"FLAIR": inputs["T2w"]}, tmp_path / "r", OutputOptions("nii.gz"), silent)
    assert names(tmp_path / "r") == {
        "FLAIR_segmentation.nii.gz",
        "uncertainty_FLAIR.nrrd",
        "report.json",
        "overview.png",
    }
    assert report["agreement"] is None
    labels, grid = read_image(tmp_path / "r" / "FLAIR_segmentation.nii.gz")
    assert grid.is_close(SECOND)
    assert set(np.unique(labels).tolist()) == {0, TISSUE, LEFT, RIGHT}


# --- figures, worked by hand

TINY = Grid((2, 2, 4), np.diag([2.0, 5.0, 10.0, 1.0]))  # voxels of 0.1 mL


def one_hot(channels: list[int]) -> torch.Tensor:
    """(4, 2, 2, 4) probabilities of 1 for these 16 channels."""
    return torch.nn.functional.one_hot(torch.tensor(channels), 4).T.reshape(4, 2, 2, 4).half()


def tiny_result(channels: list[int], grid: Grid = TINY, confidence: float = 1.0) -> ModalityResult:
    volume = Volume(np.arange(np.prod(grid.shape_kji)).reshape(grid.shape_kji), grid, "T1w")
    labels = np.array(LABEL_MAP.channels)[channels].reshape(2, 2, 4)[..., : grid.shape_kji[2]].astype(np.uint16)
    return ModalityResult(volume, labels, np.full(labels.shape, confidence, np.float32), one_hot(channels))


def test_volume_and_mean_confidence_by_hand(segmenter):
    item = tiny_result([0] * 8 + [1] * 5 + [3] * 3)
    item.confidence.ravel()[8:13] = [1.0, 0.5, 0.5, 0.75, 0.25]  # mean 0.6
    item.confidence.ravel()[13:] = [0.7, 0.8, 0.9]
    result = SegmentationResult({"T1w": item}, TINY, "cpu", ())
    rows = case_report(segmenter, result, examine([item.volume]), {})["structures"]
    assert [row["volume_ml"]["T1w"] for row in rows] == pytest.approx([0.5, 0.0, 0.3])
    assert rows[0]["confidence"]["T1w"] == pytest.approx(0.6)
    assert rows[1]["confidence"]["T1w"] is None  # not found
    assert rows[2]["confidence"]["T1w"] == pytest.approx(0.8)


def test_expected_volumes_stand_beside_those_found(segmenter):
    name = LABEL_MAP.structures[1].name
    content = dict(segmenter.bundle.metadata)
    content[SECTION] = content[SECTION] | {"expected_ml": {name: [0.1, 0.2]}}
    expecting = SimpleNamespace(bundle=replace(segmenter.bundle, metadata=content))
    item = tiny_result([0] * 16)
    rows = case_report(expecting, SegmentationResult({"T1w": item}, TINY, "cpu", ()), examine([item.volume]), {})
    assert [row.get("expected_ml") for row in rows["structures"]] == [None, [0.1, 0.2], None]


def test_agreement_by_hand():
    a = tiny_result([1] * 4 + [2] * 4 + [0] * 8)
    b = tiny_result([1] * 2 + [2] * 6 + [0] * 8)
    scores = agreement(SegmentationResult({"T1w": a, "T2w": b}, TINY, "cpu", ()), LABEL_MAP)
    first, second, absent = (structure.name for structure in LABEL_MAP.structures)
    assert scores[first] == pytest.approx(2 * 2 / (4 + 2))
    assert scores[second] == pytest.approx(2 * 4 / (4 + 6))
    assert scores[absent] is None
    assert scores["mean"] == pytest.approx((2 / 3 + 0.8) / 2)


def test_agreement_is_judged_where_both_scans_cover():
    half = Grid((2, 2, 2), TINY.ijk_to_ras)  # the two columns with the lower i
    a = tiny_result([1, 1, 1, 1] * 4)
    b = tiny_result([1, 1, 0, 0] * 4, half)
    result = SegmentationResult({"T1w": a, "T2w": b}, TINY, "cpu", ())
    assert agreement(result, LABEL_MAP)["mean"] == 1.0


def test_a_pair_in_which_nothing_is_found_has_no_agreement():
    empty = tiny_result([0] * 16)
    scores = agreement(SegmentationResult({"T1w": empty, "T2w": empty}, TINY, "cpu", ()), LABEL_MAP)
    assert set(scores.values()) == {None}


# --- all or nothing


def assert_untouched(folder, error, code):
    assert isinstance(error, CrossModalSegError)
    assert error.code == code
    assert names(folder) == set()


@pytest.mark.parametrize("step", ["write_overview", "write_segmentation", "write_volume", "case_report"])
def test_nothing_is_left_when_a_step_fails(segmenter, inputs, tmp_path, monkeypatch, step):
    def fail(*_arguments):
        raise OutputError("cannot-write", "no", "try again")

    monkeypatch.setattr(case_output, step, fail)
    with pytest.raises(OutputError) as caught:
        segment_case(segmenter, {"T1w": inputs["T1w"]}, tmp_path / "new" / "result", OutputOptions(), silent)
    assert_untouched(tmp_path, caught.value, "cannot-write")


def test_a_full_disk_is_one_line_and_leaves_nothing(segmenter, inputs, tmp_path, monkeypatch):
    def fail(*_arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(case_output, "write_overview", fail)
    with pytest.raises(OutputError, match="No space left on device") as caught:
        segment_case(segmenter, {"T1w": inputs["T1w"]}, tmp_path / "result", OutputOptions(), silent)
    assert_untouched(tmp_path, caught.value, "cannot-write")


def test_earlier_results_are_kept_unless_they_shall_be_replaced(segmenter, inputs, tmp_path):
    case = {"T1w": inputs["T1w"]}
    segment_case(segmenter, case, tmp_path / "result", OutputOptions(save_probabilities=True), silent)
    before = (tmp_path / "result" / "report.json").read_bytes()
    with pytest.raises(OutputError, match="output-exists"):
        segment_case(segmenter, case, tmp_path / "result", OutputOptions(), silent)
    assert (tmp_path / "result" / "report.json").read_bytes() == before
    segment_case(segmenter, case, tmp_path / "result", OutputOptions(overwrite=True), silent)
    assert "probabilities_T1w.npz" not in names(tmp_path / "result")  # replaced as a whole
    assert names(tmp_path) == {"result"}


def test_a_failed_replacement_keeps_the_earlier_result(segmenter, inputs, tmp_path, monkeypatch):
    (tmp_path / "result").mkdir()
    (tmp_path / "result" / "report.json").write_text("{}")

    def fail(*_arguments):
        raise OutputError("cannot-write", "no", "try again")

    monkeypatch.setattr(case_output, "write_overview", fail)
    with pytest.raises(OutputError):
        segment_case(segmenter, {"T1w": inputs["T1w"]}, tmp_path / "result", OutputOptions(overwrite=True), silent)
    assert (tmp_path / "result" / "report.json").read_text() == "{}"
    assert names(tmp_path) == {"result"}


def test_a_scan_in_the_output_folder_is_not_deleted_with_it(segmenter, tmp_path):
    (tmp_path / "report.json").write_text("{}")
    volume = sampled(two_balls, FIRST)
    write_volume(tmp_path / "scan.nrrd", volume.array, FIRST)
    with pytest.raises(OutputError, match=r"input-in-output.*scan.nrrd"):
        segment_case(segmenter, {"T1w": tmp_path / "scan.nrrd"}, tmp_path, OutputOptions(overwrite=True), silent)
    assert names(tmp_path) == {"report.json", "scan.nrrd"}


def test_an_unknown_modality_is_refused_before_anything_is_read(segmenter, tmp_path):
    with pytest.raises(InputError) as caught:
        segment_case(segmenter, {"CT": tmp_path / "missing.nrrd"}, tmp_path / "result", OutputOptions(), silent)
    assert_untouched(tmp_path, caught.value, "unknown-modality")


def test_scans_that_do_not_overlap_are_refused(segmenter, inputs, tmp_path):
    away = grid_around((500.0, 0.0, 0.0), (20, 20, 20), (3.0, 3.0, 3.0))
    write_volume(tmp_path / "away.nrrd", np.random.default_rng(0).normal(size=away.shape_kji), away)
    case = {"T1w": inputs["T1w"], "T2w": tmp_path / "away.nrrd"}
    with pytest.raises(GeometryError, match="no-overlap"):
        segment_case(segmenter, case, tmp_path / "result", OutputOptions(), silent)
    assert names(tmp_path) == {"away.nrrd"}
