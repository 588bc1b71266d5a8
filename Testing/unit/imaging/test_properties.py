"""Properties of places in space and of label maps, for whatever hypothesis comes up with."""

import re
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from CrossModalSegLib.imaging.geometry import coverage, overlap_fraction
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.nifti_writer import write_nifti_like
from CrossModalSegLib.imaging.orientation import ORIENTATIONS, direction_of
from CrossModalSegLib.imaging.placement import distance_mm
from CrossModalSegLib.imaging.resampling import labels_at, resample_labels
from CrossModalSegLib.imaging.segmentation_io import read_segmentation, write_segmentation
from CrossModalSegLib.imaging.volume import read_grid, read_image, read_volume, write_volume
from CrossModalSegLib.labels import LabelMap, Structure
from Testing.nifti_files import write_nifti
from Testing.volumes import rotation

EXAMPLES = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])

angles = st.tuples(*[st.floats(-180, 180)] * 3)
spacings = st.tuples(*[st.floats(0.3, 6.0)] * 3)
positions = st.tuples(*[st.floats(-500, 500)] * 3)
shapes = st.tuples(*[st.integers(2, 7)] * 3)


@st.composite
def grids(draw, shape=shapes):
    affine = np.eye(4)
    affine[:3, :3] = rotation(draw(angles)) * draw(spacings)
    if draw(st.booleans()):
        affine[:3, 0] *= -1
    affine[:3, 3] = draw(positions)
    return Grid(draw(shape), affine)


@st.composite
def label_maps(draw):
    values = draw(st.lists(st.integers(1, 65535), min_size=1, max_size=6, unique=True))
    text = st.text(
        st.characters(codec="utf-8", exclude_categories=("C", "Z"), exclude_characters="^~|"), min_size=1, max_size=12
    )
    names = draw(st.lists(text, min_size=len(values), max_size=len(values), unique=True))
    colour = st.tuples(*[st.integers(0, 255)] * 3)
    return LabelMap(tuple(Structure(value, name, draw(colour)) for value, name in zip(values, names, strict=True)))


def numbers(grid, dtype=np.int16):
    return np.arange(np.prod(grid.shape_kji), dtype=dtype).reshape(grid.shape_kji)


@EXAMPLES
@given(grids(), st.sampled_from([".nii", ".nii.gz", ".nrrd", ".mha"]))
def test_a_volume_lies_where_it_lay_when_it_comes_back_from_a_file(grid, suffix):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"scan{suffix}")
        write_volume(path, numbers(grid), grid)
        array, found = read_image(path)
        assert np.array_equal(array, numbers(grid))
        assert found.is_close(grid, 0.01)
        assert found.is_left_handed == grid.is_left_handed
        assert all(one.severity == "info" for one in read_volume(path, "T1w").findings)


@EXAMPLES
@given(grids(), grids(), st.integers(0, 6), st.integers(0, 6))
def test_a_nifti_file_is_where_nibabel_says_or_refused_where_nibabel_guesses(sform, qform, sform_code, qform_code):
    with tempfile.TemporaryDirectory() as folder:
        data = numbers(sform).T
        codes = (min(sform_code, 5), min(qform_code, 5))
        path = write_nifti(Path(folder, "scan.nii"), data, sform.ijk_to_ras, qform.ijk_to_ras, codes)
        if codes == (0, 0):
            for orientation in ("LAS", "PIR"):
                found = read_grid(path, orientation)
                assert np.allclose(found.direction, direction_of(orientation))
                assert np.allclose(found.spacing_ijk, nib.load(path).header.get_zooms(), rtol=1e-5)
            return
        volume = read_volume(path, "T1w")
        assert np.allclose(volume.grid.ijk_to_ras, nib.load(path).affine, atol=1e-3)
        told = [one for one in volume.findings if one.code == "sform-qform"]
        apart = distance_mm(sform.ijk_to_ras, nib.load(path).get_qform(), sform.shape_ijk)
        assert bool(told) == (all(codes) and apart > 0.1) or abs(apart - 0.1) < 1e-3
        if told:
            words = re.search(r"up to ([\d.]+) mm apart", told[0].message)
            assert words is not None
            assert abs(float(words[1]) - apart) < 0.06


@EXAMPLES
@given(grids(), st.integers(0, 5), st.integers(0, 5), st.sampled_from(["mm", "micron", "meter", "unknown"]))
def test_what_is_written_for_a_nifti_scan_has_its_header_s_place(grid, sform_code, qform_code, units):
    with tempfile.TemporaryDirectory() as folder:
        affine = grid.ijk_to_ras.copy()
        affine[:3] *= {"micron": 1000.0, "meter": 0.001}.get(units, 1.0)
        scan = write_nifti(
            Path(folder, "scan.nii"), numbers(grid).T, affine, affine, (sform_code, qform_code), units=units
        )
        volume = read_volume(scan, "T1w", "RAS")
        write_nifti_like(Path(folder, "like.nii.gz"), numbers(grid, np.uint16), volume.forms)
        like = read_volume(Path(folder, "like.nii.gz"), "T1w", "RAS")
        assert like.forms == volume.forms
        assert np.array_equal(like.array, volume.array)
        assert np.array_equal(like.grid.ijk_to_ras, volume.grid.ijk_to_ras)
        one, other = (nib.load(path).header for path in (scan, Path(folder, "like.nii.gz")))
        assert np.array_equal(one.get_sform(), other.get_sform())
        assert int(one["qform_code"]) == int(other["qform_code"])


@EXAMPLES
@given(grids(st.just((5, 6, 7))), st.sampled_from(ORIENTATIONS))
def test_the_distance_of_two_places_is_none_only_from_itself_and_symmetric(grid, orientation):
    other = np.eye(4)
    other[:3, :3] = direction_of(orientation)
    assert distance_mm(grid.ijk_to_ras, grid.ijk_to_ras, grid.shape_ijk) == 0
    there, back = (distance_mm(*pair, grid.shape_ijk) for pair in ((grid.ijk_to_ras, other), (other, grid.ijk_to_ras)))
    assert np.isclose(there, back)
    assert there > 0 or np.allclose(grid.ijk_to_ras, other)


@EXAMPLES
@given(grids())
def test_a_grid_covers_itself_and_going_there_and_back_is_nothing(grid):
    assert coverage(grid, grid).all()
    assert overlap_fraction(grid, grid) == 1
    assert np.allclose(grid.ras_to_ijk @ grid.ijk_to_ras, np.eye(4), atol=1e-8)
    far = grid.ijk_to_ras.copy()
    far[:3, 3] += 5000
    assert overlap_fraction(grid, Grid(grid.shape_kji, far)) == 0


@EXAMPLES
@given(grids(), st.integers(0, 2**32 - 1))
def test_labels_on_their_own_grid_stay_what_they_are_and_none_are_invented(grid, seed):
    labels = np.random.default_rng(seed).integers(0, 5, grid.shape_kji).astype(np.uint8)
    assert np.array_equal(resample_labels(labels, grid, grid), labels)
    k, j, i = np.meshgrid(*map(np.arange, labels.shape), indexing="ij")
    points = np.stack([i, j, k], axis=-1).astype(float)
    assert np.array_equal(labels_at(labels, points), labels)
    between = labels_at(labels, points + np.random.default_rng(seed).uniform(-0.5, 0.5, points.shape))
    assert set(np.unique(between)) <= {*np.unique(labels), 0}


@EXAMPLES
@given(label_maps(), grids(), st.integers(0, 2**32 - 1))
def test_a_segmentation_comes_back_with_values_names_colours_and_place(label_map, grid, seed):
    labels = np.random.default_rng(seed).choice([0, *label_map.values], grid.shape_kji).astype(np.uint16)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "labels.seg.nrrd")
        write_segmentation(path, labels, grid, label_map)
        found, place, own = read_segmentation(path)
    assert np.array_equal(found, labels)
    assert place.is_close(grid)
    assert own is not None
    assert [(one.value, one.name) for one in own.structures] == [(one.value, one.name) for one in label_map.structures]
    assert [one.color for one in own.structures] == [one.color for one in label_map.structures]


@EXAMPLES
@given(label_maps())
def test_a_label_map_comes_back_from_json_and_channels_are_positions(label_map):
    again = LabelMap.from_json(label_map.to_json())
    assert again == label_map
    assert label_map.channels == (0, *label_map.values)
    assert all(label_map.by_value(one.value) is label_map.by_name(one.name) for one in label_map.structures)
