"""DICOM Segmentations, which leave out what is empty, scored against labels on the whole scan."""

import dataclasses

import numpy as np
import pydicom
import pytest

from CrossModalSegLib.errors import GeometryError, LabelError
from CrossModalSegLib.imaging.segmentation_io import write_segmentation
from CrossModalSegLib.inference.evaluation import score_files
from CrossModalSegLib.pacs.export import write_objects
from Testing.dicom_results import GRIDS, LABEL_MAP, LEFT, MODEL, RIGHT, written_series

pytest.importorskip("highdicom")


@pytest.mark.parametrize("labels_first", [True, False])
def test_a_dicom_segmentation_without_empty_slices_is_scored_against_the_whole_scan(tmp_path, labels_first):
    written = written_series(tmp_path / "scan", GRIDS["oblique"])
    write_objects(tmp_path, {"T1w": written.scan}, LABEL_MAP, MODEL)
    segmentation, whole = tmp_path / "T1w_segmentation.dcm", tmp_path / "whole.seg.nrrd"
    labels = written.labels.copy()
    slices = np.flatnonzero((labels == LEFT).any(axis=(1, 2)))
    labels[slices[0]][labels[slices[0]] == LEFT] = 0  # somebody else leaves its first slice out
    write_segmentation(whole, labels, written.volume.grid, LABEL_MAP)
    assert len(pydicom.dcmread(segmentation).PerFrameFunctionalGroupsSequence) < 3 * len(labels)
    pair = (whole, segmentation) if labels_first else (segmentation, whole)
    scores = {score.name: score for score in score_files(*pair).scores}
    both, ours = (labels == LEFT).sum(), (written.labels == LEFT).sum()
    assert both < ours
    assert scores["left putamen"].dice == pytest.approx(2 * both / (both + ours))
    assert scores["right putamen"].dice == scores["a structure of our own"].dice == 1


def test_two_dicom_segmentations_of_different_slices_are_scored_on_those_of_both(tmp_path):
    written = written_series(tmp_path / "scan", GRIDS["thick"])
    for name, value in (("left", LEFT), ("right", RIGHT)):
        (tmp_path / name).mkdir()
        one = dataclasses.replace(written.scan, labels=np.where(written.labels == value, value, 0).astype(np.uint16))
        write_objects(tmp_path / name, {"T1w": one}, LABEL_MAP, MODEL)
    left, right = (tmp_path / name / "T1w_segmentation.dcm" for name in ("left", "right"))
    with pytest.raises(LabelError, match="names-differ"):  # found on one grid, though no structure is in both
        score_files(left, right)
    assert score_files(left, left).scores[0].dice == 1


def test_a_dicom_segmentation_of_another_scan_is_refused(tmp_path):
    written = written_series(tmp_path / "scan", GRIDS["oblique"])
    write_objects(tmp_path, {"T1w": written.scan}, LABEL_MAP, MODEL)
    grid = GRIDS["thick"]
    labels = np.full(grid.shape_kji, LEFT, np.uint8)
    write_segmentation(tmp_path / "other.seg.nrrd", labels, grid, LABEL_MAP)
    with pytest.raises(GeometryError, match="grids-differ"):
        score_files(tmp_path / "T1w_segmentation.dcm", tmp_path / "other.seg.nrrd")
