"""Corrections that come back as DICOM Segmentation: onto the scan's voxels, by name and by code."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pydicom
import pytest

from CrossModalSegLib.errors import DataError
from CrossModalSegLib.labels import LabelMap
from CrossModalSegLib.pacs.export import write_objects
from CrossModalSegLib.site.folder import SiteFacts
from CrossModalSegLib.site.sources import find_cases, read_case_files
from Testing.dicom_results import GRIDS, LABEL_MAP, LEFT, MODEL, NAMELESS, RIGHT, written_series
from Testing.programs import run_program, run_viewer

pytest.importorskip("highdicom")

# The site numbers its structures in its own way.
SITE_VALUES = {LEFT: 3, RIGHT: 1, NAMELESS: 2, 400: 4}
SITE = SiteFacts(
    LabelMap(tuple(replace(one, value=SITE_VALUES[one.value]) for one in LABEL_MAP.structures)),
    ("T1w", "T2w"),
    "0" * 32,
)


@pytest.fixture
def written(tmp_path):
    written = written_series(tmp_path / "study" / "scan", GRIDS["oblique"])
    for file in written.folder.iterdir():
        image = pydicom.dcmread(file)
        image.SeriesDescription, image.Modality = "t1 mprage", "MR"
        image.save_as(file)
    write_objects(tmp_path / "study", {"T1w": written.scan}, LABEL_MAP, MODEL)
    return written


def corrected(study, **changes):
    """Our segmentation, as a viewer saves it after a person has worked on it."""
    file = study / "T1w_segmentation.dcm"
    data = pydicom.dcmread(file)
    for segment in data.SegmentSequence:
        segment.SegmentAlgorithmType = "SEMIAUTOMATIC"
        segment.SegmentLabel = changes.get(segment.SegmentLabel, segment.SegmentLabel)
    data.save_as(file)
    return file


def labels_of(study):
    (case,) = find_cases(study, ("T1w", "T2w")).cases
    return read_case_files(case, SITE).labels["T1w"][0]


def in_site_values(labels):
    return np.vectorize(lambda value: SITE_VALUES.get(value, 0))(labels)


def test_a_correction_in_the_study_is_taken_onto_the_scans_voxels(tmp_path, written):
    corrected(tmp_path / "study")
    assert np.array_equal(labels_of(tmp_path / "study"), in_site_values(written.labels))


def test_a_translated_name_is_known_by_its_code(tmp_path, written):
    corrected(tmp_path / "study", **{"left putamen": "Putamen links"})
    assert np.array_equal(labels_of(tmp_path / "study"), in_site_values(written.labels))


def test_what_a_model_made_alone_is_no_correction(tmp_path, written):
    (case,) = find_cases(tmp_path / "study", ("T1w", "T2w")).cases
    assert written.labels.any()
    assert (case.labels, case.left_out) == ({}, ("T1w_segmentation.dcm (a model's, not corrected)",))


@pytest.mark.usefixtures("written")
def test_two_corrections_of_a_scan_are_not_chosen_from(tmp_path):
    file = corrected(tmp_path / "study")
    shutil.copy(file, tmp_path / "study" / "second.dcm")
    with pytest.raises(DataError, match="several-segmentations"):
        find_cases(tmp_path / "study", ("T1w", "T2w"))


@pytest.mark.slow
def test_a_segmentation_written_by_dcmqi_as_slicer_does_it_is_taken(tmp_path, written):
    from CrossModalSegLib.imaging.volume import write_volume

    (tmp_path / "study" / "T1w_segmentation.dcm").unlink()
    labels = in_site_values(written.labels).astype(np.uint8)
    labels[labels == 2] = 0  # has no code that dcmqi knows
    write_volume(tmp_path / "labels.nrrd", labels, written.volume.grid)
    (tmp_path / "meta.json").write_text(
        json.dumps({"segmentAttributes": [[_dcmqi(3, "7771000"), _dcmqi(1, "24028007")]]})
    )
    files = ",".join(str(one) for one in written.folder.iterdir())
    options = ["--inputImageList", tmp_path / "labels.nrrd", "--inputDICOMList", files]
    options += ["--inputMetadata", tmp_path / "meta.json", "--outputDICOM", tmp_path / "study" / "slicer.dcm"]
    run_program("itkimage2segimage", "pip install dcmqi", *options)
    assert np.array_equal(labels_of(tmp_path / "study"), labels)


@pytest.mark.slow
def test_a_segmentation_written_by_the_adapters_of_ohif_is_taken(tmp_path, written):
    (tmp_path / "study" / "T1w_segmentation.dcm").unlink()
    drawn = {1: (LEFT, "left putamen"), 2: (RIGHT, "right putamen")}
    numbers = sum(number * (written.labels == value) for number, (value, _name) in drawn.items())
    np.asarray(numbers).astype(np.uint8).tofile(tmp_path / "labels.raw")
    segments = [_ohif(number, name) for number, (_value, name) in drawn.items()]
    (tmp_path / "segments.json").write_text(json.dumps(segments))
    files = [tmp_path / "study" / "ohif.dcm", tmp_path / "labels.raw", tmp_path / "segments.json"]
    run_viewer("write_segmentation.mjs", *files, *(one.file for one in written.volume.slices))
    wanted = np.where(np.isin(written.labels, [LEFT, RIGHT]), in_site_values(written.labels), 0)
    assert np.array_equal(labels_of(tmp_path / "study"), wanted)


def _ohif(number, name):
    return {
        "SegmentNumber": number,
        "SegmentLabel": name,
        "SegmentAlgorithmType": "MANUAL",
        "SegmentAlgorithmName": "brush",
        "SegmentedPropertyCategoryCodeSequence": _code("123037004", "Anatomical Structure"),
        "SegmentedPropertyTypeCodeSequence": _code("89278009", "Putamen"),
        "RecommendedDisplayCIELabValue": [40000, 30000, 30000],
    }


def _code(value, meaning):
    return {"CodeValue": value, "CodingSchemeDesignator": "SCT", "CodeMeaning": meaning}


def _dcmqi(label, side):
    return {
        "labelID": label,
        "SegmentDescription": "putamen",
        "SegmentLabel": f"putamen {label}",
        "SegmentAlgorithmType": "MANUAL",
        "SegmentedPropertyCategoryCodeSequence": _code("123037004", "Anatomical Structure"),
        "SegmentedPropertyTypeCodeSequence": _code("89278009", "Putamen"),
        "SegmentedPropertyTypeModifierCodeSequence": _code(side, "side"),
        "recommendedDisplayRGBValue": [255, 0, 0],
    }
