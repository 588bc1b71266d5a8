"""The preflight: each finding appears where it should, with the value and a remedy, and nowhere else."""

import json

import numpy as np
import pytest

from CrossModalSegLib.errors import GeometryError
from CrossModalSegLib.imaging.preflight import examine
from CrossModalSegLib.imaging.volume import Volume
from Testing.volumes import grid_around, head, rotation, sampled

CENTRE = (5, -10, 15)


def scan(modality="T1w", centre=CENTRE, shape=(50, 56, 56), spacing=(4, 4, 4), direction=None):
    return sampled(head, grid_around(centre, shape, spacing, direction), modality)


def codes(*volumes):
    return [finding.code for finding in examine(volumes).findings]


def only_finding(*volumes):
    (finding,) = examine(volumes).findings
    assert finding.remedy
    return finding


def test_an_ordinary_pair_has_nothing_to_be_said_about():
    t2w = scan("T2w", spacing=(3.5, 3.5, 4.5), direction=rotation((8, 0, -5)))
    assert codes(scan(), Volume(t2w.array * 0.7, t2w.grid, "T2w")) == []


def test_the_facts_are_those_of_the_grids():
    direction = rotation((0, 12, 0)) @ np.diag([1, 1, -1])
    (facts,) = examine([scan(shape=(40, 45, 50), spacing=(4, 3.5, 3), direction=direction)]).volumes
    assert facts.modality == "T1w"
    assert facts.shape_ijk == (40, 45, 50)
    assert facts.spacing_mm == pytest.approx((4, 3.5, 3))
    assert facts.extent_mm == pytest.approx((160, 157.5, 150))
    assert facts.obliquity_degrees == pytest.approx(12)
    assert facts.is_left_handed
    assert facts.intensity_range[0] == 0
    assert facts.intensity_range[1] == pytest.approx(1000, rel=0.02)


def test_a_single_scan_has_no_overlap():
    preflight = examine([scan()])
    assert preflight.field_of_view_overlap_percent is None
    assert preflight.body_overlap_percent is None


def test_overlap_is_in_percent():
    # fields of view of 200 mm along R, shifted by 50 mm
    preflight = examine([scan(), scan("T2w", centre=(55, -10, 15))])
    assert preflight.field_of_view_overlap_percent == pytest.approx(75.0)


def test_scans_that_do_not_overlap_are_refused():
    preflight = examine([scan(), scan("T2w", centre=(5, -10, 500))])
    assert preflight.findings[0].severity == "error"
    with pytest.raises(GeometryError, match="do not overlap") as caught:
        preflight.raise_if_refused()
    assert caught.value.code == "no-overlap"
    assert "one patient" in caught.value.hint


def test_warnings_do_not_refuse():
    preflight = examine([scan(), scan("T2w", spacing=(4, 4, 8), shape=(50, 56, 28))])
    assert [finding.severity for finding in preflight.findings] == ["warning"]
    preflight.raise_if_refused()


def test_little_overlap_is_warned_of_with_its_percentage():
    finding = only_finding(scan(), scan("T2w", centre=(5, -10, 15 + 0.75 * 224)))
    assert finding.code == "low-overlap"
    assert "25 %" in finding.message


def test_a_scan_that_lost_its_position_is_noticed():
    wide = grid_around((0, 0, 0), (100, 100, 100), (4, 4, 4))
    moved = np.roll(sampled(head, wide).array, 25, axis=0)  # 100 mm upwards
    finding = only_finding(sampled(head, wide), Volume(moved, wide, "T2w"))
    assert finding.code == "anatomy-apart"
    assert "register" in finding.remedy


def test_a_slab_within_the_other_scan_is_no_reason_to_warn():
    assert codes(scan(), scan("T2w", shape=(60, 60, 20), spacing=(3, 3, 2))) == []


def test_thick_slices_are_warned_of():
    finding = only_finding(scan(spacing=(4, 4, 6), shape=(50, 56, 40)))
    assert finding.code == "coarse-spacing"
    assert "6.0 mm" in finding.message


def test_very_long_voxels_are_warned_of():
    finding = only_finding(scan(spacing=(0.5, 4, 4.5), shape=(320, 50, 40)))
    assert finding.code == "anisotropic"
    assert "9 times" in finding.message


def test_units_other_than_millimetres_are_noticed():
    tiny = Volume(scan().array, grid_around((0, 0, 0), (50, 56, 56), (0.004, 0.004, 0.004)), "T1w")
    assert codes(tiny) == ["fine-spacing", "small-field"]


def test_a_long_field_of_view_is_warned_of():
    finding = only_finding(scan(shape=(50, 56, 200), spacing=(4, 4, 4)))
    assert finding.code == "large-field"
    assert "800 mm" in finding.message


@pytest.mark.parametrize(("tilt", "expected"), [(29, []), (31, ["oblique"])])
def test_strong_tilt_is_warned_of(tilt, expected):
    assert codes(scan(direction=rotation((tilt, 0, 0)))) == expected


def test_a_ct_named_as_mr_is_noticed():
    volume = scan()
    finding = only_finding(Volume(volume.array - 1000, volume.grid, "T1w"))
    assert finding.code == "modality-doubt"
    assert "-1000" in finding.message


def test_an_mr_named_as_ct_is_noticed():
    assert only_finding(scan("CT")).code == "modality-doubt"


def test_a_ct_in_hounsfield_units_is_taken_as_one():
    volume = scan("CT")
    assert codes(Volume(volume.array - 1000, volume.grid, "CT")) == []


def test_the_same_image_given_twice_is_noticed():
    assert only_finding(scan(), scan("T2w")).code == "same-image"


@pytest.mark.parametrize("background", [0, 3])
def test_a_label_map_that_is_given_as_a_scan_is_noticed_and_a_scan_of_few_grey_values_is_not(background):
    volume = scan()
    labels = np.where(volume.array > 0, 2 + np.indices(volume.array.shape)[0] // 10, background).astype(np.float32)
    finding = only_finding(Volume(labels, volume.grid, "T1w"))
    assert (finding.code, finding.severity) == ("looks-like-labels", "warning")
    noise = np.random.default_rng(0).normal(size=labels.shape)
    grey = np.where(volume.array > 0, np.rint(20 + 2 * noise), background).astype(np.float32)
    assert codes(Volume(grey, volume.grid, "T1w")) == []


def test_the_result_can_be_written_as_json():
    written = json.loads(json.dumps(examine([scan(), scan("T2w")]).to_json()))
    assert written["field_of_view_overlap_percent"] == 100.0
    assert written["volumes"][0]["shape_ijk"] == [50, 56, 56]
    assert written["findings"][0]["code"] == "same-image"
