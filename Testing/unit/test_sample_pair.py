"""The sample pair that ships with the module: small, plausible, and on the grids its README states."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

SAMPLE_DATA = Path(__file__).resolve().parents[2] / "CrossModalSeg" / "Resources" / "SampleData"
LEFT = (2, 3, 4, 5, 7, 8, 10, 11, 12, 13, 17, 18, 26, 28)
RIGHT = (41, 42, 43, 44, 46, 47, 49, 50, 51, 52, 53, 54, 58, 60)
MIDLINE = (14, 15, 16, 24)


@cache
def sample(name: str) -> sitk.Image:
    """Image of the sample pair: "T1w", "T2w" or "labels"."""
    return sitk.ReadImage(str(SAMPLE_DATA / f"phantom_{name}.nrrd"))


def direction(image: sitk.Image) -> np.ndarray:
    """3x3 matrix whose columns are the LPS directions of i, j and k."""
    return np.reshape(image.GetDirection(), (3, 3))


def points_of(image: sitk.Image, mask: np.ndarray) -> np.ndarray:
    """RAS coordinates (N, 3) in millimetres of the voxels of a mask (K, J, I)."""
    index_ijk = np.argwhere(mask)[:, ::-1]
    lps = image.GetOrigin() + (index_ijk * image.GetSpacing()) @ direction(image).T
    return lps * [-1, -1, 1]


def inside(image: sitk.Image, ras: np.ndarray) -> np.ndarray:
    """Which of the RAS points (N, 3) lie in the field of view of an image."""
    offsets = (ras * [-1, -1, 1] - image.GetOrigin()) @ direction(image)
    index_ijk = offsets / image.GetSpacing()
    return np.all((index_ijk >= -0.5) & (index_ijk <= np.array(image.GetSize()) - 0.5), axis=1)


def mean_signal(name: str, structures: tuple[int, ...]) -> float:
    """Mean signal of a volume in some structures of the true label map."""
    labels = sitk.Resample(sample("labels"), sample(name), sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    mask = np.isin(sitk.GetArrayViewFromImage(labels), structures)
    return float(sitk.GetArrayViewFromImage(sample(name))[mask].mean())


def test_the_sample_pair_is_small_enough_to_be_committed():
    files = sorted(SAMPLE_DATA.glob("phantom_*"))
    assert {file.name for file in files} >= {"phantom_T1w.nrrd", "phantom_T2w.nrrd", "phantom_README.md"}
    assert sum(file.stat().st_size for file in files) <= 4e6


@pytest.mark.parametrize("name", ["T1w", "T2w"])
def test_volumes_are_three_dimensional_scalar_and_hold_an_image(name):
    image = sample(name)
    assert image.GetDimension() == 3
    assert image.GetPixelID() == sitk.sitkInt16
    assert np.std(sitk.GetArrayViewFromImage(image)) > 30


def test_t1w_lies_along_the_axes_of_the_patient():
    np.testing.assert_array_equal(direction(sample("T1w")), np.eye(3))
    assert max(sample("T1w").GetSpacing()) <= 1.2


def test_t2w_is_oblique_left_handed_and_has_thicker_slices():
    axes = direction(sample("T2w"))
    assert np.linalg.det(axes) == pytest.approx(-1)
    obliquity = np.degrees(np.arccos(np.abs(axes).max(axis=0)))
    np.testing.assert_allclose(obliquity, [7.0, 12.0, 13.86], atol=0.01)  # cos(13.86) = cos(12) * cos(7)
    assert sample("T2w").GetSpacing() == pytest.approx((0.9, 0.9, 3.0))


def test_t2w_covers_most_of_the_brain_but_neither_the_vertex_nor_the_lower_cerebellum():
    labels = sample("labels")
    array = sitk.GetArrayViewFromImage(labels)
    brain = points_of(labels, (array > 0) & (array != 24))
    covered = inside(sample("T2w"), brain)
    assert 0.75 < covered.mean() < 0.98
    assert not covered[brain[:, 2] == brain[:, 2].max()].any()
    cerebellum = points_of(labels, np.isin(array, (7, 8, 46, 47)))
    assert not inside(sample("T2w"), cerebellum[cerebellum[:, 2] == cerebellum[:, 2].min()]).any()
    assert inside(sample("T1w"), brain).all()


def test_true_labels_are_the_32_structures_on_the_grid_of_the_t1w():
    labels = sample("labels")
    assert set(np.unique(sitk.GetArrayViewFromImage(labels))) == {0, *LEFT, *RIGHT, *MIDLINE}
    assert labels.GetSize() == sample("T1w").GetSize()
    assert labels.GetOrigin() == sample("T1w").GetOrigin()
    assert labels.GetSpacing() == sample("T1w").GetSpacing()


def test_left_structures_lie_on_the_patients_left():
    labels = sample("labels")
    array = sitk.GetArrayViewFromImage(labels)
    for left, right in zip(LEFT, RIGHT, strict=True):
        left_r = points_of(labels, array == left)[:, 0].mean()
        right_r = points_of(labels, array == right)[:, 0].mean()
        assert left_r < right_r - 5, f"{left} lies at R = {left_r:.1f} mm, {right} at {right_r:.1f} mm"


def test_structures_are_large_enough_to_be_scored():
    labels = sample("labels")
    voxel_ml = np.prod(labels.GetSpacing()) / 1000
    volume_ml = np.bincount(sitk.GetArrayViewFromImage(labels).ravel(), minlength=61) * voxel_ml
    assert min(volume_ml[list(LEFT + RIGHT + MIDLINE)]) > 0.2
    assert 1000 < volume_ml[1:].sum() - volume_ml[24] < 1600  # an adult brain


def test_tissues_have_the_contrast_of_their_modality():
    white, grey, fluid = (2, 41), (3, 42), (4, 43)
    assert mean_signal("T1w", white) > 1.2 * mean_signal("T1w", grey) > 1.5 * mean_signal("T1w", fluid)
    assert mean_signal("T2w", fluid) > 1.5 * mean_signal("T2w", grey) > 1.5 * mean_signal("T2w", white)
