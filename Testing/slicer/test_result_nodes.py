"""Results as nodes: names, colours, codes, places, links; whole or not at all; read back as edited; kept by .mrb."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest
from mrml_scene import save_and_reload
from scene_volumes import (
    TRANSFORMS,
    add_scan,
    add_volume,
    dice,
    linear_node,
    node_ids,
    oblique_grid,
    put_under,
    rigid_matrix,
    segment_at,
)

from CrossModalSegLib.errors import CrossModalSegError, GeometryError, LabelError, OutputError
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.labels import LABEL_MAP_FOLDER, LabelMap, Structure, read_label_map
from CrossModalSegUI import segmentation_nodes
from CrossModalSegUI.result_nodes import (
    CaseBuilder,
    add_segmentation,
    add_table,
    add_uncertainty,
    find_cases,
    is_corrected,
    segment_labels,
    write_csv,
)
from CrossModalSegUI.scene_io import from_world, labels_on_node, local_grid, to_world, world_volume
from Testing.volumes import points_of

BRAIN = read_label_map(LABEL_MAP_FOLDER / "brain_mr_pair.json")
SMALL = LabelMap(
    (Structure(1, "liver", (200, 10, 10)), Structure(2, "spleen", (0, 200, 0)), Structure(7, "cyst", (9, 9, 9)))
)
REPORT = {
    "structures": [
        {
            "value": 1,
            "name": "liver",
            "volume_ml": {"CT": 1512.345, "MR": 1499.0},
            "confidence": {"CT": 0.98, "MR": 0.9},
        },
        {"value": 2, "name": "spleen", "volume_ml": {"CT": 0.0, "MR": 0.0}, "confidence": {"CT": None, "MR": None}},
        {"value": 7, "name": "cyst", "volume_ml": {"CT": 1.004, "MR": 2.0}, "confidence": {"CT": 0.5, "MR": 0.6666}},
    ],
    "agreement": {"mean": 0.8, "liver": 0.95, "spleen": None, "cyst": 0.6512},
    "device": "cpu",
    "fallbacks": ["out of memory on the GPU with 8 windows at a time"],
    "review": [
        {
            "number": 1,
            "ras_mm": [1.25, -2.5, 3.0],
            "structure": "cyst",
            "modalities": ["CT", "MR"],
            "reason": "disagreement",
            "severity": 0.7,
            "volume_ml": 1.5,
        }
    ],
}
BUNDLE = SimpleNamespace(name="abdomen-pair", sha256="0123abcd", label_map=SMALL)


@pytest.fixture
def scan(mrml_scene):
    grid = oblique_grid(3, size_mm=40)
    node = add_volume(mrml_scene, grid, np.random.default_rng(0).normal(size=grid.shape_kji).astype(np.float32))
    put_under(node, linear_node(mrml_scene, rigid_matrix(np.random.default_rng(0))))
    return node


def some_labels(node, values=(0, 1, 2, 7)):
    """Every label in a box of its own, background between them."""
    labels = np.zeros(local_grid(node).shape_kji, np.uint16)
    for number, value in enumerate(values[1:]):
        labels[2:6, 2:-2, 2 + 5 * number : 6 + 5 * number] = value
    return labels


def segments_of(node):
    segmentation = node.GetSegmentation()
    ids = [segmentation.GetNthSegmentID(number) for number in range(segmentation.GetNumberOfSegments())]
    return {id_: segmentation.GetSegment(id_) for id_ in ids}


def tree_of(scene):
    import slicer

    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)


# --- segmentation nodes


def test_every_structure_is_a_segment_with_name_colour_value_and_code_also_where_there_is_none_of_it(
    mrml_scene, slicer_logics, scan
):
    import slicer
    import vtk

    node = add_segmentation(mrml_scene, scan, some_labels(scan, (0, 2, 41)), BRAIN, "result")
    segments = segments_of(node)
    assert list(segments) == [f"Segment_{structure.value}" for structure in BRAIN.structures]
    for structure, segment in zip(BRAIN.structures, segments.values(), strict=True):
        assert segment.GetName() == structure.name
        assert segment.GetLabelValue() == structure.value
        np.testing.assert_allclose(np.array(segment.GetColor()) * 255, structure.color, atol=1e-6)
        tag, entry = vtk.reference(""), slicer.vtkSlicerTerminologyEntry()
        assert segment.GetTag(segment.GetTerminologyEntryTagName(), tag)
        assert slicer_logics.terminologies.DeserializeTerminologyEntry(str(tag), entry)
        code = entry.GetTypeObject()
        decoded = [code.GetCodingSchemeDesignator(), code.GetCodeValue(), code.GetCodeMeaning()]
        assert decoded == structure.terminology.type.as_list()


def test_all_segments_share_one_labelmap_on_the_scan_s_grid(mrml_scene, scan):
    node = add_segmentation(mrml_scene, scan, some_labels(scan), SMALL, "result")
    assert node.GetSegmentation().GetNumberOfLayers() == 1
    import slicer

    geometry = node.GetSegmentation().GetConversionParameter(
        slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    )
    reference = slicer.vtkOrientedImageData()
    assert slicer.vtkSegmentationConverter.DeserializeImageGeometry(geometry, reference, False)
    image = segments_of(node)["Segment_1"].GetRepresentation("Binary labelmap")
    assert slicer.vtkOrientedImageDataResample.DoGeometriesMatch(reference, image)
    assert slicer.vtkOrientedImageDataResample.DoExtentsMatch(reference, image)


def test_values_above_255_are_kept(mrml_scene, scan):
    label_map = LabelMap((Structure(300, "a", (1, 2, 3)), Structure(65535, "b", (3, 2, 1))))
    labels = some_labels(scan, (0, 300, 65535))
    node = add_segmentation(mrml_scene, scan, labels, label_map, "result")
    np.testing.assert_array_equal(segment_labels(node, scan, label_map), labels)


def test_the_result_lies_under_the_scan_s_transform_and_in_its_study(mrml_scene, scan):
    tree = tree_of(mrml_scene)
    study = tree.CreateStudyItem(tree.CreateSubjectItem(tree.GetSceneItemID(), "patient"), "study")
    tree.SetItemParent(tree.GetItemByDataNode(scan), study)
    for node in (
        add_segmentation(mrml_scene, scan, some_labels(scan), SMALL, "result"),
        add_uncertainty(mrml_scene, scan, some_labels(scan), "uncertainty"),
    ):
        assert node.GetTransformNodeID() == scan.GetTransformNodeID()
        assert tree.GetItemParent(tree.GetItemByDataNode(node)) == study


def test_a_scan_that_the_subject_hierarchy_does_not_know_has_its_result_at_the_top(mrml_scene, scan):
    tree = tree_of(mrml_scene)
    tree.RemoveItem(tree.GetItemByDataNode(scan), False, False)
    node = add_segmentation(mrml_scene, scan, some_labels(scan), SMALL, "result")
    assert tree.GetItemParent(tree.GetItemByDataNode(node)) == tree.GetSceneItemID()


def test_it_is_shown_as_outlines_with_a_faint_fill_and_as_surfaces_in_3d(mrml_scene, scan):
    node = add_segmentation(mrml_scene, scan, some_labels(scan), SMALL, "result")
    display = node.GetDisplayNode()
    assert display.GetVisibility()
    assert display.GetVisibility2DOutline()
    assert 0 < display.GetOpacity2DFill() < 0.5
    assert display.GetVisibility3D()
    surface = segments_of(node)["Segment_2"].GetRepresentation("Closed surface")
    assert surface.GetNumberOfPoints() > 100
    bounds = np.reshape(surface.GetBounds(), (3, 2)).T
    voxels = points_of(local_grid(scan))[some_labels(scan) == 2]
    assert np.abs(bounds - [voxels.min(axis=0), voxels.max(axis=0)]).max() < 4  # mm, with voxels of up to 4 mm


def test_one_that_is_not_shown_has_no_surfaces(mrml_scene, scan):
    node = add_segmentation(mrml_scene, scan, some_labels(scan), SMALL, "result", is_shown=False)
    assert not node.GetDisplayNode().GetVisibility()
    assert not node.GetSegmentation().ContainsRepresentation("Closed surface")


def test_nothing_but_the_node_and_its_display_is_added_to_the_scene(mrml_scene, scan):
    before = node_ids(mrml_scene)
    add_segmentation(mrml_scene, scan, some_labels(scan), SMALL, "result")
    assert node_ids(mrml_scene) - before == {"vtkMRMLSegmentationNode1", "vtkMRMLSegmentationDisplayNode1"}


@pytest.mark.parametrize(
    ("code", "labels_of"),
    [
        ("shape-mismatch", lambda node: some_labels(node)[1:]),
        ("not-integers", lambda node: some_labels(node).astype(np.float32)),
        ("unknown-label-values", lambda node: some_labels(node, (0, 1, 3))),
    ],
)
def test_labels_that_do_not_fit_are_refused_and_leave_nothing_behind(mrml_scene, scan, code, labels_of):
    before, items = node_ids(mrml_scene), tree_of(mrml_scene).GetNumberOfItems()
    with pytest.raises(CrossModalSegError) as refusal:
        add_segmentation(mrml_scene, scan, labels_of(scan), SMALL, "result")
    assert refusal.value.code == code
    assert node_ids(mrml_scene) == before
    assert tree_of(mrml_scene).GetNumberOfItems() == items


def test_a_failure_in_the_last_step_leaves_nothing_behind(mrml_scene, scan, monkeypatch):
    def fail(*_nodes):
        raise OSError("disk full")

    monkeypatch.setattr(segmentation_nodes, "place_beside", fail)
    before = node_ids(mrml_scene)
    with pytest.raises(OSError, match="disk full"):
        add_segmentation(mrml_scene, scan, some_labels(scan), SMALL, "result")
    assert node_ids(mrml_scene) == before


# --- reading back what was edited


def paint(node, segment_id, where=(0, 0, 0), erase=False):
    """Add the voxels ``where`` (an index of the scan's array) to a segment, in a layer of its own, or erase them."""
    from vtk.util.numpy_support import vtk_to_numpy

    segmentation = node.GetSegmentation()
    segmentation.SeparateSegmentLabelmap(segment_id)
    segment = segmentation.GetSegment(segment_id)  # its label value is another one in the new layer
    image = segment.GetRepresentation("Binary labelmap")
    array = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    array[where] = 0 if erase else segment.GetLabelValue()


def test_labels_are_read_back_as_they_were_given(mrml_scene, scan):
    labels = some_labels(scan)
    node = add_segmentation(mrml_scene, scan, labels, SMALL, "result")
    np.testing.assert_array_equal(segment_labels(node, scan, SMALL), labels)


def test_segments_in_layers_of_their_own_and_of_cropped_extent_are_read_at_their_place(mrml_scene, scan):
    import slicer

    labels = some_labels(scan)
    node = add_segmentation(mrml_scene, scan, labels, SMALL, "result")
    segmentation = node.GetSegmentation()
    segmentation.SeparateSegmentLabelmap("Segment_2")
    segmentation.SeparateSegmentLabelmap("Segment_7")
    for id_ in ("Segment_1", "Segment_2", "Segment_7"):
        image = segmentation.GetSegment(id_).GetRepresentation("Binary labelmap")
        tight = [0] * 6
        assert slicer.vtkOrientedImageDataResample.CalculateEffectiveExtent(image, tight)
        slicer.vtkOrientedImageDataResample.CopyImage(image, image, tight)
    assert segmentation.GetNumberOfLayers() == 3
    extents = {segments_of(node)[id_].GetRepresentation("Binary labelmap").GetExtent() for id_ in segments_of(node)}
    assert len(extents) == 3
    np.testing.assert_array_equal(segment_labels(node, scan, SMALL), labels)


def test_what_was_painted_beyond_the_scan_is_left_out(mrml_scene, scan):
    import slicer

    labels = some_labels(scan)
    node = add_segmentation(mrml_scene, scan, labels, SMALL, "result")
    image = segments_of(node)["Segment_1"].GetRepresentation("Binary labelmap")
    i0, i1, j0, j1, k0, k1 = image.GetExtent()
    slicer.vtkOrientedImageDataResample.CopyImage(image, image, [i0 - 3, i1 + 2, j0 - 1, j1, k0, k1 + 4])
    image.SetScalarComponentFromDouble(i0 - 2, j0, k0, 0, 7)
    np.testing.assert_array_equal(segment_labels(node, scan, SMALL), labels)


def test_erased_and_painted_voxels_are_read(mrml_scene, scan):
    labels = some_labels(scan)
    node = add_segmentation(mrml_scene, scan, labels, SMALL, "result")
    paint(node, "Segment_2", np.s_[:4], erase=True)
    paint(node, "Segment_2", np.s_[-2:, 0, 0])
    expected = np.where((labels == 2) & (np.indices(labels.shape)[0] < 4), 0, labels)
    expected[-2:, 0, 0] = 2
    np.testing.assert_array_equal(segment_labels(node, scan, SMALL), expected)


def test_a_renamed_and_recoloured_segment_keeps_its_value(mrml_scene, scan):
    labels = some_labels(scan)
    node = add_segmentation(mrml_scene, scan, labels, SMALL, "result")
    segments_of(node)["Segment_7"].SetName("metastasis")
    segments_of(node)["Segment_7"].SetColor(1, 1, 1)
    np.testing.assert_array_equal(segment_labels(node, scan, SMALL), labels)


def test_a_removed_segment_is_background(mrml_scene, scan):
    labels = some_labels(scan)
    node = add_segmentation(mrml_scene, scan, labels, SMALL, "result")
    node.GetSegmentation().RemoveSegment("Segment_2")
    np.testing.assert_array_equal(segment_labels(node, scan, SMALL), np.where(labels == 2, 0, labels))


def test_overlapping_segments_are_refused_by_their_names(mrml_scene, scan):
    node = add_segmentation(mrml_scene, scan, some_labels(scan), SMALL, "result")
    paint(node, "Segment_2", np.s_[:])
    with pytest.raises(LabelError, match=r"overlapping-segments.*'liver' and 'spleen'.*Segment Editor"):
        segment_labels(node, scan, SMALL)


def test_an_empty_segment_of_the_user_s_own_is_ignored_and_one_with_voxels_refused_by_name(mrml_scene, scan):
    labels = some_labels(scan)
    node = add_segmentation(mrml_scene, scan, labels, SMALL, "result")
    own = node.GetSegmentation().AddEmptySegment("", "my own")
    np.testing.assert_array_equal(segment_labels(node, scan, SMALL), labels)
    paint(node, own)
    with pytest.raises(LabelError, match=r"unknown-segment.*'my own'.*remove it"):
        segment_labels(node, scan, SMALL)


def test_a_new_segment_that_got_the_id_of_a_removed_one_is_not_taken_for_it(mrml_scene, scan):
    node = add_segmentation(mrml_scene, scan, some_labels(scan), SMALL, "result")
    node.GetSegmentation().RemoveSegment("Segment_2")
    assert node.GetSegmentation().AddEmptySegment("Segment_2", "my own") == "Segment_2"
    paint(node, "Segment_2")
    with pytest.raises(LabelError, match=r"unknown-segment.*'my own'"):
        segment_labels(node, scan, SMALL)


def test_a_segmentation_without_labelmaps_is_refused_with_the_remedy(mrml_scene, scan):
    node = add_segmentation(mrml_scene, scan, some_labels(scan), SMALL, "result")
    node.SetSourceRepresentationToClosedSurface()
    node.RemoveBinaryLabelmapRepresentation()
    with pytest.raises(LabelError, match=r"no-labelmap.*Segmentations module"):
        segment_labels(node, scan, SMALL)


@pytest.mark.parametrize("kind", ["none", "b-spline"])
def test_a_segmentation_that_was_moved_against_its_scan_is_read_where_it_lies_now(mrml_scene, kind):
    node, anatomy = add_scan(mrml_scene, oblique_grid(4), kind, 4)
    labels = anatomy.labels(to_world(node, points_of(local_grid(node))))
    segmentation = add_segmentation(mrml_scene, node, labels, BRAIN, "result")
    shift = np.eye(4)
    shift[:3, 3] = [4.0, -3.0, 6.0]
    mover = linear_node(mrml_scene, shift)
    put_under(segmentation, mover, *TRANSFORMS[kind](mrml_scene, np.random.default_rng(4)))
    read = segment_labels(segmentation, node, BRAIN)
    assert (read != labels).sum() > 0.1 * (labels > 0).sum()
    world = to_world(node, points_of(local_grid(node)))
    before = to_world(node, from_world(segmentation, world))  # where the anatomy was that is shown there now
    expected = anatomy.labels(before)
    for value in anatomy.values:
        assert dice(read == value, expected == value) > 0.93


def test_a_model_s_own_result_is_not_corrected_and_one_changed_voxel_is(mrml_scene, scan):
    nodes = [add_segmentation(mrml_scene, scan, some_labels(scan), SMALL, name) for name in ("edited", "model")]
    assert not is_corrected(*nodes)
    segments_of(nodes[0])["Segment_1"].SetName("renamed")
    nodes[0].GetSegmentation().SeparateSegmentLabelmap("Segment_7")
    assert not is_corrected(*nodes)
    paint(nodes[0], "Segment_7")
    assert is_corrected(*nodes)


def test_two_empty_results_are_the_same_and_what_cannot_be_compared_counts_as_corrected(mrml_scene, scan):
    nothing = np.zeros(local_grid(scan).shape_kji, np.uint8)
    nodes = [add_segmentation(mrml_scene, scan, nothing, SMALL, name) for name in ("edited", "model")]
    assert not is_corrected(*nodes)
    own = nodes[0].GetSegmentation().AddEmptySegment("", "my own")
    assert not is_corrected(*nodes)
    paint(nodes[0], own)
    assert is_corrected(*nodes)


# --- uncertainty, table


def test_the_uncertainty_is_a_volume_in_percent_on_the_scan_s_grid(mrml_scene, scan):
    import slicer

    percent = np.random.default_rng(0).integers(0, 100, local_grid(scan).shape_kji).astype(np.uint8)
    node = add_uncertainty(mrml_scene, scan, percent, "uncertainty")
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), percent)
    assert local_grid(node).is_close(local_grid(scan), tolerance_mm=1e-6)
    display = node.GetDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (0, 100)


def test_an_uncertainty_of_another_shape_is_refused(mrml_scene, scan):
    before = node_ids(mrml_scene)
    with pytest.raises(GeometryError, match="shape-mismatch"):
        add_uncertainty(mrml_scene, scan, np.zeros((2, 2, 2), np.uint8), "uncertainty")
    assert node_ids(mrml_scene) == before


TABLE = [
    ["structure", "CT volume (mL)", "MR volume (mL)", "agreement (Dice)", "CT confidence", "MR confidence"],
    ["liver", "1512.35", "1499.00", "0.950", "0.980", "0.900"],
    ["spleen", "0.00", "0.00", "", "", ""],
    ["cyst", "1.00", "2.00", "0.651", "0.500", "0.667"],
]


def cells_of(table):
    columns = range(table.GetNumberOfColumns())
    rows = [[table.GetCellText(row, column) for column in columns] for row in range(table.GetNumberOfRows())]
    return [[table.GetColumnName(column) for column in columns], *rows]


def test_the_table_has_volume_and_confidence_per_scan_and_the_agreement(mrml_scene):
    assert cells_of(add_table(mrml_scene, REPORT, "volumes")) == TABLE


def test_for_one_scan_there_is_no_agreement(mrml_scene):
    alone = [s | {"volume_ml": {"CT": 1.0}, "confidence": {"CT": 0.5}} for s in REPORT["structures"]]
    table = add_table(mrml_scene, {"structures": alone, "agreement": None}, "volumes")
    assert cells_of(table)[0] == ["structure", "CT volume (mL)", "CT confidence"]


def test_the_table_is_exported_as_csv_also_with_commas_in_names(mrml_scene, tmp_path):
    report = REPORT | {"structures": [REPORT["structures"][0] | {"name": 'liver, "left" Läppchen'}], "agreement": None}
    for content, name in ((REPORT, "a.csv"), (report, "b.csv")):
        write_csv(add_table(mrml_scene, content, "volumes"), tmp_path / name)
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as stream:
        assert list(csv.reader(stream)) == TABLE
    with (tmp_path / "b.csv").open(newline="", encoding="utf-8") as stream:
        assert list(csv.reader(stream))[1][0] == 'liver, "left" Läppchen'


def test_a_csv_that_cannot_be_written_is_said(mrml_scene, tmp_path):
    with pytest.raises(OutputError, match="cannot-write"):
        write_csv(add_table(mrml_scene, REPORT, "volumes"), tmp_path / "missing" / "a.csv")


# --- whole cases


@pytest.fixture
def pair(mrml_scene):
    """A CT and an MR under transforms, in one study."""
    tree = tree_of(mrml_scene)
    study = tree.CreateStudyItem(tree.CreateSubjectItem(tree.GetSceneItemID(), "patient"), "study")
    nodes = {}
    for seed, modality in ((2, "CT"), (5, "MR")):
        grid = oblique_grid(seed, size_mm=40)
        values = np.random.default_rng(seed).normal(size=grid.shape_kji).astype(np.float32)
        nodes[modality] = add_volume(mrml_scene, grid, values, f"{modality} scan")
        put_under(
            nodes[modality],
            *TRANSFORMS["b-spline" if modality == "MR" else "chain of two"](mrml_scene, np.random.default_rng(seed)),
        )
        tree.SetItemParent(tree.GetItemByDataNode(nodes[modality]), study)
    return nodes


def add_case(scene, volumes, run_id="run1", labels=None):
    with CaseBuilder(scene, run_id, BUNDLE, REPORT) as builder:
        for modality, node in volumes.items():
            own = some_labels(node) if labels is None else labels[modality]
            builder.add_modality(modality, node, own, np.zeros(local_grid(node).shape_kji, np.uint8))
        builder.add_table()
        builder.add_review()
        return builder.case


def names_of(case):
    groups = (case.volumes, case.segmentations, case.models, case.uncertainties)
    return [{modality: node.GetName() for modality, node in group.items()} for group in groups]


def test_a_case_is_found_again_with_all_its_nodes(mrml_scene, pair):
    case = add_case(mrml_scene, pair)
    (found,) = find_cases(mrml_scene)
    assert names_of(found) == names_of(case)
    assert names_of(found)[1] == {"CT": "CT scan segmentation", "MR": "MR scan segmentation"}
    assert list(found.segmentations) == ["CT", "MR"]
    assert found.table is case.table
    assert found.review.entries == case.review.entries
    assert (found.run_id, found.bundle_name, found.bundle_sha256) == ("run1", "abdomen-pair", "0123abcd")
    assert found.notice == "Computed on the processor. out of memory on the GPU with 8 windows at a time."
    assert found.title.startswith("CT scan + MR scan, abdomen-pair, ")
    assert found.rows() == (pair["CT"], pair["MR"], found.segmentations["CT"], found.segmentations["MR"])
    assert found.is_of(pair, BUNDLE)
    assert not found.is_of({"CT": pair["CT"]}, BUNDLE)
    assert not found.is_of({"CT": pair["MR"], "MR": pair["CT"]}, BUNDLE)


def test_the_nodes_of_a_case_lie_in_the_study_of_the_scans(mrml_scene, pair):
    case, tree = add_case(mrml_scene, pair), tree_of(mrml_scene)
    nodes = [
        *case.segmentations.values(),
        *case.models.values(),
        *case.uncertainties.values(),
        case.table,
        case.review.table,
    ]
    parents = {tree.GetItemName(tree.GetItemParent(tree.GetItemByDataNode(node))) for node in nodes}
    assert parents == {"study"}


def test_the_model_s_own_result_is_hidden_beside_the_one_to_correct(mrml_scene, pair):
    case = add_case(mrml_scene, pair)
    for modality in pair:
        assert case.segmentations[modality].GetDisplayNode().GetVisibility()
        assert not case.models[modality].GetDisplayNode().GetVisibility()
        paint(case.segmentations[modality], "Segment_1", np.s_[:], erase=True)
        assert (
            case.labels(modality, SMALL) == np.where(some_labels(pair[modality]) == 1, 0, some_labels(pair[modality]))
        ).all()
        np.testing.assert_array_equal(
            segment_labels(case.models[modality], pair[modality], SMALL), some_labels(pair[modality])
        )


def test_a_correction_is_noticed_and_can_be_taken_back(mrml_scene, pair):
    case = add_case(mrml_scene, pair)
    assert not case.is_corrected()
    paint(case.segmentations["MR"], "Segment_2")
    assert case.is_corrected()
    case.restore("MR")
    assert not case.is_corrected()
    np.testing.assert_array_equal(case.labels("MR", SMALL), some_labels(pair["MR"]))
    paint(case.segmentations["MR"], "Segment_2", np.s_[:], erase=True)
    assert not (segment_labels(case.models["MR"], pair["MR"], SMALL) != some_labels(pair["MR"])).any()


def test_a_case_is_removed_without_a_trace(mrml_scene, pair):
    before, items = node_ids(mrml_scene), tree_of(mrml_scene).GetNumberOfItems()
    add_case(mrml_scene, pair).remove()
    assert node_ids(mrml_scene) == before
    assert tree_of(mrml_scene).GetNumberOfItems() == items
    assert find_cases(mrml_scene) == []


def test_an_error_in_the_middle_of_a_case_leaves_no_part_of_it(mrml_scene, pair):
    before, items = node_ids(mrml_scene), tree_of(mrml_scene).GetNumberOfItems()
    labels = {"CT": some_labels(pair["CT"]), "MR": some_labels(pair["MR"], (0, 99))}
    with pytest.raises(LabelError, match="unknown-label-values"):
        add_case(mrml_scene, pair, labels=labels)
    assert node_ids(mrml_scene) == before
    assert tree_of(mrml_scene).GetNumberOfItems() == items


def test_cases_are_listed_oldest_first_and_their_names_differ(mrml_scene, pair):
    first, second = add_case(mrml_scene, pair, "zzz"), add_case(mrml_scene, pair, "aaa")
    assert [case.run_id for case in find_cases(mrml_scene)] == ["zzz", "aaa"]
    assert first.segmentations["CT"].GetName() != second.segmentations["CT"].GetName()
    first.remove()
    assert [case.run_id for case in find_cases(mrml_scene)] == ["aaa"]


def test_a_case_whose_scan_or_table_was_removed_is_still_listed(mrml_scene, pair):
    case = add_case(mrml_scene, pair)
    mrml_scene.RemoveNode(pair["MR"])
    mrml_scene.RemoveNode(case.table)
    (found,) = find_cases(mrml_scene)
    assert list(found.volumes) == ["CT"]
    assert list(found.segmentations) == ["CT", "MR"]
    assert found.table is None


def test_a_result_whose_model_s_own_was_removed_counts_as_corrected(mrml_scene, pair):
    mrml_scene.RemoveNode(add_case(mrml_scene, pair).models["MR"])
    (found,) = find_cases(mrml_scene)
    assert found.is_corrected()


def test_a_saved_and_loaded_scene_knows_its_cases_again(mrml_scene, pair, tmp_path):
    case = add_case(mrml_scene, pair)
    paint(case.segmentations["CT"], "Segment_2")
    case.review.tick(1)
    points = {modality: to_world(node, points_of(local_grid(node)))[::3, ::4, ::5] for modality, node in pair.items()}
    shown = {
        modality: [segment_at(case.segmentations[modality], point) for point in points[modality].reshape(-1, 3)]
        for modality in pair
    }
    titles, names = cells_of(case.table), names_of(case)
    save_and_reload(mrml_scene, tmp_path / "case.mrb")

    (found,) = find_cases(mrml_scene)
    assert names_of(found) == names
    assert cells_of(found.table) == titles
    assert found.review.is_ticked(1)
    assert found.is_corrected()
    assert not is_corrected(found.segmentations["MR"], found.models["MR"])
    tree = tree_of(mrml_scene)
    for modality, node in found.segmentations.items():
        assert [segment_at(node, point) for point in points[modality].reshape(-1, 3)] == shown[modality]
        assert list(segments_of(node)) == ["Segment_1", "Segment_2", "Segment_7"]
        assert [segment.GetName() for segment in segments_of(node).values()] == ["liver", "spleen", "cyst"]
        assert node.GetTransformNodeID() == found.volumes[modality].GetTransformNodeID()
        assert tree.GetItemName(tree.GetItemParent(tree.GetItemByDataNode(node))) == "study"


def test_a_result_without_any_structure_keeps_its_segments_in_a_saved_scene(mrml_scene, scan, tmp_path):
    nothing = np.zeros(local_grid(scan).shape_kji, np.uint8)
    add_case(mrml_scene, {"CT": scan}, labels={"CT": nothing})
    save_and_reload(mrml_scene, tmp_path / "case.mrb")
    (found,) = find_cases(mrml_scene)
    assert list(segments_of(found.segmentations["CT"])) == ["Segment_1", "Segment_2", "Segment_7"]
    assert not found.is_corrected()
    assert not found.labels("CT", SMALL).any()


def test_a_left_handed_scan_is_stored_right_handed_by_slicer_and_its_labels_follow(mrml_scene, tmp_path):
    grid = oblique_grid(1, size_mm=30)
    assert grid.is_left_handed
    node = add_volume(mrml_scene, grid, np.random.default_rng(0).normal(size=grid.shape_kji).astype(np.float32))
    add_case(mrml_scene, {"CT": node})
    save_and_reload(mrml_scene, tmp_path / "case.mrb")
    (found,) = find_cases(mrml_scene)
    labels = found.labels("CT", SMALL)
    volume = world_volume(found.volumes["CT"], "CT")
    assert volume.grid.is_left_handed is False
    expected = labels_on_node(found.volumes["CT"], some_labels_on(grid), grid)
    np.testing.assert_array_equal(labels, expected)
    assert not found.is_corrected()


def some_labels_on(grid):
    labels = np.zeros(grid.shape_kji, np.uint16)
    for number, value in enumerate((1, 2, 7)):
        labels[2:6, 2:-2, 2 + 5 * number : 6 + 5 * number] = value
    return labels


def test_a_structure_that_surrounds_all_others_is_translucent_in_3d(mrml_scene):
    """Around two balls beside each other is a third structure; without it, none surrounds the others."""
    labels = np.zeros((24, 24, 24), dtype=np.uint8)
    labels[2:22, 2:22, 2:22] = 7
    labels[8:16, 8:16, 4:10] = 1
    labels[8:16, 8:16, 14:20] = 2
    assert opacities_3d(mrml_scene, labels) == [1.0, 1.0, 0.15]
    assert opacities_3d(mrml_scene, np.where(labels == 7, 0, labels)) == [1.0, 1.0, 1.0]


def opacities_3d(scene, labels):
    volume = add_volume(scene, Grid(labels.shape[::-1], np.eye(4)), labels)
    node = add_segmentation(scene, volume, labels, SMALL, "result")
    structures = [f"Segment_{structure.value}" for structure in SMALL.structures]
    return [node.GetDisplayNode().GetSegmentOpacity3D(segment_id) for segment_id in structures]


def test_looking_for_results_keeps_none_of_their_nodes_in_memory(mrml_scene):
    scan, _ = add_scan(mrml_scene, oblique_grid(2), "none", 2)
    with CaseBuilder(mrml_scene, "run", BUNDLE, REPORT) as builder:
        builder.add_modality("T1w", scan, some_labels(scan, (0, 1)), np.zeros(local_grid(scan).shape_kji, np.uint8))
    node = builder.case.segmentations["T1w"]
    before = node.GetReferenceCount()
    find_cases(mrml_scene)
    assert node.GetReferenceCount() == before
