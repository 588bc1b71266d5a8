"""The slices of a DICOM series are of one patient, study, place and kind; so are the two scans of a case."""

from itertools import cycle

import pytest
from pydicom.uid import generate_uid

from CrossModalSegLib.imaging.preflight import examine
from CrossModalSegLib.imaging.volume import read_volume
from Testing.dicom_series import edit, refused, series, whole


@pytest.mark.parametrize("keyword", ["PatientID", "StudyInstanceUID", "FrameOfReferenceUID"])
def test_slices_of_another_patient_study_or_frame_of_reference_are_refused(tmp_path, keyword):
    for file in series(tmp_path)[-3:]:
        edit(file, **{keyword: "1.2.3.4"})
    error = refused(tmp_path)
    assert error.code == "mixed-series"
    assert "IM0000 and IM0005" in error.message
    assert "1.2.3.4" not in error.message  # it may be a patient's number


def test_identities_that_an_anonymiser_has_given_to_each_file_are_told(tmp_path):
    for file in series(tmp_path):
        edit(file, FrameOfReferenceUID=generate_uid())
    assert "8 files" in whole(tmp_path)["series-identity"].message


def test_names_that_differ_under_one_patient_id_are_told_and_how_they_are_spelt_is_not(tmp_path):
    files = series(tmp_path)
    for file, name in zip(files, cycle(("Doe^Jane", "DOE^JANE^^", "doe jane")), strict=False):
        edit(file, PatientName=name)
    assert whole(tmp_path) == {}
    edit(files[4], PatientName="Roe^Jane")
    message = whole(tmp_path)["series-identity"].message
    assert "IM0000 and IM0004" in message
    assert not {"doe", "roe", "jane"} & set(message.lower().split())


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("ImageType", (["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"])),
        ("EchoTime", ("4.2", "9.1")),
        ("TemporalPositionIdentifier", ("1", "2")),
        ("PixelRepresentation", (1, 0)),
    ],
)
def test_slices_of_different_kinds_that_take_turns_are_told(tmp_path, name, values):
    files = series(tmp_path)
    for file in files:
        edit(file, **{name: values[0]})
    assert "slice-kinds" not in whole(tmp_path)
    for file in files[1::2]:
        edit(file, **{name: values[1]})
    message = whole(tmp_path)["slice-kinds"].message
    assert f"differ in {name}: IM0000 has " in message
    assert "IM0001" in message


def test_scans_of_different_patients_are_told(tmp_path):
    one = read_volume(series(tmp_path / "a")[0].parent, "T1w")
    for key, value, word in (("PatientID", "other", "IDs"), ("PatientName", "Roe^Richard", "names")):
        for file in series(tmp_path / key):
            edit(file, **{key: value})
        other = read_volume(tmp_path / key, "T2w")
        (finding,) = [found for found in examine([one, other]).findings if found.code == "patients-differ"]
        assert f"by the {word} in their headers" in finding.message
    assert "patients-differ" not in [found.code for found in examine([one, one]).findings]
