"""What the scans show is found out before a run: real ones of the starter's kind, given right and given wrongly."""

import json

import nibabel as nib
import numpy as np
import pytest

from CrossModalSegLib.bundles.bundle import load_bundle
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.volume import Volume, read_volume, write_volume
from CrossModalSegLib.inference.case_output import OutputOptions, segment_case
from CrossModalSegLib.inference.contents import Contents, findings_of_names, look_into
from CrossModalSegLib.inference.inference import Segmenter
from Testing.conftest import REPOSITORY
from Testing.tiny_bundle import HEAD_CENTRE, intensity_bundle, two_balls
from Testing.volumes import grid_around, rotation, sampled

SAMPLES = REPOSITORY / "CrossModalSeg" / "Resources" / "SampleData"


def silent(_stage, _fraction):
    """Tells nobody."""


@pytest.fixture(scope="module")
def starter() -> Segmenter:
    return Segmenter(load_bundle("brain-mr-pair"), "cpu")


@pytest.fixture(scope="module")
def phantom() -> dict[str, Volume]:
    return {name: read_volume(SAMPLES / f"phantom_{name}.nrrd", name) for name in ("T1w", "T2w")}


def told(segmenter: Segmenter, **volumes: Volume) -> list[tuple[str, str]]:
    return [(one.code, one.message.partition(":")[0]) for one in look_into(segmenter, volumes, silent).findings]


@pytest.mark.parametrize("name", ["T1w", "T2w"])
def test_a_phantom_s_scan_under_its_own_name_is_in_order(starter, phantom, name):
    assert told(starter, **{name: phantom[name]}) == []


@pytest.mark.parametrize(("name", "given"), [("T1w", "T2w"), ("T2w", "T1w")])
def test_the_other_scan_in_its_place_is_told(starter, phantom, name, given):
    assert told(starter, **{name: phantom[given]}) == [("modality-doubt", name)]


def test_an_inverted_scan_is_told(starter, phantom):
    t1w = phantom["T1w"]
    inside = t1w.array > 20
    inverted = np.where(inside, t1w.array.max() - t1w.array, 0)  # so that what surrounds it stays dark
    assert told(starter, T1w=Volume(inverted, t1w.grid, "T1w")) == [("modality-doubt", "T1w")]


def test_a_scan_whose_orientation_is_wrong_is_not_recognised(starter, phantom):
    t1w = phantom["T1w"]
    lying = Grid(t1w.grid.shape_kji, np.diag([1.0, -1.0, -1.0, 1.0]) @ t1w.grid.ijk_to_ras)
    assert told(starter, T1w=Volume(t1w.array, lying, "T1w")) == [("not-recognised", "T1w")]


def test_scans_apart_are_told_in_whatever_order_they_are_given(starter, phantom):
    t2w = phantom["T2w"]
    motion = np.eye(4)
    motion[:3, :3], motion[:3, 3] = rotation((2, 0, 2)), (6, -10, 12)
    moved = Volume(t2w.array, Grid(t2w.grid.shape_kji, motion @ t2w.grid.ijk_to_ras), "T2w")
    found = look_into(starter, {"T2w": moved, "T1w": phantom["T1w"]}, silent)
    (finding,) = found.findings
    assert finding.code == "displaced"
    assert finding.message.startswith("T2w seems displaced by about")
    assert found.refinement.displacement_mm == pytest.approx(17, abs=4)


def test_a_model_that_is_none_of_the_brain_judges_no_contrast(tmp_path):
    segmenter = Segmenter(intensity_bundle(tmp_path), "cpu")
    volume = sampled(two_balls, grid_around(tuple(HEAD_CENTRE), (40, 40, 40), (4, 4, 4)))
    assert look_into(segmenter, {"T1w": volume}, silent) == Contents()


def test_names_of_files_are_compared_with_what_they_are_given_as(starter, tmp_path):
    paths = {"T1w": tmp_path / "p01_T2w.nii.gz", "FLAIR": tmp_path / "p01_flair.nii.gz"}
    for path in paths.values():
        path.touch()
    (finding,) = findings_of_names(starter.bundle, paths)
    assert "p01_T2w.nii.gz is given as T1w" in finding.message


def test_one_of_several_volumes_of_a_file_is_segmented(tmp_path):
    head = sampled(two_balls, grid_around(HEAD_CENTRE, (27, 30, 28), (4.0, 4.0, 4.0)))
    image = nib.Nifti1Image(np.stack([0 * head.array.T, head.array.T], axis=-1), head.grid.ijk_to_ras)
    nib.save(image, tmp_path / "two.nii.gz")
    write_volume(tmp_path / "one.nii.gz", head.array, head.grid)
    segmenter = Segmenter(intensity_bundle(tmp_path / "model"), "cpu")
    part, alone = (
        segment_case(segmenter, {"T1w": tmp_path / name}, tmp_path / f"of {name}", OutputOptions(), silent)
        for name in ("two.nii.gz#1", "one.nii.gz")
    )
    assert part["structures"] == alone["structures"]
    assert part["structures"][1]["volume_ml"]["T1w"] > 5


def test_what_was_found_is_in_the_report_and_can_be_left_out(tmp_path):
    segmenter = Segmenter(intensity_bundle(tmp_path / "bundle"), "cpu")
    near, far = (grid_around(tuple(HEAD_CENTRE + offset), (40, 44, 42), (5, 5, 5)) for offset in (0, 8))
    scan = sampled(two_balls, near).array
    for name, grid in {"T1w": near, "T2w": far}.items():
        write_volume(tmp_path / f"{name}.nrrd", scan, grid)
    inputs = {"T1w": tmp_path / "T1w.nrrd", "T2w": tmp_path / "T2w.nrrd"}
    segment_case(segmenter, inputs, tmp_path / "looked", OutputOptions(), silent)
    segment_case(segmenter, inputs, tmp_path / "quick", OutputOptions(look=None), silent)
    codes = {
        name: [
            one["code"] for one in json.loads((tmp_path / name / "report.json").read_text())["preflight"]["findings"]
        ]
        for name in ("looked", "quick")
    }
    assert codes["looked"] == ["displaced", *codes["quick"]]
