"""Strokes of Slicer's own Segment Editor logic across a border: what may change does, the rest stays, nothing
overlaps."""

import numpy as np
import pytest
from scene_volumes import add_volume, linear_node, oblique_grid, put_under, rigid_matrix

from CrossModalSegApp.scene.correction import DEFAULT_MASKING, Masking, set_masking
from CrossModalSegApp.scene.segmentation_labels import segment_labels
from CrossModalSegApp.scene.segmentation_nodes import add_segmentation
from CrossModalSegLib.errors import LabelError
from CrossModalSegLib.labels import LabelMap, Structure

SMALL = LabelMap(
    (Structure(1, "liver", (200, 10, 10)), Structure(2, "spleen", (0, 200, 0)), Structure(7, "cyst", (9, 9, 9)))
)
GRID = oblique_grid(5, size_mm=30)
STROKE = np.zeros(GRID.shape_kji, bool)
STROKE[2:8, 2:8, 3:12] = True  # over liver, spleen, cyst and background


def result():
    labels = np.zeros(GRID.shape_kji, np.uint16)
    labels[3:7, 3:7, :6] = 1
    labels[3:7, 3:7, 6:9] = 2
    labels[3:7, 3:5, 9:11] = 7
    return labels


@pytest.fixture
def editor(mrml_scene, slicer_logics):
    """Slicer's editor logic on a result under a linear transform, set so that neighbours are left alone."""
    return Editor(mrml_scene, slicer_logics)


def intensities():
    """Body of 100 and more, with noise, in the middle; air of 0 with noise around it; the stroke reaches into both."""
    random = np.random.default_rng(0)
    values = np.abs(random.normal(0, 1, GRID.shape_kji))
    values[2:-2, 2:-2, 2:-2] = 100 + 5 * np.abs(random.normal(size=GRID.shape_kji))[2:-2, 2:-2, 2:-2]
    return values.astype(np.float32)


class Editor:
    def __init__(self, scene, logics):
        import slicer

        self.volume = add_volume(scene, GRID, intensities())
        put_under(self.volume, linear_node(scene, rigid_matrix(np.random.default_rng(0))))
        self.node = add_segmentation(self.volume, result(), SMALL, "result")
        self.settings = scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
        self.settings.SetAndObserveSegmentationNode(self.node)
        self.settings.SetAndObserveSourceVolumeNode(self.volume)
        self.logic = slicer.vtkSlicerSegmentEditorLogic()
        self.logic.SetMRMLScene(scene)
        self.logic.SetMRMLApplicationLogic(logics.application)
        self.logic.SetSegmentEditorNode(self.settings)
        set_masking(self.settings, Masking.LEAVE_NEIGHBOURS, self.volume)

    def stroke(self, segment_id, mode, where=STROKE, bypass=False):
        """Apply ``where`` (K, J, I) bool to a segment as the editor's effects do; "Add", "Remove" or "Set"."""
        import slicer
        from vtk.util.numpy_support import vtk_to_numpy

        self.settings.SetSelectedSegmentID(segment_id)
        assert self.logic.ResetModifierLabelmapToDefault()
        modifier = self.logic.GetModifierLabelmap()
        array = vtk_to_numpy(modifier.GetPointData().GetScalars()).reshape(modifier.GetDimensions()[::-1])
        array[where] = 1
        how = getattr(slicer.vtkSlicerSegmentEditorLogic, f"ModificationMode{mode}")
        self.logic.ModifySegmentByLabelmap(self.node, segment_id, modifier, how, True, bypass)

    @property
    def labels(self):
        return segment_labels(self.node, self.volume, SMALL)


@pytest.mark.parametrize("segment_id", ["Segment_1", "Segment_2", "Segment_7"])
def test_by_default_a_stroke_takes_from_the_neighbours_and_erasing_from_the_edited_one_alone(editor, segment_id):
    set_masking(editor.settings, DEFAULT_MASKING, editor.volume)
    value = int(segment_id.removeprefix("Segment_"))
    editor.stroke(segment_id, "Add")
    painted = np.where(STROKE, value, result())
    np.testing.assert_array_equal(editor.labels, painted)
    upper = STROKE & (np.arange(GRID.shape_kji[0])[:, None, None] > 4)
    editor.stroke(segment_id, "Remove", upper)
    np.testing.assert_array_equal(editor.labels, np.where(upper, 0, painted))
    other = "Segment_2" if segment_id != "Segment_2" else "Segment_1"
    editor.stroke(other, "Remove")
    np.testing.assert_array_equal(editor.labels[STROKE], np.where(upper, 0, painted)[STROKE])


@pytest.mark.parametrize("mode", ["Add", "Remove"])
def test_inside_the_body_neighbours_give_way_and_air_stays(editor, mode):
    set_masking(editor.settings, Masking.TAKE_FROM_NEIGHBOURS, editor.volume)
    everywhere = np.ones(GRID.shape_kji, bool)
    if mode == "Remove":
        editor.stroke("Segment_1", "Add", everywhere)
    set_masking(editor.settings, Masking.INSIDE_BODY, editor.volume)
    editor.stroke("Segment_1", mode, everywhere)
    body = intensities() > 50
    assert 0 < body.sum() < body.size
    expected = np.where(body, 1, result()) if mode == "Add" else np.where(body, 0, 1)
    np.testing.assert_array_equal(editor.labels, expected)


def test_a_choice_does_not_outlast_the_next_one(editor):
    set_masking(editor.settings, Masking.INSIDE_BODY, editor.volume)
    set_masking(editor.settings, Masking.TAKE_FROM_NEIGHBOURS, editor.volume)
    editor.stroke("Segment_1", "Add", np.ones(GRID.shape_kji, bool))
    assert (editor.labels == 1).all()


def test_a_scan_without_air_is_all_body(editor):
    import slicer

    slicer.util.updateVolumeFromArray(
        editor.volume, np.random.default_rng(0).normal(size=GRID.shape_kji).astype(np.float32)
    )
    set_masking(editor.settings, Masking.INSIDE_BODY, editor.volume)
    editor.stroke("Segment_1", "Add", np.ones(GRID.shape_kji, bool))
    assert (editor.labels == 1).all()


@pytest.mark.parametrize("segment_id", ["Segment_1", "Segment_2", "Segment_7"])
def test_a_stroke_across_a_border_fills_background_only(editor, segment_id):
    editor.stroke(segment_id, "Add")
    value = int(segment_id.removeprefix("Segment_"))
    np.testing.assert_array_equal(editor.labels, np.where(STROKE & (result() == 0), value, result()))


def test_hidden_neighbours_are_protected_too(editor):
    editor.node.GetDisplayNode().SetSegmentVisibility("Segment_2", False)
    editor.stroke("Segment_1", "Add")
    np.testing.assert_array_equal(editor.labels == 2, result() == 2)


def test_erasing_takes_from_the_edited_segment_only(editor):
    editor.stroke("Segment_2", "Remove")
    np.testing.assert_array_equal(editor.labels, np.where(STROKE & (result() == 2), 0, result()))


def test_what_was_erased_can_be_painted_again_by_the_same_segment_and_by_its_neighbour(editor):
    editor.stroke("Segment_2", "Remove")
    editor.stroke("Segment_2", "Add", STROKE & (result() == 2))
    np.testing.assert_array_equal(editor.labels, result())
    editor.stroke("Segment_2", "Remove")
    editor.stroke("Segment_1", "Add", STROKE & (result() == 2))
    np.testing.assert_array_equal(editor.labels, np.where(STROKE & (result() == 2), 1, result()))


def test_setting_a_segment_anew_leaves_the_neighbours_as_well(editor):
    editor.stroke("Segment_1", "Set")
    expected = np.where(STROKE & (result() == 0), 1, result())
    expected[(result() == 1) & ~STROKE] = 0
    np.testing.assert_array_equal(editor.labels, expected)


def test_many_strokes_leave_one_layer_without_overlap(editor):
    random = np.random.default_rng(0)
    for _ in range(20):
        corner = random.integers(0, 6, 3)
        where = np.zeros(GRID.shape_kji, bool)
        where[tuple(slice(c, c + 5) for c in corner)] = True
        editor.stroke(f"Segment_{random.choice([1, 2, 7])}", random.choice(["Add", "Remove"]), where)
    assert editor.labels.any()  # reading refuses overlaps
    assert editor.node.GetSegmentation().GetNumberOfLayers() == 1


def test_where_strokes_take_from_neighbours_they_replace_instead_of_overlapping(editor):
    set_masking(editor.settings, Masking.TAKE_FROM_NEIGHBOURS, editor.volume)
    for segment_id in ("Segment_1", "Segment_7", "Segment_2"):
        editor.stroke(segment_id, "Add")
    assert (editor.labels[STROKE] == 2).all()


def test_strokes_in_the_scan_s_corners_are_read_at_their_place(editor):
    corners = np.zeros(GRID.shape_kji, bool)
    corners[-1, -1, -1] = corners[0, 0, 0] = True
    editor.stroke("Segment_7", "Add", corners)
    assert (editor.labels[corners] == 7).all()
    editor.stroke("Segment_7", "Remove", corners)
    np.testing.assert_array_equal(editor.labels, result())


def test_what_overlaps_because_an_effect_bypassed_the_mask_is_found_when_the_labels_are_read(editor):
    editor.stroke("Segment_1", "Add", bypass=True)
    with pytest.raises(LabelError, match="overlapping-segments"):
        _ = editor.labels
