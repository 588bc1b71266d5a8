"""Volumes out of the scene and results back: every voxel stays at its place in the world, under any transform."""

import numpy as np
import pytest
from scene_volumes import (
    RIGHT_ANGLED,
    TRANSFORMS,
    add_scan,
    add_volume,
    bending_node,
    bspline,
    dice,
    linear_node,
    oblique_grid,
    permuted_grid,
    put_under,
    rigid_matrix,
    segment_at,
)

from CrossModalSegApp.scene.node_geometry import from_world, local_grid, parent_transform_kind, to_world, world_grid
from CrossModalSegApp.scene.scene_io import harden_copy, labels_on_node, samples_on_node, world_volume, write_scan
from CrossModalSegApp.scene.segmentation_nodes import add_segmentation
from CrossModalSegLib.errors import CrossModalSegError, GeometryError, OutputError
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.imaging.volume import read_volume
from CrossModalSegLib.labels import LABEL_MAP_FOLDER, read_label_map
from Testing.volumes import grid_around, points_of, ramp, rotation

BRAIN = read_label_map(LABEL_MAP_FOLDER / "brain_mr_pair.json")
GEOMETRIES = [(seed, kind) for seed, kind in enumerate([*TRANSFORMS, *list(TRANSFORMS)[1:11]])]


def grid_of(seed):
    return permuted_grid(seed) if seed % 4 == 3 else oblique_grid(seed)


def nearest_values(volume, world):
    """The volume's values at the voxels nearest to ``world`` points (n, 3)."""
    index = world @ volume.grid.ras_to_ijk[:3, :3].T + volume.grid.ras_to_ijk[:3, 3]
    i, j, k = np.rint(index).astype(int).T
    return volume.array[k, j, i]


@pytest.mark.parametrize(("seed", "kind"), GEOMETRIES)
def test_landmarks_lie_in_the_right_segment_of_the_world(mrml_scene, seed, kind):
    grid = grid_of(seed)
    node, anatomy = add_scan(mrml_scene, grid, kind, seed)
    volume = world_volume(node, "T1w")
    inner = anatomy.landmarks(np.random.default_rng(seed), depth=0.4)
    shown = nearest_values(volume, np.array([point for point, _ in inner]))
    np.testing.assert_allclose(shown, [value * 10 + 5 for _, value in inner], rtol=1e-5)

    labels = labels_on_node(node, anatomy.labels_on(volume.grid), volume.grid)
    segmentation = add_segmentation(node, labels, BRAIN, "result")
    for point, value in anatomy.landmarks(np.random.default_rng(seed)):
        assert segment_at(segmentation, point) == f"Segment_{value}"
    truth = anatomy.labels(to_world(node, points_of(grid)))
    for value in anatomy.values:
        assert dice(labels == value, truth == value) >= 0.97


@pytest.mark.parametrize("kind", RIGHT_ANGLED)
@pytest.mark.parametrize("seed", [4, 5, 7])
def test_where_right_angles_stay_the_voxels_are_untouched_and_the_grid_is_moved(mrml_scene, kind, seed):
    grid = grid_of(seed)
    node, anatomy = add_scan(mrml_scene, grid, kind, seed)
    volume = world_volume(node, "T1w")
    import slicer

    np.testing.assert_array_equal(volume.array, slicer.util.arrayFromVolume(node))
    assert np.abs(points_of(volume.grid) - to_world(node, points_of(grid))).max() < 1e-4
    assert world_grid(node).is_close(volume.grid, tolerance_mm=1e-6)
    labels = anatomy.labels_on(volume.grid)
    np.testing.assert_array_equal(labels_on_node(node, labels, volume.grid), labels)
    assert parent_transform_kind(node) == ("none" if kind == "none" else "linear")


@pytest.mark.parametrize("kind", ["sheared", "b-spline", "linear above bending", "inverse grid"])
def test_where_they_do_not_there_is_no_world_grid(mrml_scene, kind):
    node, _ = add_scan(mrml_scene, oblique_grid(1), kind, 1)
    assert world_grid(node) is None
    assert parent_transform_kind(node) == ("sheared" if kind == "sheared" else "non-linear")


def test_scaling_along_the_voxels_axes_keeps_right_angles_and_across_them_shears(mrml_scene):
    stretch = np.diag([1.0, 1.0, 2.0, 1.0])
    along = add_volume(mrml_scene, permuted_grid(0), np.arange(8.0).reshape(2, 2, 2))
    turned = grid_around((0, 0, 0), (4, 4, 4), (1, 1, 1), rotation((30.0, 0.0, 0.0)))
    across = add_volume(mrml_scene, turned, np.ones((4, 4, 4)))
    put_under(along, linear_node(mrml_scene, stretch))
    put_under(across, linear_node(mrml_scene, stretch))
    assert parent_transform_kind(along) == "linear"
    assert parent_transform_kind(across) == "sheared"


def test_the_local_grid_is_below_the_transform_and_counts_from_the_first_stored_voxel(mrml_scene):
    grid = oblique_grid(2)
    node = add_volume(mrml_scene, grid, np.zeros(grid.shape_kji))
    put_under(node, linear_node(mrml_scene, rigid_matrix(np.random.default_rng(0))))
    assert local_grid(node).is_close(grid, tolerance_mm=1e-6)
    image = node.GetImageData()
    i, j, k = grid.shape_ijk
    image.SetExtent(3, i + 2, -1, j - 2, 5, k + 4)
    np.testing.assert_allclose(local_grid(node).ijk_to_ras[:3, 3], (grid.ijk_to_ras @ [3, -1, 5, 1])[:3])


def test_points_to_the_world_and_back(mrml_scene):
    node, _ = add_scan(mrml_scene, oblique_grid(3), "linear above bending", 3)
    points = np.random.default_rng(0).uniform(-40, 40, (4, 5, 3))
    np.testing.assert_allclose(from_world(node, to_world(node, points)), points, atol=1e-2)
    assert np.abs(to_world(node, points) - points).max() > 1


def test_a_bent_scan_covers_the_whole_of_what_it_shows(mrml_scene):
    grid = grid_around((10, 0, 0), (40, 30, 20), (2, 2, 4))
    node = add_volume(mrml_scene, grid, ramp(points_of(grid)).astype(np.int16))
    put_under(node, bending_node(mrml_scene, bspline(np.random.default_rng(4))))
    volume = world_volume(node, "T1w")
    index = to_world(node, grid.corners_ras()) @ volume.grid.ras_to_ijk[:3, :3].T + volume.grid.ras_to_ijk[:3, 3]
    assert (index > -0.6).all()
    assert (index < np.array(volume.grid.shape_ijk) - 0.4).all()
    assert volume.grid.shear_degrees < 1e-6


def test_outside_of_a_bent_scan_is_its_lowest_value(mrml_scene):
    grid = grid_around((0, 0, 0), (30, 30, 30), (2, 2, 2))
    values = np.random.default_rng(0).uniform(-1000, 500, grid.shape_kji)
    node = add_volume(mrml_scene, grid, values.astype(np.int16))
    shear = np.eye(4)
    shear[0, 1] = 0.7
    put_under(node, linear_node(mrml_scene, shear))
    volume = world_volume(node, "CT")
    outside = np.linalg.norm(np.maximum(np.abs(from_world(node, points_of(volume.grid))) - 31, 0), axis=-1) > 0
    assert outside.any()
    assert (volume.array[outside] == np.float32(values.astype(np.int16).min())).all()


def test_samples_come_back_interpolated_under_a_bending_transform_and_as_they_are_otherwise(mrml_scene):
    node, _ = add_scan(mrml_scene, oblique_grid(6), "b-spline", 6)
    grid = world_volume(node, "T1w").grid
    values = ramp(points_of(grid)).astype(np.float32)
    world = to_world(node, points_of(local_grid(node)))
    index = world @ grid.ras_to_ijk[:3, :3].T + grid.ras_to_ijk[:3, 3]
    inner = ((index > 0) & (index < np.array(grid.shape_ijk) - 1)).all(axis=-1)
    assert inner.mean() > 0.9
    np.testing.assert_allclose(samples_on_node(node, values, grid)[inner], ramp(world)[inner], atol=0.3)

    plain, _ = add_scan(mrml_scene, oblique_grid(6), "rigid", 6)
    percent = np.random.default_rng(0).integers(0, 100, local_grid(plain).shape_kji).astype(np.uint8)
    returned = samples_on_node(plain, percent, world_grid(plain))
    assert returned.dtype == np.uint8
    np.testing.assert_array_equal(returned, percent)


def test_what_the_result_does_not_reach_is_background(mrml_scene):
    node, _ = add_scan(mrml_scene, oblique_grid(1), "none", 1)
    small = grid_around((500, 0, 0), (4, 4, 4), (2, 2, 2))
    assert not labels_on_node(node, np.ones(small.shape_kji, np.uint8), small).any()
    assert not samples_on_node(node, np.ones(small.shape_kji, np.uint8), small).any()


def test_labels_of_another_shape_than_their_grid_are_refused(mrml_scene):
    node, _ = add_scan(mrml_scene, oblique_grid(1), "none", 1)
    with pytest.raises(GeometryError, match="shape-mismatch"):
        labels_on_node(node, np.ones((2, 2, 2), np.uint8), local_grid(node))


@pytest.mark.parametrize("kind", ["none", "chain of two", "sheared", "b-spline"])
def test_an_exported_scan_is_read_back_the_same(mrml_scene, tmp_path, kind):
    node, _ = add_scan(mrml_scene, oblique_grid(5), kind, 5)
    written = world_volume(node, "T1w")
    write_scan(written, tmp_path / "T1w.nrrd")
    read = read_volume(tmp_path / "T1w.nrrd", "T1w")
    np.testing.assert_array_equal(read.array, written.array)
    assert read.grid.is_close(written.grid, tolerance_mm=1e-4)


def test_a_folder_that_cannot_be_written_to_is_said(mrml_scene, tmp_path):
    node, _ = add_scan(mrml_scene, oblique_grid(5), "none", 5)
    with pytest.raises(OutputError, match="cannot-write"):
        write_scan(world_volume(node, "T1w"), tmp_path / "missing" / "T1w.nrrd")


def volume_with(scene, array, class_name="vtkMRMLScalarVolumeNode"):
    return add_volume(scene, Grid((4, 4, 4), np.eye(4)), array, "scan", class_name)


def with_a_hole():
    array = np.arange(64.0).reshape(4, 4, 4)
    array[1, 2, 3] = np.nan
    return array


@pytest.mark.parametrize(
    ("code", "make"),
    [
        ("no-image", lambda scene: scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "scan")),
        ("not-scalar", lambda scene: volume_with(scene, np.ones((4, 4, 4, 3)), "vtkMRMLVectorVolumeNode")),
        ("not-3d", lambda scene: volume_with(scene, np.arange(16.0).reshape(1, 4, 4))),
        ("not-finite", lambda scene: volume_with(scene, with_a_hole())),
        ("constant", lambda scene: volume_with(scene, np.full((4, 4, 4), 7.0))),
    ],
)
def test_what_cannot_be_segmented_is_refused_by_name(mrml_scene, code, make):
    with pytest.raises(CrossModalSegError, match="scan") as refusal:
        world_volume(make(mrml_scene), "T1w")
    assert refusal.value.code == code


def test_a_transform_that_folds_space_is_refused(mrml_scene):
    grid = grid_around((0, 0, 0), (20, 20, 20), (5, 5, 5))
    node = add_volume(mrml_scene, grid, ramp(points_of(grid)))
    put_under(node, bending_node(mrml_scene, bspline(np.random.default_rng(0), largest_mm=300)))
    with pytest.raises(GeometryError, match="not-invertible"):
        world_volume(node, "T1w")


def test_a_transform_that_spreads_a_scan_without_bounds_is_refused(mrml_scene):
    grid = grid_around((0, 0, 0), (200, 200, 200), (1, 1, 1))
    node = add_volume(mrml_scene, grid, ramp(points_of(grid)).astype(np.int16))
    shear = np.eye(4)
    shear[0, 1] = shear[1, 2] = 40.0
    put_under(node, linear_node(mrml_scene, shear))
    with pytest.raises(GeometryError, match="warped-too-large"):
        world_volume(node, "T1w")


@pytest.mark.parametrize("kind", ["none", "chain of two", "sheared", "thin plate"])
def test_a_hardened_copy_shows_the_same_at_the_same_place(mrml_scene, kind):
    import slicer

    node, anatomy = add_scan(mrml_scene, oblique_grid(8), kind, 8)
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(mrml_scene)
    study = tree.CreateStudyItem(tree.CreateSubjectItem(tree.GetSceneItemID(), "patient"), "study")
    tree.SetItemParent(tree.GetItemByDataNode(node), study)
    tree.SetItemAttribute(tree.GetItemByDataNode(node), "DICOM.Modality", "MR")
    node.GetDisplayNode().AutoWindowLevelOff()
    node.GetDisplayNode().SetWindowLevel(300, 150)
    copy = harden_copy(node)
    assert copy.GetName() == "scan hardened"
    assert copy.GetParentTransformNode() is None
    assert node.GetParentTransformNode() is not None or kind == "none"
    landmarks = anatomy.landmarks(np.random.default_rng(0))
    shown = nearest_values(world_volume(copy, "T1w"), np.array([point for point, _ in landmarks]))
    np.testing.assert_allclose(shown, [value * 10 + 5 for _, value in landmarks], atol=20)  # 4 mm from the edge
    item = tree.GetItemByDataNode(copy)
    assert tree.GetItemParent(item) == study
    assert tree.GetItemAttribute(item, "DICOM.Modality") == "MR"
    assert copy.GetDisplayNode().GetWindow() == 300
    assert harden_copy(node).GetName() == "scan hardened_1"


def test_a_hardened_label_map_holds_its_own_values_only(mrml_scene):
    grid = grid_around((0, 0, 0), (30, 30, 30), (2, 2, 2))
    labels = np.random.default_rng(0).choice([0, 7, 300], grid.shape_kji).astype(np.int16)
    node = add_volume(mrml_scene, grid, labels, "labels", "vtkMRMLLabelMapVolumeNode")
    put_under(node, bending_node(mrml_scene, bspline(np.random.default_rng(1))))
    copy = harden_copy(node)
    import slicer

    assert copy.IsA("vtkMRMLLabelMapVolumeNode")
    assert set(np.unique(slicer.util.arrayFromVolume(copy))) == {0, 7, 300}
