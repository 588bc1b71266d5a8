"""A result in the scene: its uncertainty and table, all nodes of a case, and what .mrb keeps of them."""

import csv

import numpy as np
import pytest
from mrml_scene import save_and_reload
from result_samples import BUNDLE, REPORT, SMALL, paint, segments_of, some_labels, tree_of
from scene_volumes import (
    TRANSFORMS,
    add_scan,
    add_volume,
    node_ids,
    oblique_grid,
    put_under,
    segment_at,
)

from CrossModalSegApp.scene.case_nodes import find_cases
from CrossModalSegApp.scene.node_geometry import local_grid, to_world
from CrossModalSegApp.scene.result_nodes import CaseBuilder, add_uncertainty
from CrossModalSegApp.scene.result_table import add_table, write_csv
from CrossModalSegApp.scene.scene_io import labels_on_node, world_volume
from CrossModalSegApp.scene.segmentation_labels import is_corrected, segment_labels
from CrossModalSegLib.errors import GeometryError, LabelError, OutputError
from Testing.volumes import points_of


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


def test_the_table_says_how_far_a_volume_lies_from_what_the_model_expects(mrml_scene):
    ranges = {"liver": [1000.0, 1500.0], "cyst": [1.5, 3.0]}
    expected = [s | ({"expected_ml": ranges[s["name"]]} if s["name"] in ranges else {}) for s in REPORT["structures"]]
    cells = cells_of(add_table(mrml_scene, REPORT | {"structures": expected}, "volumes"))
    assert cells[0][3:5] == ["CT from expected (mL)", "MR from expected (mL)"]
    assert [row[3:5] for row in cells[1:]] == [["+12.35", "0"], ["", ""], ["-0.50", "0"]]


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
    assert found.notice == "Computed on the CPU. out of memory on the GPU with 8 windows at a time."
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


def test_looking_for_results_keeps_none_of_their_nodes_in_memory(mrml_scene):
    scan, _ = add_scan(mrml_scene, oblique_grid(2), "none", 2)
    with CaseBuilder(mrml_scene, "run", BUNDLE, REPORT) as builder:
        builder.add_modality("T1w", scan, some_labels(scan, (0, 1)), np.zeros(local_grid(scan).shape_kji, np.uint8))
    node = builder.case.segmentations["T1w"]
    before = node.GetReferenceCount()
    find_cases(mrml_scene)
    assert node.GetReferenceCount() == before
