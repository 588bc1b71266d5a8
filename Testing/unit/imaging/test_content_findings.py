"""Place, contrast and name of a scan: what is told about them, and what is not, worked out on numbers."""

import numpy as np
import pytest

from CrossModalSegLib.imaging.content_findings import (
    TissueIntensities,
    contrast_findings,
    displacement_findings,
    name_findings,
)
from CrossModalSegLib.imaging.modality_guess import ScanDescription
from CrossModalSegLib.imaging.registration import RigidRefinement

BRAIN = ("T1w", "T2w")
ALIASES = {"T1w": ["T1", "T1c"], "T2w": ["T2", "FLAIR", "PD", "STIR"]}
# white, grey, fluid, measured in real scans
T1 = (0.93, 0.73, 0.20)
T2 = (0.34, 0.46, 0.92)
FLAIR = (0.71, 0.77, 0.13)
PD = (0.71, 0.90, 0.99)
INVERTED_T1 = (0.24, 0.61, 1.01)
INVERTED_FLAIR = (0.52, 0.47, 0.89)
TUMOUR_T1C = (0.39, 0.37, 0.38)  # filled the ventricle: nothing can be told


def told(name, tissue, deep_ml=28.0, ventricle=None):
    findings = contrast_findings(name, TissueIntensities(*tissue, ventricle or tissue[2], deep_ml), BRAIN, ALIASES)
    return [(finding.severity, finding.code) for finding in findings]


@pytest.mark.parametrize(
    ("name", "tissue"),
    [("T1w", T1), ("T1c", T1), ("T2w", T2), ("t2", T2), ("FLAIR", FLAIR), ("PD", PD), ("PD", T2), ("T1c", TUMOUR_T1C),
     ("T1w", (0.69, 0.70, 0.37)), ("FLAIR", (0.73, 0.67, 0.24)), ("STIR", T2), ("STIR", FLAIR)],
)  # fmt: skip
def test_a_scan_that_looks_as_it_is_called_has_nothing_said_about_it(name, tissue):
    assert told(name, tissue) == []


@pytest.mark.parametrize(
    ("name", "tissue"),
    [("T1w", T2), ("T1w", PD), ("T1w", FLAIR), ("T1w", INVERTED_T1), ("T2w", T1), ("FLAIR", T1), ("PD", T1),
     ("T1c", INVERTED_FLAIR), ("T2w", (0.88, 0.84, 0.34))],
)  # fmt: skip
def test_the_other_modality_and_an_inverted_scan_are_warned_of(name, tissue):
    assert told(name, tissue) == [("warning", "modality-doubt")]


@pytest.mark.parametrize(("name", "tissue"), [("T2w", FLAIR), ("FLAIR", T2), ("T2w", PD), ("FLAIR", INVERTED_FLAIR)])
def test_another_contrast_of_the_same_modality_is_an_information(name, tissue):
    assert told(name, tissue) == [("info", "modality-doubt")]


@pytest.mark.parametrize(("fluid", "ventricle"), [(0.73, 0.28), (0.28, 0.73)])
def test_a_lesion_that_is_taken_for_a_ventricle_does_not_make_another_contrast_of_a_flair(fluid, ventricle):
    assert told("FLAIR", (0.35, 0.47, fluid), ventricle=ventricle) == []


@pytest.mark.parametrize("name", ["DWI", "A", "CT", "SWI"])
def test_contrasts_that_are_not_known_here_are_not_judged(name):
    assert told(name, T2) == []


def test_the_message_holds_the_values_and_what_it_looks_like():
    (finding,) = contrast_findings("T1w", TissueIntensities(*T2, 0.92, 28.0), BRAIN, ALIASES)
    assert finding.message.startswith("T1w: looks like a T2w")
    assert "white matter 0.34, grey matter 0.46, fluid 0.92" in finding.message
    assert "swapped" in finding.remedy


@pytest.mark.parametrize(
    ("tissue", "deep_ml"), [(T1, 0.3), (T1, 9.9), ((0.93, 0.92, 0.91), 20.0), ((0.0, 0.0, 0.0), 0)]
)
def test_what_is_no_brain_in_its_place_or_has_no_contrast_is_not_recognised(tissue, deep_ml):
    assert told("T1w", tissue, deep_ml) == [("warning", "not-recognised")]


# names


@pytest.mark.parametrize(
    ("name", "called", "other"),
    [("T1w", "sub-01_T2w.nii.gz", "T2w"), ("T2w", "t1_mprage.nii", "T1w"), ("FLAIR", "T1.nrrd", "T1w"),
     ("T1", "p01_flair.nii.gz", "T2w")],
)  # fmt: skip
def test_a_file_that_is_called_otherwise_is_told_with_its_name(name, called, other):
    (finding,) = name_findings(name, called, ScanDescription((called,)), BRAIN, ALIASES)
    assert (finding.severity, finding.code) == ("warning", "modality-doubt")
    assert called in finding.message
    assert f"says {other}" in finding.message


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("T1w", "T1.nii.gz"),
        ("T1", "scan.nii.gz"),
        ("FLAIR", "T2w.nii.gz"),
        ("T2w", "p01_flair.nii.gz"),
        ("T1w", "T1c.mha"),
    ],
)
def test_a_file_that_is_called_as_it_is_given_or_in_no_telling_way_is_not_told(name, called):
    assert name_findings(name, called, ScanDescription((called,)), BRAIN, ALIASES) == []


def test_the_dicom_header_tells_too():
    (finding,) = name_findings("T1w", "export", ScanDescription(("AX T2 TSE", ""), "MR"), BRAIN, ALIASES)
    assert "export is given as T1w, but its name or header says T2w" in finding.message


# displacement


def refinement(displacement: float, before: float, after: float) -> RigidRefinement:
    return RigidRefinement(np.eye(4), displacement, displacement, 1.0, before, after)


def test_a_displacement_is_told_in_millimetres_and_degrees():
    (finding,) = displacement_findings(refinement(18.4, 0.25, 0.74), "T1w", "PD")
    assert (finding.severity, finding.code) == ("warning", "displaced")
    assert finding.message == "PD seems displaced by about 18 mm (1°) against T1w."
    assert "align PD to T1w" in finding.remedy


@pytest.mark.parametrize("found", [None, refinement(1.9, 0.3, 0.7), refinement(18.4, 0.25, 0.26)])
def test_little_motion_and_motion_that_gains_nothing_are_not_told(found):
    assert displacement_findings(found, "T1w", "T2w") == []
