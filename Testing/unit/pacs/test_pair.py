"""Which series of a study are segmented: told by rules, listed with reasons, never guessed."""

import numpy as np
import pydicom
import pytest

from CrossModalSegLib.errors import InputError
from CrossModalSegLib.imaging.dicom_tree import scan_tree
from CrossModalSegLib.pacs.pair import PairRule, find_pair
from scripts.dicom_study import Study, write_mr_series
from Testing.dicom_files import write_enhanced
from Testing.volumes import grid_around, rotation

MODALITIES = ("T1w", "T2w")
ALIASES = {"T2w": ["FLAIR"]}
GRID = grid_around((0, 0, 0), (12, 10, 8), (2, 2, 4))
THIN = grid_around((0, 0, 0), (12, 10, 16), (2, 2, 2))
SAGITTAL = grid_around((0, 0, 0), (12, 10, 8), (2, 2, 4), np.array([[0, 0, -1], [1, 0, 0], [0, -1, 0]]))


class Folder:
    """A study that is written series by series."""

    def __init__(self, path):
        self.path, self.study, self.number = path, Study(), 0

    def add(self, description, grid=GRID, study=None, **options):
        self.number += 1
        array = np.arange(np.prod(grid.shape_kji)).reshape(grid.shape_kji)
        folder = self.path / str(self.number)
        return write_mr_series(folder, array, grid, study or self.study, description, self.number, **options)

    def pair(self, rules=None):
        return find_pair(scan_tree(self.path), MODALITIES, ALIASES, rules)

    def uids(self, rules=None):
        return {name: series.uid for name, series in self.pair(rules).scans.items()}

    def reasons(self, rules=None):
        return {one.series.series.name: one.reason for one in self.pair(rules).candidates}


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def test_two_modalities_and_what_is_no_scan(folder):
    folder.add("localizer", image_type=("ORIGINAL", "PRIMARY", "M", "NORM"))
    one = folder.add("t1 mprage sag", SAGITTAL)
    folder.add("overview", image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"))
    two = folder.add("t2 tse ax")
    folder.add("t1 mprage mpr", image_type=("DERIVED", "SECONDARY", "MPR"))
    folder.add("t2 with text", BurnedInAnnotation="YES")
    folder.add("t1 screen", SOPClassUID="1.2.840.10008.5.1.4.1.1.7")
    folder.add("t2 three planes", grid_around((0, 0, 0), (12, 10, 3), (2, 2, 4)))
    folder.add("dwi trace")
    assert folder.uids() == {"T1w": one, "T2w": two}
    assert folder.reasons() == {
        "localizer": "it is a localizer",
        "t1 mprage sag": "the only one left",
        "t1 screen": "it is a secondary capture",
        "overview": "it is a localizer",
        "t2 tse ax": "the only one left",
        "t1 mprage mpr": "it is derived from another series",
        "t2 with text": "text is burnt into its images",
        "t2 three planes": "it has only 3 slices",
        "dwi trace": "it is of no modality that the model knows",
    }


def test_three_that_fit_alike_are_listed_and_not_guessed(folder):
    uids = [folder.add("t1 mprage", grid) for grid in (GRID, THIN, GRID)]
    folder.add("t2 tse")
    with pytest.raises(InputError) as told:
        folder.pair()
    assert told.value.code == "several-candidates"
    assert told.value.message.count("one of 3 that fit alike") == 3
    assert folder.uids({"T1w": PairRule(prefer=("thinnest",))})["T1w"] == uids[1]
    assert folder.uids({"T1w": PairRule(prefer=("newest",))})["T1w"] == uids[2]
    assert folder.uids({"T1w": PairRule(prefer=("most-slices",))})["T1w"] == uids[1]
    assert folder.uids({"T1w": PairRule(prefer=("oldest",))})["T1w"] == uids[0]


def test_one_of_the_very_modality_goes_before_an_alias(folder):
    flair, exact = folder.add("t2 flair"), folder.add("t2 tse")
    assert folder.uids() == {"T2w": exact}
    assert folder.uids({"T2w": PairRule(exclude="tse")}) == {"T2w": flair}
    assert folder.uids({"T2w": PairRule(description="flair")}) == {"T2w": flair}


def test_one_frame_of_reference_decides_between_two(folder):
    folder.add("t1 mprage", study=Study(uid=folder.study.uid))
    near, other = folder.add("t1 mprage"), folder.add("t2 tse")
    assert folder.uids() == {"T1w": near, "T2w": other}
    assert "frame of reference" in folder.pair().candidates[0].reason


def test_a_rule_asks_for_a_plane(folder):
    folder.add("t1 se")
    sagittal = folder.add("t1 se", SAGITTAL)
    assert folder.uids({"T1w": PairRule(plane="sagittal")}) == {"T1w": sagittal}


def test_a_derived_series_counts_where_a_rule_says_so(folder):
    derived = folder.add("t1 mpr", image_type=("DERIVED", "SECONDARY", "MPR"))
    with pytest.raises(InputError, match=r"no-scan-in-study.*derived"):
        folder.pair()
    assert folder.uids({"T1w": PairRule(derived=True)}) == {"T1w": derived}


def test_slices_that_are_missing_are_the_reason(folder):
    folder.add("t1 se", THIN)
    next(iter((folder.path / "1").glob("*-0008.dcm"))).unlink()
    with pytest.raises(InputError, match=r"no-scan-in-study.*1 slice\(s\) missing"):
        folder.pair()


def test_a_screen_capture_is_listed(folder):
    uid = folder.add("t1 se")
    folder.add("t1 screenshot")
    for file in (folder.path / "2").iterdir():
        image = pydicom.dcmread(file)
        image.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
        del image.ImagePositionPatient, image.ImageOrientationPatient
        image.save_as(file)
    assert folder.uids() == {"T1w": uid}
    assert folder.reasons()["t1 screenshot"] == "it is a secondary capture"


def test_an_enhanced_series_is_found(folder):
    folder.path.joinpath("e").mkdir()
    array = np.arange(np.prod(GRID.shape_kji), dtype=np.int16).reshape(GRID.shape_kji)
    write_enhanced(folder.path / "e" / "one", array, GRID, [*range(8)], [1.0] * 8)
    image = pydicom.dcmread(folder.path / "e" / "one")
    image.SeriesDescription = "T2 space"
    image.save_as(folder.path / "e" / "one")
    assert folder.uids() == {"T2w": image.SeriesInstanceUID}


def test_two_patients_are_refused(folder):
    folder.add("t1 se")
    folder.add("t2 se", study=Study(patient_id="other"))
    with pytest.raises(InputError, match="several-patients"):
        folder.pair()


def test_no_patients_name_is_in_what_is_told(folder):
    folder.add("t1 se", grid_around((0, 0, 0), (12, 10, 8), (2, 2, 4), rotation((10, 0, 0))))
    assert all("Phantom" not in str(one) for one in folder.pair().candidates)
