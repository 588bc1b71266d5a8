"""The structured report: what was measured, with units and codes, of which segment."""

import pydicom
import pytest

from CrossModalSegLib.pacs.export import write_objects
from Testing.dicom_results import GRIDS, LABEL_MAP, LEFT, MODEL, RIGHT, written_series

highdicom = pytest.importorskip("highdicom")


@pytest.fixture
def written(tmp_path):
    written = written_series(tmp_path / "scan", GRIDS["straight"])
    (tmp_path / "out").mkdir()
    write_objects(tmp_path / "out", {"T1w": written.scan}, LABEL_MAP, MODEL)
    return written


def groups_of(tmp_path):
    report = highdicom.sr.srread(tmp_path / "out" / "T1w_report.dcm")
    return report.content.get_volumetric_roi_measurement_groups()


def test_volumes_are_in_millilitres(tmp_path, written):
    """Worked out by hand: the left box holds 5 x 7 x 7 voxels of 2 x 2 x 3 mm: 245 of 0.012 mL."""
    volumes = {}
    for group in groups_of(tmp_path):
        for measurement in group.get_measurements(name=pydicom.sr.codedict.codes.SCT.Volume):
            assert (measurement.unit.value, measurement.unit.scheme_designator) == ("mL", "UCUM")
            volumes[group.tracking_identifier] = measurement.value
    assert set(volumes) == {"left putamen", "right putamen", "a structure of our own"}
    assert volumes["left putamen"] == pytest.approx(245 * 0.012) == (written.labels == LEFT).sum() * 0.012
    assert volumes["right putamen"] == pytest.approx((written.labels == RIGHT).sum() * 0.012)


@pytest.mark.usefixtures("written")
def test_confidence_and_agreement_have_codes_of_ours(tmp_path):
    group = groups_of(tmp_path)[0]
    found = {
        one.name.value: (one.name.scheme_designator, one.value, one.unit.value) for one in group.get_measurements()
    }
    assert found["CONFIDENCE"] == ("99CMSEG", 0.75, "1")
    assert found["AGREEMENT"] == ("99CMSEG", 0.5, "1")


@pytest.mark.usefixtures("written")
def test_each_group_refers_to_its_segment(tmp_path):
    segmentation = pydicom.dcmread(tmp_path / "out" / "T1w_segmentation.dcm")
    names = {one.SegmentNumber: one.SegmentLabel for one in segmentation.SegmentSequence}
    for group in groups_of(tmp_path):
        reference = group.reference_type, group.referenced_segment
        assert reference[0].value == "121191"
        assert reference[1].referenced_sop_instance_uid == segmentation.SOPInstanceUID
        assert names[reference[1].referenced_segment_numbers[0]] == group.tracking_identifier
    sides = [one.finding_sites[0].laterality.meaning if one.finding_sites else "" for one in groups_of(tmp_path)]
    assert sides == ["Left", "Right", ""]
