"""Segmentations of 3D Slicer in one or several layers, of old versions too; what cannot be one label per voxel is
refused."""

import numpy as np
import pytest

from CrossModalSegLib.errors import LabelError
from CrossModalSegLib.imaging.segmentation_io import read_segmentation
from Testing.slicer_segment_files import write_slicer_file
from Testing.volumes import grid_around, rotation

GRID = grid_around((5, -8, 20), (6, 7, 8), (1.0, 1.5, 2.0), rotation((10, 5, -15)))


def box(first, last, value=1):
    """``value`` in the slices from ``first`` to before ``last``."""
    layer = np.zeros(GRID.shape_kji, np.uint8)
    layer[first:last, 1:4, 2:5] = value
    return layer


def by_name(path):
    """The voxels of each segment by its name."""
    labels, grid, label_map = read_segmentation(path)
    assert grid.is_close(GRID)
    assert set(np.unique(labels).tolist()) <= set(label_map.channels)
    return {one.name: labels == one.value for one in label_map.structures}


def refused(path):
    with pytest.raises(LabelError) as caught:
        read_segmentation(path)
    return caught.value


def test_layers_that_do_not_overlap_become_one_with_their_own_values(tmp_path):
    path = write_slicer_file(
        tmp_path / "a.seg.nrrd",
        [box(0, 3, 4) + box(3, 5, 6), box(5, 8, 9)],
        GRID,
        [("left", 4, 0), ("right", 6, 0), ("stem", 9, 1)],
    )
    labels, _grid, label_map = read_segmentation(path)
    assert label_map.values == (4, 6, 9)
    assert np.array_equal(labels, box(0, 3, 4) + box(3, 5, 6) + box(5, 8, 9))


def test_values_that_layers_share_are_numbered_anew(tmp_path):
    path = write_slicer_file(
        tmp_path / "a.seg.nrrd",
        [box(0, 3, 1) + box(3, 5, 2), box(5, 8, 1)],
        GRID,
        [("left", 1, 0), ("right", 2, 0), ("stem", 1, 1)],
    )
    found = by_name(path)
    assert {
        name: np.array_equal(found[name], mask > 0) for name, mask in {"left": box(0, 3), "right": box(3, 5)}.items()
    }
    assert np.array_equal(found["stem"], box(5, 8) > 0)


def test_files_of_slicer_before_4_11_have_a_layer_per_segment(tmp_path):
    segments = [("right", 0, 0), ("left", 0, 0), ("nowhere", 0, 0)]
    path = write_slicer_file(
        tmp_path / "a.seg.nrrd", [box(0, 3), box(3, 5, 255), box(0, 0)], GRID, segments, is_old=True
    )
    found = by_name(path)
    assert list(found) == ["right", "left", "nowhere"]
    assert np.array_equal(found["right"], box(0, 3) > 0)
    assert np.array_equal(found["left"], box(3, 5) > 0)
    assert not found["nowhere"].any()


def test_a_single_segment_of_slicer_before_4_11_is_the_whole_file(tmp_path):
    path = write_slicer_file(tmp_path / "a.seg.nrrd", [box(2, 6)], GRID, [("liver", 0, 0)], is_old=True)
    assert np.array_equal(by_name(path)["liver"], box(2, 6) > 0)


@pytest.mark.parametrize("is_old", [False, True])
def test_segments_that_overlap_are_refused_with_their_names(tmp_path, is_old):
    segments = [("liver", 1, 0), ("vessel", 1, 1)]
    error = refused(write_slicer_file(tmp_path / "a.seg.nrrd", [box(0, 4), box(3, 6)], GRID, segments, is_old))
    assert error.code == "overlapping-segments"
    assert "'liver' and 'vessel' overlap in 9 voxels" in error.message


def test_voxels_of_no_segment_are_refused(tmp_path):
    error = refused(write_slicer_file(tmp_path / "a.seg.nrrd", [box(0, 4) + box(4, 5, 7)], GRID, [("liver", 1, 0)]))
    assert error.code == "unknown-label-values"
    assert "voxels hold 7" in error.message


def test_fractions_are_no_labels(tmp_path):
    fields = {"Segmentation_MasterRepresentation": "Fractional labelmap"}
    error = refused(write_slicer_file(tmp_path / "a.seg.nrrd", [box(0, 4, 90)], GRID, [("liver", 90, 0)], **fields))
    assert error.code == "fractional-segments"


@pytest.mark.parametrize(
    "segments",
    [
        [("liver", 1, 2)],
        [("liver", 1, -1)],
        [("liver", 0, 0)],
        [("liver", 1, 0), ("spleen", 1, 0)],
        [("liver", 1, 0), ("liver", 2, 0)],
    ],
)
def test_segments_that_cannot_be_are_refused(tmp_path, segments):
    error = refused(write_slicer_file(tmp_path / "a.seg.nrrd", [box(0, 4)], GRID, segments))
    assert (error.code, "a.seg.nrrd" in error.message) == ("bad-label-map", True)


@pytest.mark.parametrize("color", ["inf 0 0", "nan 0 0", "1 0", "7 0 0"])
def test_a_colour_that_is_none_is_refused(tmp_path, color):
    path = write_slicer_file(tmp_path / "a.seg.nrrd", [box(0, 3)], GRID, [("left", 1, 0)])
    path.write_bytes(path.read_bytes().replace(b"Color:=0.5 0.6 0.7", f"Color:={color}".encode()))
    assert refused(path).code == "bad-label-map"
