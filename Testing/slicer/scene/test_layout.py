"""The two-modality layout on Slicer's own layout logic: rows, links, outlines, crossfade, jumps; and all of it
undone."""

import numpy as np
import pytest
from scene_volumes import add_volume, linear_node, node_ids, put_under, rigid_matrix

from CrossModalSegApp.scene.case_nodes import About, mark
from CrossModalSegApp.scene.layout import TwoModalityLayout
from CrossModalSegApp.scene.node_geometry import to_world
from CrossModalSegApp.scene.result_nodes import add_uncertainty
from CrossModalSegApp.scene.segmentation_nodes import add_segmentation
from CrossModalSegApp.scene.slice_views import ONE_ROW, TWO_ROWS, composite_node, slice_node, views
from CrossModalSegLib.labels import LabelMap, Structure
from Testing.volumes import grid_around

LIVER = LabelMap((Structure(1, "liver", (200, 10, 10)),))
ABOUT = About("run", "bundle", "sha", "2026", "", ("CT", "MR"))


@pytest.fixture
def pair(mrml_scene):
    """Two scans at different places, the second one moved by a transform."""
    nodes = []
    for name, centre in (("CT", (10, 0, 0)), ("MR", (0, 0, 0))):
        grid = grid_around(centre, (20, 30, 10), (2, 2, 5))
        nodes.append(add_volume(mrml_scene, grid, np.random.default_rng(0).normal(size=grid.shape_kji), name))
    put_under(nodes[1], linear_node(mrml_scene, rigid_matrix(np.random.default_rng(0))))
    return nodes


@pytest.fixture
def results(pair):
    return [add_result(volume) for volume in pair]


def add_result(volume):
    node = add_segmentation(volume, np.ones((10, 30, 20), np.uint8), LIVER, "result")
    mark(node, "segmentation", ABOUT, volume.GetName(), volume)
    return node


def shown_in(scene, view):
    """(background, foreground, opacity of the foreground) of a view."""
    node = composite_node(scene, view)
    return node.GetBackgroundVolumeID(), node.GetForegroundVolumeID(), node.GetForegroundOpacity()


def arrangement(layout_logic):
    return layout_logic.GetLayoutNode().GetViewArrangement()


def state_of(scene):
    """What all view, composite and segmentation display nodes say of themselves, but for their place and size."""
    properties = {
        "vtkMRMLSliceCompositeNode": ("BackgroundVolumeID", "ForegroundVolumeID", "ForegroundOpacity", "LinkedControl"),
        "vtkMRMLSegmentationDisplayNode": ("Visibility", "Visibility2DFill", "Visibility2DOutline", "ViewNodeIDs"),
        "vtkMRMLCrosshairNode": ("CrosshairMode",),
        "vtkMRMLLayoutNode": ("ViewArrangement",),
    }
    state = {}
    for class_name, names in properties.items():
        nodes = scene.GetNodesByClass(class_name)
        for node in (nodes.GetItemAsObject(number) for number in range(nodes.GetNumberOfItems())):
            state[node.GetID()] = [getattr(node, f"Get{name}")() for name in names]
    return state


def test_slicer_makes_two_rows_of_three_views_of_our_description(mrml_scene, layout_logic, pair):
    TwoModalityLayout(mrml_scene).enter(*pair)
    assert arrangement(layout_logic) == TWO_ROWS
    made = layout_logic.GetViewNodes()
    made = [made.GetItemAsObject(number) for number in range(made.GetNumberOfItems())]
    assert [(node.GetLayoutName(), node.GetOrientation(), node.GetLayoutLabel()) for node in made] == [
        ("CrossModalSeg1Axial", "Axial", "1A"),
        ("CrossModalSeg1Coronal", "Coronal", "1C"),
        ("CrossModalSeg1Sagittal", "Sagittal", "1S"),
        ("CrossModalSeg2Axial", "Axial", "2A"),
        ("CrossModalSeg2Coronal", "Coronal", "2C"),
        ("CrossModalSeg2Sagittal", "Sagittal", "2S"),
    ]
    assert {node.GetViewGroup() for node in made} == {made[0].GetViewGroup()} != {0}
    assert [slice_node(mrml_scene, view) for view in views(2)] == made


def test_views_that_we_make_ourselves_are_as_slicer_s_layout_logic_makes_them(mrml_scene, layout_logic, pair):
    TwoModalityLayout(mrml_scene).enter(*pair)

    def said(node):
        color = tuple(round(part, 4) for part in node.GetLayoutColor())
        return (
            node.GetID(),
            node.GetLayoutName(),
            node.GetLayoutLabel(),
            color,
            node.GetViewGroup(),
            node.GetOrientation(),
        )

    made_by_slicer = [said(slice_node(mrml_scene, view)) for view in views(2)]
    layout_logic.SetMRMLScene(None)
    for view in views(2):
        mrml_scene.RemoveNode(slice_node(mrml_scene, view))
    assert [said(slice_node(mrml_scene, view)) for view in views(2)] == made_by_slicer


def test_our_composite_node_is_the_one_that_slicer_s_slice_logic_uses(mrml_scene, layout_logic, pair):
    import slicer

    del layout_logic
    TwoModalityLayout(mrml_scene).enter(*pair)
    for view in views(2):
        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLScene(mrml_scene)
        logic.SetSliceNode(slice_node(mrml_scene, view))
        assert logic.GetSliceCompositeNode() is composite_node(mrml_scene, view)
        logic.SetMRMLScene(None)


def test_each_row_shows_its_scan_with_the_other_one_faded_in(mrml_scene, layout_logic, pair):
    del layout_logic
    layout = TwoModalityLayout(mrml_scene)
    layout.set_crossfade(0.25)
    layout.enter(*pair)
    ids = [volume.GetID() for volume in pair]
    for view in views(2):
        assert shown_in(mrml_scene, view) == (ids[view.row], ids[1 - view.row], 0.25)
        assert composite_node(mrml_scene, view).GetLinkedControl()
        assert composite_node(mrml_scene, view).GetHotLinkedControl()
    for share, expected in ((0.7, 0.7), (3, 1.0), (-1, 0.0)):
        layout.set_crossfade(share)
        assert {composite_node(mrml_scene, view).GetForegroundOpacity() for view in views(2)} == {expected}


def test_what_is_uncertain_lies_over_the_scans_while_it_is_asked_for_and_all_is_put_back(
    mrml_scene, layout_logic, pair
):
    del layout_logic
    layout = TwoModalityLayout(mrml_scene)
    layout.set_crossfade(0.25)
    layout.enter(*pair)
    shape = (10, 30, 20)
    doubts = [add_uncertainty(mrml_scene, volume, np.full(shape, 40.0, np.float32), "doubt") for volume in pair]
    displays = [node.GetDisplayNode() for node in doubts]
    before = [(one.GetApplyThreshold(), one.GetLowerThreshold()) for one in displays]
    layout.show_uncertainties([doubts[0], None])
    assert [shown_in(mrml_scene, view)[1] for view in views(2)] == [doubts[0].GetID()] * 3 + [None] * 3
    assert displays[0].GetApplyThreshold(), "what is certain hides nothing"
    layout.set_crossfade(0.5)
    assert shown_in(mrml_scene, views(2)[0])[1] == doubts[0].GetID(), "the fade waits"
    layout.show_uncertainties([])
    assert shown_in(mrml_scene, views(2)[0])[1:] == (pair[1].GetID(), 0.5)
    assert [(one.GetApplyThreshold(), one.GetLowerThreshold()) for one in displays] == before


@pytest.mark.parametrize("which", [0, 1])
def test_one_scan_alone_has_one_row(mrml_scene, layout_logic, pair, which):
    scans = [None, None]
    scans[which] = pair[which]
    TwoModalityLayout(mrml_scene).enter(*scans)
    assert arrangement(layout_logic) == ONE_ROW
    assert layout_logic.GetViewNodes().GetNumberOfItems() == 3
    assert shown_in(mrml_scene, views(1)[0])[:2] == (pair[which].GetID(), None)


def test_each_row_has_the_outlines_of_its_own_scan(mrml_scene, layout_logic, pair, results):
    del layout_logic
    TwoModalityLayout(mrml_scene).enter(*pair, *results)
    for row, result in enumerate(results):
        display = result.GetDisplayNode()
        assert display.GetVisibility2DOutline()
        assert not display.GetVisibility2DFill()
        for view in views(2):
            assert display.IsDisplayableInView(slice_node(mrml_scene, view).GetID()) == (view.row == row)


def test_other_results_of_ours_are_hidden_meanwhile_and_other_segmentations_are_not(
    mrml_scene, layout_logic, pair, results
):
    del layout_logic
    older = add_result(pair[0])
    own = add_segmentation(pair[0], np.ones((10, 30, 20), np.uint8), LIVER, "the user's own")
    layout = TwoModalityLayout(mrml_scene)
    layout.enter(*pair, *results)
    assert not older.GetDisplayNode().GetVisibility()
    assert own.GetDisplayNode().GetVisibility()
    layout.leave()
    assert older.GetDisplayNode().GetVisibility()


def test_leaving_puts_everything_back(mrml_scene, layout_logic, pair, results):
    layout = TwoModalityLayout(mrml_scene)
    layout.enter(*pair)  # so that the views exist
    layout.leave()
    for number, view in enumerate(views(2)):
        composite = composite_node(mrml_scene, view)
        composite.SetBackgroundVolumeID(pair[number % 2].GetID())
        composite.SetForegroundOpacity(0.1 * number)
        composite.SetLinkedControl(number % 2)
    results[0].GetDisplayNode().SetViewNodeIDs(["vtkMRMLSliceNodeRed"])
    results[1].GetDisplayNode().SetVisibility(False)
    before = state_of(mrml_scene)
    layout.enter(*pair, *results)
    layout.set_crossfade(0.5)
    layout.jump_to((1, 2, 3))
    assert state_of(mrml_scene) != before
    layout.leave()
    assert state_of(mrml_scene) == before
    assert arrangement(layout_logic) == layout_logic.GetLayoutNode().SlicerLayoutFourUpView


def test_entering_with_other_scans_still_leaves_to_the_first_layout(mrml_scene, layout_logic, pair, results):
    before = state_of(mrml_scene)
    layout = TwoModalityLayout(mrml_scene)
    layout.enter(*pair, *results)
    layout.enter(pair[1], None, results[1])
    assert arrangement(layout_logic) == ONE_ROW
    assert not results[0].GetDisplayNode().GetVisibility()
    layout.leave()
    assert {id_: state_of(mrml_scene)[id_] for id_ in before} == before


def test_a_layout_that_the_user_has_chosen_meanwhile_stays(mrml_scene, layout_logic, pair):
    layout = TwoModalityLayout(mrml_scene)
    layout.enter(*pair)
    node = layout_logic.GetLayoutNode()
    node.SetViewArrangement(node.SlicerLayoutOneUp3DView)
    layout.leave()
    assert arrangement(layout_logic) == node.SlicerLayoutOneUp3DView


def test_leaving_twice_or_without_having_entered_does_nothing(mrml_scene, layout_logic, pair):
    layout = TwoModalityLayout(mrml_scene)
    layout.leave()
    layout.enter(*pair)
    layout.leave()
    node = layout_logic.GetLayoutNode()
    node.SetViewArrangement(node.SlicerLayoutOneUp3DView)
    layout.leave()
    assert arrangement(layout_logic) == node.SlicerLayoutOneUp3DView


def test_a_scene_that_was_saved_in_our_layout_is_left_to_slicer_s_usual_one(mrml_scene, layout_logic, pair):
    TwoModalityLayout(mrml_scene).enter(*pair)
    later = TwoModalityLayout(mrml_scene)
    later.enter(*pair)
    later.leave()
    assert arrangement(layout_logic) == layout_logic.GetLayoutNode().SlicerLayoutFourUpView


def test_scans_and_results_that_were_removed_meanwhile_do_not_come_back(mrml_scene, layout_logic, pair, results):
    del layout_logic
    layout = TwoModalityLayout(mrml_scene)
    for view in views(2):
        composite_node(mrml_scene, view).SetBackgroundVolumeID(pair[0].GetID())
    layout.enter(pair[1], None, results[1])
    mrml_scene.RemoveNode(pair[0])
    mrml_scene.RemoveNode(results[1].GetDisplayNode())
    layout.leave()
    assert {shown_in(mrml_scene, view)[0] for view in views(1)} == {None}


def test_a_scene_that_is_closed_in_the_layout_can_be_left_and_entered_again(mrml_scene, layout_logic, pair):
    layout = TwoModalityLayout(mrml_scene)
    layout.enter(*pair)
    mrml_scene.Clear(0)
    layout.leave()
    grid = grid_around((0, 0, 0), (5, 5, 5), (2, 2, 2))
    layout.enter(add_volume(mrml_scene, grid, np.zeros(grid.shape_kji)))
    assert arrangement(layout_logic) == ONE_ROW


def test_entering_again_with_the_same_scans_leaves_place_and_zoom_alone(mrml_scene, layout_logic, pair, results):
    del layout_logic
    layout = TwoModalityLayout(mrml_scene)
    layout.enter(*pair)
    node = slice_node(mrml_scene, views(2)[0])
    node.SetFieldOfView(33, 33, 1)
    layout.jump_to((70, 8, 9))
    layout.enter(*pair, *results)
    assert node.GetFieldOfView()[0] == pytest.approx(33)
    assert centre_of(node) == pytest.approx((70, 8, 9))


def test_entering_again_with_the_same_nodes_leaves_the_user_s_changes_of_the_display(
    mrml_scene, layout_logic, pair, results
):
    del layout_logic
    layout = TwoModalityLayout(mrml_scene)
    layout.enter(*pair, *results)
    results[0].GetDisplayNode().SetVisibility2DFill(True)
    layout.enter(*pair, *results)
    assert results[0].GetDisplayNode().GetVisibility2DFill()


def centre_of(node):
    width, height, _ = node.GetDimensions()
    return node.GetXYToRAS().MultiplyPoint([width / 2, height / 2, 0, 1])[:3]


def test_all_views_show_both_scans_whole_at_one_scale_per_view(mrml_scene, layout_logic, pair):
    del layout_logic
    layout = TwoModalityLayout(mrml_scene)
    layout.enter(*pair)
    slice_node(mrml_scene, views(2)[1]).SetDimensions(500, 200, 1)
    layout.fit()
    corners = np.concatenate([corners_in_world(volume) for volume in pair])
    for view in views(2):
        node = slice_node(mrml_scene, view)
        width, height, _ = node.GetDimensions()
        x, y, _ = node.GetFieldOfView()
        assert x / width == pytest.approx(y / height)
        for corner in corners:
            place = np.linalg.inv(array_of(node.GetXYToRAS())) @ [*corner, 1]
            assert 0 < place[0] < width
            assert 0 < place[1] < height


def corners_in_world(volume):
    from CrossModalSegApp.scene.node_geometry import local_grid

    return to_world(volume, local_grid(volume).corners_ras())


def array_of(matrix):
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def test_a_jump_shows_the_place_in_all_views_of_the_layout_and_sets_the_crosshair(mrml_scene, layout_logic, pair):
    del layout_logic
    layout = TwoModalityLayout(mrml_scene)
    layout.enter(*pair)
    red = mrml_scene.GetNodeByID("vtkMRMLSliceNodeRed")
    elsewhere = centre_of(red)
    before = {view: centre_of(slice_node(mrml_scene, view)) for view in views(2)}
    layout.jump_to((11.5, -20.25, 7.0))
    for view, axis in zip(views(2), (2, 1, 0) * 2, strict=True):  # axial, coronal, sagittal: only the slice moves
        expected = [*before[view]]
        expected[axis] = (11.5, -20.25, 7.0)[axis]
        assert centre_of(slice_node(mrml_scene, view)) == pytest.approx(expected)
    assert centre_of(red) == elsewhere
    crosshair = mrml_scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    assert crosshair.GetCrosshairRAS() == pytest.approx((11.5, -20.25, 7.0))
    assert crosshair.GetCrosshairMode() == crosshair.ShowBasic
    layout.leave()
    assert crosshair.GetCrosshairMode() == crosshair.NoCrosshair


def test_a_jump_to_a_place_that_is_not_in_a_view_centres_it(mrml_scene, layout_logic, pair):
    del layout_logic
    layout = TwoModalityLayout(mrml_scene)
    layout.enter(*pair)
    for view in views(2):
        slice_node(mrml_scene, view).SetFieldOfView(20, 20, 1)
    middle = np.array(centre_of(slice_node(mrml_scene, views(2)[0])))
    at_the_edge, inside = middle + 9.5, middle + 8.5
    layout.jump_to(tuple(inside))
    assert centre_of(slice_node(mrml_scene, views(2)[0]))[:2] == pytest.approx(tuple(middle[:2]))
    layout.jump_to(tuple(at_the_edge))
    for view in views(2):
        assert centre_of(slice_node(mrml_scene, view)) == pytest.approx(tuple(at_the_edge))


def test_a_jump_outside_of_the_layout_moves_the_views_that_there_are(mrml_scene, layout_logic):
    del layout_logic
    TwoModalityLayout(mrml_scene).jump_to((1001.0, 1002.0, 1003.0))
    for color in ("Red", "Green", "Yellow"):
        assert centre_of(mrml_scene.GetNodeByID(f"vtkMRMLSliceNode{color}")) == pytest.approx((1001.0, 1002.0, 1003.0))


def test_without_a_layout_node_nothing_happens_and_nothing_fails(mrml_scene, pair, results):
    before = node_ids(mrml_scene)
    layout = TwoModalityLayout(mrml_scene)
    layout.enter(*pair, *results)
    layout.set_crossfade(0.5)
    layout.jump_to((1, 2, 3))
    layout.leave()
    assert not layout.is_entered
    assert node_ids(mrml_scene) == before
    assert results[0].GetDisplayNode().GetViewNodeIDs() == ()
